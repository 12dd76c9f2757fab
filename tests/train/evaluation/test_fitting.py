"""Calibration curves find what made-up faces were made by, and keep what they promise on others of the kind."""

import numpy as np
import pytest

from streamheal import calibration
from streamheal.train.evaluation import fitting


def pixels(seed: int, faces: int = 250, per_face: int = 120):
    """Errors that are exponential, the fewer the more evidence: nine in ten below 2.303 × their mean."""
    rng = np.random.default_rng(seed)
    evidence = np.clip(rng.uniform(-0.3, 1.3, (faces, per_face)), 0, 1)
    sides = rng.choice([14, 20, 30, 50, 100], faces)
    face = rng.gamma(20, 1 / 20, (faces, 1))  # some faces are worse than others
    return evidence, rng.exponential((40 - 30 * evidence) * face), sides


@pytest.fixture(scope="module")
def curve():
    return fitting.fit_evidence(*pixels(0))


def test_bounds_fall_with_evidence_and_with_size_and_lie_near_the_truth(curve):
    for row in (*curve.half, *curve.nine_in_ten):
        assert list(row) == sorted(row, reverse=True)
    for column in zip(*curve.nine_in_ten, strict=True):
        assert list(column) == sorted(column, reverse=True), "larger crops are never stated to be worse"
    assert curve.nine_in_ten[0][0] == pytest.approx(2.303 * 40, rel=0.25)
    assert curve.nine_in_ten[0][-1] == pytest.approx(2.303 * 10, rel=0.25)


def test_on_other_faces_of_the_kind_nine_in_ten_pixels_keep_the_bound(curve):
    evidence, error, sides = pixels(1)
    for least in fitting.EVIDENCE:
        kept = [
            e[v >= least] <= curve.bound(v[v >= least], side) for v, e, side in zip(evidence, error, sides, strict=True)
        ]
        assert np.concatenate(kept).mean() >= 0.89


def test_a_pixel_is_hallucinated_where_its_error_is_nearer_to_that_of_unseen_ones(curve):
    assert curve.hallucinated_below == pytest.approx(0.5, abs=0.11)
    falls = np.array([30.0, 29, 28, 27, 12, 11, 10, 10, 10, 10, 10, 10])
    assert fitting.hallucinated_below(falls) == fitting.EVIDENCE[4]


def test_evidence_that_tells_nothing_marks_nothing():
    assert fitting.hallucinated_below(np.full(len(fitting.EVIDENCE), 25.0)) == 0.0


def test_noise_between_bins_is_smoothed_away():
    rng = np.random.default_rng(3)
    evidence = rng.uniform(0, 1, (60, 200))
    flat = fitting.fit_evidence(evidence, rng.exponential(20, evidence.shape), np.full(60, 30))
    assert np.ptp(flat.nine_in_ten[0]) < 8


def test_too_few_pixels_are_refused():
    with pytest.raises(ValueError, match="measure more faces"):
        fitting.fit_evidence(np.zeros((2, 5)), np.zeros((2, 5)), np.array([16, 16]))


def people(seed: int, count: int = 40, pictures: int = 8, noise: float = 0.6):
    """Enrolled pictures and probes of `count` people round a direction each."""
    rng = np.random.default_rng(seed)
    names = np.repeat([f"p{i}" for i in range(count)], pictures)
    centres = np.repeat(rng.normal(size=(count, 24)), pictures, 0)

    def drawn(spread):
        found = centres + rng.normal(size=centres.shape) * spread
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    sides, visible = rng.choice([14, 20, 30, 50, 100], len(names)), rng.choice([0.6, 1.0], len(names))
    probes = drawn(noise * (30 / sides[:, None]) ** 0.5 * (1.5 - 0.5 * visible[:, None]))
    return probes, np.arange(len(names)), sides, visible, drawn(0.3), names


def test_a_probe_never_meets_the_photograph_it_was_made_of():
    probes, owners, sides, visible, enrolled, names = people(0, count=3, pictures=2)
    probes = enrolled.copy()  # as good as copies: their cosine to their own photograph would be 1
    pairs = fitting.pairs_of(probes, owners, sides, visible, enrolled, names)
    assert pairs.cosine.max() < 0.9999
    assert pairs.weight[pairs.same].sum() == pytest.approx(1) and pairs.weight[~pairs.same].sum() == pytest.approx(1)


def test_who_has_no_name_is_a_stranger_to_all():
    probes, owners, sides, visible, enrolled, _ = people(0, count=3, pictures=2)
    names = np.array(["a", "a", "", "", "", ""])
    pairs = fitting.pairs_of(probes, owners, sides, visible, enrolled, names)
    assert pairs.same.sum() == 2


def test_on_other_people_of_the_kind_the_probabilities_come_true():
    curve = fitting.fit_match(fitting.pairs_of(*people(0)))
    pairs = fitting.pairs_of(*people(1))
    found = fitting.probability(curve, pairs)
    assert found[0] == pytest.approx(
        calibration.same_person(pairs.cosine[0], curve.at(pairs.side[0], pairs.visible[0]))
    )
    assert fitting.calibration_error(found, pairs.same, pairs.weight) < 0.06
    assert fitting.brier(found, pairs.same, pairs.weight) < 0.12
    assert curve.at(100, 1.0).true_accept_rate > curve.at(14, 0.6).true_accept_rate


def test_one_stranger_in_a_hundred_passes_the_threshold():
    pairs = fitting.pairs_of(*people(0))
    thresholds, _ = fitting.rates_of(pairs)
    here = (pairs.side == 100) & (pairs.visible == 1) & ~pairs.same
    assert (pairs.cosine[here] > thresholds[-1][1]).mean() == pytest.approx(calibration.FAR, abs=0.004)


def test_larger_crops_are_never_stated_to_be_recognised_less():
    side, same = np.repeat([10.0, 100.0], 40), np.tile([True, False], 40)
    cosine = np.where(same, np.where(side == 10, 0.9, 0.1), 0.2)  # by some accident the small ones are recognised
    rates = np.array(fitting.rates_of(fitting.Pairs(cosine, same, np.ones(80), side, np.ones(80)))[1])
    assert (np.diff(rates, axis=0) >= 0).all() and (np.diff(rates, axis=1) >= 0).all()
    assert rates[0, 1] == pytest.approx(rates[-1, 1], abs=1e-4)


def test_the_logistic_finds_the_coefficients_that_made_the_labels():
    rng = np.random.default_rng(0)
    inputs = np.stack([np.ones(20_000), rng.normal(size=20_000)], 1)
    labels = rng.uniform(size=20_000) < calibration.logistic(inputs @ [-0.5, 1.5])
    found = fitting.fit_logistic(inputs, labels, np.ones(20_000))
    np.testing.assert_allclose(found, [-0.5, 1.5], atol=0.08)


def test_labels_that_can_be_told_apart_for_certain_do_not_lead_to_infinity():
    inputs = np.stack([np.ones(100), np.linspace(-1, 1, 100)], 1)
    assert np.abs(fitting.fit_logistic(inputs, inputs[:, 1] > 0, np.ones(100))).max() < 100


def test_more_drift_is_less_kept():
    rng = np.random.default_rng(0)
    drift, sides, visible = rng.uniform(0, 1, 2000), rng.choice([16, 64], 2000), np.ones(2000)
    kept = rng.uniform(size=2000) < calibration.logistic(4 - 8 * drift)
    curve = fitting.fit_kept(drift, sides, visible, kept)
    assert curve.at(0.5, 30, 1.0) == pytest.approx(0.5, abs=0.08)
    assert curve.at(0.1, 30, 1.0) > 0.9 > 0.1 > curve.at(0.9, 30, 1.0)


def test_a_coin_that_says_half_is_calibrated_and_one_that_is_sure_is_not():
    truth = np.arange(100) % 2 == 0
    assert fitting.calibration_error(np.full(100, 0.5), truth) == pytest.approx(0)
    assert fitting.calibration_error(np.full(100, 0.95), truth) == pytest.approx(0.45)
    assert fitting.brier(np.full(100, 0.5), truth) == pytest.approx(0.25)
