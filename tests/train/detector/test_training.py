"""The detector's data, training and figures: the held-out stays out, labels lie where faces are, counts are right."""

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from streamheal.errors import ConfigError
from streamheal.records import Face
from streamheal.train.detector import mosaic, recall, scenes, training
from streamheal.train.detector.scenes import Scene

SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data"
RECIPE = Path(__file__).resolve().parents[3] / "configs" / "yolo11n-face.yaml"
FACE = np.array([180, 62, 270, 177], np.float32)  # of the astronaut, by eye
POINTS = np.array([[204, 101], [247, 103], [225, 122], [205, 140], [246, 141]], np.float32)


def astronaut(**changes) -> Scene:
    known = {
        "name": "astronaut",
        "image": data.astronaut(),
        "boxes": FACE[None],
        "landmarks": POINTS[None],
        "seen": np.ones(1, bool),
        "ignore": np.empty((0, 4), np.float32),
    }
    return Scene(**(known | changes))


def face(box, score=0.9, landmarks=POINTS) -> Face:
    return Face(np.array(box, np.float32), np.asarray(landmarks, np.float32), score)


# --- the split


def test_the_split_holds_out_a_seventh_of_the_crowd_scenes_and_two_clips():
    parts = scenes.split()
    test = [name for name, part in parts.items() if part == "test" and name.startswith("fmd/")]
    tune = [name for name, part in parts.items() if part == "tune"]
    assert (len(test), len(tune)) == (128, 85)
    for clip in scenes.TEST_CLIPS:
        assert scenes.part_of(f"videos/{clip}") == "test"
    for clip in scenes.TRAIN_CLIPS:
        assert scenes.part_of(f"videos/{clip}") == "train"


@pytest.mark.skipif(not (SHARED / "scenes.zip").is_file(), reason="no scenes beside the checkout")
def test_every_name_of_the_split_exists():
    with zipfile.ZipFile(SHARED / "scenes.zip") as archive:
        there = set(archive.namelist()) | {f"videos/{clip.name}" for clip in (SHARED / "videos").iterdir()}
    assert set(scenes.split()) <= there


# --- labels


def test_reads_the_boxes_of_a_voc_annotation():
    box = "<object><bndbox><xmin>{}</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>"
    xml = f"<annotation>{box.format(1)}{box.format(7)}</annotation>".encode()
    assert scenes.voc_boxes(xml).tolist() == [[1, 2, 30, 40], [7, 2, 30, 40]]
    assert scenes.voc_boxes(b"<annotation/>").shape == (0, 4)


def teacher_that_finds(*found: tuple[list[float], float]):
    boxes = np.array([box for box, _ in found], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score in found], np.float32)
    return lambda image: (boxes, np.repeat(POINTS[None], len(boxes), 0), scores)


def test_a_data_sets_own_boxes_stay_and_take_the_teachers_landmarks_where_both_agree():
    other = [300, 300, 340, 350]
    teacher = teacher_that_finds(([182, 60, 268, 180], 0.9), ([400, 10, 440, 60], 0.9))
    scene = scenes.label("x", data.astronaut(), teacher, np.array([FACE, other], np.float32))
    assert scene.boxes.tolist() == [FACE.tolist(), other]
    assert scene.seen.tolist() == [True, False]
    assert np.array_equal(scene.landmarks, [POINTS, np.zeros((5, 2))])
    assert scene.ignore.tolist() == [[400, 10, 440, 60]]  # a face that the data set left out, perhaps


def test_without_own_boxes_the_teacher_is_believed_where_it_is_sure():
    teacher = teacher_that_finds(([182, 60, 268, 180], 0.9), ([400, 10, 440, 60], 0.5))
    scene = scenes.label("x", data.astronaut(), teacher)
    assert scene.boxes.tolist() == [[182, 60, 268, 180]]
    assert scene.ignore.tolist() == [[400, 10, 440, 60]]


def test_a_folder_without_data_says_what_is_missing(tmp_path):
    with pytest.raises(ConfigError, match="YuNet"):
        scenes.Teacher(tmp_path)
    with pytest.raises(ConfigError, match="scenes"):
        next(scenes.scenes(tmp_path, "train", teacher_that_finds()))
    with pytest.raises(ConfigError, match="clip"):
        next(scenes.clip_frames(tmp_path, {"no.mp4": 1}, teacher_that_finds()))


# --- mosaics


def red_faces() -> Scene:
    """Blue ground, red faces with a green left eye: what a label says can be seen in the pixels."""
    image = np.zeros((400, 600, 3), np.uint8)
    image[..., 2] = 255
    boxes = np.array([[100, 100, 160, 180], [400, 200, 500, 320]], np.float32)
    points = []
    for x0, y0, x1, y1 in boxes.astype(int):
        image[y0:y1, x0:x1] = (255, 0, 0)
        at = [x0 + (x1 - x0) * s for s in (0.25, 0.75, 0.5, 0.3, 0.7)]
        points.append(np.column_stack([at, [y0 + (y1 - y0) * s for s in (0.3, 0.3, 0.5, 0.8, 0.8)]]))
        cv2.circle(image, tuple(int(v) for v in points[-1][0]), (x1 - x0) // 8, (0, 255, 0), -1)
    return astronaut(image=image, boxes=boxes, landmarks=np.array(points, np.float32), seen=np.ones(2, bool))


def test_a_mosaics_labels_lie_on_its_faces(monkeypatch):
    monkeypatch.setattr(mosaic, "spoiled", lambda picture, rng: picture)
    rng = np.random.default_rng(0)
    sides, eyes = [], 0
    for _ in range(20):
        picture, boxes, landmarks = mosaic.mosaic([red_faces()], rng, size=256, faces=(12, 40))
        assert picture.shape == (256, 256, 3)
        assert ((boxes >= 0) & (boxes <= 256)).all()
        for box, points in zip(boxes, landmarks, strict=True):
            x0, y0, x1, y1 = box.round().astype(int)
            assert (picture[y0:y1, x0:x1, 2] < 128).mean() > 0.85  # no blue ground within
            sides.append(min(x1 - x0, y1 - y0))
            if points[0, 2] and points[1, 2]:
                assert points[0, 0] < points[1, 0]
            # the green eye is the left one, or, in a mirror, the right one
            colours = [picture[int(y), int(x)] for x, y, known in points[:2] if known]
            eyes += len(colours) == 2 and any(c[1] > c[0] for c in colours)
    assert 8 < np.median(sides) < 40
    assert eyes > 20


def test_a_mirror_swaps_left_and_right_landmarks():
    points = np.concatenate([POINTS, np.ones((5, 1))], 1)[None]
    picture, boxes, mirrored = mosaic.mirrored(data.astronaut(), FACE[None], points)
    assert np.array_equal(picture, data.astronaut()[:, ::-1])
    assert boxes.tolist() == [[512 - 270, 62, 512 - 180, 177]]
    left_eye, right_eye, nose, left_mouth, right_mouth = mirrored[0, :, :2].tolist()
    assert left_eye == [512 - 247, 103]
    assert right_eye == [512 - 204, 101]
    assert nose == [512 - 225, 122]
    assert left_mouth == [512 - 246, 141]
    assert right_mouth == [512 - 205, 140]


def test_faces_in_doubt_are_greyed_out():
    scene = astronaut(ignore=np.array([[300, 300, 400, 400]], np.float32))
    window, boxes, _ = mosaic._window(scene, np.random.default_rng(0), np.array([512, 512]), (90, 90.01), 5)
    assert len(boxes) == 1
    height = window.shape[0]
    y, x = (np.array([310, 390]) * height / 512).astype(int), (np.array([310, 390]) * height / 512).astype(int)
    assert (window[y[0] : y[1], x[0] : x[1]] == mosaic.GREY).all()


# --- figures


def test_recall_is_counted_by_the_size_of_the_true_face():
    boxes = np.array([[0, 0, 10, 14], [50, 0, 66, 20], [100, 0, 140, 60]], np.float32)
    scene = astronaut(boxes=boxes, landmarks=np.zeros((3, 5, 2), np.float32), seen=np.zeros(3, bool))
    count = recall.Count()
    count.add(scene, [face([51, 0, 66, 20]), face([100, 5, 140, 60], 0.8)])
    assert count.asked.tolist() == [1, 0, 1, 0, 1, 0]
    assert count.found.tolist() == [0, 0, 1, 0, 1, 0]
    assert count.recall == pytest.approx(2 / 3)
    assert count.precision == 1


def test_a_second_find_of_the_same_face_is_a_false_alarm():
    count = recall.Count()
    count.add(astronaut(), [face(FACE), face(FACE + 4, 0.7)])
    assert (count.right, count.false) == (1, 1)


def test_an_overlap_below_a_half_is_no_match():
    count = recall.Count()
    count.add(astronaut(), [face([FACE[0] + 50, FACE[1], FACE[2] + 50, FACE[3]])])
    assert (count.right, count.false) == (0, 1)


def test_finds_in_doubtful_regions_and_on_faces_too_small_to_ask_for_are_no_false_alarms():
    small = np.array([[0, 0, 6, 7]], np.float32)
    scene = astronaut(
        boxes=small,
        landmarks=np.zeros((1, 5, 2), np.float32),
        seen=np.zeros(1, bool),
        ignore=np.array([[300, 300, 400, 400]], np.float32),
    )
    count = recall.Count()
    count.add(scene, [face([310, 310, 390, 390]), face([1, 1, 5, 5])])
    assert (count.right, count.false, count.asked.sum()) == (0, 0, 0)


def test_landmark_errors_are_shares_of_the_face():
    count = recall.Count()
    count.add(astronaut(), [face(FACE, landmarks=POINTS + np.array([9, 0]))])
    assert count.landmark_errors == [pytest.approx(0.1)]


def test_a_row_of_the_table_gives_recall_by_size():
    count = recall.Count()
    count.add(astronaut(), [face(FACE)])
    assert recall.row("x", count) == ["x", "–", "–", "–", "–", "–", "1.000 (1)", 1.0, "0.00", 0.0]


# --- training


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> training.Recipe:
    text = RECIPE.read_text().replace("mosaic: 384", "mosaic: 128").replace("batch: 12", "batch: 2")
    path = tmp_path_factory.mktemp("recipe") / "small.yaml"
    path.write_text(text)
    return training.Recipe.read(path)


def test_a_recipe_with_an_unknown_key_is_refused(tmp_path):
    (tmp_path / "r.yaml").write_text(RECIPE.read_text() + "\nfoo: 1\n")
    with pytest.raises(ConfigError, match="foo"):
        training.Recipe.read(tmp_path / "r.yaml")


def test_training_learns_and_goes_on_where_it_stopped(recipe, tmp_path):
    import torch

    def loss_on_the_same_pictures() -> float:
        run.rng = np.random.default_rng(9)
        with torch.no_grad():
            return float(run.network.loss(run._batch([astronaut()]))[1]["dfl_loss"])

    run = training._Run(recipe, tmp_path / "checkpoint.pt")
    run.first_step = -200  # past the warm-up
    before = loss_on_the_same_pictures()
    for _ in range(12):
        run.step([astronaut()], progress=0.0)
    assert loss_on_the_same_pictures() < 0.9 * before
    run.save()
    again = training._Run(recipe, tmp_path / "checkpoint.pt")
    assert again.steps == 12
    for one, other in zip(run.averaged.state_dict().values(), again.averaged.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_the_weights_that_training_writes_build_the_same_detector(recipe, tmp_path):
    from streamheal import config
    from streamheal.faces.detector import build_detector
    from streamheal.faces.detectors import yolo

    run = training._Run(recipe, tmp_path / "checkpoint.pt")
    path = tmp_path / "w.safetensors"
    yolo.save_network(run.averaged, path)
    detector = build_detector(config.Detector(name="ultralytics", weights=path, device="cpu"))
    picture = cv2.resize(data.astronaut(), (128, 128))[None]
    np.testing.assert_allclose(detector.outputs(picture), run.detector().outputs(picture), atol=0.3, rtol=0.02)
