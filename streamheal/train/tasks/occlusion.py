"""Which pixels show the face: synthetic occluders over real faces, and masks and sunglasses that people wear."""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import nn

from streamheal.errors import ConfigError
from streamheal.heal.networks.layers import resample, resample_map
from streamheal.train import data
from streamheal.train.criteria import losses
from streamheal.train.samples import degradation
from streamheal.train.samples.degradation import uniform
from streamheal.train.samples.protocols import CAMERA_SHARES
from streamheal.train.samples.sunglasses import Sunglasses
from streamheal.train.samples.worn_masks import OPEN, VISIBLE, WornMasks
from streamheal.train.sheets import grow, sheet
from streamheal.train.task import Batch, Context, Losses, half

Known = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Faces `(n, 3, s, s)`, their visibility and where it is known, `(n, 1, s, s)` each."""


@dataclass
class OcclusionTask:
    """Synthetic occluders over real faces, at every size that a camera gives. Beside them, where asked for, faces of
    which little is known: of crowds the mouth, and those who wear sunglasses."""

    context: Context
    shares: dict[str, float] = field(default_factory=lambda: dict(CAMERA_SHARES))
    group: int = 8
    camera: float = 0.6  # share of groups that go through the camera's degradation; the rest stay sharp
    native: tuple[int, int] = (12, 48)
    worn: int = 0  # faces of crowds beside each batch
    sunglasses: int = 0  # faces with sunglasses beside each batch; else they pass for bare ones
    extra: nn.Module = field(default_factory=nn.Module)
    critics: nn.Module = field(default_factory=nn.Module)
    weights: dict[str, float] = field(default_factory=lambda: {"visibility": 1.0, "worn": 1.0, "sunglasses": 1.0})

    @cached_property
    def crowds(self) -> WornMasks:
        part = "tune" if data.role(self.context.faces.shards[0]) == "val" else "train"
        return WornMasks.load(self.context.priors.data_dir, part, self.context.kept)

    @cached_property
    def shaded(self) -> Sunglasses:
        found = Sunglasses.among(self.context.faces)
        if not len(found.hidden) and data.role(self.context.faces.shards[0]) == "train":
            raise ConfigError(
                "options: sunglasses: nobody in these shards is known to wear some (train/labels/sunglasses.json); "
                "set `sunglasses: 0`"
            )
        return found

    def pair(self, batch: Batch, gen: torch.Generator, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        seen, target = [], []
        for start in range(0, len(batch.pictures), self.group):
            part = slice(start, start + self.group)
            picture, visible, _ = self.context.bank.occlude(
                batch.pictures[part], batch.landmarks[part], gen, shares=self.shares
            )
            target.append(resample_map(visible, size))
            seen.append(self._before_a_camera(picture, gen, size))
        return torch.cat(seen), torch.cat(target)

    def _before_a_camera(self, pictures: torch.Tensor, gen: torch.Generator, size: int) -> torch.Tensor:
        if float(uniform((), 0, 1, gen)) < self.camera:
            pictures, _ = degradation.camera(pictures, torch.ones_like(pictures[:, :1]), gen, native=tuple(self.native))
        return resample(pictures, size)

    def known_pairs(self, gen: torch.Generator, size: int) -> dict[str, Known]:
        """What stands beside the drawn occluders."""
        pairs = {}
        if self.worn:
            seen, visible, known = self._known(self.crowds.draw(self.worn, gen), gen, size)
            # Below the eyes: hardly anybody there wears sunglasses, and who is told again and again that eyes are seen
            # forgets how those look.
            known[:, :, : size // 2] = False
            pairs["worn"] = seen, visible, known
        if self.sunglasses and len(self.shaded.hidden):
            pairs["sunglasses"] = self._known(self.shaded.draw(self.context.faces, self.sunglasses, gen), gen, size)
        return pairs

    def _known(self, drawn: tuple[torch.Tensor, torch.Tensor], gen: torch.Generator, size: int) -> Known:
        pictures, marks = drawn
        known, visible = (resample_map(part.float(), size) for part in (marks != OPEN, marks == VISIBLE))
        return self._before_a_camera(pictures, gen, size), visible, known > 0.99

    def losses(self, network, batch, gen, stage):
        size = network.config.size
        seen, target = self.pair(self.shaded.bare(batch) if self.sunglasses else batch, gen, size)
        beside = self.known_pairs(gen, size)
        with half(gen.device):
            logits = network(torch.cat([seen, *(faces for faces, *_ in beside.values())]))
        of_drawn, *others = logits.split([len(seen), *(len(faces) for faces, *_ in beside.values())])
        parts = {"visibility": losses.visibility(of_drawn, target)}
        for (name, (_, visible, known)), found in zip(beside.items(), others, strict=True):
            parts[name] = losses.visibility_where_known(found, visible, known)
        return Losses({name: self.weights[name] * part for name, part in parts.items()})

    def look(self, network, batch, gen):
        size = network.config.size
        seen, target = self.pair(batch, gen, size)
        found = torch.sigmoid(network(seen).float())
        hidden, wanted = found < 0.5, target < 0.5
        union = (hidden | wanted).sum().clamp(min=1)
        figures = {"iou hidden": float((hidden & wanted).sum() / union)}
        rows = [seen, target.expand(-1, 3, -1, -1), found.expand(-1, 3, -1, -1)]
        for name, (others, visible, known) in self.known_pairs(gen, size).items():
            right = (torch.sigmoid(network(others).float()) > 0.5) == (visible > 0.5)
            figures[f"{name} right"] = float(right[known].float().mean())
        return figures, sheet([grow(row) for row in rows])
