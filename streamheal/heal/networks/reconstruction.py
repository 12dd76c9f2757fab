"""One picture of twice the resolution that explains all crops of a track: iterative back-projection (Irani and Peleg
1991), with weights and momentum. Nothing learned.

A face that moves by fractions of a pixel is sampled anew in each frame; eight frames of 16 px know most of its 32 px
picture.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from streamheal.heal.networks.layers import bicubic, fill_hidden
from streamheal.heal.networks.warping import invert, places, rescale, sample

FINE = 2  # the fine grid, times the LR grid
STEPS, RATE, MOMENTUM = 4, 2.0, 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """N frames where the pixels of the crop lie that is restored, on the fine grid."""

    pictures: torch.Tensor  # (N, 3, 2 s, 2 s)
    visible: torch.Tensor  # (N, 1, 2 s, 2 s) in [0, 1]
    phase: torch.Tensor  # (N, 1, 2 s, 2 s): how near a pixel's middle each lies, 1 = there, 0 = between pixels
    there: torch.Tensor  # (N, 2 s, 2 s, 2): where each fine px of the crop lies in the frame, for `sample`
    back: torch.Tensor  # (N, 2 s, 2 s, 2): where each fine px of the frame lies in the crop

    def seen_by(self, rows: torch.Tensor, batch: int) -> torch.Tensor:
        """`(B, 1, 2 s, 2 s)`: by how many frames of its track each place is seen, as a logarithm."""
        count = self.visible.new_zeros(batch, *self.visible.shape[1:]).index_add(0, rows, self.visible)
        return count.log1p()


def look(others: torch.Tensor, visible: torch.Tensor, maps: torch.Tensor) -> Sight:
    """Frames `(N, 3, s, s)` and their visibility `(N, 1, s, s)` by `maps` (N, 2, 3), LR px of the crop → of each."""
    size = others.shape[-1]
    linear, shift = maps[..., :2], maps[..., 2:]
    first = maps.new_full((2, 1), 0.5 / FINE - 0.5)  # where the first fine pixel lies, in LR pixels
    on_fine = torch.cat([linear / FINE, linear @ first + shift], -1)
    there = places(on_fine, FINE * size, size)
    pictures = sample(others * visible, there, mode="bicubic")
    seen = sample(visible, there).clamp(0, 1)
    at = (there + 1) * (size / 2) - 0.5  # in LR pixels of the frame
    phase = (at * (2 * torch.pi)).cos().mean(-1)[:, None] / 2 + 0.5
    return Sight(pictures, seen, phase, there, places(invert(rescale(maps, FINE)), FINE * size, FINE * size))


def reconstruct(
    others: torch.Tensor,
    visible: torch.Tensor,
    sight: Sight,
    share: torch.Tensor,
    rows: torch.Tensor,
    query: torch.Tensor,
    query_visible: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`(B, 3, 2 s, 2 s)`, and how far the frames know it, `(B, 1, 2 s, 2 s)` in [0, 1].

    others (N, 3, s, s), visible (N, 1, s, s), and how they are seen; share (N, 1, s, s): how much each is believed,
    summing to 1 in each track; rows (N,): which track each belongs to; query (B, 3, s, s) and its visibility: what to
    begin with where nothing is known.
    """
    batch, size = len(query), query.shape[-1]
    weight = F.interpolate(share, scale_factor=FINE, mode="bilinear", align_corners=False)
    zero = query.new_zeros(batch, 3, FINE * size, FINE * size)
    sum_of = zero[:, :1].index_add(0, rows, weight * sight.visible)
    known = sum_of / (sum_of + 0.05)
    plain = F.interpolate(fill_hidden(query, query_visible), scale_factor=FINE, mode="bicubic", align_corners=False)
    mean = zero.index_add(0, rows, weight * sight.pictures) / (sum_of + 1e-3)
    fine = plain + known * (mean - plain)
    shrink = bicubic(FINE * size, size, query.device)
    speed = zero
    for _ in range(STEPS):
        shown = shrink @ sample(fine[rows], sight.back) @ shrink.mT
        missed = sample((others - shown) * visible, sight.there)
        towards = zero.index_add(0, rows, weight * missed) / (sum_of + 0.05)
        speed = MOMENTUM * speed + RATE * towards
        fine = fine + speed
    return fine, known
