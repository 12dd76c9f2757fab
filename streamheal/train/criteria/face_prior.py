"""The face prior loss of FCSR-GAN and JDSR-GAN: where the landmarks are, and which part each pixel shows."""

from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F

from streamheal.train.criteria import losses
from streamheal.train.criteria.priors import Priors
from streamheal.train.samples import heatmaps, parsing_labels
from streamheal.train.task import Batch, half, one_of

LandmarkLoss = Literal["cross-entropy", "squared"]
ParsingLabels = Literal["parser", "outlines"]


def landmark_maps(found: torch.Tensor, wanted: torch.Tensor, loss: LandmarkLoss = "cross-entropy") -> torch.Tensor:
    """Maps `(B, K, s, s)` in [0, 1] against those drawn from the truth; a scalar, mean over all cells.

    The papers square the error. Both losses are lowest at the same map, but a sigmoid that is near 0, as nearly all of
    a map is, gets next to no gradient from the squared one.
    """
    if loss == "squared":
        return losses.heatmaps(found, wanted)
    return F.binary_cross_entropy(found.float(), wanted)


class FacePrior:
    """What a network says of the faces in a batch, or what frozen teachers see in the faces that it made."""

    def __init__(
        self,
        priors: Priors,
        *,
        # Nobody labelled our photographs. "parser": what the shipped parser sees in the sharp one. "outlines":
        # polygons of the landmarks, which know nothing of hair and background, and want no trained network.
        labels: ParsingLabels = "parser",
        landmark_loss: LandmarkLoss = "cross-entropy",
    ):
        self.priors = priors
        self.labels = one_of("parsing_labels", labels, get_args(ParsingLabels))
        self.landmark_loss = one_of("landmark_loss", landmark_loss, get_args(LandmarkLoss))

    def landmarks(self, maps: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Loss of a network's own maps `(B, 68, s, s)`, against Gaussians of σ = 1 cell (FCSR-GAN's code)."""
        wanted = heatmaps.draw(batch.landmarks, batch.pictures.shape[-1], maps.shape[-1])
        return landmark_maps(maps, wanted, self.landmark_loss)

    def parsing(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Loss of a network's own logits `(B, 11, s, s)`: cross-entropy, as FCSR-GAN's code has it."""
        return losses.parsing(logits, self.wanted(batch, logits.shape[-1]))

    def seen_landmarks(self, hr: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Loss of faces `(B, 3, s, s)` by the landmark maps that a frozen network sees in them, and in the true ones.

        For networks that draw no maps themselves. One teacher on both sides: its mistakes cancel out.
        """
        with half(hr.device):
            with torch.no_grad():
                wanted = self.priors.fan(batch.pictures)
            found = self.priors.fan(hr)
        return landmark_maps(found, wanted, self.landmark_loss)

    def seen_parsing(self, hr: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The same of what the frozen parser sees."""
        with half(hr.device):
            logits = self.priors.parser(hr)
        return losses.parsing(logits, self.wanted(batch, logits.shape[-1]))

    @torch.no_grad()
    def wanted(self, batch: Batch, size: int) -> torch.Tensor:
        """Labels `(B, size, size)` of the true faces."""
        if self.labels == "outlines":
            side, points = batch.pictures.shape[-1], batch.landmarks.cpu().numpy()
            drawn = np.stack([parsing_labels.outlines(face, side, size) for face in points])
            return torch.from_numpy(drawn).to(batch.pictures.device)
        with half(batch.pictures.device):
            logits = self.priors.parser(batch.pictures)
        return F.interpolate(logits.float(), (size, size), mode="bilinear", align_corners=False).argmax(1)
