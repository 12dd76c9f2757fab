"""A track's crops brought together: what one frame hides another shows, and each samples the face at other places.

Registered onto the crop that is restored (`registration.py`), the frames are attended to position by position, with
what they show and how good they are as a bias. So weighted, they are explained by one picture of twice the resolution
(`reconstruction.py`). A few convolutions make of it what a restorer takes: a completed crop with its visibility, and,
for the project's own trunk, features; its face is to agree with the crops in the end (`agreement.py`).

With no other valid frame the crop comes back as it went in, and nothing is added.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from streamheal.heal.networks.agreement import Laid
from streamheal.heal.networks.layers import ResidualBlock, mean_with_mirrored, settle, with_mirrored
from streamheal.heal.networks.reconstruction import FINE, Sight, look, reconstruct
from streamheal.heal.networks.registration import register

_PIXELS = FINE**2  # of the fine grid in each LR pixel
JOINED = 8 * _PIXELS + 1  # channels of what is made of all crops before anything is learned of it


@dataclass(frozen=True, slots=True)
class TrackFusionConfig:
    """Defaults: 0.1 M parameters."""

    lr_size: int = 16
    width: int = 48
    compare_width: int = 24  # of what is done for every frame, not once a track
    out: int = 0  # channels of the features for a network that takes them; 0: none
    mirrored: bool = False  # in use, what is joined is looked at mirrored, too, and features are given for both


@dataclass(slots=True)
class Fused:
    """What a restorer gets of B tracks, in place of one crop each."""

    lr: torch.Tensor  # (B, 3, s, s): the query's crop, what it hides taken from others, less noisy
    visible: torch.Tensor  # (B, 1, s, s): how much of each pixel some frame shows
    # (V, B, out, s, s), to be added to the restorer's first ones; V = 2 where it looks at the mirrored crop, too
    features: torch.Tensor | None
    weights: torch.Tensor  # (B, T, s, s): how much each frame is believed at each of the query's pixels; their sum is 1
    # The crops, for a restorer whose face is to agree with them, and what says how far it is to (V B, JOINED, s, s).
    laid: Laid | None = None
    joined: torch.Tensor | None = None


class TrackFusion(nn.Module):
    """Crops and visibilities of a track → one crop, its visibility and features."""

    def __init__(self, config: TrackFusionConfig = TrackFusionConfig()):
        super().__init__()
        self.config = config
        narrow, width = config.compare_width, config.width
        self.compare = nn.Sequential(
            nn.Conv2d(5 * _PIXELS + 1, narrow, 3, padding=1), nn.ReLU(), nn.Conv2d(narrow, 1, 3, padding=1)
        )
        self.enter = nn.Conv2d(JOINED, width, 3, padding=1)
        self.merge = nn.Sequential(ResidualBlock(width, None), ResidualBlock(width, None))
        # No bias and zeros: nothing is added by one frame alone, ever, and by an untrained network.
        self.picture = nn.Conv2d(width, 3, 1, bias=False)
        self.features = nn.Conv2d(width, config.out, 1, bias=False) if config.out else None
        for head in (self.compare[2], self.picture, self.features):
            if head is not None:
                nn.init.zeros_(head.weight)

    def forward(
        self, lr: torch.Tensor, visible: torch.Tensor, valid: torch.Tensor, quality: torch.Tensor | None = None
    ) -> Fused:
        """Tracks of up to T crops, the one to restore first.

        lr (B, T, 3, s, s) and visible (B, T, 1, s, s) in [0, 1]; valid (B, T) bool, False for padding, which has no
        influence; quality (B, T) in [0, 1], by which frames are believed beside what they show, 1 by default.
        """
        batch, frames, _, size, _ = lr.shape
        helped = valid[:, 0] & (valid.sum(1) > 1)
        rows, columns = (valid & helped[:, None]).nonzero(as_tuple=True)  # padding is never looked at
        first = F.one_hot(torch.zeros(batch, dtype=torch.long, device=lr.device), frames).float()
        weights = first[:, :, None, None].repeat(1, 1, size, size)
        query, query_visible = lr[:, 0], visible[:, 0]
        if len(rows) == 0:
            return Fused(query, query_visible, self._nothing(lr), weights)

        own = columns == 0
        with torch.no_grad(), torch.autocast(lr.device.type, enabled=False):  # equations want all their digits
            crops, shown = lr[rows, columns], visible[rows, columns]
            found = register(query, query_visible, crops[~own], shown[~own], rows[~own])
            maps, believed = torch.eye(2, 3, device=lr.device).repeat(len(rows), 1, 1), torch.ones_like(rows).to(lr)
            maps[~own], believed[~own] = found.maps, found.fits
            crops[~own] = found.lit(crops[~own])
            # What could not be laid onto the query shows nothing of it, however visible it is.
            sure = sure_of(believed)
            clear, laid = settle(shown) * sure, Laid(crops, alone(shown) * sure, maps, rows, own)
            if quality is not None:
                believed = believed * quality[rows, columns]
            sight = look(crops, clear, maps)

        plain = F.interpolate(query, scale_factor=FINE, mode="bicubic", align_corners=False)
        share = self._attend(sight, plain, rows, believed)
        weights = weights.index_put((rows, columns), share[:, 0].detach())
        fine, known = reconstruct(crops, clear, sight, share, rows, query, settle(query_visible))
        views, mean = (with_mirrored, mean_with_mirrored) if self._mirrors else (nn.Identity(), nn.Identity())
        parts = (fine * 2 - 1, fine - plain, known, sight.seen_by(rows, batch))
        entered = [F.pixel_unshuffle(views(part), FINE) for part in parts]
        joined = torch.cat([*entered, views(query_visible)], 1)
        merged = self.merge(self.enter(joined))

        # A pixel at the edge of what hides shows more of that than of the face, and eight frames that doubt a place
        # don't make it sure: what counts is the one that shows it best.
        sure = settle(F.avg_pool2d(sight.visible, FINE)) * ~own.view(-1, 1, 1, 1)
        covered = lr.new_zeros(batch, frames, 1, size, size).index_put((rows, columns), sure).amax(1)
        taken = (1 - query_visible) * covered
        drawn = query + taken * (F.avg_pool2d(fine, FINE) - query) + mean(self.picture(merged))
        where = helped.view(-1, 1, 1, 1)
        lr, visible = torch.where(where, drawn, query), torch.where(where, query_visible + taken, query_visible)
        if self.features is None:
            return Fused(lr, visible, None, weights)
        features = torch.where(where, self.features(merged).unflatten(0, (-1, batch)), 0.0)
        return Fused(lr, visible, features, weights, laid, joined)

    @property
    def _mirrors(self) -> bool:
        return self.config.mirrored and not self.training

    def _attend(self, sight: Sight, plain: torch.Tensor, rows: torch.Tensor, believed: torch.Tensor) -> torch.Tensor:
        """`(N, 1, s, s)`: softmax over each track's frames. A frame that hides a pixel, or that could not be
        registered, has next to no say there. `plain` (B, 3, 2 s, 2 s): the query, enlarged."""
        unlike = (sight.pictures - plain[rows]).abs()
        entered = F.pixel_unshuffle(torch.cat([unlike, sight.visible, sight.phase], 1), FINE)
        trusted = believed.view(-1, 1, 1, 1)
        logit = self.compare(torch.cat([entered, trusted.expand(-1, 1, *entered.shape[2:])], 1))
        bias = (F.avg_pool2d(sight.visible, FINE) + 1e-4).log() + (trusted + 1e-4).log()
        power = (logit + bias).clamp(-20, 20).exp()
        return power / power.new_zeros(len(plain), *power.shape[1:]).index_add(0, rows, power)[rows]

    def _nothing(self, lr: torch.Tensor) -> torch.Tensor | None:
        if self.features is None:
            return None
        return lr.new_zeros(1 + self._mirrors, len(lr), self.config.out, *lr.shape[-2:])


def alone(visible: torch.Tensor) -> torch.Tensor:
    """From how visible a pixel is to whether it shows the face and nothing else, to the colour: 0 below 0.97, 1 from
    0.99 on."""
    return ((visible - 0.97) / 0.02).clamp(0, 1)


def sure_of(believed: torch.Tensor) -> torch.Tensor:
    """From how well a frame fits to whether it shows the same places: 0 below 0.9, 1 from 0.98 on.

    Nine in ten frames of a face that keeps still fit by 0.96 or better, noise and encoder included
    (benchmarks/registration.py). What fits less has moved its head or its lips, or is somebody else, and would blur
    what the query shows.
    """
    return ((believed - 0.9) / 0.08).clamp(0, 1).view(-1, 1, 1, 1)
