"""Restores faces, batched over all tracks: which of a system's networks takes which face, and what came of it."""

import logging
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from streamheal import weights
from streamheal.errors import ConfigError
from streamheal.heal.choice import Budget, auto_networks, best_first
from streamheal.heal.device import batches, load_network, to_batch, to_pictures
from streamheal.heal.networks.across_track import restore_track
from streamheal.heal.networks.detail import give_back_detail
from streamheal.heal.networks.layers import resample_map
from streamheal.heal.occlusion import visible_share
from streamheal.heal.tracks import Track, View, calls, pad
from streamheal.records import ModelUsed

log = logging.getLogger(__name__)
SIZE = 128
TOOK_PART = 0.05  # the say that a crop must have in some pixel to be named as a source


@dataclass(frozen=True, slots=True, eq=False)
class RestoredFace:
    """What came of one track."""

    picture: np.ndarray  # (size, size, 3) uint8 RGB
    evidence: np.ndarray  # (size, size) float32 in [0, 1]: share of each pixel backed by visible input
    visible: np.ndarray  # (s, s) float32 in [0, 1], s the network's input: how much of each pixel some crop shows
    sources: tuple[int, ...]  # places in the track of the crops that took part, the restored one first
    models: tuple[ModelUsed, ...]  # the network that restored it, and what joined its crops, where that is another
    reason: str  # why that network, and what part the track had


class Restorer:
    """A restoration system with all its trained networks, for crops of any size and tracks of any length.

    `system` is `auto`, a system (`fcsr-gan`), or one of its networks by name (`fcsr-gan-16`; models/manifest.json has
    all). `size` is the side of the restored face. `budget`: seconds that a face may take; `auto` then passes over
    networks that take longer. `across_track=False` restores the first crop of each track alone. Raises ConfigError for
    a name or a size that isn't there, WeightsError for damaged weights.
    """

    def __init__(
        self,
        system: str = "auto",
        device: str = "auto",
        batch: int = 16,
        *,
        size: int = SIZE,
        budget: float | None = None,
        across_track: bool = True,
    ):
        loaded = [load_network(file, device) for file in _files(system, size)]
        self._networks = {model.name: (model, network) for model, network, _ in loaded if network.hr_size == size}
        if not self._networks:
            sizes = sorted({network.hr_size for _, network, _ in loaded})
            raise ConfigError(f"restorer {system!r} makes faces of {', '.join(map(str, sizes))} px, not of {size}")
        self._auto = system == "auto" and size == SIZE
        self._device, self._batch, self._size = loaded[0][2], batch, size
        self._across_track = across_track
        self._joining = _joining(self._networks.values(), device) if across_track else {}
        self._budget = Budget(budget)
        self._told: set[str] = set()

    @property
    def models(self) -> list[ModelUsed]:
        """The networks that it may choose."""
        return [model for model, _ in self._networks.values()]

    @property
    def blind(self) -> bool:
        """Whether it finds by itself what is hidden, and doesn't look at the visibility of a crop that is alone."""
        return all(network.blind for _, network in self._networks.values())

    @torch.inference_mode()
    def restore(self, tracks: Sequence[Track]) -> list[RestoredFace]:
        """The first crop of each track, with what the others show, where the network can make use of them.

        All crops of a track must show one person. Live, they are the past's alone; at the end of a recording's track,
        all of it: the same weights take both, as nothing here knows an order. A track of one crop gives exactly what
        the crop gives alone.
        """
        faces: list[RestoredFace | None] = [None] * len(tracks)
        chosen = [self._choose(track[0]) for track in tracks]
        for name in dict.fromkeys(name for name, _ in chosen):
            mine = [i for i, (own, _) in enumerate(chosen) if own == name]
            given = [tracks[i] if name in self._joining else tracks[i][:1] for i in mine]
            for rows in calls(given, self._batch):
                self._tell(name, given[rows[0]][0].image.shape[0])
                places = [mine[row] for row in rows]
                began = time.perf_counter()
                made = self._one_call(name, [given[row] for row in rows], [chosen[place][1] for place in places])
                self._budget.spent(name, time.perf_counter() - began, len(rows))
                for place, face in zip(places, made, strict=True):
                    part = self._part_of_track(name, len(tracks[place]), len(face.sources))
                    faces[place] = replace(face, reason=face.reason + part)
        return faces

    def _one_call(self, name: str, tracks: Sequence[Track], reasons: Sequence[str]) -> list[RestoredFace]:
        model, network = self._networks[name]
        joiner, fusion = self._joining.get(name, (None, None))
        given = pad(tracks, network.lr_size, self._device)
        if given.valid.shape[1] == 1:
            visible = given.visible[:, 0]
            made = network(given.lr[:, 0], visible)
            sources = [(0,)] * len(tracks)
        else:
            made, fused = restore_track(network, fusion, given.lr, given.visible, given.valid, given.quality)
            visible = fused.visible
            took_part = (fused.weights.flatten(2).amax(2) >= TOOK_PART)[:, 1:].cpu().numpy()
            sources = [(0, *(np.flatnonzero(row) + 1).tolist()) for row in took_part]
        found = 1 - made.occlusion.float() if network.blind else None
        pictures = to_pictures(_with_detail(made.hr.float(), tracks, network.lr_size, found))
        evidence, seen = (maps.float()[:, 0].cpu().numpy() for maps in (made.evidence, visible))
        faces = []
        for row, took in enumerate(sources):
            models = (model, joiner) if joiner and len(took) > 1 else (model,)
            faces.append(RestoredFace(pictures[row], evidence[row], seen[row], took, models, reasons[row]))
        return faces

    def _choose(self, view: View) -> tuple[str, str]:
        """The network for a crop, and why."""
        side = view.image.shape[0]
        if self._auto:
            hidden = 1 - visible_share(view.visible)
            name, passed = self._budget.pick(best_first(side, hidden))
            return name, f"auto: {side} px, {hidden:.0%} of the face hidden: this one did best on such crops{passed}"
        # By ratio: 20 px go to 16, 25 px to 32.
        name = min(self._networks, key=lambda name: abs(math.log(side / self._networks[name][1].lr_size)))
        return name, "named in the pipeline file" + (", nearest in size" if len(self._networks) > 1 else "")

    def _part_of_track(self, name: str, crops: int, took_part: int) -> str:
        """What part the other crops had, in words."""
        if crops == 1:
            return ""
        if name not in self._joining:
            return f"; its crop alone: {name} can't make use of others" if self._across_track else "; its crop alone"
        return f"; {took_part - 1} of {crops - 1} other crops of its track took part"

    def _tell(self, name: str, side: int) -> None:
        takes = self._networks[name][1].lr_size
        if side != takes and name not in self._told:
            self._told.add(name)
            log.info(
                "%s takes %d px; crops of other sizes (the first has %d px) are resampled to it", name, takes, side
            )


def _with_detail(hr: torch.Tensor, tracks: Sequence[Track], lr_size: int, found: torch.Tensor | None) -> torch.Tensor:
    """The restored faces with the detail of their first crops, where these show the face themselves: where only others
    do, the crop's own detail is the occluder's. `found`: what a blind network found visible of what it was given."""
    firsts = [track[0] for track in tracks]
    for rows, pictures in batches([view.image for view in firsts], len(firsts)):
        own = torch.from_numpy(np.stack([firsts[row].visible for row in rows])).to(hr.device).float()[:, None]
        if found is not None:
            joined = torch.tensor([len(tracks[row]) > 1 for row in rows], device=hr.device).view(-1, 1, 1, 1)
            both = torch.minimum(found[rows], resample_map(own, found.shape[-1]))
            own = torch.where(joined, both, found[rows])
        hr[rows] = give_back_detail(hr[rows], to_batch(pictures, hr.device), own, lr_size)
    return hr


def _joining(networks: Iterable[tuple[ModelUsed, nn.Module]], device: str) -> dict[str, tuple]:
    """For each network that can be helped by a track's other crops, by name: what joins them, and its provenance; None
    and None where it is a part of the network."""
    shared = {}
    for file in weights.manifest().values():
        if file.kind == "fusion":
            model, fusion, _ = load_network(weights.find(file.name), device)
            shared[fusion.config.lr_size] = model, fusion
    found = {}
    for model, network in networks:
        if getattr(network, "fusion", None) is not None:
            found[model.name] = None, None
        elif network.lr_size in shared:
            found[model.name] = shared[network.lr_size]
    return found


def restore(lr: np.ndarray, visible: np.ndarray | None = None, system: str = "auto", size: int = SIZE) -> np.ndarray:
    """Restore aligned faces, each from one crop or from several of one track.

    Args:
        lr: uint8 RGB `(N, s, s, 3)`, faces in the canonical template (`streamheal.faces.alignment`), any side s ≥ 8; or
            `(N, T, s, s, 3)`, T crops of each person, the one to restore first, the others in any order.
        visible: `(N, s, s)` or `(N, T, s, s)` in [0, 1], 1 = visible, 0 = hidden; None lets the segmenter find it.
            `jdsr-gan` is blind: of a single crop it ignores this and finds by itself what is hidden.
        system: `auto`, or a restorer that ships: `fcsr-gan` and `jdsr-gan` take 16 and 32 px, `ofhnet` and `pro-uigan`
            16 px, `fd-stackgan` up to its output's size. Crops go to the network of the nearest size, resampled to it.
            Where a network can't make use of further crops, it restores the first alone.
        size: side of the restored faces: 128, or 256 where the system has a network for it.

    Returns: uint8 RGB `(N, size, size, 3)`.

    Raises: ValueError for arrays of another shape, type or range; ConfigError for an unknown system or size.
    """
    lr, visible = _checked(lr, visible)
    models = weights.folder()
    restorer = _restorer(system, size, models)
    if len(lr) == 0:
        return np.zeros((0, size, size, 3), np.uint8)
    crops = lr.reshape(len(lr), -1, *lr.shape[-3:])
    if visible is None and restorer.blind and crops.shape[1] == 1:
        visible = np.ones(crops.shape[:-1], np.float32)
    elif visible is None:
        visible = np.stack(_segmenter(models).visible(list(crops.reshape(-1, *crops.shape[2:]))))
    maps = visible.reshape(crops.shape[:-1])
    tracks = [[View(*crop) for crop in zip(*track, strict=True)] for track in zip(crops, maps, strict=True)]
    return np.stack([face.picture for face in restorer.restore(tracks)])


def _checked(lr: np.ndarray, visible: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    lr = np.asarray(lr)
    square = lr.ndim in (4, 5) and lr.shape[-3] == lr.shape[-2] and lr.shape[-1] == 3
    if not square or lr.dtype != np.uint8 or lr.shape[-2] < 8 or lr.shape[1] == 0:
        raise ValueError(
            f"lr has shape {lr.shape} and type {lr.dtype}; it must be uint8 (N, s, s, 3) with s ≥ 8, or "
            "(N, T, s, s, 3) with T ≥ 1 crops of each person"
        )
    if visible is not None:
        visible = np.asarray(visible, np.float32)
        if visible.shape != lr.shape[:-1]:
            raise ValueError(f"visible has shape {visible.shape}; it must be {lr.shape[:-1]}, as lr")
        if not (visible.min(initial=0) >= 0 and visible.max(initial=1) <= 1):
            raise ValueError("visible holds values outside [0, 1]; 1 = visible, 0 = hidden")
    return lr, visible


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
