"""A system without one of its parts, or with better ones: what each part adds, on the same faces."""

from collections.abc import Callable
from copy import copy
from dataclasses import replace

import torch
from torch import nn

from streamheal.heal.networks.layers import resample
from streamheal.heal.networks.restored import Restored

AT_ONCE = 10  # faces
NOWHERE = -1000.0  # px: a landmark that leaves no trace on its map

Ablation = Callable[[nn.Module, torch.Tensor, torch.Tensor, torch.Tensor, Restored], dict[str, torch.Tensor]]
"""`(network, lr, visible, true landmarks, what it restored)` → name of the variant → `(N, 3, S, S)` in [0, 1]."""


def _completed(name: str) -> Ablation:
    """The first part alone: its LR face, enlarged by bicubic."""

    def variant(network: nn.Module, _lr, _visible, _landmarks, restored: Restored) -> dict[str, torch.Tensor]:
        return {name: resample(restored.lr_completed, network.hr_size)}

    return variant


def _base_alone(network: nn.Module, lr: torch.Tensor, visible: torch.Tensor, *others) -> dict[str, torch.Tensor]:
    parts = zip(lr.split(AT_ONCE), visible.split(AT_ONCE), strict=True)
    alone = torch.cat([network.steps(*part).coarse.clamp(0, 1) for part in parts])
    return {"base network alone": alone} | _as_it_is(network, lr, visible, *others)


def _landmarks(
    network: nn.Module, lr: torch.Tensor, visible: torch.Tensor, landmarks: torch.Tensor, restored: Restored
) -> dict[str, torch.Tensor]:
    """Fewer blocks; and the paper's two bounds on what landmark priors are worth: none, and the true ones. The network
    is the one trained with its own; the paper trained one for each."""

    def led_by(points: torch.Tensor) -> torch.Tensor:
        parts = zip(lr.split(AT_ONCE), visible.split(AT_ONCE), points.split(AT_ONCE), strict=True)
        return torch.cat([network.edit(*part).hr for part in parts])

    _, first, second = restored.lr_completed
    return {
        "block 1 + bicubic": resample(first, network.hr_size),
        "blocks 1 and 2 + bicubic": resample(second, network.hr_size),
        "restored, landmark maps empty": led_by(torch.full_like(landmarks, NOWHERE)),
        "restored, true landmarks": led_by(landmarks),
    }


def _as_it_is(network: nn.Module, lr: torch.Tensor, visible: torch.Tensor, *_) -> dict[str, torch.Tensor]:
    """One look at each face in place of two."""
    if not network.config.mirrored:
        return {}
    once = copy(network)  # of the same weights
    once.config = replace(network.config, mirrored=False)
    parts = zip(lr.split(AT_ONCE), visible.split(AT_ONCE), strict=True)
    return {"restored, not mirrored": torch.cat([once(*part).hr for part in parts])}


ABLATIONS: dict[str, Ablation] = {
    "fcsr-gan": _completed("completion + bicubic"),
    "ofhnet": _completed("inpainting + bicubic"),
    "pro-uigan": _landmarks,
    "jdsr-gan": _completed("denoising + bicubic"),
    "fd-stackgan": _base_alone,
    "lr-trunk": _as_it_is,
}
