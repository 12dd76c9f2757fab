"""A track's crops brought together at LR size: what one frame hides another shows, and each samples the face elsewhere.

Registered first (`registration.py`), every other crop is looked at where the query's pixels lie, on a grid twice as
fine: interpolation loses none of its samples there. Then attention over the frames, position by position, biased by
visibility and quality, says how much each frame is to be believed, and what it has to add.

With no other valid frame the query's picture and visibility come back as they went in, and nothing is added.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from streamheal.heal.networks.layers import ResidualBlock, settle
from streamheal.heal.networks.registration import register
from streamheal.heal.networks.warping import warp

FINE = 2  # the grid on which frames are looked at, times the LR grid
_PIXELS = FINE**2
_OWN, _OTHER = 4 * _PIXELS, 5 * _PIXELS + 5


@dataclass(frozen=True, slots=True)
class TrackFusionConfig:
    """Defaults: 0.1 M parameters, 0.02 GMAC a frame."""

    lr_size: int = 16
    width: int = 48
    out: int = 0  # channels of the features for a network that takes them; 0: none


@dataclass(slots=True)
class Fused:
    """What a restorer gets of B tracks, in place of one crop each."""

    lr: torch.Tensor  # (B, 3, s, s): the query's crop, what it hides taken from others, less noisy
    visible: torch.Tensor  # (B, 1, s, s): how much of each pixel some frame shows
    features: torch.Tensor | None  # (B, out, s, s), to be added to the restorer's first ones
    weights: torch.Tensor  # (B, T, s, s): how much each frame is believed at each of the query's pixels; sums to ≤ 1
    maps: torch.Tensor  # (B, T, 2, 3): px of the query → px of each frame, at LR size
    fits: torch.Tensor  # (B, T) in [0, 1]: how well each frame could be registered


class TrackFusion(nn.Module):
    """Crops and visibilities of a track → one crop, its visibility, and features."""

    def __init__(self, config: TrackFusionConfig = TrackFusionConfig()):
        super().__init__()
        self.config = config
        width = config.width
        self.own = nn.Conv2d(_OWN, width, 3, padding=1)
        self.other = nn.Conv2d(_OTHER, width, 3, padding=1)
        self.compare = ResidualBlock(width, None)
        self.value = nn.Conv2d(width, width, 1)
        self.weight = nn.Conv2d(width, 1, 1)
        self.merge = ResidualBlock(width, None)
        # No bias and zeros: nothing is added by one frame alone, ever, and by an untrained network.
        self.picture = nn.Conv2d(width, 3, 1, bias=False)
        self.features = nn.Conv2d(width, config.out, 1, bias=False) if config.out else None
        for head in (self.weight, self.picture, self.features):
            if head is not None:
                nn.init.zeros_(head.weight)
        nn.init.zeros_(self.weight.bias)

    def forward(
        self, lr: torch.Tensor, visible: torch.Tensor, valid: torch.Tensor, quality: torch.Tensor | None = None
    ) -> Fused:
        """Tracks of up to T crops, the one to restore first.

        lr (B, T, 3, s, s) and visible (B, T, 1, s, s) in [0, 1]; valid (B, T) bool, False for padding, which has no
        influence; quality (B, T) in [0, 1], by which frames are believed beside what they show, 1 by default.
        """
        batch, frames, _, size, _ = lr.shape
        query, query_visible = lr[:, 0], visible[:, 0]
        identity = torch.eye(2, 3, device=lr.device).repeat(batch, frames, 1, 1)
        fits = torch.zeros(batch, frames, device=lr.device)
        fits[:, 0] = 1
        weights = torch.zeros(batch, frames, size, size, device=lr.device)
        pairs = valid[:, 1:].nonzero()  # padding is never looked at
        if len(pairs) == 0:
            weights[:, 0] = 1
            none = lr.new_zeros(batch, self.config.out, size, size) if self.features else None
            return Fused(query, query_visible, none, weights, identity, fits)
        rows, columns = pairs[:, 0], pairs[:, 1] + 1
        others, others_visible = lr[rows, columns], visible[rows, columns]
        with torch.no_grad():
            maps, fit = register(query[rows], query_visible[rows], others, others_visible)
        identity[rows, columns], fits[rows, columns] = maps, fit

        believed = fit if quality is None else fit * quality[rows, columns]
        seen = self._look(others, others_visible, maps, size)
        shown, shown_visible = (F.pixel_unshuffle(part, FINE) for part in (seen[:, :3], seen[:, 3:]))
        own_fine = F.interpolate(query, scale_factor=FINE, mode="bicubic", align_corners=False)
        unlike = F.pixel_unshuffle((seen[:, :3] - own_fine[rows]).abs().mean(1, keepdim=True), FINE)
        entered = torch.cat([shown * 2 - 1, shown_visible, unlike, _phase(maps, size)], 1)
        trusted = believed.view(-1, 1, 1, 1).expand(-1, 1, size, size)
        own = torch.cat([F.pixel_unshuffle(own_fine, FINE) * 2 - 1, query_visible.expand(-1, _PIXELS, -1, -1)], 1)
        own = self.own(own)
        features = self.compare(F.relu(self.other(torch.cat([entered, trusted], 1)) + own[rows]))
        value = self.value(features)

        # Softmax over the frames of each track, and over staying with what the query itself shows (logit 0 where it is
        # wholly visible). A frame that hides a pixel, or that could not be registered, has next to no say there.
        there = shown_visible.mean(1, keepdim=True)
        logit = self.weight(features) + (there + 1e-4).log() + (believed.view(-1, 1, 1, 1) + 1e-4).log()
        power = logit.clamp(max=20).exp()
        total = (query_visible + 0.05).index_add(0, rows, power)
        share = power / total[rows]
        weights[rows, columns] = share[:, 0].detach().float()
        weights[:, 0] = 1 - weights.sum(1)

        zero = query.new_zeros(batch, self.config.width, size, size)
        mixed = zero.index_add(0, rows, share * value)
        # What the others show where the query is hidden: their weighted mean, as far as anybody shows it.
        # A pixel at the edge of what hides shows more of that than of the face.
        coarse, clear = F.avg_pool2d(seen[:, :3], FINE), settle(F.avg_pool2d(seen[:, 3:], FINE))
        sight = power * clear
        backed = query.new_zeros(batch, 1, size, size).index_add(0, rows, sight)
        mean = torch.zeros_like(query).index_add(0, rows, sight * coarse) / (backed + 1e-4)
        unseen = (1 - clear * _sure(believed)).clamp(min=1e-4).log()
        covered = 1 - torch.zeros_like(query_visible).index_add(0, rows, unseen).exp()  # by any of them
        hidden = 1 - query_visible
        merged = self.merge(mixed)
        helped = torch.zeros(batch, device=lr.device, dtype=torch.bool).index_fill(0, rows, True).view(-1, 1, 1, 1)
        drawn = query + hidden * covered * (mean - query) + self.picture(merged)
        return Fused(
            torch.where(helped, drawn, query),
            torch.where(helped, query_visible + hidden * covered, query_visible),
            torch.where(helped, self.features(merged), 0.0) if self.features else None,
            weights,
            identity,
            fits,
        )

    @staticmethod
    def _look(others: torch.Tensor, visible: torch.Tensor, maps: torch.Tensor, size: int) -> torch.Tensor:
        """`(N, 4, 2 s, 2 s)`: each frame and its visibility where the query's fine grid lies."""
        fine = FINE * size
        linear, shift = maps[..., :2], maps[..., 2:]
        first = maps.new_full((2, 1), 0.5 / FINE - 0.5)  # where the first fine pixel lies, in LR pixels
        on_fine = torch.cat([linear / FINE, linear @ first + shift], -1)
        pictures = warp(others, on_fine, fine, mode="bicubic")
        return torch.cat([pictures, warp(visible, on_fine, fine)], 1)


def _sure(believed: torch.Tensor) -> torch.Tensor:
    """From how well a frame fits to whether it shows the same place: 0 below 0.5, 1 from 0.9 on."""
    return ((believed - 0.5) / 0.4).clamp(0, 1).view(-1, 1, 1, 1)


def _phase(maps: torch.Tensor, size: int) -> torch.Tensor:
    """`(N, 4, s, s)`: where between a frame's own pixels each of the query's lies, as sines and cosines."""
    at = torch.arange(size, device=maps.device, dtype=torch.float32)
    y, x = torch.meshgrid(at, at, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], -1).view(1, -1, 3) @ maps.mT  # (N, P, 2)
    angle = (points * (2 * torch.pi)).mT.unflatten(2, (size, size))
    return torch.cat([angle.sin(), angle.cos()], 1)
