"""What a restored face lacks of that which its track's crops show: it is shrunk to each of them, and what they differ
by is carried back (iterative back-projection, Irani and Peleg 1991). How far, is learned: a camera's blur, noise and
encoder are in its crops, too.

The restored face is sharper than any crop. So the crops are first laid onto it once more, by one step of Gauss-Newton:
where no camera has spoilt them, that leaves a third of the error (benchmarks/registration.py).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from streamheal.heal.networks.layers import bicubic
from streamheal.heal.networks.warping import compose, invert, near_identity

STEPS, RATE, MOMENTUM = 12, 1.8, 0.6  # 8, 1.5 and 0.5 were 0.05 dB worse behind a mask, 0.1 to 0.2 where things move
FARTHEST = 0.5  # px of a crop that it is moved by at most, once registered
# A face turns and speaks between its crops, and is to be shown as it was in the restored one. So this one counts OWN
# times, and no pixel of another pulls harder than one that is off by NOISE of white (Huber's loss; Farsiu 2004 has L1
# for the same reason). Of talking heads' crops, eight of two seconds, that brings 0.3 dB (benchmarks/moving_faces.py);
# where only the camera moves it costs 0.01 to 0.05 (the cards of lr-trunk).
OWN, NOISE = 2.0, 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """N crops as they lie on the B that are restored."""

    crops: torch.Tensor  # (N, 3, s, s) in [0, 1], in the light of the crop that is restored
    clear: torch.Tensor  # (N, 1, s, s) in [0, 1]: how sure each pixel shows the face and nothing else
    maps: torch.Tensor  # (N, 2, 3): px of the crop that is restored → px of each
    rows: torch.Tensor  # (N,): on which of the B
    own: torch.Tensor  # (N,) bool: the restored crops themselves, which lie where they lie


class Agreement(nn.Module):
    """What a track's crops were joined to, and by how much the restored face differs from them → how far it is to show
    what they do; 0 when untrained."""

    def __init__(self, joined: int, width: int = 24):
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv2d(joined + 2, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()
        )
        self.judge = nn.Sequential(nn.Conv2d(2 * width, width, 1), nn.ReLU(), nn.Conv2d(width, 1, 1))
        nn.init.zeros_(self.judge[2].weight)
        nn.init.zeros_(self.judge[2].bias)

    def forward(self, joined: torch.Tensor, differs: torch.Tensor) -> torch.Tensor:
        """`(B, joined, s, s)`, and `(B, 2, s, s)` of `lacking` → `(B, 1, s, s)`."""
        here = self.look(torch.cat([joined, differs / 4 + 1], 1))
        # The mean beside each place: a camera is the same everywhere.
        return self.judge(torch.cat([here, here.mean((2, 3), keepdim=True).expand_as(here)], 1))


@torch.no_grad()
def lacking(faces: torch.Tensor, laid: Laid) -> tuple[torch.Tensor, torch.Tensor]:
    """What to add to `faces` (B, 3, S, S) so that, shrunk, they show what their crops do: `(B, 3, S, S)`, no finer than
    `Grid`; 0 where no crop is clear. And by how much they differed, and will: logarithms, `(B, 2, s, s)`. Crops that
    noise, an encoder, or a smile have made unlike each other agree with no face."""
    batch, side, size = len(faces), faces.shape[-1], laid.crops.shape[-1]
    grid = Grid.of(size)
    given, blur = grid.holds(faces), grid.blur(faces.device)
    at = Points.of(_onto(blur @ given @ blur.mT, laid), laid.rows, grid)
    wanted, weight = _rows_of(laid.crops), _rows_of(laid.clear)
    own = laid.own.repeat_interleave(size**2)[:, None]
    pulls, most = weight * torch.where(own, OWN, 1.0), torch.where(own, torch.inf, NOISE)
    spread = at.spreading(batch)
    clear = spread(weight)
    # By what each pixel gives to crops, of either sign: so it can't overshoot where few are clear (SIRT's steps).
    share = RATE / (blur.abs().mT @ spread(pulls) @ blur.abs() + 0.1)
    made, speed, differed = given, torch.zeros_like(given), []
    for step in range(STEPS + 1):
        left = wanted - at.sample(blur @ made @ blur.mT)
        if step in (0, STEPS):
            differed.append(spread(left.abs().mean(1, keepdim=True) * weight))
        if step == STEPS:
            break
        speed = MOMENTUM * speed + share * (blur.mT @ spread(left.clamp(-most, most) * pulls) @ blur)
        made = made + speed
    inside = slice(grid.margin, grid.margin + grid.side)
    by = torch.cat([*differed, clear], 1)[..., inside, inside]
    by = F.avg_pool2d(by, grid.side // size)
    by = (by[:, :2] / (by[:, 2:] + 1e-3) + 1e-3).log()
    larger = bicubic(grid.side, side, faces.device)
    return larger @ (made - given)[..., inside, inside] @ larger.mT, by


@torch.no_grad()
def laid_again(faces: torch.Tensor, laid: Laid) -> torch.Tensor:
    """`laid.maps` (N, 2, 3) after the step that lays the crops onto the restored `faces` (B, 3, S, S)."""
    grid = Grid.of(laid.crops.shape[-1])
    blur = grid.blur(faces.device)
    return invert(_onto(blur @ grid.holds(faces) @ blur.mT, laid))


@dataclass(frozen=True, slots=True)
class Grid:
    """The pixels in which a face is compared with crops of `size` px."""

    size: int
    # Of the face. Of 16 px crops, with weights that had learned at four to a pixel, three were 0.02 dB worse for little
    # more than half of the work, two 0.1 dB (0.2 where things move; tuning faces). Crops of 32 px know nothing finer
    # than two.
    side: int
    margin: int  # round it, as crops that lie askew show more than it does

    @classmethod
    def of(cls, size: int) -> "Grid":
        side = min(3 * size, 64)
        return cls(size, side, side // 8)

    @property
    def whole(self) -> int:
        return self.side + 2 * self.margin

    def holds(self, faces: torch.Tensor) -> torch.Tensor:
        """`(B, 3, S, S)` → `(B, 3, whole, whole)`; what lies beyond the face's border repeats it at first."""
        smaller = bicubic(faces.shape[-1], self.side, faces.device)
        return F.pad(smaller @ faces @ smaller.mT, (self.margin,) * 4, mode="replicate")

    def blur(self, device: torch.device) -> torch.Tensor:
        """Bicubic shrinking to the crops without the shrinking, `(whole, whole)`: Keys' kernel, a = -0.5. Bilinear
        sampling between its places will blur a little more, in the mean by 1/12, 10/12, 1/12; that is undone
        beforehand."""
        here = torch.arange(self.whole, device=device, dtype=torch.float32)
        x = (here[:, None] - here).abs() * (self.size / self.side)
        kernel = torch.where(x < 1, (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2) * (x < 2)
        wide = F.pad((kernel / kernel.sum(1, keepdim=True))[None], (0, 0, 1, 1), mode="replicate")[0]
        return (14 * wide[1:-1] - wide[:-2] - wide[2:]) / 12


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Where the P = N s² pixels of N crops lie on B faces, in the pixels of a grid."""

    corners: torch.Tensor  # (P, 4) int32: the pixels round each, counted through all pictures
    shares: torch.Tensor  # (P, 4): of each corner
    whole: int  # side of the grid

    @classmethod
    def of(cls, maps: torch.Tensor, rows: torch.Tensor, grid: Grid) -> "Points":
        """`maps` (N, 2, 3): px of each crop → px of the one it lies on."""
        whole = grid.whole
        places = (_pixels(maps, grid.size) + 0.5) * (grid.side / grid.size) + grid.margin - 0.5  # (N, 2, s²), x and y
        places = places.clamp(0, whole - 1.001)
        low = places.floor()
        (x, y), (left, top) = (places - low).unbind(1), low.int().unbind(1)
        corner = (rows.int()[:, None] * whole + top) * whole + left
        corners = torch.stack([corner, corner + 1, corner + whole, corner + whole + 1], -1)
        shares = torch.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], -1)
        return cls(corners.flatten(0, 1), shares.flatten(0, 1), whole)

    def sample(self, pictures: torch.Tensor) -> torch.Tensor:
        """`(B, C, whole, whole)` → `(P, C)`, bilinear."""
        return F.embedding_bag(self.corners, _rows_of(pictures), per_sample_weights=self.shares, mode="sum")

    def spreading(self, batch: int) -> "Spreading":
        """The transpose of `sample`. Once the corners are sorted, it is a sum over each pixel, too: less work than
        to add each where it lies, as it is used often."""
        corners, order = self.corners.flatten().sort()
        ends = torch.bincount(corners, minlength=batch * self.whole**2).cumsum(0, dtype=torch.int32)
        points = torch.div(order, 4, rounding_mode="floor").int()
        shares = self.shares.flatten().index_select(0, order)
        return Spreading(points, F.pad(ends, (1, 0)), shares, (batch, self.whole, self.whole))


@dataclass(frozen=True, slots=True, eq=False)
class Spreading:
    """Which of P points give to each pixel of B pictures, and how much."""

    points: torch.Tensor  # (4 P,) int32, pixel after pixel
    starts: torch.Tensor  # (B whole² + 1,) int32: where each pixel's begin, and the end
    shares: torch.Tensor  # (4 P,)
    shape: tuple[int, int, int]  # (B, whole, whole)

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """`(P, C)` → their sum in `(B, C, whole, whole)`."""
        made = F.embedding_bag(
            self.points, values, self.starts, per_sample_weights=self.shares, mode="sum", include_last_offset=True
        )
        return made.unflatten(0, self.shape).permute(0, 3, 1, 2)


def _rows_of(pictures: torch.Tensor) -> torch.Tensor:
    """`(N, C, s, s)` → `(N s², C)`, contiguous."""
    return pictures.permute(0, 2, 3, 1).flatten(0, 2).contiguous()


def _pixels(maps: torch.Tensor, size: int) -> torch.Tensor:
    """Where `maps` (N, 2, 3) take each pixel of `size` × `size`: `(N, 2, s²)`."""
    at = torch.arange(size, device=maps.device, dtype=maps.dtype)
    y, x = torch.meshgrid(at, at, indexing="ij")
    return maps @ torch.stack([x.flatten(), y.flatten(), torch.ones_like(x).flatten()])


def _onto(blurred: torch.Tensor, laid: Laid) -> torch.Tensor:
    """Maps `(N, 2, 3)` from px of each crop to px of the restored one, after one step of Gauss-Newton. The faces
    `blurred`: crops are turned and scaled by little, so that faces may be blurred first and sampled then."""
    size = laid.crops.shape[-1]
    grid, back = Grid.of(size), invert(laid.maps)
    grey = blurred.mean(1, keepdim=True)
    wide = F.pad(grey, (1, 1, 1, 1), mode="replicate") * (grid.side / size / 2)
    slopes = [wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2], wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]]
    shown = Points.of(back, laid.rows, grid).sample(torch.cat([grey, *slopes], 1)).unflatten(0, (len(back), -1))
    now, dx, dy = shown.unbind(-1)  # (N, s²) each
    x, y = (_pixels(back, size) - (size - 1) / 2).unbind(1)
    error = laid.crops.mean(1).flatten(1) - now
    weight = laid.clear.flatten(1) / (1 + (error / 0.05) ** 2)
    error = error - (error * weight).sum(1, keepdim=True) / (weight.sum(1, keepdim=True) + 1e-3)  # light is no motion
    columns = torch.stack([dx * x + dy * y, dy * x - dx * y, dx, dy], 1)
    weighted = columns * weight[:, None]
    damping = torch.diag(0.007 * back.new_tensor([size**2 / 6, size**2 / 6, 1.0, 1.0]))
    p = torch.linalg.solve(weighted @ columns.mT + damping, weighted @ error[..., None])[..., 0]
    reach = p.new_tensor([2 / size, 2 / size, 1.0, 1.0]) * FARTHEST
    p = torch.where(laid.own[:, None], 0.0, p.clamp(-reach, reach))
    return compose(near_identity(p, size), back)
