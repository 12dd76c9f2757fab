"""What calibration says is looked up as documented, and never for weights that it doesn't belong to."""

import json
from dataclasses import replace

import numpy as np
import pytest

import streamheal
from streamheal import calibration, weights
from streamheal.calibration import Calibration, EvidenceCurve, KeptCurve, MatchCurve
from streamheal.errors import CalibrationError, WeightsError
from streamheal.records import Match

EVIDENCE = EvidenceCurve(
    sides=(8, 25),
    evidence=(0.0, 0.5, 0.9),
    half=((30.0, 20.0, 10.0), (28.0, 15.0, 6.0)),
    nine_in_ten=((80.0, 60.0, 40.0), (70.0, 50.0, 20.0)),
    hallucinated_below=0.4,
)
MATCH = MatchCurve(
    slope=(4.0, 2.0, 1.0),
    intercept=(-2.0, 0.0, 0.5),
    sides=(8, 25),
    thresholds=((0.5, 0.45), (0.4, 0.35)),
    rates=((0.1, 0.2), (0.3, 0.6)),
    fitted_sides=(12, 64),
)
KEPT = KeptCurve((2.0, -4.0, 0.5, 0.0), (12, 64))


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A folder with one weight file `net`, calibrated."""
    monkeypatch.setenv("STREAMHEAL_MODELS", str(tmp_path))
    (tmp_path / "net.safetensors").write_bytes(b"weights")
    weights.pin("net", tmp_path / "net.safetensors", kind="restorer", system="lr-trunk", licence="ours")
    ship(tmp_path)
    return tmp_path


def ship(models, **changes) -> Calibration:
    sha256 = weights.manifest(models)["net"].sha256
    made = Calibration("net", sha256, {"embedder": "e" * 64}, {"people": "3"}, MATCH, MATCH, EVIDENCE, MATCH, KEPT)
    made = replace(made, **changes)
    (models / "net.calibration.json").write_text(made.as_json())
    weights.pin_calibration("net", models / "net.calibration.json")
    return made


def test_what_was_fitted_is_read_back_as_it_was(models):
    assert calibration.find("net") == ship(models)


def test_weights_that_are_pinned_again_keep_theirs(models):
    weights.pin("net", models / "net.safetensors", kind="restorer", system="lr-trunk", licence="theirs")
    assert calibration.find("net") is not None


def test_weights_that_were_never_calibrated_have_none(models):
    (models / "new.safetensors").write_bytes(b"new")
    weights.pin("new", models / "new.safetensors", kind="restorer", system="lr-trunk", licence="ours")
    assert calibration.find("new") is None and calibration.find("unheard of") is None


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_text(path.read_text() + " "), "not the one that the manifest pins"),
    ],
)
def test_a_file_that_is_missing_or_changed_says_how_to_fit_it_again(models, spoil, says):
    spoil(models / "net.calibration.json")
    with pytest.raises(CalibrationError, match=f"{says}.*streamheal calibrate net --data DIR"):
        calibration.find("net")


def test_a_calibration_of_other_weights_is_refused(models):
    ship(models, sha256="f" * 64)
    with pytest.raises(
        CalibrationError, match=r"belongs to net f{12}…, the weights are net .*streamheal calibrate net"
    ):
        calibration.find("net")


def test_new_weights_are_pinned_without_the_old_calibration(models):
    (models / "net.safetensors").write_bytes(b"other weights")
    weights.pin("net", models / "net.safetensors", kind="restorer", system="lr-trunk", licence="ours")
    assert calibration.find("net") is None


def test_with_another_embedder_than_it_was_calibrated_with_there_is_none_and_the_log_says_so(models, caplog):
    assert calibration.find("net", {"embedder": "e" * 64}) is not None
    assert calibration.find("net", {"embedder": "d" * 64}) is None
    assert "calibrated with another embedder" in caplog.text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "of": "net"}'])
def test_what_is_no_calibration_is_refused(tmp_path, text):
    (tmp_path / "net.calibration.json").write_text(text)
    with pytest.raises(CalibrationError, match="not a calibration of this version"):
        calibration.read(tmp_path / "net.calibration.json")


def test_only_weights_that_ship_can_be_given_a_calibration(models):
    with pytest.raises(WeightsError, match="no weights named 'other'"):
        weights.pin_calibration("other", models / "net.calibration.json")


def test_a_pixel_is_hallucinated_where_less_than_the_threshold_backs_it():
    assert EVIDENCE.hallucinated(np.array([[0.0, 0.39], [0.4, 1.0]])).tolist() == [[True, True], [False, False]]


def test_the_bound_is_that_of_the_evidence_and_of_the_size():
    evidence = np.array([0.0, 0.49, 0.5, 0.9, 1.0])
    assert EVIDENCE.bound(evidence, 16).tolist() == [80, 80, 60, 40, 40]
    assert EVIDENCE.bound(evidence, 25).tolist() == [70, 70, 50, 20, 20]
    assert EVIDENCE.bound(evidence, 4).tolist() == EVIDENCE.bound(evidence, 8).tolist()


def test_the_expected_error_tells_the_seen_from_the_hallucinated_part():
    error = EVIDENCE.expected(np.array([[0.0, 0.0], [0.5, 1.0]]), 16)
    assert (error.seen, error.hallucinated) == (50.0, 80.0)
    assert EVIDENCE.expected(np.ones((2, 2)), 16).hallucinated is None


def test_a_match_is_that_of_a_face_of_this_size_and_visibility():
    assert MATCH.at(32, 1.0) == Match(slope=7.0, intercept=-1.5, threshold=0.35, true_accept_rate=0.6)
    assert MATCH.at(16, 0.5) == Match(slope=4.5, intercept=-1.75, threshold=0.5, true_accept_rate=0.1)


def test_beyond_the_sizes_that_were_fitted_the_nearest_one_counts():
    assert MATCH.at(200, 1.0).slope == MATCH.at(64, 1.0).slope
    assert KEPT.at(0.5, 4, 1.0) == KEPT.at(0.5, 12, 1.0)


def test_a_larger_cosine_never_means_a_less_likely_person():
    falling = replace(MATCH, slope=(-9.0, 0.0, 0.0))
    assert falling.at(16, 1.0).slope == 0


def test_more_drift_means_less_kept():
    assert KEPT.at(0.1, 16, 1.0) > KEPT.at(0.9, 16, 1.0)
    assert KEPT.at(0.5, 16, 1.0) == pytest.approx(0.5)


def test_the_probability_is_the_logistic_of_the_cosine():
    match = Match(slope=8.0, intercept=-2.0, threshold=0.4, true_accept_rate=0.5)
    assert streamheal.same_person(0.25, match) == pytest.approx(0.5)
    assert streamheal.same_person(0.5, match) == pytest.approx(1 / (1 + np.exp(-2)))
    np.testing.assert_allclose(streamheal.same_person(np.array([0.25, 0.5]), match), [0.5, 0.880797], atol=1e-6)


def test_a_line_of_the_events_will_do_and_a_prior_counts_as_odds():
    match = json.loads('{"slope": 8.0, "intercept": -2.0, "threshold": 0.4, "true_accept_rate": 0.5}')
    assert streamheal.same_person(0.25, match, prior=1 / 101) == pytest.approx(1 / 101)
    assert streamheal.same_person(0.9, match, prior=1e-6) < 0.001


@pytest.mark.parametrize(
    ("arguments", "says"),
    [((1.5, MATCH.at(16, 1)), "must lie in"), ((0.5, None), "not calibrated"), ((np.nan, MATCH.at(16, 1)), "must lie")],
)
def test_what_is_no_cosine_or_no_match_is_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        streamheal.same_person(*arguments)


def test_a_prior_of_certainty_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        streamheal.same_person(0.5, MATCH.at(16, 1), prior=1.0)


def test_the_mean_of_a_track_weighs_its_crops_by_quality():
    a, b = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)
    mean = calibration.quality_weighted_mean([a, b], [0.75, 0.25])
    np.testing.assert_allclose(mean, np.array([3, 1]) / np.sqrt(10), atol=1e-6)
    assert mean.dtype == np.float32
    np.testing.assert_allclose(calibration.quality_weighted_mean([a, b], [0, 0]), np.sqrt([0.5, 0.5]), atol=1e-6)


def test_one_crop_has_no_mean():
    assert calibration.quality_weighted_mean([np.ones(2)], [0.5]) is None


def test_an_abstained_face_has_no_score_of_a_restored_one(models):
    both = ship(models)
    found = calibration.identity_of(both, both, side=20, visible=0.3)
    assert (found.restored, found.kept, found.track, found.match_with) == (None, None, None, "original")
    found = calibration.identity_of(both, both, side=20, visible=0.95, drift=0.4, track=True)
    assert found.original == found.track == found.restored == MATCH.at(20, 0.95)
    assert found.kept == KEPT.at(0.4, 20, 0.95)
    assert calibration.identity_of(None, both, side=20, visible=1.0) is None
