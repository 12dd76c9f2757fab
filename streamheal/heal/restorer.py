"""Restores faces, batched over all tracks: which of a system's networks takes which crop, and what came of it."""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from streamheal import weights
from streamheal.errors import ConfigError
from streamheal.heal.choice import Budget, auto_networks, best_first
from streamheal.heal.device import batches, load_network, to_batch, to_pictures
from streamheal.heal.networks.detail import give_back_detail
from streamheal.heal.networks.layers import resample, resample_map
from streamheal.records import ModelUsed

log = logging.getLogger(__name__)
SIZE = 128


@dataclass(frozen=True, slots=True, eq=False)
class RestoredFaces:
    """What came of N crops."""

    pictures: np.ndarray  # (N, size, size, 3) uint8 RGB
    evidence: np.ndarray  # (N, size, size) float32 in [0, 1]: share of each pixel backed by visible input
    models: list[ModelUsed]  # (N,) which network restored each
    reasons: list[str]  # (N,) and why that one


class Restorer:
    """A restoration system with all its trained networks, for crops of any size.

    `system` is `auto`, a system (`fcsr-gan`), or one of its networks by name (`fcsr-gan-16`; models/manifest.json has
    all). `size` is the side of the restored face. `budget`: seconds that a face may take; `auto` then passes over
    networks that take longer. Raises ConfigError for a name or a size that isn't there, WeightsError for damaged
    weights.
    """

    def __init__(
        self,
        system: str = "auto",
        device: str = "auto",
        batch: int = 16,
        *,
        size: int = SIZE,
        budget: float | None = None,
    ):
        loaded = [load_network(file, device) for file in _files(system, size)]
        self._networks = {model.name: (model, network) for model, network, _ in loaded if network.hr_size == size}
        if not self._networks:
            sizes = sorted({network.hr_size for _, network, _ in loaded})
            raise ConfigError(f"restorer {system!r} makes faces of {', '.join(map(str, sizes))} px, not of {size}")
        self._auto = system == "auto" and size == SIZE
        self._device, self._batch, self._size = loaded[0][2], batch, size
        self._budget = Budget(budget)
        self._told: set[str] = set()

    @property
    def blind(self) -> bool:
        """Whether it finds by itself what is hidden, and doesn't look at the visibility that it is given."""
        return all(network.blind for _, network in self._networks.values())

    @torch.inference_mode()
    def restore(self, crops: Sequence[np.ndarray], visible: Sequence[np.ndarray]) -> RestoredFaces:
        """Crops `(s, s, 3)` uint8 RGB in the canonical template, any s, and their visibility `(s, s)` in [0, 1]."""
        pictures = np.zeros((len(crops), self._size, self._size, 3), np.uint8)
        evidence = np.zeros((len(crops), self._size, self._size), np.float32)
        chosen = [self._choose(crop.shape[0], seen) for crop, seen in zip(crops, visible, strict=True)]
        for name in dict.fromkeys(name for name, _ in chosen):
            mine = [i for i, (own, _) in enumerate(chosen) if own == name]
            _, network = self._networks[name]
            for rows, part in batches([crops[i] for i in mine], self._batch):
                places = [mine[row] for row in rows]
                self._tell(name, part[0].shape[0])
                began = time.perf_counter()
                seen = torch.from_numpy(np.stack([visible[i] for i in places])).to(self._device).float()[:, None]
                hr, backed = _one_batch(network, to_batch(part, self._device), seen)
                pictures[places] = to_pictures(hr)
                evidence[places] = backed[:, 0].cpu().numpy()
                self._budget.spent(name, time.perf_counter() - began, len(places))
        models = [self._networks[name][0] for name, _ in chosen]
        return RestoredFaces(pictures, evidence, models, [reason for _, reason in chosen])

    def _choose(self, side: int, visible: np.ndarray) -> tuple[str, str]:
        """The network for a crop, and why."""
        if self._auto:
            hidden = float(1 - visible.mean())
            name, passed = self._budget.pick(best_first(side, hidden))
            return name, f"auto: {side} px, {hidden:.0%} hidden: this one did best on such crops{passed}"
        # By ratio: 20 px go to 16, 25 px to 32.
        name = min(self._networks, key=lambda name: abs(math.log(side / self._networks[name][1].lr_size)))
        return name, "named in the pipeline file" + (", nearest in size" if len(self._networks) > 1 else "")

    def _tell(self, name: str, side: int) -> None:
        takes = self._networks[name][1].lr_size
        if side != takes and name not in self._told:
            self._told.add(name)
            log.info(
                "%s takes %d px; crops of other sizes (the first has %d px) are resampled to it", name, takes, side
            )


def _one_batch(network: nn.Module, crops: torch.Tensor, visible: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    size = network.lr_size
    made = network(resample(crops, size), resample_map(visible, size))
    if network.blind:
        visible = 1 - made.occlusion.float()
    return give_back_detail(made.hr.float(), crops, visible, size), made.evidence.float()


def restore(lr: np.ndarray, visible: np.ndarray | None = None, system: str = "auto", size: int = SIZE) -> np.ndarray:
    """Restore aligned faces.

    Args:
        lr: uint8 RGB `(N, s, s, 3)`, faces in the canonical template (`streamheal.faces.alignment`), any side s ≥ 8.
        visible: `(N, s, s)` in [0, 1], 1 = visible, 0 = hidden; None lets the segmenter find it. `jdsr-gan` is blind:
            it ignores this and finds by itself what is hidden.
        system: `auto`, or a restorer that ships: `fcsr-gan` and `jdsr-gan` take 16 and 32 px, `ofhnet` and `pro-uigan`
            16 px, `fd-stackgan` up to its output's size. Crops go to the network of the nearest size, resampled to it.
        size: side of the restored faces: 128, or 256 where the system has a network for it.

    Returns: uint8 RGB `(N, size, size, 3)`.

    Raises: ValueError for arrays of another shape, type or range; ConfigError for an unknown system or size.
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
    models = weights.folder()
    restorer = _restorer(system, size, models)
    if len(lr) == 0:
        return np.zeros((0, size, size, 3), np.uint8)
    if visible is None:
        visible = np.ones(lr.shape[:3], np.float32) if restorer.blind else _segmenter(models).visible(list(lr))
    return restorer.restore(list(lr), list(visible)).pictures


@cache
def _restorer(system: str, size: int, _models: Path) -> Restorer:
    """Loaded once for each folder of weights: `restore` is called in loops."""
    return Restorer(system, size=size)


@cache
def _segmenter(_models: Path):
    from streamheal.heal.occlusion import OcclusionSegmenter

    return OcclusionSegmenter()


def _files(system: str, size: int) -> list[weights.WeightFile]:
    known = {name: file for name, file in weights.manifest().items() if file.kind == "restorer"}
    if system == "auto" and size == SIZE:
        fitting = auto_networks()
    elif system == "auto":
        fitting = list(known)  # the one that makes faces of that size
    else:
        fitting = [system] if system in known else [name for name, file in known.items() if file.system == system]
    if not fitting:
        names = sorted({*known, *(file.system for file in known.values())})
        raise ConfigError(f"restorer {system!r} is not among the trained ones; there are: auto, {', '.join(names)}")
    return [weights.find(name) for name in fitting]
