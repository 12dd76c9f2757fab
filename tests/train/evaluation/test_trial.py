"""One restorer under one protocol, on made-up faces: what is measured, where, on whom, and by which judge."""

import numpy as np
import pytest
import torch

from streamheal.heal.networks.restored import Restored
from streamheal.train.evaluation import measures, report, slices, trial, trial_tables
from streamheal.train.evaluation.measures import Judges, Truth
from streamheal.train.samples.bank import Bank
from tests.train.faces import portraits

COUNT = 40


class Identity:
    """Tells faces by 64 of their pixels."""

    def __call__(self, faces: np.ndarray) -> np.ndarray:
        small = faces[:, 8::16, 8::16].mean(3).reshape(len(faces), -1).astype(np.float32)
        small = small - small.mean(1, keepdims=True)
        return small / (np.linalg.norm(small, axis=1, keepdims=True) + 1e-6)


class Points:
    """68 points on a line as long as the picture is light."""

    def __call__(self, pictures: torch.Tensor) -> np.ndarray:
        light = pictures.mean((1, 2, 3)).numpy()
        return np.linspace(0, 100, 68)[None, :, None] * light[:, None, None] * np.ones((1, 1, 2))


class Classes(torch.nn.Module):
    """Skin where it is light, hair elsewhere."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        light = (pictures.mean(1) > 0.5).float()
        return torch.stack([light if c == 1 else 1 - light if c == 10 else light * 0 - 1 for c in range(11)], 1)


class Perfect(torch.nn.Module):
    """Gives the truth back, whatever it gets; but the face at `wrong` comes out black."""

    lr_size, hr_size, blind = 16, 128, False

    def __init__(self, truth: torch.Tensor, wrong: int):
        super().__init__()
        self.answers, self.at = truth.clone(), 0
        self.answers[wrong] = 0

    def forward(self, lr, visible):
        hr = self.answers[self.at : self.at + len(lr)]
        self.at = (self.at + len(lr)) % len(self.answers)
        return Restored(hr=hr, lr_completed=lr, occlusion=1 - visible, evidence=hr[:, :1])


@pytest.fixture(scope="module")
def held():
    pictures = torch.from_numpy(portraits(COUNT)).permute(0, 3, 1, 2).float() / 255
    judges = Judges(Identity(), lambda a, b: (a - b).abs().mean((1, 2, 3)).numpy(), Points(), Classes())
    tones = np.array([60.0] * 20 + [-40.0] * 16 + [np.nan] * 4)
    subjects = trial.Subjects(
        pictures, torch.zeros(COUNT, 68, 2), judges.look(pictures), judges.look(pictures)["embeddings"], tones, "faces"
    )
    return trial.run("own", Perfect(pictures, wrong=7), "ofhnet", subjects, Bank.draw(0, 2), judges, None)


def row(table, name: str) -> dict:
    return dict(zip(table.columns[1:], next(row for row in table.rows if row[0] == name)[1:], strict=True))


def test_the_truth_has_the_best_figures_there_are(held):
    right = np.arange(COUNT) != 7
    each = held.methods["restored"].each
    for figure, best in (
        ("SSIM", 1),
        ("SSIM hidden", 1),
        ("LPIPS", 0),
        ("NRMSE", 0),
        ("parsing IoU", 1),
        ("cosine", 1),
    ):
        assert each[figure][right] == pytest.approx(best, abs=1e-5), figure
        assert each[figure][7] != pytest.approx(best, abs=0.1), figure
    assert each["PSNR"][right].min() == pytest.approx(100)  # the bound that keeps it finite


def test_hidden_and_visible_parts_make_up_the_whole(held):
    found, share = held.methods["bicubic"].each, held.truth.hidden.float().mean((1, 2, 3)).numpy()
    whole, hidden, visible = (10 ** (-found[f"PSNR{part}"] / 10) for part in ("", " hidden", " visible"))
    assert share * hidden + (1 - share) * visible == pytest.approx(whole, rel=1e-3)
    assert found["PSNR hidden"].mean() < found["PSNR visible"].mean() - 5  # its holes are black


def test_a_face_with_nothing_hidden_has_no_figure_for_the_hidden_part():
    picture, nothing = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    found = measures.pixels(picture, picture, nothing)
    assert np.isnan(found["PSNR hidden"][0])
    assert found["PSNR visible"] == found["PSNR"]
    assert trial_tables.cell(found["SSIM hidden"]) == "–"


def test_figures_are_of_y_where_they_say_so():
    truth = Truth(torch.full((1, 3, 32, 32), 0.5), torch.zeros(1, 1, 32, 32, dtype=torch.bool), {})
    blue = truth.pictures.clone()
    blue[:, 2] += 0.1
    each = measures.measure(blue, truth, Judges()).each
    assert each["PSNR"][0] == pytest.approx(20 + 10 * np.log10(3), abs=1e-3)  # one channel of three is off by 0.1
    assert each["PSNR Y"][0] == pytest.approx(-20 * np.log10(0.1 * 24.966 / 255), abs=1e-3)


def test_people_are_found_again_by_the_truth_and_the_black_face_is_nobodys(held):
    known = row(trial_tables.recognition(held), "restored")
    assert known["rank-1"]["mean"] < 1
    assert row(trial_tables.recognition(held), "clean picture")["rank-1"]["mean"] == 1
    assert known["TAR at FAR 1e-3"] == "too few pairs"  # 1 560 pairs of strangers
    assert known["TAR at FAR 1e-2"]["mean"] == pytest.approx(39 / 40)


def test_the_distance_between_sets_of_faces_is_least_for_the_truth(held):
    table = trial_tables.faces(held)
    assert table.columns == ["method", "LPIPS", "Fréchet", "NRMSE", "parsing IoU", "cosine"]
    own, base = (row(table, name)["Fréchet"] for name in ("restored", "bicubic"))
    assert own["mean"] < base["mean"]
    assert own["low"] <= own["mean"] <= own["high"]


def test_slices_hold_their_own_pictures_alone(held):
    table = trial_tables.sliced(held)
    light, dark = row(table, "skin: very light"), row(table, "skin: dark")
    assert (light["pictures"], dark["pictures"]) == ("20", "16")
    assert dark["restored: SSIM"]["mean"] == pytest.approx(1)
    assert light["restored: SSIM"]["mean"] < 0.99  # the black face is among them


def test_the_worst_faces_stand_behind_a_gap_on_the_sheet(held):
    restored = held.rows[3]
    assert len(restored) == trial.FIRST + 1 + trial.WORST
    assert restored[trial.FIRST].min() == 1
    assert restored[trial.FIRST + 1].max() == 0  # the black one is the worst of all


def test_a_network_of_whole_faces_gets_the_papers_small_ones_enlarged(held):
    drawn = trial.draw("ofhnet", held.subjects, Bank.draw(0, 2), 128)
    assert drawn.lr.shape[-1] == 128
    assert drawn.size == 16
    assert torch.equal(drawn.visible[:, :, 4::8, 4::8] < 0.5, held.inputs.visible < 0.5)


def test_slices_need_more_than_one_kind_and_enough_pictures():
    assert slices.by_kind(["medical"] * 20) == {}
    found = slices.by_kind(["medical"] * 6 + ["hand"] * 5 + ["hat"] * 4)
    assert {name: rows.tolist() for name, rows in found.items()} == {
        "occluder: hand": [6, 7, 8, 9, 10], "occluder: medical": [0, 1, 2, 3, 4, 5],
    }  # fmt: skip
    assert slices.by_native([16] * 9) == {}
    assert list(slices.by_native([12] * 5 + [16] * 5 + [17] * 5 + [36] * 5)) == [
        "native size: 8–16 px", "native size: 17–24 px", "native size: 25–36 px",
    ]  # fmt: skip
    hidden = slices.by_hidden(np.array([0.0] * 5 + [0.1] * 5 + [0.11] * 5 + [0.9] * 5))
    assert [rows.tolist()[0] for rows in hidden.values()] == [0, 5, 10, 15]
    assert list(hidden) == ["hidden: nothing", "hidden: 0% to 10%", "hidden: 10% to 20%", "hidden: over 20%"]


def test_a_tone_begins_at_its_angle():
    angles = np.array([-31.0, -30, 9.9, 10, 28, 41, 55, np.nan]).repeat(5)
    found = slices.by_tone(angles)
    assert {name: len(rows) for name, rows in found.items()} == {
        "skin: dark": 5, "skin: brown": 10, "skin: tan": 5, "skin: intermediate": 5, "skin: light": 5,
        "skin: very light": 5,
    }  # fmt: skip


def test_slices_are_folded_in_markdown_and_stay_a_table(held):
    found = report.Evaluation("m", "restorer", "0", {}, {}, trial_tables.tables(held))
    lines = report.markdown(found).splitlines()
    at = lines.index("<details><summary>ofhnet: by part</summary>")
    assert lines[at + 1] == lines[at + 3] == ""  # Markdown inside HTML needs its empty lines
    assert lines[at + 4].startswith("| part | pictures |")
    assert "### ofhnet: pixels" in lines
