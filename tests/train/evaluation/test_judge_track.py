"""Judging tracks, on made-up faces: what is compared with what, how steadiness is measured, what is written down."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from streamheal import cli
from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.heal.networks.restored import Restored
from streamheal.heal.networks.track_fusion import TrackFusion
from streamheal.train import evaluate
from streamheal.train.evaluation import (
    judge_track,
    masked_templates,
    measures,
    people,
    steadiness,
    track_aims,
    track_frames,
    track_tables,
    track_trial,
    trial,
)
from streamheal.train.evaluation.measures import Judges, Measured
from streamheal.train.evaluation.track_trial import (
    AGAINST,
    BEST,
    EACH,
    FRAMES_PSNR,
    INPUT,
    MEAN,
    STEADIED,
    TOGETHER,
    TRUE,
    fused,
)  # fmt: skip
from streamheal.train.samples import tracks
from streamheal.train.samples.bank import Bank
from tests.heal.networks.sample import SMALL, build
from tests.train.evaluation.test_trial import Identity, Points
from tests.train.faces import portraits, write_data, write_shard

COUNT = 4


@pytest.fixture(scope="module")
def bank():
    return Bank.draw(0, 2)


@pytest.fixture(scope="module")
def judges():
    return Judges(identity=Identity(), landmarks=Points())


@pytest.fixture(scope="module")
def subjects(judges):
    pictures = torch.from_numpy(portraits(COUNT)).permute(0, 3, 1, 2).float() / 255
    seen = judges.look(pictures)
    return trial.Subjects(
        pictures, torch.zeros(COUNT, 68, 2), seen, seen["embeddings"], np.full(COUNT, np.nan), f"{COUNT} pictures"
    )


class Alone(TrackFusion):
    """A fusion that looks at nobody else."""

    def forward(self, lr, visible, valid, quality=None):
        return super().forward(lr[:, :1], visible[:, :1], valid[:, :1])


class Told(torch.nn.Module):
    """Restores every frame perfectly, as its number is written into the crop."""

    lr_size, hr_size, blind, fusion = 16, 128, False, None

    def __init__(self):
        super().__init__()
        self.answers = torch.zeros(0, 3, 128, 128)

    def forward(self, lr, visible):
        hr = self.answers[(lr.mean((1, 2, 3)) * 1000).round().long()]
        return Restored(hr=hr, lr_completed=lr, occlusion=1 - visible, evidence=torch.ones_like(hr[:, :1]))


@pytest.fixture(scope="module")
def perfect(subjects, bank, judges):
    """A trial of the restorer that knows all answers."""
    network = Told()

    def numbered(kind, *drawn, **ask):
        found = tracks.draw_track(kind, *drawn, **ask)
        first, many = len(network.answers), found.lr.shape[0] * found.lr.shape[1]
        network.answers = torch.cat([network.answers, found.true.flatten(0, 1)])
        numbers = torch.arange(first, first + many).view(*found.lr.shape[:2], 1, 1, 1) / 1000
        lr = found.lr - found.lr.mean((2, 3, 4), keepdim=True) + numbers
        return tracks.Tracks(lr, found.visible, found.clean, found.maps, found.native)

    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(track_trial, "draw_track", numbered)
        return track_trial.run(network, Alone(), "moving", subjects, bank, judges, against=network, steady=3)


@pytest.fixture(scope="module")
def untrained(subjects, bank, judges):
    """A small trunk with a fusion whose heads are not zero, and its trial under each kind of track."""
    torch.manual_seed(0)
    network = networks.build("lr-trunk", SMALL["lr-trunk"] | {"fusion": 8}).eval()
    for tensor in network.parameters():
        torch.nn.init.normal_(tensor, std=0.05)
    with torch.inference_mode():
        return network, {k: track_trial.run(network, None, k, subjects, bank, judges, steady=2) for k in tracks.KINDS}


def test_a_perfect_restorer_has_the_best_figures_there_are_with_any_number_of_frames(perfect):
    for name in (*(fused(count) for count in track_trial.FRAMES), AGAINST):
        each = perfect.methods[name].each
        assert each["PSNR"] == pytest.approx(100), name  # the bound that keeps it finite
        assert each["SSIM"] == pytest.approx(1, abs=1e-5), name
        assert each["cosine"] == pytest.approx(1, abs=1e-5), name
    table = track_tables.gains(perfect)
    assert [row[0] for row in table.rows] == [
        "fused, T = 2, over T = 1", "fused, T = 4, over T = 1", "fused, T = 8, over T = 1",
        "fused, T = 8, over the other weights",
    ]  # fmt: skip
    assert all(cell["mean"] == pytest.approx(0, abs=1e-5) for row in table.rows for cell in row[1:])


def test_base_lines_made_of_perfect_restorations_lose_by_interpolation_alone(perfect):
    for name in (BEST, MEAN):
        assert perfect.methods[name].each["PSNR"].min() > 28, name
        assert perfect.methods[name].each["PSNR"].max() <= 100, name
    template = perfect.methods[track_trial.STILL_TEMPLATE]
    assert template.each.keys() == {"cosine"}  # an embedding is no picture
    assert template.each["cosine"].min() > 0.98


def test_perfect_restorations_are_as_steady_as_the_clean_faces_and_the_covered_input_is_not(perfect):
    for name in steadiness.FIGURES:
        true, each, together, given = (perfect.steady[who][name] for who in (TRUE, EACH, TOGETHER, INPUT))
        assert len(true) == 3
        assert each == pytest.approx(true)
        assert together == pytest.approx(true)
        assert given.mean() > 3 * true.mean(), name
        assert track_tables.share_left(perfect, name, TOGETHER)["mean"] == pytest.approx(1)
    assert perfect.steady[TOGETHER][FRAMES_PSNR] == pytest.approx(100)
    assert perfect.steady[STEADIED][FRAMES_PSNR].min() > 28  # laid together, they lose by interpolation alone
    flicker = {who: perfect.steady[who]["warping error"].mean() for who in (STEADIED, INPUT)}
    assert flicker[STEADIED] < flicker[INPUT]


def test_exact_maps_lay_the_clean_frames_onto_each_other(subjects, bank):
    found = tracks.draw_track("mask", subjects.pictures, None, bank, torch.Generator().manual_seed(1), frames=4)
    still = torch.eye(2, 3).expand_as(found.maps)
    assert steadiness.warping_error(found.true, found.maps).max() < 2  # of 255: interpolation
    assert steadiness.warping_error(found.true, still).min() > 5
    assert np.isnan(steadiness.warping_error(found.true[:, :1], found.maps[:, :1])).all()
    moved, within = track_frames.onto_first(found.true, found.maps)
    assert within[:, 0].all()
    assert not within[:, 1:].all()
    away = ((moved - found.clean[:, None]).abs() * within).sum() / (3 * within.sum())
    assert away < 2 / 255


def test_one_frame_has_the_figures_of_the_still_restorer(untrained, subjects, bank, judges):
    network, trials = untrained
    gen = torch.Generator().manual_seed(trial.SEED)
    drawn = tracks.draw_track("moving", subjects.pictures, subjects.landmarks, bank, gen, frames=8)
    with torch.inference_mode():
        still = trial.restore(network, drawn.lr[:, 0], drawn.visible[:, 0]).hr
        hidden = track_trial.grow(drawn.visible[:, 0], 128) < 0.5
        wanted = measures.measure(
            still, measures.Truth(subjects.pictures, hidden, subjects.seen), judges, luma=False
        ).each
    found = trials["moving"].methods
    for name, figures in wanted.items():
        assert np.array_equal(found[fused(1)].each[name], figures, equal_nan=True), name
    assert not np.array_equal(found[fused(8)].each["PSNR"], wanted["PSNR"])


def test_every_kind_of_track_has_its_tables_and_a_sheet(untrained):
    for kind, held in untrained[1].items():
        titles = [table.title.removeprefix(f"Track, {kind}") for table in track_tables.tables(held)]
        assert titles == ["", ": gain by frames", ": steadiness", ": templates"]
        assert {row.shape for row in held.rows} == {(COUNT + 1 + COUNT, 3, 128, 128)}
        assert len(held.rows) == 8
    assert untrained[1]["moving"].unseen < untrained[1]["mask"].unseen  # what moves shows all of the face at last


def test_every_frame_stands_first_once_and_the_others_keep_their_order():
    found = track_trial.each_first(torch.arange(6).view(2, 3))
    assert found.tolist() == [[0, 1, 2], [1, 0, 2], [2, 0, 1], [3, 4, 5], [4, 3, 5], [5, 3, 4]]


def test_the_best_frame_shows_most_and_where_it_ends_the_first_stands_in():
    moved = torch.stack([torch.full((1, 3, 2, 2), value) for value in (0.1, 0.2, 0.3)], 1)
    visible = torch.tensor([0.5, 0.9, 0.9]).view(1, 3, 1, 1, 1)
    within = torch.ones(1, 3, 1, 2, 2, dtype=torch.bool)
    within[0, 1, 0, 0, 0] = False
    found = track_frames.best_frame(moved, within, visible)
    assert found[0, 0].flatten().tolist() == pytest.approx([0.1, 0.2, 0.2, 0.2])


def test_the_mean_of_frames_goes_by_weights_and_the_first_stands_in_where_there_are_none():
    moved = torch.stack([torch.full((1, 3, 1, 2), value) for value in (0.0, 1.0)], 1)
    weights = torch.tensor([[[[[1.0, 0.0]]], [[[3.0, 0.0]]]]])
    assert track_frames.mean_of_frames(moved, weights)[0, 0].flatten().tolist() == pytest.approx([0.75, 0])


def test_a_person_who_stays_the_same_does_not_vary_and_landmarks_stray_by_their_distance():
    one = np.array([[[1.0, 0], [1, 0]], [[1, 0], [0, 1]]])
    assert steadiness.identity_variance(one) == pytest.approx([0, 1 - np.sqrt(0.5)])
    points = np.zeros((1, 2, 5, 2))
    points[0, 1, :, 0] = 4  # to either side of the mean by 2 px
    assert steadiness.landmark_jitter(points) == pytest.approx([2])


def figures(psnr: float, cosine: float, embeddings: np.ndarray) -> Measured:
    each = {"PSNR": np.full(4, psnr), "SSIM": np.full(4, psnr / 30), "cosine": np.full(4, cosine)}
    return Measured(each, embeddings)


def test_aims_are_met_or_not_by_the_mean_over_the_best_still_system(subjects):
    people = np.eye(4, dtype=np.float32)
    some = trial.Subjects(subjects.pictures[:4], None, {}, people, None, "")
    nobody = np.roll(people, 1, 0)
    methods = {
        fused(1): figures(20, 0.3, nobody),
        AGAINST: figures(21, 0.4, nobody),
        fused(8): figures(23, 0.45, people),
    }
    methods |= {BEST: figures(22, 0.5, nobody), MEAN: figures(20, 0.1, nobody)}
    flicker = {EACH: 10.0, TOGETHER: 6.0, STEADIED: 4.0}
    steady = {
        who: {"warping error": np.full(4, value), FRAMES_PSNR: np.full(4, 20.0)} for who, value in flicker.items()
    }
    held = track_trial.TrackTrial("moving", some, 0.1, 0.1, methods, steady, {}, [])
    masked = {masked_templates.FUSED: np.array([1.0, 0]), masked_templates.ORIGINAL: np.array([1.0, 0])}
    found = {row[0]: (row[1]["mean"], row[2], row[3]) for row in track_aims.table([held], masked).rows}
    expected = {
        f"moving: PSNR over {AGAINST}": (2, "≥ 2 dB", "yes"),
        f"moving: cosine over {AGAINST}": (0.05, "≥ 0.08", "no"),
        f"moving: rank-1 over {AGAINST}": (1, "≥ 0.15", "yes"),
        f"moving: PSNR over {BEST}, the best base line": (1, "> 0", "yes"),
        f"moving: SSIM over {BEST}, the best base line": (1 / 30, "> 0", "yes"),
        f"moving: cosine over {BEST}, the best base line": (-0.05, "> 0", "no"),
        f"moving: rank-1 over {BEST}, the best base line": (1, "> 0", "yes"),
        "moving: warping error, fused ÷ each frame alone": (0.6, "≤ 0.5", "no"),
        "moving: warping error, fused, steadied ÷ each frame alone": (0.4, "≤ 0.5", "yes"),
        "really masked people: rank-1 of the fused template over the original's": (0, "> 0", "no"),
    }
    assert found.keys() == expected.keys()
    for words, (mean, *rest) in expected.items():
        assert found[words] == (pytest.approx(mean, abs=1e-6), *rest), words


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_data(tmp_path_factory.mktemp("data"))
    write_shard(folder, "faces128-test-ytf", ["fay", "fay", "gus", "gus"], 5)
    write_shard(folder, "faces128-test-masked-rmfrd", ["hal"] * 4 + ["ivy"] * 5, 6)
    return folder


@pytest.fixture
def small(monkeypatch, tmp_path, bank, judges):
    names = [f"faces128-test-masked-rmfrd-00{i}.webp" for i in range(9)]
    (tmp_path / "rmfrd_masked.json").write_text(json.dumps({"masked": [names[i] for i in (1, 3, 4)], "left_out": []}))
    monkeypatch.setattr(people, "LABELS", tmp_path)
    monkeypatch.setattr(judge_track, "_segmenter", lambda: build("unet"))
    monkeypatch.setattr(judge_track.Bank, "draw", lambda *_, **__: bank)
    monkeypatch.setattr(judge_track.Judges, "at_hand", lambda _: judges)
    networks.save(tmp_path / "w.safetensors", "lr-trunk", networks.build("lr-trunk", SMALL["lr-trunk"] | {"fusion": 8}))
    networks.save(tmp_path / "still.safetensors", "ofhnet", build("ofhnet"))
    return tmp_path


def test_the_command_writes_figures_tables_and_a_sheet(small, folder):
    asked = ["evaluate", "tiny", "--weights", small / "w.safetensors", "--against", small / "still.safetensors"]
    asked += ["--protocol", "track", "--data", folder, "--out", small / "out"]
    said = CliRunner().invoke(cli.app, [str(word) for word in asked])
    assert said.exit_code == 0, said.output
    found = json.loads((small / "out" / "tiny-track.json").read_text())
    titles = [table["title"] for table in found["tables"]]
    assert titles[0] == "What was aimed at"
    assert [title for title in titles if title.startswith("Track, ") and ":" not in title] == [
        "Track, moving", "Track, mask", "Track, camera",
    ]  # fmt: skip
    assert titles[-2:] == ["Really masked people (RMFRD): templates", "Frames of real video (YouTube Faces)"]
    assert AGAINST in [row[0] for row in found["tables"][1]["rows"]]
    assert "### What was aimed at" in (small / "out" / "tiny-track.md").read_text()
    assert (small / "out" / "tiny-track.png").is_file()


@torch.inference_mode()
def test_a_person_with_two_masked_pictures_is_a_template_the_least_hidden_first(small, folder, judges):
    faces = masked_templates.data.load([folder / "faces128-test-masked-rmfrd.zip"], small)
    found = people.masked_people(faces)  # hal has two masked pictures, ivy one
    owners, rows, valid = masked_templates.tracks_of(found, np.array([0.2, 0.7, 0.5]))
    assert (owners.tolist(), rows[:, :2].tolist(), valid.sum(1).tolist()) == ([0], [[1, 0]], [2])
    table, hits = masked_templates.templates(judges.identity, build("ofhnet"), Alone(), build("unet"), folder, small)
    assert table.note.startswith("1 people with 2 to 8 masked pictures each, 2 in all")
    assert [row[0] for row in table.rows] == list(hits)
    assert hits[masked_templates.FUSED] == hits[masked_templates.STILL]  # by a fusion that looks at nobody else


@torch.inference_mode()
def test_a_fusion_is_judged_before_each_system_that_has_none_of_its_own(small, folder, monkeypatch):
    monkeypatch.setattr(judge_track, "served", lambda _: ["ofhnet"])
    monkeypatch.setattr(judge_track.networks, "load", lambda _: build("ofhnet"))
    tables, _, sheet = judge_track.judge_fusion(TrackFusion().eval(), folder, small, 2)
    assert [table.title for table in tables][:2] == ["ofhnet: Track, moving", "ofhnet: Track, moving: gain by frames"]
    assert sheet.shape[1] == 3 * 8 * 128


def test_what_does_not_fit_says_so(small, folder):
    def judged(system, **ask):
        networks.save(small / "x.safetensors", system, build(system))
        return evaluate.evaluate("x", folder, small / "out", path=small / "x.safetensors", threads=1, **ask)

    with pytest.raises(ConfigError, match="no fusion of its own, and no track-fusion-128 ships"):
        judged("fd-stackgan", protocol="track")
    with pytest.raises(ConfigError, match="is for a restorer under --protocol track"):
        judged("ofhnet", protocol="ofhnet", against=small / "still.safetensors")
    networks.save(small / "large.safetensors", "fd-stackgan", build("fd-stackgan"))
    with pytest.raises(ConfigError, match="takes crops of 128 px, the model 16"):
        evaluate.evaluate(
            "x",
            folder,
            small / "out",
            path=small / "w.safetensors",
            protocol="track",
            against=small / "large.safetensors",
        )
