"""Where the 68 landmarks are, learned from points that another network found on the sharp, free photographs."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

from streamheal.heal.networks.layers import resample
from streamheal.train.criteria import losses
from streamheal.train.evaluation import metrics
from streamheal.train.samples import heatmaps
from streamheal.train.samples.jitter import Jitter
from streamheal.train.samples.protocols import make_pair
from streamheal.train.samples.views import Views
from streamheal.train.sheets import sheet
from streamheal.train.task import Batch, Context, Losses, half


@dataclass(slots=True)
class LandmarksTask:
    """What both landmark networks share: small, blurred, hidden faces that lie a little askew."""

    context: Context
    hidden: float = 0.6  # share of groups with occluders
    degrees: float = 10.0  # jitter: without it the mean face is already a good answer in an aligned crop
    scale: float = 0.1
    shift: float = 5.0  # px
    group: int = 8
    sigma: float = 1.0  # of a map's Gaussian, in cells
    extra: nn.Module = field(default_factory=nn.Module)
    critics: nn.Module = field(default_factory=nn.Module)
    weights: dict[str, float] = field(default_factory=dict)

    def pair(self, batch: Batch, gen: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """`(B, 3, s, s)` and the true landmarks in it, `(B, 68, 2)` px."""
        size = batch.pictures.shape[-1]
        jitter = Jitter.draw(len(batch.pictures), size, gen, degrees=self.degrees, scale=self.scale, shift=self.shift)
        landmarks = jitter.points(batch.landmarks)
        views = Views(self.context.bank, self.hidden, group=self.group)
        return views.draw(jitter.maps(batch.pictures), landmarks, gen), landmarks

    def look(self, network, batch, gen):
        """NRMSE against the stored points: sharp, from 32 and 16 px, and as the camera sees a hidden face."""
        side = batch.pictures.shape[-1]
        hidden, _ = make_pair("cctv", batch.pictures, batch.landmarks, self.context.bank, gen, size=32)
        views = {
            "sharp": batch.pictures,
            "32 px": resample(batch.pictures, 32),
            "16 px": resample(batch.pictures, 16),
            "camera": hidden,
        }
        figures, rows, wanted = {}, [], batch.landmarks.cpu().numpy()
        for name, pictures in views.items():
            grown = resample(pictures, side)
            points = network.points(grown)
            figures[f"nrmse {name}"] = float(metrics.nrmse(points.cpu().numpy(), wanted).mean())
            rows.append(dotted(grown, points))
        return figures, sheet([*rows, dotted(batch.pictures, batch.landmarks)])


class LandmarkMapsTask(LandmarksTask):
    """FanLite: one Gaussian a landmark.

    Cross-entropy instead of the papers' squared error: both are lowest at the same map, but a sigmoid that starts near
    0, as most of a map is, gets almost no gradient from the squared one.
    """

    def losses(self, network, batch, gen, stage):
        seen, landmarks = self.pair(batch, gen)
        with half(gen.device):
            logits = network.logits(seen)
        wanted = heatmaps.draw(landmarks, seen.shape[-1], logits.shape[-1], self.sigma)
        entropy = F.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="none")
        return Losses({"maps": entropy.sum((2, 3)).mean()})


class LandmarkPointsTask(LandmarksTask):
    """OFHNet's network A: coordinates. It only ever meets restored faces, so fewer are hidden."""

    def losses(self, network, batch, gen, stage):
        seen, landmarks = self.pair(batch, gen)
        with half(gen.device):
            points = network(seen)
        return Losses({"points": losses.landmarks(points, (landmarks + 0.5) / seen.shape[-1])})


def dotted(pictures: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """A green dot of one pixel on each of `points` (B, K, 2) px."""
    pictures, side = pictures.clone(), pictures.shape[-1]
    x, y = points.round().long().clamp(0, side - 1).unbind(2)
    rows = torch.arange(len(pictures), device=pictures.device)[:, None]
    pictures[rows, :, y, x] = pictures.new_tensor([0, 1, 0])
    return pictures
