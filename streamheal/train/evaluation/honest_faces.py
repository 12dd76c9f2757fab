"""Faces as a pipeline meets them, what came of them, and what is true: for fitting calibrations, and for judging them.

Everything as in use: crops at the camera's size, cut by imperfect landmarks; visibility as the segmenter finds it;
8 bits wherever pictures have 8 bits.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from streamheal.faces.quality import face_oval
from streamheal.heal.networks.across_track import restore_track
from streamheal.heal.networks.detail import give_back_detail
from streamheal.heal.networks.layers import resample, resample_map
from streamheal.heal.networks.restored import Restored
from streamheal.train.data import SIZE, Faces
from streamheal.train.samples.bank import Bank
from streamheal.train.samples.tracks import Tracks, draw_track

GROUP = 7  # faces that share one draw of the camera's size
SIDES = (12, 128)  # native px of the crops, log-uniform
PIXELS = 256  # of each restored face, chosen at random
FRAMES = 4  # crops of a track


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """What looks at the faces; `restorer` None where embeddings of originals are all that is asked for."""

    embedder: nn.Module
    segmenter: nn.Module
    restorer: nn.Module | None = None
    fusion: nn.Module | None = None  # brings a track's crops together for it


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """N crops. Embeddings `(N, D)` are L2-normalised; `evidence`, `error`, `hidden` `(N, PIXELS)`."""

    rows: np.ndarray  # (N,) which photograph
    sides: np.ndarray  # (N,) native px
    visible: np.ndarray  # (N,) share of the face oval that the segmenter takes to be visible
    original: np.ndarray  # of the crop, or the mean over its track
    restored: np.ndarray | None = None
    evidence: np.ndarray | None = None
    error: np.ndarray | None = None  # absolute, mean of RGB, 0 to 255
    hidden: np.ndarray | None = None  # bool: truly hidden
    together: np.ndarray | None = None  # (N,) crops of its track that each was restored from


@torch.inference_mode()
def look(faces: Faces, rows: np.ndarray, bank: Bank, networks: Networks, *, seed: int) -> Looked:
    """Each of the photographs `rows` as two crops, one cut exactly and one by landmarks that are off; where there is a
    fusion, half of the photographs as one crop instead, restored alone and with the rest of a track of FRAMES. The same
    for the same seed."""
    half = len(rows) // 2 if networks.fusion is not None else len(rows)
    parts = [_of_crops(tracks, on, networks, gen) for tracks, on, gen in _draw(faces, rows[:half], bank, seed, 2)]
    parts += [
        _of_track(tracks, on, networks, gen) for tracks, on, gen in _draw(faces, rows[half:], bank, seed + 1, FRAMES)
    ]
    return _joined(parts)


@torch.inference_mode()
def look_at_tracks(
    faces: Faces, rows: np.ndarray, bank: Bank, networks: Networks, *, seed: int
) -> tuple[Looked, Looked]:
    """Each of the photographs as a track of FRAMES crops: every crop for itself, and the tracks' means, which stand at
    their first crop. Originals only."""
    crops, means = [], []
    for tracks, chosen, gen in _draw(faces, rows, bank, seed, FRAMES):
        every = _of_crops(tracks, chosen, Networks(networks.embedder, networks.segmenter), gen)
        crops.append(every)
        # Weighed by what is visible: crops of one size and one camera differ in this most.
        parts = (every["original"] * every["visible"][:, None]).reshape(len(chosen), FRAMES, -1).sum(1)
        first = {name: values[::FRAMES] for name, values in every.items()}
        means.append(first | {"original": parts / np.linalg.norm(parts, axis=1, keepdims=True)})
    return _joined(crops), _joined(means)


@torch.inference_mode()
def embed(network: nn.Module, pictures: np.ndarray) -> np.ndarray:
    """uint8 `(N, s, s, 3)` → `(N, D)`."""
    return np.concatenate([_embed(network, _tensor(pictures[i : i + 32])) for i in range(0, len(pictures), 32)])


def _draw(
    faces: Faces, rows: np.ndarray, bank: Bank, seed: int, frames: int
) -> Iterator[tuple[Tracks, np.ndarray, torch.Generator]]:
    gen = torch.Generator().manual_seed(seed)
    for start in range(0, len(rows), GROUP):
        chosen = rows[start : start + GROUP]
        least, most = map(math.log2, SIDES)
        side = round(2 ** (least + (most - least) * float(torch.rand((), generator=gen))))
        hr, landmarks = _tensor(faces.pictures(chosen)), torch.from_numpy(faces.landmarks[chosen])
        yield draw_track("camera", hr, landmarks, bank, gen, frames=frames, size=side, native=side), chosen, gen


def _of_crops(tracks: Tracks, rows: np.ndarray, networks: Networks, gen: torch.Generator) -> dict[str, np.ndarray]:
    """Every frame for itself."""
    crops = _eight_bits(tracks.lr.flatten(0, 1))
    found = networks.segmenter.visible(crops)
    looked = _about(crops, found, rows.repeat(tracks.lr.shape[1]), networks)
    if networks.restorer is not None:
        size = networks.restorer.lr_size
        made = networks.restorer(resample(crops, size), resample_map(found, size))
        true, seen = tracks.true.flatten(0, 1), tracks.visible.flatten(0, 1)
        looked |= _against(made, crops, found, true, seen, networks, gen)
        looked["together"] = np.ones(len(crops), int)
    return looked


def _of_track(tracks: Tracks, rows: np.ndarray, networks: Networks, gen: torch.Generator) -> dict[str, np.ndarray]:
    """The first frame, alone and then with the others."""
    batch, frames = tracks.lr.shape[:2]
    crops = _eight_bits(tracks.lr.flatten(0, 1))
    found = networks.segmenter.visible(crops)
    size = networks.restorer.lr_size
    lr = resample(crops, size).unflatten(0, (batch, frames))
    visible = resample_map(found, size).unflatten(0, (batch, frames))
    first, shown = crops[::frames], found[::frames]
    about, parts = _about(first, shown, rows, networks), []
    for together in (1, frames):
        valid = (torch.arange(frames) < together).expand(batch, frames)
        made = restore_track(networks.restorer, networks.fusion, lr, visible, valid)[0]
        looked = _against(made, first, shown, tracks.true[:, 0], tracks.visible[:, 0], networks, gen)
        parts.append(about | looked | {"together": np.full(batch, together)})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _joined(parts: list[dict[str, np.ndarray]]) -> Looked:
    return Looked(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _about(crops: torch.Tensor, found: torch.Tensor, rows: np.ndarray, networks: Networks) -> dict[str, np.ndarray]:
    oval = torch.from_numpy(face_oval(crops.shape[-1]).copy())
    return {
        "rows": rows,
        "sides": np.full(len(crops), crops.shape[-1]),
        "visible": ((found[:, 0] * oval).sum((1, 2)) / oval.sum()).numpy(),
        "original": _embed(networks.embedder, crops),
    }


def _against(
    made: Restored, crops: torch.Tensor, found: torch.Tensor, true: torch.Tensor, seen: torch.Tensor,
    networks: Networks, gen: torch.Generator,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Restored faces against the truth, at PIXELS places of each."""
    shown = 1 - made.occlusion.float() if networks.restorer.blind else found
    hr = _eight_bits(give_back_detail(made.hr.float(), crops, shown, networks.restorer.lr_size))
    places = torch.randint(0, SIZE * SIZE, (len(hr), PIXELS), generator=gen)

    def at(maps: torch.Tensor) -> np.ndarray:
        return maps.float().flatten(1).gather(1, places).numpy()

    return {
        "restored": _embed(networks.embedder, hr),
        "evidence": at(made.evidence),
        "error": at((hr - true).abs().mean(1) * 255),
        "hidden": at(resample_map(seen, SIZE)) < 0.5,
    }


def _embed(network: nn.Module, pictures: torch.Tensor) -> np.ndarray:
    return network(pictures).numpy()


def _eight_bits(pictures: torch.Tensor) -> torch.Tensor:
    return (pictures.clamp(0, 1) * 255).round() / 255


def _tensor(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
