"""Faces as a prior meets them: sharp, through a camera, or as the papers shrink and hide them."""

from dataclasses import dataclass, field

import torch

from streamheal.heal.networks.layers import fill_hidden, resample
from streamheal.train.samples import degradation
from streamheal.train.samples.bank import Bank
from streamheal.train.samples.degradation import uniform
from streamheal.train.samples.protocols import CAMERA_SHARES, PROTOCOLS, make_pair

SHARES = {"sharp": 0.25, "camera": 0.4, "papers": 0.35}
PAPERS = tuple(name for name in PROTOCOLS if name != "cctv")
SIZES = (16, 32, 64)  # Pro-UIGAN's intermediate faces have all three


@dataclass(slots=True)
class Views:
    """Draws a view anew for every `group` pictures; all come back at 128 px."""

    bank: Bank
    hidden: float  # share of groups with occluders
    shares: dict[str, float] = field(default_factory=lambda: dict(SHARES))
    native: tuple[int, int] = (12, 64)  # px, of the camera
    group: int = 8

    def draw(self, pictures: torch.Tensor, landmarks: torch.Tensor, gen: torch.Generator) -> torch.Tensor:
        """`(B, 3, s, s)` in [0, 1] and landmarks `(B, 68, 2)` px → `(B, 3, s, s)`."""
        weights = torch.tensor([float(share) for share in self.shares.values()], device=gen.device)
        seen = []
        for start in range(0, len(pictures), self.group):
            part = slice(start, start + self.group)
            view = list(self.shares)[int(torch.multinomial(weights, 1, generator=gen))]
            one = self._one(view, pictures[part], landmarks[part], gen)
            seen.append(resample(one, pictures.shape[-1]))
        return torch.cat(seen)

    def _one(self, view: str, picture: torch.Tensor, landmarks: torch.Tensor, gen: torch.Generator) -> torch.Tensor:
        hidden = float(uniform((), 0, 1, gen)) < self.hidden
        if view == "papers":
            size = _any_of(SIZES, gen)
            if not hidden:
                return degradation.shrink(picture, size, "bicubic")
            lr, visible = make_pair(_any_of(PAPERS, gen), picture, landmarks, self.bank, gen, size=size)
            # a smooth fill is what a restorer's first steps make of a hole
            return fill_hidden(lr, visible) if float(uniform((), 0, 1, gen)) < 0.5 else lr
        visible = torch.ones_like(picture[:, :1])
        if hidden:
            picture, visible, _ = self.bank.occlude(picture, landmarks, gen, shares=CAMERA_SHARES)
        if view == "camera":
            picture, _ = degradation.camera(picture, visible, gen, native=self.native)
        return picture


def _any_of(choices: tuple, gen: torch.Generator):
    return choices[int(torch.randint(0, len(choices), (), generator=gen, device=gen.device))]
