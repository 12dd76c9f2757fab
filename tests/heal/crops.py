"""Crops of a real face for tests: of any size, whole or half hidden."""

import cv2
import numpy as np

from streamheal.heal.networks.track_fusion import TrackFusion, TrackFusionConfig
from streamheal.heal.restorer import Restorer
from streamheal.records import ModelUsed


def shrunk(picture: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)


def half_map(side: int, part: str) -> np.ndarray:
    """Boolean (side, side): what is visible with the "lower" or "upper" part hidden. Both show the nose: by what they
    have in common, crops are brought together."""
    rows = np.arange(side)[:, None] / side * np.ones((1, side))
    return rows < 0.62 if part == "lower" else rows >= 0.4


def half_hidden(crop: np.ndarray, part: str) -> np.ndarray:
    """The crop with a blue sleeve before one half."""
    side = crop.shape[0]
    rows, columns = np.mgrid[:side, :side]
    sleeve = np.array([58, 84, 118]) + 6 * np.sin(rows * 0.9 + columns * 0.5)[..., None]
    return np.where(half_map(side, part)[..., None], crop, sleeve).astype(np.uint8)


def joins_tracks(restorer: Restorer) -> Restorer:
    """The restorer, with an untrained fusion, which fills by weighted means, for networks that ship without one."""
    for name, (_, network) in restorer._networks.items():
        fusion = TrackFusion(TrackFusionConfig(network.lr_size)).eval()
        restorer._joining.setdefault(name, (ModelUsed("fusion", "untrained", "0" * 64), fusion))
    return restorer
