"""Restores faces, batched over all tracks: which of a system's networks takes which crop, and what came of it."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from streamheal import weights
from streamheal.errors import ConfigError
from streamheal.heal.device import batches, load_network, to_batch, to_pictures
from streamheal.heal.networks.detail import give_back_detail
from streamheal.heal.networks.layers import resample, resample_map
from streamheal.records import ModelUsed

log = logging.getLogger(__name__)
SIZE = 128
AUTO = "lr-trunk"


@dataclass(frozen=True, slots=True, eq=False)
class RestoredFaces:
    """What came of N crops."""

    pictures: np.ndarray  # (N, size, size, 3) uint8 RGB
    evidence: np.ndarray  # (N, size, size) float32 in [0, 1]: share of each pixel backed by visible input
    models: list[ModelUsed]  # (N,) which network restored each


class Restorer:
    """A restoration system with all its trained networks, for crops of any size.

    `system` is `auto`, a system (`fcsr-gan`), or one of its networks by name (`fcsr-gan-16`; models/manifest.json has
    all). `size` is the side of the restored face. Raises ConfigError for a name or a size that isn't there,
    WeightsError for damaged weights.
    """

    def __init__(self, system: str = "auto", device: str = "auto", batch: int = 16, *, size: int = SIZE):
        files, self.reason = _choose(system)
        loaded = [load_network(file, device) for file in files]
        self._networks = {network.lr_size: (model, network) for model, network, _ in loaded if network.hr_size == size}
        if not self._networks:
            sizes = sorted({network.hr_size for _, network, _ in loaded})
            raise ConfigError(f"restorer {system!r} makes faces of {', '.join(map(str, sizes))} px, not of {size}")
        self._device, self._batch, self._size = loaded[0][2], batch, size
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
        models: list[ModelUsed | None] = [None] * len(crops)
        for places, part in batches(crops, self._batch):
            model, network = self._network_for(part[0].shape[0])
            seen = torch.from_numpy(np.stack([visible[i] for i in places])).to(self._device).float()[:, None]
            hr, backed = _one_batch(network, to_batch(part, self._device), seen)
            pictures[places] = to_pictures(hr)
            evidence[places] = backed[:, 0].cpu().numpy()
            for place in places:
                models[place] = model
        return RestoredFaces(pictures, evidence, models)

    def _network_for(self, side: int) -> tuple[ModelUsed, nn.Module]:
        """The network whose input is nearest to `side` px, by ratio: 20 px go to 16, 25 px to 32."""
        model, network = self._networks[min(self._networks, key=lambda size: abs(math.log(side / size)))]
        if side != network.lr_size and model.name not in self._told:
            self._told.add(model.name)
            log.info(
                "%s takes %d px; crops of other sizes (the first has %d px) are resampled to it",
                model.name,
                network.lr_size,
                side,
            )
        return model, network


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


def _choose(system: str) -> tuple[list[weights.WeightFile], str]:
    known = {name: file for name, file in weights.manifest().items() if file.kind == "restorer"}
    wanted = AUTO if system == "auto" else system
    fitting = [wanted] if wanted in known else [name for name, file in known.items() if file.system == wanted]
    if not fitting:
        names = sorted({*known, *(file.system for file in known.values())})
        raise ConfigError(f"restorer {system!r} is not among the trained ones; there are: auto, {', '.join(names)}")
    reason = "auto: the project's own network for its size" if system == "auto" else "named in the pipeline file"
    return [weights.find(name) for name in fitting], reason
