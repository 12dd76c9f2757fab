"""How a track's crops lie on the one that is restored: nothing learned, so that it holds for any system and any camera.

Landmarks of a tiny face are off by a pixel or so. The crops themselves tell more: Gauss-Newton on a similarity (Lucas
and Kanade 1981, Baker and Matthews 2004), over what both crops show, with gain and offset of the light set free.

What is laid onto another crop is brought into its light, too, where the light did change: noise and sampling alone
always leave a little difference, and to follow that would take contrast from the picture and let it flicker.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from streamheal.heal.networks.layers import fill_hidden, settle
from streamheal.heal.networks.warping import near_identity, warp

STEPS = 4  # of Gauss-Newton: landmarks are off by a pixel at most, from where it converges quickly
CHANGED = 0.02  # of [0, 1], root mean square over what both show: light that differs by less is held to be the same
MOST_SHIFT, MOST_LINEAR = 3 / 16, 0.2  # of the side, and of the map's linear part, beyond which it has failed


@dataclass(frozen=True, slots=True, eq=False)
class Registered:
    """How N crops lie on others."""

    maps: torch.Tensor  # (N, 2, 3): similarities, px of the query → px of the other; the identity where it failed
    fits: torch.Tensor  # (N,) in [0, 1]: correlation of both over what both show; 0 where it failed
    # Of the other's light to the query's, per channel, (N, 3, 1) each; next to 1 and 0 where it hasn't changed.
    gain: torch.Tensor
    offset: torch.Tensor

    def lit(self, others: torch.Tensor) -> torch.Tensor:
        """The others `(N, 3, s, s)` in the query's light."""
        return others * self.gain[..., None] + self.offset[..., None]


def register(
    query: torch.Tensor,
    query_visible: torch.Tensor,
    others: torch.Tensor,
    others_visible: torch.Tensor,
    rows: torch.Tensor,
) -> Registered:
    """N crops `(N, 3, s, s)` with their visibility `(N, 1, s, s)` in [0, 1], each with the one of B queries (B, …) that
    `rows` (N,) names."""
    count, side = len(others), others.shape[-1]
    most = MOST_SHIFT * side
    at = torch.arange(side, device=query.device, dtype=torch.float32) - (side - 1) / 2
    y, x = torch.meshgrid(at, at, indexing="ij")
    x, y = x.flatten(), y.flatten()
    wanted, seen = (part[rows] for part in _soft(query, query_visible))
    wanted, seen = wanted.flatten(2), seen.flatten(1)
    stack = torch.cat([*_soft(others, others_visible), _inside(side, query.device).expand(count, 1, side, side)], 1)
    # In grey: colours tell little more about where things are, at three times the cost.
    grey, aim = _grey(stack), wanted.mean(1)
    # Damped, most of all turning and scaling: little is seen of a face that is mostly hidden.
    damping = torch.diag(0.007 * query.new_tensor([side**2 / 6, side**2 / 6, 1.0, 1.0]))
    p = query.new_zeros(count, 4)  # of `near_identity`
    for _ in range(STEPS):
        moved = warp(grey, near_identity(p, side))
        weight = seen * (moved[:, 1] * moved[:, 2]).flatten(1)  # (N, P)
        now = moved[:, :1]
        gain, offset = (light[:, 0] for light in _light(now.flatten(2), aim[:, None], weight[:, None]))
        error = aim - (gain * now[:, 0].flatten(1) + offset)  # (N, P)
        dx, dy = (gain * slope.flatten(1) for slope in _slopes(now))
        # an outlier (a face that moved its lips, an occluder nobody saw) pulls no more than a tenth's error
        weight = weight / (1 + (error / 0.1) ** 2)
        columns = torch.stack([dx * x + dy * y, dy * x - dx * y, dx, dy], 1)  # (N, 4, P)
        weighted = columns * weight[:, None]
        normal, right = weighted @ columns.mT, weighted @ error[..., None]
        p = p + torch.linalg.solve(normal + damping, right)[..., 0]
        p = p.clamp(-2 * most, 2 * most)
    fine = (p[:, 2:].norm(dim=1) <= most) & (p[:, :2].norm(dim=1) <= MOST_LINEAR) & p.isfinite().all(1)
    maps = near_identity(torch.where(fine[:, None], p, torch.zeros_like(p)), side)
    moved = warp(stack, maps)
    weight = (seen * (moved[:, 3] * moved[:, 4]).flatten(1))[:, None]
    now = moved[:, :3].flatten(2)
    fits = torch.where(fine, _correlation(now, wanted, weight), 0.0)
    return Registered(maps, fits, *_changed(now, *_light(now, wanted, weight), weight))


def _grey(stack: torch.Tensor) -> torch.Tensor:
    """RGB and what else there is → grey and the same."""
    return torch.cat([stack[:, :3].mean(1, keepdim=True), stack[:, 3:]], 1)


def _soft(pictures: torch.Tensor, visible: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Blurred by a pixel, as what is finer differs between crops by their sampling alone; and how much of each blurred
    pixel is face. What hides is filled before: its edges would be taken for the face's."""
    sure = settle(visible)
    blur = _blur(pictures.shape[-1], pictures.device)
    blurred = blur @ torch.cat([fill_hidden(pictures, sure), sure], 1) @ blur.mT
    return blurred[:, :3], blurred[:, 3:] ** 2 * sure


def _blur(side: int, device: torch.device) -> torch.Tensor:
    """1, 2, 1 along rows or columns, as a matrix; the border repeats."""
    one_each = torch.eye(side, device=device)
    wide = torch.cat([one_each[:1], one_each, one_each[-1:]])
    return (wide[:-2] + 2 * wide[1:-1] + wide[2:]) / 4


def _slopes(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    wide = F.pad(pictures, (1, 1, 1, 1), mode="replicate")
    return (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) / 2, (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) / 2


def _inside(side: int, device: torch.device) -> torch.Tensor:
    """1 but for the outermost pixels, beyond which the border repeats."""
    return F.pad(torch.ones(1, 1, side - 2, side - 2, device=device), (1, 1, 1, 1))


def _light(now: torch.Tensor, wanted: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gain in [0.5, 2] and offset per channel, `(N, 3, 1)` each, that bring `now` nearest to `wanted`."""
    total = weight.sum(-1, keepdim=True) + 1e-3
    mean, aim = (now * weight).sum(-1, keepdim=True) / total, (wanted * weight).sum(-1, keepdim=True) / total
    spread = (((now - mean) ** 2) * weight).sum(-1, keepdim=True) / total
    both = ((now - mean) * (wanted - aim) * weight).sum(-1, keepdim=True) / total
    gain = ((both + 1e-3) / (spread + 1e-3)).clamp(0.5, 2)
    return gain, aim - gain * mean


def _changed(
    now: torch.Tensor, gain: torch.Tensor, offset: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gain and offset as far as they are more than what noise makes them."""
    makes = (((gain - 1) * now + offset) ** 2 * weight).sum((1, 2), keepdim=True)
    makes = makes / (now.shape[1] * (weight.sum((1, 2), keepdim=True) + 1e-3))
    share = makes**2 / (makes**2 + CHANGED**4)
    return 1 + share * (gain - 1), share * offset


def _correlation(one: torch.Tensor, other: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    total = weight.sum(-1, keepdim=True) + 1e-3
    one = one - (one * weight).sum(-1, keepdim=True) / total
    other = other - (other * weight).sum(-1, keepdim=True) / total
    dot = (one * other * weight).sum((1, 2))
    return (dot / ((one**2 * weight).sum((1, 2)) * (other**2 * weight).sum((1, 2)) + 1e-9).sqrt()).clamp(0, 1)
