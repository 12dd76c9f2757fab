"""The papers' protocols and the camera's by name: how each turns clean faces into training or test pairs."""

from typing import Literal, get_args

import torch

from streamheal.errors import ConfigError
from streamheal.train import degradation
from streamheal.train.bank import Bank

Protocol = Literal["fcsr", "ofhnet", "pro-uigan-square", "pro-uigan-irregular", "jdsr", "cctv"]
PROTOCOLS: tuple[str, ...] = get_args(Protocol)

# What hides faces before a camera. Masks mostly; a quarter of the faces is free; glasses are drawn but hide nothing.
CAMERA_SHARES = {
    "none": 0.22, "medical": 0.28, "sunglasses": 0.08, "eyeglasses": 0.05, "scarf": 0.07, "hat": 0.05, "hand": 0.12,
    "thing": 0.05, "rectangle": 0.04, "irregular": 0.04,
}  # fmt: skip


def make_pair(
    protocol: str, hr: torch.Tensor, landmarks: torch.Tensor | None, bank: Bank, gen: torch.Generator, *, size: int = 16
) -> tuple[torch.Tensor, torch.Tensor]:
    """Clean faces `(B, 3, 128, 128)` → LR input `(B, 3, size, size)` and its visibility `(B, 1, size, size)`.

    Raises ConfigError on an unknown protocol.
    """
    if protocol == "fcsr":
        return degradation.fcsr(hr, gen, size=size)
    if protocol == "ofhnet":
        return degradation.ofhnet(hr, gen, size=size)
    if protocol == "pro-uigan-square":
        area = ((16 / 128) ** 2, (64 / 128) ** 2)
        visible = degradation.rectangles(len(hr), hr.shape[-1], gen, area=area, square=True)
        return degradation.pro_uigan(hr, visible, gen, size=size)
    if protocol == "pro-uigan-irregular":
        _, visible, _ = bank.occlude(hr, None, gen, shares={"irregular": 1})
        return degradation.pro_uigan(hr, visible, gen, size=size)
    if protocol == "jdsr":
        occluded, visible, _ = bank.occlude(hr, landmarks, gen, shares={"medical": 1})
        return degradation.jdsr(occluded, visible, gen, size=size)
    if protocol == "cctv":
        occluded, visible, _ = bank.occlude(hr, landmarks, gen, shares=CAMERA_SHARES)
        return degradation.cctv(occluded, visible, gen, size=size)
    raise ConfigError(f"no protocol {protocol!r}; allowed: {', '.join(PROTOCOLS)}")
