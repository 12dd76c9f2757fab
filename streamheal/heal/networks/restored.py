"""What every restorer returns."""

from dataclasses import dataclass

import torch


@dataclass(slots=True)
class Restored:
    """The answer of one restorer for B faces. Ranges [0, 1]; what a system does not predict is None."""

    hr: torch.Tensor  # (B, 3, 128, 128)
    lr_completed: torch.Tensor | list[torch.Tensor] | None = None  # (B, 3, h, w), or one face per stage
    heatmaps: torch.Tensor | None = None  # (B, K, 64, 64) landmark maps
    parsing: torch.Tensor | None = None  # (B, P, 64, 64) logits
    occlusion: torch.Tensor | None = None  # (B, 1, h, w), 1 = hidden; an echo of 1 - visible unless predicted
    evidence: torch.Tensor | None = None  # (B, 1, 128, 128), share of each pixel backed by visible input


def check_input(lr: torch.Tensor, visible: torch.Tensor, size: int) -> None:
    """Raises ValueError unless these are `(B, 3, size, size)` and `(B, 1, size, size)`."""
    if lr.shape[1:] != (3, size, size) or visible.shape != (lr.shape[0], 1, size, size):
        raise ValueError(
            f"lr {tuple(lr.shape)} and visible {tuple(visible.shape)}: this network takes (B, 3, {size}, {size}) "
            f"and (B, 1, {size}, {size}); resample the crop first"
        )
