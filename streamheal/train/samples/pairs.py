"""Training pairs of mixed protocols, and a look at what a restorer makes of them."""

from dataclasses import dataclass

import torch
from torch import nn

from streamheal.errors import ConfigError
from streamheal.heal.networks.layers import resample_map
from streamheal.train.samples import degradation
from streamheal.train.samples.bank import Bank
from streamheal.train.samples.degradation import uniform
from streamheal.train.samples.protocols import PROTOCOLS, make_pair
from streamheal.train.sheets import grow, sheet
from streamheal.train.task import Batch


@dataclass(slots=True)
class Pairs:
    """Draws a protocol anew for every `group` pictures. Raises ConfigError on a protocol that there isn't."""

    bank: Bank
    shares: dict[str, float]  # how often each protocol is drawn
    size: int  # side of the input
    group: int = 8
    imperfect: float = 0.0  # share of the pictures whose visibility is as wrong as a segmenter's may be

    def __post_init__(self):
        if unknown := sorted(set(self.shares) - set(PROTOCOLS)):
            raise ConfigError(f"options: shares: no protocol {', '.join(unknown)}; allowed: {', '.join(PROTOCOLS)}")

    def draw(self, batch: Batch, gen: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """`(B, 3, size, size)` as a restorer gets it, and its visibility `(B, 1, size, size)`."""
        weights = torch.tensor([float(share) for share in self.shares.values()], device=gen.device)
        lr, visible = [], []
        for start in range(0, len(batch.pictures), self.group):
            part = slice(start, start + self.group)
            protocol = list(self.shares)[int(torch.multinomial(weights, 1, generator=gen))]
            one = make_pair(protocol, batch.pictures[part], batch.landmarks[part], self.bank, gen, size=self.size)
            found_by_segmenter = protocol in ("jdsr", "cctv")
            lr.append(one[0])
            visible.append(misjudge(one[1], gen, self.imperfect) if found_by_segmenter else one[1])
        return torch.cat(lr), torch.cat(visible)

    def look(self, network: nn.Module, batch: Batch, gen: torch.Generator) -> tuple[dict[str, float], torch.Tensor]:
        """PSNR on each protocol, and rows of inputs, visibility and outputs."""
        figures, rows, side = {}, [], batch.pictures.shape[-1]
        for protocol in self.shares:
            lr, visible = make_pair(protocol, batch.pictures, batch.landmarks, self.bank, gen, size=self.size)
            hr = network(lr, visible).hr.float()
            error = ((hr - batch.pictures) ** 2).mean((1, 2, 3)).clamp(min=1e-8)
            figures[f"psnr {protocol}"] = float((-10 * error.log10()).mean())
            rows += [grow(lr, side), grow(visible, side).expand(-1, 3, -1, -1), hr]
        return figures, sheet([*rows, batch.pictures])


def misjudge(visible: torch.Tensor, gen: torch.Generator, share: float) -> torch.Tensor:
    """Visibility `(B, 1, s, s)` as an imperfect segmenter would give it, for `share` of them: softened, grown or
    shrunk at its edge, with false patches; for a quarter of those nothing hidden is found at all."""
    batch, _, size, _ = visible.shape
    kernel = degradation.blur_kernels(batch, gen, scale=0.6, width=3)
    soft = degradation.filter_each(visible, kernel)
    bias = uniform((batch, 1, 1, 1), -0.35, 0.35, gen)
    patches = torch.randn((batch, 1, 4, 4), generator=gen, device=gen.device) * 0.12
    wrong = ((soft - 0.5) * uniform((batch, 1, 1, 1), 0.7, 2.0, gen) + 0.5 + bias).clamp(0, 1)
    wrong = (wrong + resample_map(patches, size)).clamp(0, 1)
    missed = uniform((batch, 1, 1, 1), 0, 1, gen) < 0.25
    wrong = torch.where(missed, torch.ones_like(wrong), wrong)
    return torch.where(uniform((batch, 1, 1, 1), 0, 1, gen) < share, wrong, visible)
