"""Detail that a crop has and the network's input has not, given back to the restored face."""

import torch
import torch.nn.functional as F


def give_back_detail(hr: torch.Tensor, crops: torch.Tensor, visible: torch.Tensor, lr_size: int) -> torch.Tensor:
    """Make a restored face agree with its crop in what shrinking the crop to the network's input took away.

    One step of iterative back-projection (Irani & Peleg 1991, eq. 2): what the crop shows and the restored face, shrunk
    to the crop's size, does not, is added to it. Only the band above `lr_size` px is, and only where the face is
    visible: below, the network has seen for itself, and has taken the camera's noise out. So a crop of `lr_size` px
    changes nothing. What it gains at which size: `streamheal evaluate`, table "Larger crops".

    Args:
        hr: `(B, 3, S, S)` in [0, 1], restored from the crops shrunk to `lr_size`.
        crops: `(B, 3, s, s)` in [0, 1].
        visible: `(B, 1, s, s)` in [0, 1].

    Returns: `(B, 3, S, S)` in [0, 1].
    """
    side = min(crops.shape[-1], hr.shape[-1])
    if side <= lr_size:
        return hr
    missing = _resized(crops, side) - _resized(hr, side)
    missing = missing - _resized(_resized(missing, lr_size), side)
    seen = F.interpolate(visible, (side, side), mode="bilinear", align_corners=False, antialias=True)
    return (hr + _resized(missing * seen, hr.shape[-1])).clamp(0, 1)


def _resized(pictures: torch.Tensor, size: int) -> torch.Tensor:
    """Bicubic and antialiased as `layers.resample`, but of differences, which lie outside [0, 1]."""
    return F.interpolate(pictures, (size, size), mode="bicubic", align_corners=False, antialias=True)
