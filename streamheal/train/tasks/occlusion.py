"""Which pixels show the face: synthetic occluders over real faces."""

from dataclasses import dataclass, field

import torch
from torch import nn

from streamheal.heal.networks.layers import resample, resample_map
from streamheal.train.criteria import losses
from streamheal.train.samples import degradation
from streamheal.train.samples.degradation import uniform
from streamheal.train.samples.protocols import CAMERA_SHARES
from streamheal.train.sheets import grow, sheet
from streamheal.train.task import Batch, Context, Losses, half


@dataclass(slots=True)
class OcclusionTask:
    """Synthetic occluders over real faces, at every size that a camera gives."""

    context: Context
    shares: dict[str, float] = field(default_factory=lambda: dict(CAMERA_SHARES))
    group: int = 8
    camera: float = 0.6  # share of groups that go through the camera's degradation; the rest stay sharp
    native: tuple[int, int] = (12, 48)
    extra: nn.Module = field(default_factory=nn.Module)
    critics: nn.Module = field(default_factory=nn.Module)
    weights: dict[str, float] = field(default_factory=lambda: {"visibility": 1.0})

    def pair(self, batch: Batch, gen: torch.Generator, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        seen, target = [], []
        for start in range(0, len(batch.pictures), self.group):
            part = slice(start, start + self.group)
            picture, visible, _ = self.context.bank.occlude(
                batch.pictures[part], batch.landmarks[part], gen, shares=self.shares
            )
            target.append(resample_map(visible, size))
            if float(uniform((), 0, 1, gen)) < self.camera:
                picture, _ = degradation.camera(picture, visible, gen, native=tuple(self.native))
            seen.append(resample(picture, size))
        return torch.cat(seen), torch.cat(target)

    def losses(self, network, batch, gen, stage):
        seen, target = self.pair(batch, gen, network.config.size)
        with half(gen.device):
            logits = network(seen)
        return Losses({"visibility": self.weights["visibility"] * losses.visibility(logits, target)})

    def look(self, network, batch, gen):
        size = network.config.size
        seen, target = self.pair(batch, gen, size)
        found = torch.sigmoid(network(seen).float())
        hidden, wanted = found < 0.5, target < 0.5
        union = (hidden | wanted).sum().clamp(min=1)
        figures = {"iou hidden": float((hidden & wanted).sum() / union)}
        rows = [seen, target.expand(-1, 3, -1, -1), found.expand(-1, 3, -1, -1)]
        return figures, sheet([grow(row) for row in rows])
