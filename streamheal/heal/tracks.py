"""Tracks as networks take them: crops of any size and tracks of any length, in batches of bounded size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from streamheal.heal.device import batches, to_batch
from streamheal.heal.networks.layers import resample, resample_map

CROPS_A_FACE = 8
"""A batch of B faces holds at most 8 B crops, padding included, whatever the length of the tracks."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One crop of a track."""

    image: np.ndarray  # (s, s, 3) uint8 RGB in the canonical template, any s
    visible: np.ndarray  # (s, s) in [0, 1], 1 = visible
    quality: float = 1.0  # [0, 1], how far it is believed beside the first


Track = Sequence[View]
"""The crop to restore first, then those that help, in any order."""


@dataclass(frozen=True, slots=True, eq=False)
class Padded:
    """B tracks of up to T crops at one size s; `valid` is False for padding, which is all zeros."""

    lr: torch.Tensor  # (B, T, 3, s, s) in [0, 1]
    visible: torch.Tensor  # (B, T, 1, s, s) in [0, 1]
    valid: torch.Tensor  # (B, T) bool
    quality: torch.Tensor  # (B, T) in [0, 1]


def calls(tracks: Sequence[Track], most: int) -> Iterator[list[int]]:
    """Places of tracks of like length together, at most `most` tracks and `CROPS_A_FACE` × `most` crops with padding.
    A track that is longer than that goes alone."""
    call: list[int] = []
    for place in sorted(range(len(tracks)), key=lambda place: len(tracks[place])):
        longest = len(tracks[place])  # so far
        if call and (len(call) == most or longest * (len(call) + 1) > CROPS_A_FACE * most):
            yield call
            call = []
        call.append(place)
    if call:
        yield call


def pad(tracks: Sequence[Track], size: int, device: torch.device) -> Padded:
    """Every crop brought to `size` px, and tracks to one length."""
    views = [view for track in tracks for view in track]
    pictures = torch.zeros(len(views), 3, size, size, device=device)
    maps = torch.zeros(len(views), 1, size, size, device=device)
    for places, part in batches([view.image for view in views], len(views)):
        pictures[places] = resample(to_batch(part, device), size)
        seen = np.stack([views[place].visible for place in places])
        maps[places] = resample_map(torch.from_numpy(seen).to(device).float()[:, None], size)
    lengths = torch.tensor([len(track) for track in tracks], device=device)
    valid = torch.arange(int(lengths.max()), device=device) < lengths[:, None]
    lr, visible = (part.new_zeros(*valid.shape, *part.shape[1:]) for part in (pictures, maps))
    quality = torch.zeros(valid.shape, device=device)
    lr[valid], visible[valid] = pictures, maps  # row by row, as the views are
    quality[valid] = torch.tensor([view.quality for view in views], device=device, dtype=torch.float32)
    return Padded(lr, visible, valid, quality)
