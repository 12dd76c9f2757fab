"""Restores faces to 128 px, batched over all tracks."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from streamheal import weights
from streamheal.errors import ConfigError
from streamheal.heal.device import batches, load_network, to_batch, to_pictures
from streamheal.heal.networks.detail import give_back_detail
from streamheal.heal.networks.layers import resample, resample_map

log = logging.getLogger(__name__)
SIZE = 128


@dataclass(frozen=True, slots=True, eq=False)
class RestoredFaces:
    """What came of N crops."""

    pictures: np.ndarray  # (N, 128, 128, 3) uint8 RGB
    evidence: np.ndarray  # (N, 128, 128) float32 in [0, 1]: share of each pixel backed by visible input


class Restorer:
    """One restoration network with its weights, for crops of any size.

    `system` is `auto`, a name in models/manifest.json, or a system's name. Raises ConfigError for a name that isn't
    there, WeightsError for damaged weights.
    """

    def __init__(self, system: str = "auto", device: str = "auto", batch: int = 16):
        file, self.reason = _choose(system)
        self.model, self._network, self._device = load_network(file, device)
        self._batch = batch
        self._told = False

    @torch.inference_mode()
    def restore(self, crops: Sequence[np.ndarray], visible: Sequence[np.ndarray]) -> RestoredFaces:
        """Crops `(s, s, 3)` uint8 RGB in the canonical template, any s, and their visibility `(s, s)` in [0, 1]."""
        pictures = np.zeros((len(crops), SIZE, SIZE, 3), np.uint8)
        evidence = np.zeros((len(crops), SIZE, SIZE), np.float32)
        for places, part in batches(crops, self._batch):
            self._tell(part[0].shape[0])
            seen = torch.from_numpy(np.stack([visible[i] for i in places])).to(self._device).float()[:, None]
            hr, backed = self._one_batch(to_batch(part, self._device), seen)
            pictures[places] = to_pictures(hr)
            evidence[places] = backed[:, 0].cpu().numpy()
        return RestoredFaces(pictures, evidence)

    def _one_batch(self, crops: torch.Tensor, visible: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        size = self._network.lr_size
        made = self._network(resample(crops, size), resample_map(visible, size))
        return give_back_detail(made.hr.float(), crops, visible, size), made.evidence.float()

    def _tell(self, side: int) -> None:
        if side != self._network.lr_size and not self._told:
            self._told = True
            log.info(
                "%s takes %d px; crops of other sizes (the first has %d px) are resampled to it",
                self.model.name,
                self._network.lr_size,
                side,
            )


def restore(lr: np.ndarray, visible: np.ndarray | None = None, system: str = "auto") -> np.ndarray:
    """Restore aligned faces.

    Args:
        lr: uint8 RGB `(N, s, s, 3)`, faces in the canonical template (`streamheal.faces.alignment`), any side s ≥ 8.
        visible: `(N, s, s)` in [0, 1], 1 = visible, 0 = hidden; None lets the segmenter find it.
        system: `auto` or the name of a restorer (`streamheal doctor` lists them).

    Returns: uint8 RGB `(N, 128, 128, 3)`.

    Raises: ValueError for arrays of another shape, type or range; ConfigError for an unknown system.
    """
    lr = np.asarray(lr)
    if lr.ndim != 4 or lr.shape[1] != lr.shape[2] or lr.shape[3] != 3 or lr.dtype != np.uint8 or lr.shape[1] < 8:
        raise ValueError(f"lr has shape {lr.shape} and type {lr.dtype}; it must be uint8 (N, s, s, 3) with s ≥ 8")
    if visible is not None:
        visible = np.asarray(visible, np.float32)
        if visible.shape != lr.shape[:3]:
            raise ValueError(f"visible has shape {visible.shape}; it must be {lr.shape[:3]}, as lr")
        if not (visible.min(initial=0) >= 0 and visible.max(initial=1) <= 1):
            raise ValueError("visible holds values outside [0, 1]; 1 = visible, 0 = hidden")
    if len(lr) == 0:
        return np.zeros((0, SIZE, SIZE, 3), np.uint8)
    models = weights.folder()
    if visible is None:
        visible = _segmenter(models).visible(list(lr))
    return _restorer(system, models).restore(list(lr), list(visible)).pictures


@cache
def _restorer(system: str, _models: Path) -> Restorer:
    """Loaded once for each folder of weights: `restore` is called in loops."""
    return Restorer(system)


@cache
def _segmenter(_models: Path):
    from streamheal.heal.occlusion import OcclusionSegmenter

    return OcclusionSegmenter()


def _choose(system: str) -> tuple[weights.WeightFile, str]:
    known = {name: file for name, file in weights.manifest().items() if file.kind == "restorer"}
    wanted = "lr-trunk" if system == "auto" else system
    fitting = [name for name, file in known.items() if wanted in (name, file.system)]
    if not fitting:
        names = sorted({*known, *(file.system for file in known.values())})
        raise ConfigError(f"restorer {system!r} is not among the trained ones; there are: auto, {', '.join(names)}")
    reason = "auto: the network that ships for tiny faces" if system == "auto" else "named in the pipeline file"
    return weights.find(fitting[0]), reason
