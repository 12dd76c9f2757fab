"""Small random turns, scales and shifts of aligned crops: a detector's five points are never exact."""

from dataclasses import dataclass

import torch

from streamheal.heal.networks.warping import warp
from streamheal.train.samples.degradation import uniform


@dataclass(frozen=True, slots=True, eq=False)
class Jitter:
    """One similarity a picture, `(B, 2, 3)`: px of the crop → px of the jittered crop."""

    matrices: torch.Tensor

    @classmethod
    def draw(
        cls, batch: int, side: int, gen: torch.Generator, *, degrees: float, scale: float, shift: float
    ) -> "Jitter":
        """Turns of up to ±`degrees` and scales of 1 ± `scale` about the centre, then shifts of ±`shift` px."""
        angle = torch.deg2rad(uniform((batch,), -degrees, degrees, gen))
        factor = 1 + uniform((batch,), -scale, scale, gen)
        cosine, sine = angle.cos() * factor, angle.sin() * factor
        linear = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
        centre = torch.full((2,), (side - 1) / 2, device=gen.device)
        offset = centre + uniform((batch, 2), -shift, shift, gen) - linear @ centre
        return cls(torch.cat([linear, offset[:, :, None]], 2))

    def maps(self, maps: torch.Tensor) -> torch.Tensor:
        """`(B, C, side, side)`, bilinear; beyond the border it repeats."""
        linear = torch.linalg.inv(self.matrices[:, :, :2])
        return warp(maps, torch.cat([linear, -linear @ self.matrices[:, :, 2:]], 2))

    def points(self, points: torch.Tensor) -> torch.Tensor:
        """`(B, K, 2)` px."""
        return points @ self.matrices[:, :, :2].mT + self.matrices[:, None, :, 2]
