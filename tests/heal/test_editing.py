"""A face with other landmarks than it has: from Python, and from the command."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import streamheal
from streamheal.cli import app
from streamheal.errors import ConfigError
from streamheal.heal import editing, editing_input, networks
from streamheal.heal.networks.landmark_maps import GROUPS
from streamheal.publish.pictures import mark
from tests.heal.networks.sample import SMALL
from tests.train.faces import portraits


@pytest.fixture(autouse=True, scope="module")
def models(tmp_path_factory):
    """A folder of weights with a small Pro-UIGAN, untrained but for chance, and a trunk, which draws no landmarks."""
    torch.manual_seed(0)
    folder, entries = tmp_path_factory.mktemp("models"), {}
    kinds = {"pro-uigan": ("restorer", "pro-uigan"), "lr-trunk-16": ("restorer", "lr-trunk")}
    for name, (kind, system) in (kinds | {"occlusion-unet": ("occlusion", "unet")}).items():
        network = networks.build(system, SMALL[system])
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        sha256 = networks.save(folder / f"{name}.safetensors", system, network)
        file = {"file": f"{name}.safetensors", "kind": kind, "system": system, "sha256": sha256, "licence": "none"}
        entries[name] = file
    (folder / "manifest.json").write_text(json.dumps(entries))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STREAMHEAL_MODELS", str(folder))
        yield


@pytest.fixture
def face() -> np.ndarray:
    return portraits(1)[0]


POINTS = np.random.default_rng(0).uniform(20, 108, (68, 2)).astype(np.float32)


def moved(before: np.ndarray, after: np.ndarray) -> set[int]:
    return set(np.flatnonzero(np.abs(before - after).max(1) > 1e-4).tolist())


class TestChanges:
    def test_a_group_moves_and_no_other(self):
        after = editing.change(POINTS, move={"mouth": (2, -3)})
        np.testing.assert_allclose(after[48:], POINTS[48:] + np.float32([2, -3]), rtol=1e-6)
        assert moved(POINTS, after) == set(range(48, 68))

    def test_each_eye_grows_in_its_place(self):
        after = editing.change(POINTS, scale={"eyes": 1.5})
        for eye in (slice(36, 42), slice(42, 48)):
            np.testing.assert_allclose(after[eye].mean(0), POINTS[eye].mean(0), rtol=1e-5)
            np.testing.assert_allclose(np.ptp(after[eye], 0), 1.5 * np.ptp(POINTS[eye], 0), rtol=1e-5)

    @pytest.mark.parametrize(("group", "corners"), [("mouth", {48, 54, 60, 64}), ("eyes", {36, 39, 42, 45})])
    def test_opening_moves_lids_and_lips_apart_and_leaves_corners(self, group, corners):
        after = editing.change(POINTS, open={group: 6})
        assert moved(POINTS, after) == set(range(68)[GROUPS[group]]) - corners
        upper, lower = editing.OPENABLE[group]
        np.testing.assert_allclose(after[list(upper), 1], POINTS[list(upper), 1] - 3, rtol=1e-6)
        np.testing.assert_allclose(after[list(lower), 1], POINTS[list(lower), 1] + 3, rtol=1e-6)

    def test_what_was_given_stays_as_it_was(self):
        before = POINTS.copy()
        editing.change(POINTS, move={"jaw": (1, 1)}, scale={"nose": 2})
        np.testing.assert_array_equal(POINTS, before)

    def test_groups_hold_each_landmark_once(self):
        assert sorted(i for group in GROUPS.values() for i in range(68)[group]) == list(range(68))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"move": {"ears": (0, 1)}}, "'ears'.*there are: jaw, brows, nose, eyes, mouth"),
            ({"open": {"jaw": 3}}, "'jaw'.*there are: eyes, mouth"),
            ({"scale": {"eyes": 0}}, "above 0"),
            ({"move": {"jaw": (0, float("nan"))}}, "finite"),
        ],
    )
    def test_what_can_not_be_changed_is_refused(self, changes, message):
        with pytest.raises(ValueError, match=message):
            editing.change(POINTS, **changes)


class TestEditing:
    def test_without_a_change_it_is_the_restored_face(self, face):
        made = streamheal.edit(face)
        np.testing.assert_array_equal(made.edited, made.restored)
        np.testing.assert_array_equal(made.edited_landmarks, made.landmarks)
        assert made.restored.shape == (128, 128, 3) and made.restored.dtype == np.uint8
        assert made.model.name == "pro-uigan"

    def test_a_moved_mouth_gives_another_face(self, face):
        made = streamheal.edit(face, np.ones((128, 128)), move={"mouth": (0, 6)})
        assert not np.array_equal(made.edited, made.restored)
        assert moved(made.landmarks, made.edited_landmarks) == set(range(48, 68))

    def test_landmarks_of_ones_own_are_where_changes_begin(self, face):
        made = streamheal.edit(face, landmarks=POINTS, move={"jaw": (1, 0)})
        np.testing.assert_array_equal(made.edited_landmarks[17:], POINTS[17:])
        np.testing.assert_allclose(made.edited_landmarks[:17], POINTS[:17] + np.float32([1, 0]), rtol=1e-6)

    @pytest.mark.parametrize("side", [8, 16, 50])
    def test_any_side_gives_128_px(self, face, side):
        small = np.asarray(Image.fromarray(face).resize((side, side)))
        assert streamheal.edit(small).edited.shape == (128, 128, 3)

    def test_a_system_without_landmarks_names_those_that_have(self, face):
        with pytest.raises(ConfigError, match=r"'lr-trunk'.*those that have: pro-uigan"):
            streamheal.edit(face, system="lr-trunk")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"face": np.zeros((16, 17, 3), np.uint8)},
            {"face": np.zeros((16, 16, 3))},
            {"visible": np.ones((16, 16))},
            {"visible": np.full((128, 128), 2.0)},
            {"landmarks": POINTS[:5]},
            {"landmarks": np.full((68, 2), np.nan)},
        ],
    )
    def test_arrays_of_another_kind_are_refused(self, face, wrong):
        with pytest.raises(ValueError, match="must be"):
            streamheal.edit(**({"face": face} | wrong))


class TestCommand:
    def run(self, *words: object) -> str:
        result = CliRunner().invoke(app, ["edit", *map(str, words)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    @pytest.fixture
    def picture(self, tmp_path, face) -> Path:
        Image.fromarray(face).save(tmp_path / "face.png")
        return tmp_path / "face.png"

    def test_it_writes_three_faces_with_their_marks_and_the_landmarks(self, tmp_path, picture, face):
        out = tmp_path / "out.png"
        said = self.run(picture, "--move", "mouth=0,3", "--scale", "eyes=1.2", "--open", "mouth=4", "--out", out)
        assert "out.json" in said
        seen = np.asarray(Image.open(out))
        made = streamheal.edit(face, move={"mouth": (0, 3)}, scale={"eyes": 1.2}, open={"mouth": 4})
        np.testing.assert_array_equal(seen[:, :128], face)
        np.testing.assert_array_equal(seen[:, 128:256], mark(made.restored))
        np.testing.assert_array_equal(seen[:, 256:], mark(made.edited, "EDITED"))
        assert "compositeWithTrainedAlgorithmicMedia" in Image.open(out).info["XML:com.adobe.xmp"]
        told = json.loads(out.with_suffix(".json").read_text())
        np.testing.assert_allclose(told["restored"], made.landmarks, atol=1e-3)
        np.testing.assert_allclose(told["edited"], made.edited_landmarks, atol=1e-3)

    def test_what_it_wrote_can_be_edited_on(self, tmp_path, picture):
        first, second = tmp_path / "a.png", tmp_path / "b.png"
        self.run(picture, "--move", "mouth=0,3", "--out", first)
        self.run(picture, "--landmarks", tmp_path / "a.json", "--move", "mouth=0,2", "--out", second)
        before, after = (np.array(json.loads((tmp_path / f"{name}.json").read_text())["edited"]) for name in "ab")
        np.testing.assert_allclose(after[48:], before[48:] + np.float32([0, 2]), atol=2e-3)

    def test_a_mask_says_what_is_hidden(self, tmp_path, picture):
        mask = np.full((128, 128), 255, np.uint8)
        mask[60:100, 30:100] = 0
        Image.fromarray(mask).save(tmp_path / "mask.png")
        outs = [tmp_path / "a.png", tmp_path / "b.png"]
        Image.fromarray(np.full_like(mask, 255)).save(tmp_path / "white.png")
        for out, name in zip(outs, ("mask", "white"), strict=True):
            self.run(picture, "--visible", tmp_path / f"{name}.png", "--out", out)
        assert outs[0].read_bytes() != outs[1].read_bytes()

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--move", "mouth=3"], "--move mouth=3: .* such as mouth=0,3"),
            (["--scale", "eyes=big"], "--scale eyes=big: .* such as eyes=1.2"),
            (["--open", "jaw=3"], "'jaw'.*eyes, mouth"),
            (["--landmarks", "nowhere.json"], "nowhere.json doesn't hold landmarks"),
            (["--out", "nowhere/out.png"], "nowhere/out.png can't be written"),
        ],
    )
    def test_what_can_not_be_done_is_said_in_one_message(self, picture, words, message):
        with pytest.raises(streamheal.errors.StreamhealError, match=message):
            self.run(picture, *words)


class TestInput:
    def test_a_picture_that_is_no_square_says_what_is_wanted(self, tmp_path):
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "wide.png")
        with pytest.raises(ConfigError, match="30 x 20 px; an aligned face"):
            editing_input.read_face(tmp_path / "wide.png")

    def test_a_file_that_is_no_picture_is_named(self, tmp_path):
        (tmp_path / "no.png").write_text("no")
        with pytest.raises(ConfigError, match=r"no\.png can't be read"):
            editing_input.read_face(tmp_path / "no.png")

    def test_a_mask_of_another_size_is_refused(self, tmp_path):
        Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "mask.png")
        with pytest.raises(ConfigError, match="20 x 20 px; the face has 128 x 128"):
            editing_input.read_visible(tmp_path / "mask.png", 128)

    @pytest.mark.parametrize("text", ["{}", "[1, 2]", "no", "[[1, 2], [3]]", json.dumps([[0, 0]] * 67)])
    def test_landmarks_in_another_form_are_refused(self, tmp_path, text):
        (tmp_path / "points.json").write_text(text)
        with pytest.raises(ConfigError, match=r"68 \[x, y\]"):
            editing_input.read_landmarks(tmp_path / "points.json")
