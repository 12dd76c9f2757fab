"""Tracks made from photographs: the crops a tracker would give of one face, with exactly known motion (specification
§7.7). The first frame of each is the one to restore and lies in the canonical template; the others help.

Their kinds: `moving`, a rectangle passes over (otherwise as OFHNet's protocol); `mask`, the same medical mask in all
frames (otherwise as JDSR-GAN's); `camera`, what a surveillance camera and its encoder make of a face with mixed
occluders, cut out again by imperfect landmarks.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F

from streamheal.errors import ConfigError
from streamheal.heal.networks.layers import resample, resample_map
from streamheal.heal.networks.warping import compose, invert, rescale, sample, similarity, warp
from streamheal.train.samples import degradation
from streamheal.train.samples.bank import Bank
from streamheal.train.samples.codec import through_h264
from streamheal.train.samples.degradation import uniform
from streamheal.train.samples.protocols import CAMERA_SHARES, camera_sizes

Kind = Literal["moving", "mask", "camera"]
KINDS: tuple[str, ...] = get_args(Kind)
Codec = Literal["h264", "jpeg"]

# How far the landmarks of a tiny face are off, to either side; px of 128. Most faces are nearer.
SHIFT, ANGLE, SCALE = 8.0, math.radians(3), 0.03
# How a face moves in the camera's picture from one end of a track to the other.
DRIFT, TURN, GROW = 6.0, math.radians(4), 0.04
MOVES = 0.4  # share of a camera's tracks whose occluder moves over the face; the others' sits on it


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """B tracks of T crops, in no order of time but that the first is the one to restore."""

    lr: torch.Tensor  # (B, T, 3, size, size) in [0, 1]
    visible: torch.Tensor  # (B, T, 1, size, size), 1 = visible
    clean: torch.Tensor  # (B, 3, S, S): the photographs, as the first frame would show them
    maps: torch.Tensor  # (B, T, 2, 3): px of the first frame → px of each, at side S
    native: int  # side of the crops in the camera's own pixels

    @property
    def true(self) -> torch.Tensor:
        """`(B, T, 3, S, S)`: the clean face as each frame shows it, if it keeps still."""
        others = _render(self.clean[:, None], self.maps[:, 1:], mode="bicubic").clamp(0, 1)
        return torch.cat([self.clean[:, None], others], 1)


def draw_track(
    kind: str,
    hr: torch.Tensor,
    landmarks: torch.Tensor | None,
    bank: Bank,
    gen: torch.Generator,
    *,
    frames: int,
    size: int = 16,
    codec: Codec = "h264",
    native: int | None = None,
    alive: float = 0.0,
) -> Tracks:
    """Clean faces `(B, 3, S, S)` in [0, 1], their landmarks `(B, 68, 2)` px → tracks of `frames` crops.

    native: the side of a camera's crops in its own pixels; drawn by default. alive: how far cheeks, lips and eyes stray
    between frames at most, px of 128, so that no map fits all of the face; 0: it keeps still.
    Raises ConfigError on an unknown kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"no kind of track {kind!r}; allowed: {', '.join(KINDS)}")
    batch, side = len(hr), hr.shape[-1]
    off = _wobble(batch, frames, SHIFT * side / 128, ANGLE, SCALE, side, gen)
    off[:, 0] = torch.eye(2, 3, device=gen.device)
    bend = _bend(batch, frames, alive * side / 128, side, gen) if alive else None
    if kind == "moving":
        visible = passing_rectangles(batch, frames, size, gen)
        shown = _render(_bent(hr, bend), off)
        shown[:, 0] = hr  # to the bit
        lr = degradation.shrink(shown.flatten(0, 1), size, "bicubic").unflatten(0, (batch, frames)) * visible
        return Tracks(lr, visible, hr, off, size)
    if kind == "mask":
        occluded, seen, _ = bank.occlude(hr, landmarks, gen, shares={"medical": 1})
        both = _render(_bent(torch.cat([occluded, seen], 1), bend), off).flatten(0, 1)
        lr, visible = degradation.jdsr(both[:, :3], both[:, 3:], gen, size=size)
        return Tracks(lr.unflatten(0, (batch, frames)), visible.unflatten(0, (batch, frames)), hr, off, size)
    if native is None:
        least, most = camera_sizes(size, side)
        native = int(torch.randint(least, most + 1, (), generator=gen, device=gen.device))
    crops, seen = _camera(_bent(hr, bend), landmarks, bank, gen, off, native, codec)
    lr, visible = resample(crops.flatten(0, 1), size), resample_map(seen.flatten(0, 1), size)
    return Tracks(lr.unflatten(0, (batch, frames)), visible.unflatten(0, (batch, frames)), hr, off, native)


def passing_rectangles(batch: int, frames: int, size: int, gen: torch.Generator) -> torch.Tensor:
    """Visibility `(B, T, 1, size, size)`, binary: one rectangle of 1/16 to 1/4 of the area, as in OFHNet's protocol in
    the first frame, displaced along a straight line in the others; at the picture's edge it stays."""
    share = uniform((batch, 1), 1 / 16, 1 / 4, gen)
    aspect = torch.exp(uniform((batch, 1), -0.7, 0.7, gen))
    sides = torch.stack([size * (share * aspect).sqrt(), size * (share / aspect).sqrt()], -1)  # (B, 1, 2)
    sides = sides.round().clamp(1, size - 1)
    room = size - sides
    start = uniform((batch, 1, 2), 0, 1, gen) * (room + 1) - 0.5
    corner = (start + _path(batch, frames, gen, reach=(0.2, 0.8)) * size).round()
    corner = torch.minimum(corner.clamp(min=0), room)
    at = torch.arange(size, device=gen.device)
    rows = (at >= corner[..., :1]) & (at < corner[..., :1] + sides[..., :1])
    columns = (at >= corner[..., 1:]) & (at < corner[..., 1:] + sides[..., 1:])
    return 1 - (rows[..., :, None] & columns[..., None, :])[:, :, None].float()


def _camera(
    faces: torch.Tensor,
    landmarks: torch.Tensor | None,
    bank: Bank,
    gen: torch.Generator,
    off: torch.Tensor,
    native: int,
    codec: Codec,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops `(B, T, 3, native, native)` of `faces` (B, 1 or T, 3, S, S), and their visibility. The face moves in the
    camera's picture, is blurred, shrunk, made noisy and encoded there; then it is cut out by landmarks that are off by
    `off`."""
    batch, frames = off.shape[:2]
    side = faces.shape[-1]
    placed = bank.place(side, landmarks, batch, gen, shares=CAMERA_SHARES)
    moves = (uniform((batch, 1, 1), 0, 1, gen) < MOVES).float()
    away = _path(batch, frames, gen, reach=(0.3, 1.0)) * side * moves
    shift = torch.eye(2, 3, device=gen.device).repeat(batch, frames, 1, 1)
    shift[..., 2] = -away
    layers = _render(torch.cat([placed.colour, placed.alpha], 1)[:, None], shift, border=moves.view(-1) < 0.5)
    colour, alpha = layers[:, :, :3], layers[:, :, 3:]
    scene = torch.cat([faces * (1 - alpha) + colour * alpha, 1 - alpha * placed.hides[:, None]], 2)

    motion = _drift(batch, frames, side, gen)  # canonical px → the camera's px, at side S
    seen = warp(scene.flatten(0, 1), invert(motion.flatten(0, 1)))
    twice = min(2 * native, side)
    x = degradation.shrink(seen, twice, "area" if twice < side else "bicubic")
    kernels = degradation.blur_kernels(batch, gen, scale=twice / native).repeat_interleave(frames, 0)
    x = torch.cat([degradation.filter_each(x[:, :3], kernels), x[:, 3:]], 1)
    x = degradation.shrink(x, native, "area")
    pictures = degradation.sensor_noise(x[:, :3].clamp(0, 1), gen)
    if codec == "h264" and float(uniform((), 0, 1, gen)) < 0.7:
        pictures = through_h264(pictures.unflatten(0, (batch, frames)), gen).flatten(0, 1)
    else:
        pictures = degradation.jpeg(pictures, uniform((batch * frames,), 30, 90, gen), gen)
    gamma = torch.exp2(uniform((batch, 1), math.log2(0.7), math.log2(1.4), gen)).repeat_interleave(frames, 0)
    pictures = pictures.clamp(1e-4, 1) ** gamma.view(-1, 1, 1, 1)
    # Cut: crop px → (off⁻¹) canonical px → (motion) the camera's px, all at the camera's size.
    cut = compose(motion.flatten(0, 1), invert(off.flatten(0, 1)))
    crops = warp(torch.cat([pictures, x[:, 3:]], 1), rescale(cut, native / side))
    crops = crops.unflatten(0, (batch, frames)).clamp(0, 1)
    return crops[:, :, :3], crops[:, :, 3:]


def _path(batch: int, frames: int, gen: torch.Generator, *, reach: tuple[float, float]) -> torch.Tensor:
    """Displacements `(B, T, 2)` along a straight line, in shares of the side, 0 in the first frame. The line is `reach`
    long from one end of the track to the other; the first frame may be any of its moments."""
    if frames == 1:
        return torch.zeros(batch, 1, 2, device=gen.device)
    moments = torch.rand((batch, frames), generator=gen, device=gen.device).argsort(1) / (frames - 1)
    angle = uniform((batch, 1), 0, 2 * math.pi, gen)
    length = uniform((batch, 1), *reach, gen) * (moments - moments[:, :1])
    return torch.stack([length * angle.cos(), length * angle.sin()], -1)


def _drift(batch: int, frames: int, side: int, gen: torch.Generator) -> torch.Tensor:
    """Similarities `(B, T, 2, 3)`: slow motion along a track, and where it happens to lie on the sensor's grid."""
    time = torch.rand((batch, frames), generator=gen, device=gen.device) * 2 - 1
    angle, scale = uniform((batch, 1), -TURN, TURN, gen) * time, uniform((batch, 1), -GROW, GROW, gen) * time
    shift = uniform((batch, 1, 2), -DRIFT, DRIFT, gen) * (side / 128) * time[..., None]
    shift = shift + uniform((batch, frames, 2), -4, 4, gen) * (side / 128)
    flat = similarity(angle=angle.flatten(), scale=1 + scale.flatten(), shift=shift.flatten(0, 1), side=side)
    return flat.unflatten(0, (batch, frames))


def _wobble(
    batch: int, frames: int, shift: float, angle: float, scale: float, side: int, gen: torch.Generator
) -> torch.Tensor:
    many = batch * frames
    flat = similarity(
        angle=uniform((many,), -angle, angle, gen),
        scale=1 + uniform((many,), -scale, scale, gen),
        shift=uniform((many, 2), -shift, shift, gen),
        side=side,
    )
    return flat.unflatten(0, (batch, frames))


def _bend(batch: int, frames: int, most: float, side: int, gen: torch.Generator) -> torch.Tensor:
    """Displacements `(B, T, 2, S, S)` px, smooth, of the whole face's and of its features' size, none in the first
    frame; each track's own strength up to `most`."""
    strength = uniform((batch, 1, 1, 1, 1), 0, most, gen)
    strength = strength * (torch.arange(frames, device=gen.device) > 0).view(1, -1, 1, 1, 1)
    field = 0.0
    for nodes in (3, 7):
        coarse = uniform((batch * frames, 2, nodes, nodes), -1, 1, gen)
        field = field + F.interpolate(coarse, (side, side), mode="bicubic", align_corners=True) / 2
    return strength * field.unflatten(0, (batch, frames))


def _bent(pictures: torch.Tensor, bend: torch.Tensor | None) -> torch.Tensor:
    """`(B, C, S, S)` → `(B, T, C, S, S)`, bent by `_bend`; `(B, 1, C, S, S)` without."""
    if bend is None:
        return pictures[:, None]
    batch, frames, _, side, _ = bend.shape
    at = torch.arange(side, device=bend.device, dtype=bend.dtype)
    y, x = torch.meshgrid(at, at, indexing="ij")
    points = (torch.stack([x, y], -1) + bend.flatten(0, 1).permute(0, 2, 3, 1) + 0.5) * 2 / side - 1
    many = pictures[:, None].expand(-1, frames, -1, -1, -1).flatten(0, 1)
    return sample(many, points).unflatten(0, (batch, frames))


def _render(
    pictures: torch.Tensor, maps: torch.Tensor, border: torch.Tensor | None = None, mode: str = "bilinear"
) -> torch.Tensor:
    """`(B, 1 or T, C, S, S)` as each of the `maps` (B, T, 2, 3: picture px → frame px) shows it: `(B, T, C, S, S)`.

    `border` (B,): where False nothing lies beyond the picture's border, by default it repeats.
    """
    batch, frames = maps.shape[:2]
    many = pictures.expand(-1, frames, -1, -1, -1).flatten(0, 1)
    shown = warp(many, invert(maps.flatten(0, 1)), mode=mode)
    if border is not None:
        inside = warp(F.pad(torch.ones_like(many[:, :1, 2:-2, 2:-2]), (2, 2, 2, 2)), invert(maps.flatten(0, 1)))
        shown = torch.where(border.repeat_interleave(frames).view(-1, 1, 1, 1), shown, shown * inside)
    return shown.unflatten(0, (batch, frames))
