"""Contact sheets: what a network saw and what it made of it, in rows of pictures."""

from pathlib import Path

import torch
from PIL import Image

from streamheal.train.data import SIZE


def grow(pictures: torch.Tensor, size: int = SIZE) -> torch.Tensor:
    """To `size` px by nearest neighbour, so that a contact sheet shows the pixels that there are."""
    return torch.nn.functional.interpolate(pictures.float(), (size, size), mode="nearest")


def sheet(rows: list[torch.Tensor], most: int = 12) -> torch.Tensor:
    """Rows of `(B, 3, s, s)`, all of one s, one below the other → `(3, H, W)`."""
    most = min(most, *(len(row) for row in rows))
    return torch.cat([torch.cat(list(row[:most].clamp(0, 1)), 2) for row in rows], 1)


def save_picture(picture: torch.Tensor, path: Path) -> None:
    """`(3, H, W)` in [0, 1] → PNG."""
    Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).cpu().numpy()).save(path)
