import cv2
import numpy as np
import pytest
from skimage import data

from streamheal.faces.alignment import similarity


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """The astronaut's face in the canonical template, 128 px."""
    landmarks = np.array([[203.4, 103.6], [247.5, 104.4], [224.1, 127.7], [204.0, 143.1], [242.9, 143.7]])
    return cv2.warpAffine(data.astronaut(), similarity(landmarks), (128, 128), flags=cv2.INTER_AREA)
