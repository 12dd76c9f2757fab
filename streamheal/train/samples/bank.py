"""A bank of drawn occluders, fitted to faces and laid over them in batches, on the device of the pictures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from streamheal.heal.networks.warping import compose, similarity, warp
from streamheal.train.samples.degradation import uniform
from streamheal.train.samples.occluders import DRAWERS, LOOSE, MEAN68, TRANSPARENT, RealThings, draw

_FIT = (2, 4, 6, 8, 10, 12, 14, 28, 30, 36, 39, 42, 45)  # jaw, nose, eye corners: what an occluder hangs on


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """One occluder for each of B faces, where it belongs."""

    colour: torch.Tensor  # (B, 3, S, S) in [0, 1]
    alpha: torch.Tensor  # (B, 1, S, S), 1 = covers; 0 for "none"
    hides: torch.Tensor  # (B, 1, 1, 1) bool, False for clear glasses
    kinds: list[str]


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """`layers` (N, 4, 128, 128) uint8 RGBA in the canonical template; `of_kind[name]`: the rows of each kind."""

    layers: torch.Tensor
    of_kind: dict[str, torch.Tensor]

    @classmethod
    def draw(cls, seed: int, per_kind: int, archive: Path | None = None, *, held_out: bool = False) -> "Bank":
        """`per_kind` occluders of each kind, the same for the same seed. `archive`: real ones, the fifth part of which
        is used only with `held_out`."""
        rng, things = np.random.default_rng(seed), RealThings.read(archive, held_out=held_out)
        layers, of_kind = [], {}
        for kind in DRAWERS:
            of_kind[kind] = torch.arange(len(layers), len(layers) + per_kind)
            layers += [draw(kind, rng, things) for _ in range(per_kind)]
        return cls(torch.from_numpy(np.stack(layers)).permute(0, 3, 1, 2).contiguous(), of_kind)

    def occlude(
        self,
        pictures: torch.Tensor,
        landmarks: torch.Tensor | None,
        gen: torch.Generator,
        *,
        shares: dict[str, float],
    ) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
        """Lay one occluder over each picture.

        pictures: (B, 3, S, S) in [0, 1]. landmarks: (B, 68, 2) px to fit to, or None for the template's own.
        shares: how often each kind is drawn; "none" leaves the picture as it is.
        Returns the occluded pictures, their visibility (B, 1, S, S) = 1 - alpha, and the kind of each.
        """
        placed = self.place(pictures.shape[-1], landmarks, len(pictures), gen, shares=shares)
        occluded = pictures * (1 - placed.alpha) + placed.colour * placed.alpha
        return occluded, 1 - placed.alpha * placed.hides, placed.kinds

    def place(
        self,
        side: int,
        landmarks: torch.Tensor | None,
        batch: int,
        gen: torch.Generator,
        *,
        shares: dict[str, float],
    ) -> "Placed":
        """The occluders alone, as `occlude` would lay them over `batch` pictures of `side` px."""
        kinds = list(shares)
        weights = torch.tensor([float(shares[kind]) for kind in kinds], device=gen.device)
        drawn = torch.multinomial(weights, batch, replacement=True, generator=gen).tolist()
        names = [kinds[i] for i in drawn]
        rows = torch.stack([self._one_of(name, gen) for name in names])
        layers = self.layers[rows.to(self.layers.device)].to(gen.device).float() / 255
        there = torch.tensor([name != "none" for name in names], device=gen.device).view(-1, 1, 1, 1)
        drawn_at = layers.shape[-1]
        if landmarks is not None:
            landmarks = (landmarks + 0.5) * (drawn_at / side) - 0.5
        layers = warp(layers, self._placement(batch, landmarks, names, gen, gen.device))
        if side != drawn_at:  # things before a face are soft at their edges, never finer than drawn
            layers = F.interpolate(layers, (side, side), mode="bilinear", align_corners=False)
        gain = uniform((batch, 1, 1, 1), 0.6, 1.25, gen) * uniform((batch, 3, 1, 1), 0.93, 1.07, gen)
        hides = torch.tensor([name not in TRANSPARENT for name in names], device=gen.device).view(-1, 1, 1, 1)
        return Placed((layers[:, :3] * gain).clamp(0, 1), layers[:, 3:] * there, hides, names)

    def _one_of(self, kind: str, gen: torch.Generator) -> torch.Tensor:
        rows = self.of_kind["medical" if kind == "none" else kind]
        return rows[int(torch.randint(0, len(rows), (), generator=gen, device=gen.device))]

    def _placement(self, batch, landmarks, names, gen, device) -> torch.Tensor:
        """`(B, 2, 3)` output px → layer px: the inverse of fit and jitter."""
        jitter = similarity(
            angle=_normal(batch, 0.05, gen), scale=1 + _normal(batch, 0.04, gen), shift=_normal((batch, 2), 1.8, gen)
        ).to(device)
        if landmarks is None:
            return jitter
        mean = torch.from_numpy(MEAN68[list(_FIT)]).to(device)
        points = landmarks[:, list(_FIT)].to(device).float()
        known = torch.cat([points, torch.ones_like(points[..., :1])], 2)  # (B, n, 3) face px → layer px
        solved = torch.linalg.lstsq(known, mean.expand(batch, -1, -1)).solution.mT
        fits = torch.tensor([name not in LOOSE for name in names], device=device)
        # a landmark network that failed must not fling the mask away: keep only plausible fits
        plain = (solved[:, :, :2] - torch.eye(2, device=device)).abs().amax((1, 2)) < 0.45
        use = (fits & plain & solved.isfinite().all(2).all(1)).view(-1, 1, 1)
        return compose(torch.where(use, solved, torch.eye(2, 3, device=device).expand(batch, 2, 3)), jitter)


def _normal(shape, sigma: float, gen: torch.Generator) -> torch.Tensor:
    return torch.randn(shape, generator=gen, device=gen.device) * sigma
