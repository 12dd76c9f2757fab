"""YuNet (Wu et al., 2023) through OpenCV's own `FaceDetectorYN`: small, Apache-2.0, no torch and no ultralytics."""

from pathlib import Path

import cv2
import numpy as np

from streamheal.errors import WeightsError
from streamheal.faces.detector import FaceDetector, Raw

_NMS_IOU = 0.3
_TOP_K = 5000  # candidates before overlaps are removed; a crowd has hundreds


class YuNet(FaceDetector):
    """The user names the ONNX file. Pictures of a batch go through one by one: OpenCV's class takes no more."""

    def __init__(self, path: Path, sha256: str, *, min_score: float, scale: float, max_side: int) -> None:
        super().__init__("yunet", sha256, min_score=min_score, scale=scale, max_side=max_side)
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # OpenCV 5 warns about its own new engine
        try:
            self._net = cv2.FaceDetectorYN.create(str(path), "", (320, 320), min_score, _NMS_IOU, _TOP_K)
        except cv2.error as error:
            raise WeightsError(f"weight file {path} is not a YuNet that OpenCV can read: {error}") from error
        finally:
            cv2.utils.logging.setLogLevel(level)

    def forward(self, batch: np.ndarray) -> list[Raw]:
        self._net.setInputSize(batch.shape[2:0:-1])
        return [self._one(picture) for picture in batch]

    def _one(self, picture: np.ndarray) -> Raw:
        _, rows = self._net.detect(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        if rows is None:
            return Raw.none()
        xywh, landmarks = rows[:, :4], rows[:, 4:14].reshape(-1, 5, 2)
        return Raw(np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1), landmarks, rows[:, 14])
