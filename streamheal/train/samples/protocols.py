"""The papers' protocols and the camera's by name: how each turns clean faces into training or test pairs."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from streamheal.errors import ConfigError
from streamheal.heal.networks.layers import resample, resample_map
from streamheal.train.samples import degradation
from streamheal.train.samples.bank import Bank

Protocol = Literal["fcsr", "ofhnet", "pro-uigan-square", "pro-uigan-irregular", "jdsr", "fd", "cctv"]
PROTOCOLS: tuple[str, ...] = get_args(Protocol)

# What hides faces before a camera. Masks mostly; a quarter of the faces is free; glasses are drawn but hide nothing.
CAMERA_SHARES = {
    "none": 0.22, "medical": 0.28, "sunglasses": 0.08, "eyeglasses": 0.05, "scarf": 0.07, "hat": 0.05, "hand": 0.12,
    "thing": 0.05, "rectangle": 0.04, "irregular": 0.04,
}  # fmt: skip

# What FD-StackGAN pastes: glasses, masks, microphones, scarves, cups, hands, over the eyes more than elsewhere. Its
# glasses are our sunglasses: what clear ones cover is visible, and nobody would tell a restorer to draw it anew.
FD_SHARES = {"sunglasses": 0.4, "medical": 0.2, "hand": 0.15, "microphone": 0.08, "cup": 0.07, "scarf": 0.1}


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """What a restorer gets of B faces, and what the judges ask about it."""

    lr: torch.Tensor  # (B, 3, size, size) in [0, 1]
    visible: torch.Tensor  # (B, 1, size, size), 1 = visible
    kinds: list[str]  # (B,) what hides each face
    native: int  # side of the crops in the camera's own pixels, before they became `size`


def make_pair(
    protocol: str, hr: torch.Tensor, landmarks: torch.Tensor | None, bank: Bank, gen: torch.Generator, *, size: int = 16
) -> tuple[torch.Tensor, torch.Tensor]:
    """`draw_pair` for training: its LR input and visibility alone."""
    pair = draw_pair(protocol, hr, landmarks, bank, gen, size=size)
    return pair.lr, pair.visible


def camera_sizes(size: int, most: int) -> tuple[int, int]:
    """The smallest and the largest crop, in the camera's pixels, that a network of `size` px is judged on: 12 to 36 for
    16 px (specification §0.3), 24 to 72 for 32 px; one that works at the output's size takes all there are."""
    return (size * 3 // 4, size * 9 // 4) if size * 9 // 4 <= most else (12, most)


def draw_pair(
    protocol: str, hr: torch.Tensor, landmarks: torch.Tensor | None, bank: Bank, gen: torch.Generator, *, size: int = 16
) -> Pair:
    """Clean faces `(B, 3, S, S)`, S = 128 or 256 → LR input `(B, 3, size, size)`, its visibility, and what hides each.

    Raises ConfigError on an unknown protocol.
    """
    if protocol == "fcsr":
        return Pair(*degradation.fcsr(hr, gen, size=size), ["quarter"] * len(hr), size)
    if protocol == "ofhnet":
        return Pair(*degradation.ofhnet(hr, gen, size=size), ["rectangle"] * len(hr), size)
    if protocol == "pro-uigan-square":
        area = ((16 / 128) ** 2, (64 / 128) ** 2)
        visible = degradation.rectangles(len(hr), hr.shape[-1], gen, area=area, square=True)
        return Pair(*degradation.pro_uigan(hr, visible, gen, size=size), ["square"] * len(hr), size)
    if protocol == "pro-uigan-irregular":
        _, visible, kinds = bank.occlude(hr, None, gen, shares={"irregular": 1})
        return Pair(*degradation.pro_uigan(hr, visible, gen, size=size), kinds, size)
    if protocol == "jdsr":
        occluded, visible, kinds = bank.occlude(hr, landmarks, gen, shares={"medical": 1})
        return Pair(*degradation.jdsr(occluded, visible, gen, size=size), kinds, size)
    if protocol == "fd":  # nothing shrinks, unless the network is one for smaller crops
        occluded, visible, kinds = bank.occlude(hr, landmarks, gen, shares=FD_SHARES)
        return Pair(resample(occluded, size), resample_map(visible, size), kinds, size)
    if protocol == "cctv":
        occluded, visible, kinds = bank.occlude(hr, landmarks, gen, shares=CAMERA_SHARES)
        crop, visible = degradation.camera(occluded, visible, gen, native=camera_sizes(size, hr.shape[-1]))
        return Pair(resample(crop, size), resample_map(visible, size), kinds, crop.shape[-1])
    raise ConfigError(f"no protocol {protocol!r}; allowed: {', '.join(PROTOCOLS)}")
