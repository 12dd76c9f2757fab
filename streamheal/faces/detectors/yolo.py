"""YOLO with five landmarks in ultralytics' networks: safetensors that ship, a user's `.pt`, ultralytics' ONNX export.

Ultralytics is kept quiet: no settings in the home folder, no look at the network, no download, no packages installed.
"""

import os
import tempfile
import warnings
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from streamheal import weights
from streamheal.errors import ConfigError, WeightsError
from streamheal.faces.detector import FaceDetector, Raw, non_maximum_suppression

SHIPPED = "yolo11n-face"
NETWORK = "yolo11n-pose.yaml"  # comes inside the ultralytics package
KEYPOINTS = (5, 3)  # five landmarks, each x, y, seen
_NMS_IOU = 0.5


def quiet_ultralytics() -> None:
    """Must run before anything else of ultralytics is imported: it reads these as it loads."""
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_VERBOSE", "false")
    os.environ.setdefault("YOLO_CONFIG_DIR", str(Path(tempfile.gettempdir()) / f"streamheal-ultralytics-{os.getuid()}"))
    Path(os.environ["YOLO_CONFIG_DIR"]).mkdir(mode=0o700, parents=True, exist_ok=True)
    open_picture = Image.open
    import ultralytics.utils  # noqa: F401

    Image.open = open_picture  # it has put one in its place that looks for packages to install on unreadable pictures


def new_network(yaml: str | dict = NETWORK, keypoints: tuple[int, int] = KEYPOINTS):
    """An untrained pose network for one class, `torch.nn.Module`."""
    quiet_ultralytics()
    from ultralytics.nn.tasks import PoseModel

    return PoseModel(yaml, ch=3, nc=1, data_kpt_shape=keypoints, verbose=False)


def save_network(network, path: Path, training: dict | None = None) -> str:
    """Write the network as fp16 safetensors, its description and its training in the header; returns the SHA-256."""
    yaml = {key: value for key, value in network.yaml.items() if key != "yaml_file"}
    described = {"system": "ultralytics", "network": yaml, "kpt_shape": list(network.kpt_shape)}
    return weights.save(path, network.state_dict(), {**described, "training": training or {}})


def load_network(path: Path, sha256: str | None = None):
    """The network that `save_network` wrote, on the CPU, for inference."""
    tensors, described = weights.load(path, sha256)
    if list(described.get("kpt_shape", ())) != list(KEYPOINTS):
        raise WeightsError(f"{path} has landmarks of shape {described.get('kpt_shape')}, needed {list(KEYPOINTS)}")
    network = new_network(described["network"])
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise WeightsError(f"{path} doesn't fit the network it describes: {error}") from error
    return network.eval()


def decode(output: np.ndarray, *, min_score: float) -> Raw:
    """Faces from the `(4 + 1 + 15, n)` output for one picture: centre and sides, score, landmarks with visibility."""
    output = output[:, output[4] >= min_score]
    if not output.shape[1]:
        return Raw.none()
    centres, sides = output[:2].T, output[2:4].T
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], 1)
    landmarks = output[5:].T.reshape(-1, *KEYPOINTS)[..., :2]
    keep = non_maximum_suppression(boxes, output[4], _NMS_IOU)
    return Raw(boxes[keep], landmarks[keep], output[4][keep])


class Yolo(FaceDetector):
    """What all three kinds of file share: RGB in [0, 1] in, `(B, 20, n)` out."""

    @abstractmethod
    def outputs(self, batch: np.ndarray) -> np.ndarray:
        """`(B, 20, n)` float32 for `(B, h, w, 3)` uint8 RGB."""

    def forward(self, batch: np.ndarray) -> list[Raw]:
        return [decode(output, min_score=self.min_score) for output in self.outputs(batch)]


class TorchYolo(Yolo):
    """Through torch, on the CPU or a GPU."""

    def __init__(self, name: str, network, sha256: str, *, device: str, **common) -> None:
        super().__init__(name, sha256, **common)
        import torch

        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self._device = torch.device(device)
            self._network = network.eval().fuse(verbose=False).to(self._device, memory_format=torch.channels_last)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"detector.device {device!r} can't be used here: {error}") from error
        if self._device.type == "cuda":
            self.pixels_per_pass = 64_000_000

    def outputs(self, batch: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            pictures = torch.from_numpy(batch).to(self._device).permute(0, 3, 1, 2).float() / 255
            output = self._network(pictures)
        return (output[0] if isinstance(output, tuple | list) else output).cpu().numpy()


class OnnxYolo(Yolo):
    """Ultralytics' own ONNX export (`dynamic=True`), through ONNX Runtime if that is installed, else OpenCV.

    Neither torch nor ultralytics is needed to run it.
    """

    def __init__(self, path: Path, sha256: str, *, device: str, **common) -> None:
        super().__init__(path.stem, sha256, **common)
        try:
            import onnxruntime
        except ImportError:
            onnxruntime = None
        if onnxruntime is None and device not in ("auto", "cpu"):
            raise ConfigError(
                f"detector.device {device!r} needs ONNX Runtime for {path.name}: pip install onnxruntime-gpu"
            )
        try:
            if onnxruntime is None:
                self._run = _opencv_runner(path)
            else:
                self._run = _onnxruntime_runner(onnxruntime, path, device)
        except ConfigError:
            raise
        except Exception as error:  # OpenCV's and ONNX Runtime's errors share no base class
            raise WeightsError(f"weight file {path} is not a readable ONNX network: {error}") from error
        self._path = path

    def outputs(self, batch: np.ndarray) -> np.ndarray:
        try:
            output = self._run(np.ascontiguousarray(batch.transpose(0, 3, 1, 2), np.float32) / 255)
        except Exception as error:  # as above
            raise WeightsError(
                f"{self._path} can't take {batch.shape}; export it with dynamic=True: {error}"
            ) from error
        if output.ndim != 3 or output.shape[1] != 5 + KEYPOINTS[0] * KEYPOINTS[1]:
            raise WeightsError(
                f"{self._path} gives {output.shape}, needed (B, 20, n): a face pose network, kpt_shape [5, 3]"
            )
        return output


def _opencv_runner(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    net = cv2.dnn.readNetFromONNX(str(path))

    def run(pictures: np.ndarray) -> np.ndarray:
        net.setInput(pictures)
        return net.forward()

    return run


def _onnxruntime_runner(onnxruntime, path: Path, device: str) -> Callable[[np.ndarray], np.ndarray]:
    available = onnxruntime.get_available_providers()
    providers: list = ["CPUExecutionProvider"]
    if device == "auto" and "CUDAExecutionProvider" in available:
        providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    elif device.startswith("cuda"):
        if "CUDAExecutionProvider" not in available:
            raise ConfigError(f"detector.device {device!r}: this ONNX Runtime has only {', '.join(available)}")
        index = int(device.partition(":")[2] or 0)
        providers = [("CUDAExecutionProvider", {"device_id": index}), "CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(str(path), providers=providers)
    name = session.get_inputs()[0].name
    return lambda pictures: session.run(None, {name: pictures})[0]


def build_yolo(path: Path | None, sha256: str | None, *, device: str, **common) -> Yolo:
    """The detector for a weight file, by its suffix; None is the one that ships."""
    if path is None:
        shipped = weights.find(SHIPPED)
        return TorchYolo(SHIPPED, load_network(shipped.path), shipped.sha256, device=device, **common)
    kinds = (".safetensors", ".onnx", ".pt")
    if path.suffix not in kinds:
        raise ConfigError(f"detector.weights {path} must end in one of {', '.join(kinds)}")
    if path.suffix == ".pt" and sha256 is None:
        raise ConfigError(
            f"{path} is a pickle, which can run code as it loads; set detector.sha256 to the hash of a file you trust, "
            "or export it to ONNX (yolo export format=onnx dynamic=True)"
        )
    found = weights.check(path, sha256)
    if path.suffix == ".onnx":
        return OnnxYolo(path, found, device=device, **common)
    network = _load_pickle(path) if path.suffix == ".pt" else load_network(path)
    return TorchYolo(path.stem, network, found, device=device, **common)


def _load_pickle(path: Path):
    warnings.warn(f"{path} is a pickle: it is loaded because its hash is pinned", stacklevel=3)
    quiet_ultralytics()
    from ultralytics.nn.tasks import load_checkpoint

    try:
        network, _ = load_checkpoint(str(path))
    except Exception as error:  # a pickle fails in as many ways as there are classes
        raise WeightsError(f"{path} is not an ultralytics checkpoint: {error}") from error
    if tuple(getattr(network, "kpt_shape", ())) != KEYPOINTS:
        raise WeightsError(f"{path} has no five landmarks (kpt_shape {getattr(network, 'kpt_shape', None)})")
    return network


def export_onnx(weight_file: Path, out: Path) -> Path:
    """Write a network that `save_network` wrote as ONNX, any batch and picture size, by ultralytics' own export.

    Needs the package onnx. What it writes runs without torch and without ultralytics.
    """
    network = load_network(weight_file)
    from ultralytics import YOLO
    from ultralytics.utils import DEFAULT_CFG_DICT

    model = YOLO(NETWORK, task="pose", verbose=False)
    model.model = network
    network.pt_path = str(out.with_suffix(".pt"))  # the exporter names its file after it
    network.task, network.args = "pose", DEFAULT_CFG_DICT | {"task": "pose"}
    made = model.export(format="onnx", dynamic=True, simplify=False, imgsz=320, verbose=False)
    return Path(made).replace(out)
