"""One face restored again and again along its track, without flicker.

Each restoration invents what nobody saw anew, and differs a little with where its crop happens to lie on the sensor's
grid. So what was drawn before is laid onto what is drawn now and averaged with it, the more the less of the face is
seen now (an exponential moving average with motion compensation).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from streamheal.heal.networks.layers import settle
from streamheal.heal.networks.registration import register
from streamheal.heal.networks.track_fusion import sure_of
from streamheal.heal.networks.warping import rescale, warp

SHARE = 0.7
"""Of what was drawn before, where as much was seen then as now: what differs at random falls to a quarter."""
FLOOR = 0.05  # evidence that both are given, so that where nobody saw anything they count alike


@dataclass(slots=True, eq=False)
class Drawn:
    """B restored faces and the crops they were made of."""

    hr: torch.Tensor  # (B, 3, S, S) in [0, 1]
    evidence: torch.Tensor  # (B, 1, S, S) in [0, 1]
    lr: torch.Tensor  # (B, 3, s, s) in [0, 1], the crop that was restored
    visible: torch.Tensor  # (B, 1, s, s) in [0, 1]


def steadied(now: Drawn, before: Drawn) -> tuple[Drawn, torch.Tensor]:
    """`now` laid together with what was drawn `before` of the same faces, and the greatest share that this has anywhere
    in each, `(B,)`: 0 where its crop could not be laid onto the one of now."""
    side = now.hr.shape[-1]
    found = register(now.lr, now.visible, before.lr, before.visible, torch.arange(len(now.lr), device=now.lr.device))
    maps = rescale(found.maps, side / now.lr.shape[-1])
    drawn = found.lit(warp(before.hr, maps, mode="bicubic")).clamp(0, 1)
    inside = F.pad(torch.ones_like(now.evidence[..., 1:-1, 1:-1]), (1, 1, 1, 1))  # the border repeats beyond
    evidence, inside = warp(torch.cat([before.evidence, inside], 1), maps).split(1, 1)
    then, today = SHARE * (evidence + FLOOR), (1 - SHARE) * (now.evidence + FLOOR)
    share = sure_of(found.fits) * settle(inside) * then / (then + today)
    made = Drawn(
        now.hr + share * (drawn - now.hr), now.evidence + share * (evidence - now.evidence), now.lr, now.visible
    )
    return made, share.amax((1, 2, 3))
