"""Faces into vectors that recognition systems compare."""

from collections.abc import Sequence

import numpy as np
import torch

from streamheal import weights
from streamheal.heal import networks
from streamheal.heal.device import by_side, choose_device, chunks, to_batch
from streamheal.records import ModelUsed

_BATCH = 64


class Embedder:
    """L2-normalised embeddings of canonical crops of any size."""

    def __init__(self, name: str = "embedder", device: str = "auto"):
        file = weights.find(name)
        self.model = ModelUsed("embedder", file.name, file.sha256)
        self._device = choose_device(device)
        self._network = networks.load(file.path, file.sha256).to(self._device)
        self.dimensions: int = self._network.config.dimensions

    @torch.inference_mode()
    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """uint8 RGB crops `(s, s, 3)` → `(N, dimensions)` float32, each of length 1."""
        out = np.zeros((len(crops), self.dimensions), np.float32)
        for places, group in by_side(crops):
            for part, at in zip(chunks(group, _BATCH), chunks(places, _BATCH), strict=True):
                out[list(at)] = self._network(to_batch(part, self._device)).float().cpu().numpy()
        return out
