"""Which part of the face each pixel shows: labels by hand where there are any, outlines of the landmarks elsewhere."""

import numpy as np
import torch
from torch import nn

from streamheal.heal.networks.face_parser import CLASSES
from streamheal.heal.networks.layers import resample
from streamheal.train.criteria import losses
from streamheal.train.evaluation import metrics
from streamheal.train.samples import parsing_labels
from streamheal.train.samples.jitter import Jitter
from streamheal.train.samples.parsing_labels import FLIP11, UNKNOWN
from streamheal.train.samples.views import Views
from streamheal.train.sheets import grow, sheet
from streamheal.train.task import Batch, Context, Losses, half

JITTER = {"degrees": 8.0, "scale": 0.08, "shift": 4.0}  # px


class ParsingTask:
    """Free faces, sharp and small. No occluders are laid over them: a parser that guesses what lies behind would find
    an eye in a restored face that has none, and neither teach nor judge a restorer."""

    def __init__(
        self,
        context: Context,
        *,
        labelled: float = 0.5,  # share of each batch that is drawn from the labelled faces
        outlines: float = 0.15,  # weight of the outlines' loss: pseudo-landmarks are right to about 2 px, an eye has 4
        group: int = 8,
    ):
        self.faces = context.faces
        self.labelled, self.outlines = labelled, outlines
        self.views = Views(context.bank, hidden=0.0, group=group)
        labels = parsing_labels.read(context.faces.shards, context.faces.size)
        self.rows = np.array(list(labels), np.int64)
        self.labels = torch.from_numpy(np.stack(list(labels.values()))) if labels else None
        self.extra, self.critics, self.weights = nn.Module(), nn.Module(), {}

    def losses(self, network, batch, gen, stage):
        count = int(self.labelled * len(batch.pictures)) if self.labels is not None else 0
        free = Batch(*(part[count:] for part in (batch.pictures, batch.landmarks, batch.indices, batch.mirrored)))
        chosen = torch.randint(0, max(len(self.rows), 1), (count,), generator=gen, device=gen.device).cpu()
        drawn = Batch.of(self.faces, self.rows[chosen], gen, mirror=True) if count else None
        jitter = Jitter.draw(len(batch.pictures), batch.pictures.shape[-1], gen, **JITTER)
        pictures, landmarks = free.pictures, free.landmarks
        if drawn:
            pictures = torch.cat([drawn.pictures, pictures])
            landmarks = torch.cat([drawn.landmarks, landmarks])
        seen = self.views.draw(jitter.maps(pictures), jitter.points(landmarks), gen)
        with half(gen.device):
            logits = network(seen)
        outlines = self.outlined(jitter.points(landmarks)[count:], logits.shape[-1])
        parts = {"outlines": self.outlines * losses.parsing(logits[count:], outlines)}
        if drawn:
            shares = self.shares(chosen, drawn.mirrored)
            wanted = parsing_labels.strongest(Jitter(jitter.matrices[:count]).maps(shares), logits.shape[-1])
            parts["labels"] = losses.parsing(logits[:count], wanted)
            parts["dice"] = losses.parsing_dice(logits[:count], wanted)
        return Losses(parts)

    def shares(self, chosen: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
        """One-hot labels `(n, 11, 128, 128)` of the `chosen` of the labelled faces, mirrored where the pictures are."""
        shares = parsing_labels.shares(self.labels[chosen].to(mirrored.device))
        return torch.where(mirrored.view(-1, 1, 1, 1), shares.flip(3)[:, FLIP11], shares)

    def outlined(self, landmarks: torch.Tensor, size: int) -> torch.Tensor:
        side = self.faces.size
        drawn = [parsing_labels.outlines(points, side, size) for points in landmarks.cpu().numpy()]
        return torch.from_numpy(np.stack(drawn)).to(landmarks.device)

    def look(self, network, batch, gen):
        """IoU on the labelled faces, sharp and from 32 px; on the outlines where no face is labelled."""
        if self.labels is not None:
            batch = Batch.of(self.faces, self.rows, gen, mirror=False)
        small = resample(resample(batch.pictures, 32), batch.pictures.shape[-1])
        figures, rows = {}, []
        for name, pictures in (("sharp", batch.pictures), ("32 px", small)):
            found = network(pictures).argmax(1)
            if self.labels is not None:
                shares = self.shares(torch.arange(len(self.rows)), batch.mirrored)
                wanted = parsing_labels.strongest(shares, found.shape[-1])
            else:
                wanted = self.outlined(batch.landmarks, found.shape[-1]).long()
            both = found.cpu().numpy(), wanted.cpu().numpy()
            figures[f"iou {name}"] = float(metrics.parsing_iou(*both, range(len(CLASSES))).mean())
            for label in wanted[wanted != UNKNOWN].unique().tolist():
                figures[f"iou {name} {CLASSES[label]}"] = float(np.nanmean(metrics.parsing_iou(*both, [label])))
            rows += [pictures, painted(found)]
        return figures, sheet([*rows, painted(wanted)])


_COLOURS = torch.tensor(
    [[0, 0, 0], [200, 160, 130], [0, 60, 255], [0, 200, 255], [0, 200, 0], [160, 255, 0], [255, 220, 0], [255, 0, 0],
     [255, 255, 255], [140, 0, 60], [90, 60, 30]]
)  # fmt: skip


def painted(labels: torch.Tensor) -> torch.Tensor:
    """Classes `(B, h, w)` → colours `(B, 3, 128, 128)` in [0, 1]; what isn't known is grey."""
    colours = torch.cat([_COLOURS, torch.full((UNKNOWN - len(CLASSES) + 1, 3), 128)]).to(labels.device)
    return grow(colours[labels.long()].permute(0, 3, 1, 2) / 255)
