"""From a clean face to what a restorer gets: every paper's own order and kernel, and a camera's.

All batched torch on the device of the tensors, every draw from the generator given. Pictures `(B, 3, s, s)` and
visibility `(B, 1, s, s)` in [0, 1], 1 = visible.
"""

import math

import torch
import torch.nn.functional as F

from streamheal.heal.networks.layers import resample, resample_map


def uniform(shape: tuple[int, ...], low: float, high: float, gen: torch.Generator) -> torch.Tensor:
    return torch.rand(shape, generator=gen, device=gen.device) * (high - low) + low


def shrink(pictures: torch.Tensor, size: int, kernel: str) -> torch.Tensor:
    """To `(B, C, size, size)` by "area", "bilinear" or "bicubic" (both antialiased, as Pillow and MATLAB do)."""
    if kernel == "bicubic":
        return resample(pictures, size)
    if kernel == "area":
        return F.interpolate(pictures, (size, size), mode="area")
    return F.interpolate(pictures, (size, size), mode="bilinear", align_corners=False, antialias=True).clamp(0, 1)


def rectangles(
    batch: int, size: int, gen: torch.Generator, *, area: tuple[float, float], square: bool = False
) -> torch.Tensor:
    """Visibility `(B, 1, size, size)`, binary: one rectangle of `area` (share of the picture) hidden in each."""
    share = uniform((batch,), area[0], area[1], gen)
    aspect = torch.ones_like(share) if square else torch.exp(uniform((batch,), -0.7, 0.7, gen))
    height = (size * (share * aspect).sqrt()).round().clamp(1, size - 1)
    width = (size * (share / aspect).sqrt()).round().clamp(1, size - 1)
    top = (uniform((batch,), 0, 1, gen) * (size - height + 1)).floor()
    left = (uniform((batch,), 0, 1, gen) * (size - width + 1)).floor()
    at = torch.arange(size, device=gen.device)
    rows = (at >= top[:, None]) & (at < (top + height)[:, None])
    columns = (at >= left[:, None]) & (at < (left + width)[:, None])
    return 1 - (rows[:, :, None] & columns[:, None, :])[:, None].float()


def fcsr(hr: torch.Tensor, gen: torch.Generator, *, size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """FCSR-GAN: bicubic shrink, then a block of a quarter of the area, filled with zeros."""
    visible = rectangles(len(hr), size, gen, area=(0.25, 0.25), square=True)
    return shrink(hr, size, "bicubic") * visible, visible


def ofhnet(hr: torch.Tensor, gen: torch.Generator, *, size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """OFHNet: bicubic shrink, then a rectangle of 1/16 to 1/4 of the area; its fill is unstated: zeros."""
    visible = rectangles(len(hr), size, gen, area=(1 / 16, 1 / 4))
    return shrink(hr, size, "bicubic") * visible, visible


def pro_uigan(
    hr: torch.Tensor, visible: torch.Tensor, gen: torch.Generator, *, size: int = 16
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pro-UIGAN: hidden at 128 px (a square of 16 to 64 px, or irregular strokes), noise there, then bilinear."""
    noise = torch.rand(hr.shape, generator=gen, device=gen.device)
    return shrink(hr * visible + noise * (1 - visible), size, "bilinear"), resample_map(visible, size)


def jdsr(
    occluded: torch.Tensor, visible: torch.Tensor, gen: torch.Generator, *, size: int = 16
) -> tuple[torch.Tensor, torch.Tensor]:
    """JDSR-GAN: the masked face as a whole shrinks by bicubic; the mask's texture stays."""
    return shrink(occluded, size, "bicubic"), resample_map(visible, size)


def camera(
    occluded: torch.Tensor, visible: torch.Tensor, gen: torch.Generator, *, native: tuple[int, int] = (12, 36)
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a surveillance camera makes of a face (specification §0.3): blur, shrink to a native size drawn for the
    whole batch, noise, JPEG, gamma. Returns crops of that size, in the camera's own pixels, and their visibility."""
    batch = len(occluded)
    size = int(torch.randint(native[0], native[1] + 1, (), generator=gen, device=gen.device))
    # Blur at twice the native size: the kernel stays small (7 px at σ 1.5) and area shrinking before it loses nothing
    # that the native pixels could show.
    twice = min(2 * size, occluded.shape[-1])
    x = shrink(occluded, twice, "area" if twice < occluded.shape[-1] else "bicubic")
    x = filter_each(x, blur_kernels(batch, gen, scale=twice / size))
    x = shrink(x, size, ("area", "bilinear", "bicubic")[int(torch.randint(0, 3, (), generator=gen, device=gen.device))])
    x = sensor_noise(x, gen)
    x = jpeg(x, uniform((batch,), 30, 90, gen), gen)
    gamma = torch.exp2(uniform((batch, 1, 1, 1), math.log2(0.7), math.log2(1.4), gen))
    return x.clamp(1e-4, 1) ** gamma, resample_map(visible, size)


def blur_kernels(batch: int, gen: torch.Generator, *, scale: float, width: int = 13) -> torch.Tensor:
    """`(B, width, width)`, each of sum 1: Gaussian σ 0.2 to 1.5 native pixels, half of them anisotropic, convolved
    with a motion of up to 3 native pixels in a third of the cases. `scale`: kernel pixels per native pixel."""
    at = torch.arange(width, device=gen.device) - width // 2
    y, x = torch.meshgrid(at, at, indexing="ij")
    angle = uniform((batch, 1, 1), 0, math.pi, gen)
    along, across = x * angle.cos() + y * angle.sin(), -x * angle.sin() + y * angle.cos()
    sigma = uniform((batch, 1, 1), 0.2, 1.5, gen) * scale
    second = torch.where(uniform((batch, 1, 1), 0, 1, gen) < 0.5, sigma, uniform((batch, 1, 1), 0.2, 1.5, gen) * scale)
    # a straight motion adds the variance of a box of its length along its direction
    motion = uniform((batch, 1, 1), 0, 3, gen) * scale * (uniform((batch, 1, 1), 0, 1, gen) < 0.33)
    kernel = torch.exp(-0.5 * (along**2 / (sigma**2 + motion**2 / 12) + across**2 / second**2))
    return kernel / kernel.sum((1, 2), keepdim=True)


def filter_each(pictures: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """Each of `(B, 3, h, w)` with its own of `(B, k, k)`, borders repeated."""
    batch, channels, height, width = pictures.shape
    pad = kernels.shape[-1] // 2
    x = F.pad(pictures, (pad,) * 4, mode="replicate").reshape(1, batch * channels, height + 2 * pad, width + 2 * pad)
    weights = kernels.repeat_interleave(channels, 0)[:, None].to(x.dtype)
    return F.conv2d(x, weights, groups=batch * channels).view(batch, channels, height, width)


def sensor_noise(pictures: torch.Tensor, gen: torch.Generator) -> torch.Tensor:
    """Photon (grows with light) and read noise; together up to σ 12/255; half of the pictures mostly grey noise."""
    batch = len(pictures)
    read = uniform((batch, 1, 1, 1), 0, 8.5, gen) / 255
    photon = uniform((batch, 1, 1, 1), 0, 8.5, gen) / 255
    colour = torch.randn(pictures.shape, generator=gen, device=gen.device)
    grey = torch.randn(pictures[:, :1].shape, generator=gen, device=gen.device).expand_as(colour)
    mostly_grey = uniform((batch, 1, 1, 1), 0, 1, gen) < 0.5
    noise = torch.where(mostly_grey, 0.9 * grey + 0.436 * colour, colour)  # both of variance 1
    return (pictures + noise * (read**2 + photon**2 * pictures.clamp(0, 1)).sqrt()).clamp(0, 1)


_LUMA = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
]  # fmt: skip
_CHROMA = [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99,
    99, 99, 99, *[99] * 32,
]  # fmt: skip
_TO_YCC = [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]


def jpeg(pictures: torch.Tensor, quality: torch.Tensor, gen: torch.Generator | None = None) -> torch.Tensor:
    """Baseline JPEG (ITU T.81, annex K tables, chroma at half size) without the lossless part. `quality` (B,), 1–100.

    With a generator the block grid lies at a random offset, as it does under a face cut out of a frame.
    """
    _batch, _, height, width = pictures.shape
    offset = torch.randint(0, 16, (2,), generator=gen, device=gen.device).tolist() if gen is not None else (0, 0)
    pad = (offset[1], -(offset[1] + width) % 16, offset[0], -(offset[0] + height) % 16)
    to_ycc = torch.tensor(_TO_YCC, device=pictures.device)
    x = F.pad(pictures * 255, pad, mode="replicate")
    ycc = torch.einsum("dc,bchw->bdhw", to_ycc, x)
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality).view(-1, 1, 1, 1, 1) / 100
    luma = _quantise(ycc[:, :1] - 128, _LUMA, scale)
    chroma = _quantise(F.avg_pool2d(ycc[:, 1:], 2), _CHROMA, scale)
    ycc = torch.cat([luma + 128, F.interpolate(chroma, scale_factor=2, mode="bilinear")], 1)
    rgb = torch.einsum("dc,bchw->bdhw", torch.linalg.inv(to_ycc), ycc) / 255
    return rgb[..., pad[2] : pad[2] + height, pad[0] : pad[0] + width].clamp(0, 1)


def _quantise(x: torch.Tensor, table: list[int], scale: torch.Tensor) -> torch.Tensor:
    batch, channels, height, width = x.shape
    n = torch.arange(8, device=x.device, dtype=x.dtype)
    dct = torch.cos((2 * n[None] + 1) * n[:, None] * math.pi / 16) * torch.where(n == 0, 0.125, 0.25).sqrt()[:, None]
    steps = (torch.tensor(table, device=x.device, dtype=x.dtype).view(8, 8) * scale + 0.5).floor().clamp(1, 255)
    blocks = x.view(batch, channels, height // 8, 8, width // 8, 8).permute(0, 1, 2, 4, 3, 5)
    blocks = blocks.reshape(batch, -1, 1, 8, 8)
    coefficients = dct @ blocks @ dct.T
    blocks = dct.T @ ((coefficients / steps).round() * steps) @ dct
    blocks = blocks.view(batch, channels, height // 8, width // 8, 8, 8).permute(0, 1, 2, 4, 3, 5)
    return blocks.reshape(batch, channels, height, width)
