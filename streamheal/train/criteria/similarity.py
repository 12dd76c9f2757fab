"""Structural similarity, the one implementation: `metrics.ssim` reports it, `losses.ssim` raises it."""

import torch
import torch.nn.functional as F

_WINDOW, _SIGMA = 11, 1.5  # px
_C1, _C2 = 0.01**2, 0.03**2  # for a range of 1


def ssim(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean SSIM per picture (Wang 2004, eq. 13 and 15), mean over channels; differentiable.

    `(B, C, H, W)` in [0, 1], each side at least 11 → `(B,)` float32. Raises ValueError on smaller pictures.
    """
    return ssim_map(output, target).mean((1, 2, 3))


def ssim_map(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """SSIM at each place of an 11 px Gaussian window, no padding: `(B, C, H - 10, W - 10)` float32."""
    if min(output.shape[-2:]) < _WINDOW:
        raise ValueError(f"SSIM needs pictures of at least {_WINDOW} px a side, got {tuple(output.shape)}")
    at = torch.arange(_WINDOW, device=output.device, dtype=torch.float32) - _WINDOW // 2
    window = torch.exp(-(at**2) / (2 * _SIGMA**2))
    window = window / window.sum()
    channels = output.shape[1]

    def blur(x: torch.Tensor) -> torch.Tensor:
        x = F.conv2d(x, window.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
        return F.conv2d(x, window.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)

    # variances are small differences of large numbers: never in half precision
    with torch.autocast(output.device.type, enabled=False):
        a, b = output.float(), target.float()
        mean_a, mean_b = blur(a), blur(b)
        var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
        covariance = blur(a * b) - mean_a * mean_b
        score = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)
        return score / ((mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2))
