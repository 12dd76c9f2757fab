"""Which pixels of a crop show the face, and which show something before it."""

from collections.abc import Sequence

import numpy as np
import torch

from streamheal import weights
from streamheal.heal import networks
from streamheal.heal.device import by_side, choose_device, chunks, to_batch
from streamheal.heal.networks.layers import resample, resample_map
from streamheal.records import ModelUsed

_BATCH = 64


class OcclusionSegmenter:
    """Visibility maps for crops of any size, batched over all of them."""

    def __init__(self, name: str = "occlusion-unet", device: str = "auto"):
        file = weights.find(name)
        self.model = ModelUsed("occlusion", file.name, file.sha256)
        self._device = choose_device(device)
        self._network = networks.load(file.path, file.sha256).to(self._device)

    @torch.inference_mode()
    def visible(self, crops: Sequence[np.ndarray]) -> list[np.ndarray]:
        """uint8 RGB crops `(s, s, 3)` → float32 maps `(s, s)` in [0, 1], 1 = visible, each at its crop's size."""
        size = self._network.config.size
        maps: list[np.ndarray | None] = [None] * len(crops)
        for places, group in by_side(crops):
            for part, at in zip(chunks(group, _BATCH), chunks(places, _BATCH), strict=True):
                seen = torch.sigmoid(self._network(resample(to_batch(part, self._device), size)).float())
                for place, one in zip(at, resample_map(seen, crops[at[0]].shape[0])[:, 0].cpu().numpy(), strict=True):
                    maps[place] = one
        return maps
