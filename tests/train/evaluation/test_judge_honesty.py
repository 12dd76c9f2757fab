"""Judging honesty: what was stated stands beside what was found, on test people alone."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from streamheal import calibration, weights
from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.train import calibrate, command, data
from streamheal.train.evaluation import fitting, honest_faces, judge_honesty, plots
from streamheal.train.evaluation.honest_faces import Looked
from streamheal.train.samples.bank import Bank
from tests.heal.networks.sample import build
from tests.train.evaluation.test_fitting import pixels
from tests.train.faces import write_data, write_shard


def looked(seed: int, worse: float = 1.0) -> Looked:
    evidence, error, sides = pixels(seed, faces=120)
    rng, unit = np.random.default_rng(seed), np.eye(120, 8)
    return Looked(
        rows=np.arange(120), sides=sides, visible=rng.uniform(0.4, 1, 120), original=unit, restored=unit,
        evidence=evidence, error=error * worse, hidden=evidence < rng.uniform(0, 1, evidence.shape),
        together=np.where(np.arange(120) < 60, 1, 4),
    )  # fmt: skip


@pytest.fixture(scope="module")
def curve():
    return fitting.fit_evidence(*pixels(0))


def means(table, column: str) -> list[float]:
    place = table.columns.index(column)
    return [row[place]["mean"] for row in table.rows if row[place] != "–"]


def test_a_curve_that_holds_is_seen_to_hold_and_one_that_does_not_is_seen_to_fail(curve):
    good, bad = (judge_honesty.evidence(curve, looked(1, worse)) for worse in (1.0, 2.0))
    column = "within, all of at least this evidence"
    assert min(means(good, column)) > 0.88
    assert max(means(bad, column)) < 0.8


def test_parts_tell_sizes_tones_and_how_many_crops_took_part(curve):
    tones = dict.fromkeys(range(120), 45.0) | dict.fromkeys(range(20), -40.0)
    table = judge_honesty.by_part(curve, looked(1), tones)
    names = [row[0] for row in table.rows]
    assert {"all", "skin: dark", "skin: light", "restored from 1 crop", "restored from 4 crops"} <= set(names)
    marked, truly = table.rows[0][-2:]
    assert marked > 0.5 and truly > 0.5


BANK = Bank.draw(0, 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = write_data(tmp_path_factory.mktemp("data"))
    write_shard(folder, "faces128-val", ["cy"] * 3 + ["di"] * 3 + [""] * 2, 2)
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch) -> Path:
    """Data, and untrained networks that ship."""
    models = tmp_path / "models"
    models.mkdir()
    for name, system, kind in (
        ("net", "lr-trunk", "restorer"), ("embedder", "embedder", "embedder"), ("occlusion-unet", "unet", "occlusion"),
    ):  # fmt: skip
        networks.save(models / f"{name}.safetensors", system, build(system), {"minutes": 1})
        weights.pin(name, models / f"{name}.safetensors", kind=kind, system=system, licence="ours")
    monkeypatch.setenv("STREAMHEAL_MODELS", str(models))
    monkeypatch.setattr(Bank, "draw", lambda *_, **__: BANK)
    monkeypatch.setattr(fitting, "FEWEST", 5)
    return made


def test_what_is_calibrated_can_be_judged_and_pinned_and_found(folder, tmp_path):
    for name in ("embedder", "net"):
        calibrate.calibrate(name, folder, tmp_path / "cache")
    known = calibration.find("net", {"embedder": weights.find("embedder").sha256})
    assert known.sha256 == weights.find("net").sha256 and set(known.beside) == {"embedder", "occlusion"}
    assert known.evidence and known.restored and known.kept and known.original is None

    said = command.evaluate("net", folder, tmp_path / "out", protocol="honesty", pictures=4)
    assert "Evidence: stated and found" in said and "Same person: stated and found" in said
    assert (tmp_path / "out/net-honesty.png").is_file()
    said = command.evaluate("embedder", folder, tmp_path / "out", protocol="honesty", pictures=4)
    assert "mean of 4 crops, all" in said


def test_only_tuning_people_are_fitted_on_and_only_test_people_judge(folder, tmp_path, monkeypatch):
    asked = []
    load = data.load
    monkeypatch.setattr(data, "load", lambda paths, cache: asked.append([p.stem for p in paths]) or load(paths, cache))
    calibrate.calibrate("net", folder, tmp_path / "cache")
    assert asked == [["faces128-val"]]
    command.evaluate("net", folder, tmp_path / "out", protocol="honesty", pictures=4)
    assert asked[1:] == [["faces128-test-lfw"]]


def test_weights_without_a_calibration_say_how_to_get_one(folder, tmp_path):
    with pytest.raises(ConfigError, match="not calibrated: streamheal calibrate net --data DIR"):
        command.evaluate("net", folder, tmp_path / "out", protocol="honesty")


def test_a_segmenter_has_nothing_to_calibrate(folder, tmp_path):
    with pytest.raises(ConfigError, match="kind occlusion; calibrations are for restorers and embedders"):
        calibrate.calibrate("occlusion-unet", folder, tmp_path)


def test_a_network_that_joins_a_track_is_calibrated_on_tracks_too(made, tmp_path):
    class Joins(torch.nn.Module):
        def forward(self, lr, visible, valid, quality):
            assert lr.shape[1] == honest_faces.FRAMES
            whole = torch.where(valid[:, 1].view(-1, 1, 1, 1), torch.ones_like(visible[:, 0]), visible[:, 0])
            return SimpleNamespace(lr=lr[:, 0], visible=whole, features=None)

    faces = data.load([made / "faces128-val.zip"], tmp_path / "cache")
    looking = honest_faces.Networks(*(build(name) for name in ("embedder", "unet", "lr-trunk")), fusion=Joins())
    found = honest_faces.look(faces, np.arange(8), BANK, looking, seed=1)
    assert found.together.tolist() == [1] * 8 + [1] * 4 + [4] * 4
    assert (found.evidence[12:] == 1).all(), "the others show everything"
    assert found.rows[8:12].tolist() == found.rows[12:].tolist() == [4, 5, 6, 7]


def test_faces_are_looked_at_as_a_pipeline_meets_them(made, tmp_path):
    faces = data.load([made / "faces128-val.zip"], tmp_path / "cache")
    looking = honest_faces.Networks(*(build(name) for name in ("embedder", "unet", "lr-trunk")))
    found = honest_faces.look(faces, np.arange(8), BANK, looking, seed=1)
    assert found.rows.tolist() == [row for row in range(8) for _ in range(2)]
    assert found.error.shape == (16, honest_faces.PIXELS) and 0 < found.error.mean() < 255
    assert len(set(found.sides.tolist())) == 2, "seven faces share one size"
    assert ((found.visible >= 0) & (found.visible <= 1)).all()
    np.testing.assert_allclose(np.linalg.norm(found.restored, axis=1), 1, atol=1e-5)
    again = honest_faces.look(faces, np.arange(8), BANK, looking, seed=1)
    np.testing.assert_array_equal(again.error, found.error)


def test_a_mean_of_a_track_stands_at_its_first_crop(made, tmp_path):
    faces = data.load([made / "faces128-val.zip"], tmp_path / "cache")
    looking = honest_faces.Networks(build("embedder"), build("unet"))
    crops, tracks = honest_faces.look_at_tracks(faces, np.arange(4), BANK, looking, seed=1)
    assert len(crops.rows) == 16 and tracks.rows.tolist() == [0, 1, 2, 3]
    own = crops.original.reshape(4, 4, -1) * crops.visible.reshape(4, 4, 1)
    mean = own.sum(1) / np.linalg.norm(own.sum(1), axis=1, keepdims=True)
    np.testing.assert_allclose(tracks.original, mean, atol=1e-5)


def test_a_plot_shows_its_lines_and_its_mark():
    drawn = plots.panel("t", [0.0, 1.0], {"a": [5.0, 10.0], "b": [1.0, 2.0]}, mark=0.5)
    assert drawn.shape == (3, plots.HEIGHT, plots.WIDTH)
    colours = {tuple(c) for c in (drawn.flatten(1).T * 255).round().int().tolist()}
    assert {plots._INKS[0], plots._INKS[1]} <= colours and plots._INKS[3] not in colours
