"""Which pixels of a crop show the face, and which show something before it."""

from collections.abc import Sequence

import numpy as np
import torch

from streamheal import weights
from streamheal.heal.device import batches, load_network, to_batch

_BATCH = 64


class OcclusionSegmenter:
    """Visibility maps for crops of any size, batched over all of them."""

    def __init__(self, name: str = "occlusion-unet", device: str = "auto"):
        self.model, self._network, self._device = load_network(weights.find(name), device)

    @torch.inference_mode()
    def visible(self, crops: Sequence[np.ndarray]) -> list[np.ndarray]:
        """uint8 RGB crops `(s, s, 3)` → float32 maps `(s, s)` in [0, 1], 1 = visible, each at its crop's size."""
        maps: list[np.ndarray | None] = [None] * len(crops)
        for places, part in batches(crops, _BATCH):
            seen = self._network.visible(to_batch(part, self._device))[:, 0].cpu().numpy()
            for place, one in zip(places, seen, strict=True):
                maps[place] = one
        return maps
