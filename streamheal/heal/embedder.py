"""Faces into vectors that recognition systems compare."""

from collections.abc import Sequence

import numpy as np
import torch

from streamheal import weights
from streamheal.heal.device import batches, load_network, to_batch

_BATCH = 64


class Embedder:
    """L2-normalised embeddings of canonical crops of any size."""

    def __init__(self, name: str = "embedder", device: str = "auto"):
        self.model, self._network, self._device = load_network(weights.find(name), device)
        self.dimensions: int = self._network.config.dimensions

    @torch.inference_mode()
    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """uint8 RGB crops `(s, s, 3)` → `(N, dimensions)` float32, each of length 1."""
        out = np.zeros((len(crops), self.dimensions), np.float32)
        for places, part in batches(crops, _BATCH):
            out[places] = self._network(to_batch(part, self._device)).float().cpu().numpy()
        return out
