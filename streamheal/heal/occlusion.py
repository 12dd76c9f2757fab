"""Which pixels of a crop show the face, and which show something before it."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from streamheal import weights
from streamheal.heal.device import load_network, to_batch
from streamheal.heal.networks.layers import resample, resample_map
from streamheal.records import FaceCrop

_BATCH = 64

# The face oval of the canonical template, shares of its side: what lies outside (hair, background) hides nobody.
_OVAL_CENTRE, _OVAL_RADII = (0.5, 0.53), (0.29, 0.38)


class OcclusionSegmenter:
    """Visibility maps for crops of any size, batched over all of them."""

    def __init__(self, name: str = "occlusion-unet", device: str = "auto"):
        self.model, self._network, self._device = load_network(weights.find(name), device)

    @torch.inference_mode()
    def visible(self, crops: Sequence[np.ndarray]) -> list[np.ndarray]:
        """uint8 RGB crops `(s, s, 3)` → float32 maps `(s, s)` in [0, 1], 1 = visible, each at its crop's size.

        In whole 255ths: a map that travels as a picture is the map that was made.
        """
        size, maps = self._network.config.size, []
        for start in range(0, len(crops), _BATCH):
            part = crops[start : start + _BATCH]
            pictures = torch.cat([resample(to_batch([crop], self._device), size) for crop in part])
            for crop, seen in zip(part, torch.sigmoid(self._network(pictures).float()), strict=True):
                one = resample_map(seen[None], crop.shape[0])[0, 0].cpu().numpy()
                maps.append(np.rint(one * 255).astype(np.float32) / 255)
        return maps

    def look(self, crops: Sequence[FaceCrop]) -> list[FaceCrop]:
        """The crops with their visibility, and with it their quality; those whose visibility is known stay as they are.

        A crop's score is scaled by the share of the face that is visible: a sharp hand is no good face.
        """
        maps = iter(self.visible([crop.image for crop in crops if crop.visible is None]))
        return [crop if crop.visible is not None else _with_visibility(crop, next(maps)) for crop in crops]


def visible_share(visible: np.ndarray) -> float:
    """Mean of a map `(s, s)` over the face oval; below 4 px, where it holds no pixel's middle, over the map."""
    inside = visible[face_oval(visible.shape[0])]
    return float((inside if inside.size else visible).mean())


@lru_cache(maxsize=256)
def face_oval(side: int) -> np.ndarray:
    """Boolean `(side, side)`, read-only: the oval from brow to chin that a face fills in the canonical template."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    oval = ((x - _OVAL_CENTRE[0]) / _OVAL_RADII[0]) ** 2 + ((y - _OVAL_CENTRE[1]) / _OVAL_RADII[1]) ** 2 <= 1
    oval.setflags(write=False)
    return oval


def _with_visibility(crop: FaceCrop, visible: np.ndarray) -> FaceCrop:
    share = visible_share(visible)
    quality = replace(crop.quality, visible=share, score=crop.quality.score * share)
    return replace(crop, visible=visible, quality=quality)
