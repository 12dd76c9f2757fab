"""Who is it: the teacher's embedding of the clean face, learned from what a camera makes of it."""

import torch
from torch import nn

from streamheal.heal.networks.layers import resample
from streamheal.train.criteria import losses
from streamheal.train.data import SIZE
from streamheal.train.samples import degradation
from streamheal.train.samples.degradation import uniform
from streamheal.train.samples.protocols import CAMERA_SHARES
from streamheal.train.sheets import grow, sheet
from streamheal.train.task import Batch, Context, Losses, half


class EmbedderTask:
    """The student sees small, blurred, hidden faces; the teacher has seen the clean ones.

    The teacher's 128 numbers are not normalised and share a large common part (mean norm 1.31 of 1.43), so plain
    cosines crowd together above 0.8. The mean over the training faces is taken off, then both are L2-normalised: the
    student's cosines spread over [-1, 1], and Euclidean order is kept.
    """

    def __init__(
        self,
        context: Context,
        *,
        group: int = 16,
        clean: float = 0.25,  # share of groups that stay sharp and free
        native: tuple[int, int] = (12, 48),
        contrast_weight: float = 0.2,
        margin_weight: float = 0.1,
    ):
        faces = context.faces
        self.bank, self.group, self.clean, self.native = context.bank, group, clean, tuple(native)
        self.weights = {"distil": 1.0, "contrast": contrast_weight, "margin": margin_weight}
        teacher = torch.from_numpy(faces.teacher)
        self.mean = teacher.mean(0)
        self.teacher = torch.nn.functional.normalize(teacher - self.mean, dim=1)
        named = sorted({name for name in faces.identities if name})
        number = {name: i for i, name in enumerate(named)}
        self.labels = torch.tensor([number.get(name, -1) for name in faces.identities])
        prototypes = torch.zeros(max(len(named), 1), teacher.shape[1])
        known = self.labels >= 0
        prototypes.index_add_(0, self.labels[known], self.teacher[known])
        self.extra = nn.Module()  # one direction a person, from the teacher's mean, learned on
        self.critics = nn.Module()
        self.extra.people = nn.Parameter(torch.nn.functional.normalize(prototypes + 1e-4, dim=1))

    def see(self, batch: Batch, gen: torch.Generator) -> torch.Tensor:
        seen = []
        for start in range(0, len(batch.pictures), self.group):
            part = slice(start, start + self.group)
            picture = batch.pictures[part]
            if float(uniform((), 0, 1, gen)) >= self.clean:
                picture, visible, _ = self.bank.occlude(picture, batch.landmarks[part], gen, shares=CAMERA_SHARES)
                if float(uniform((), 0, 1, gen)) < 0.75:
                    picture, _ = degradation.camera(picture, visible, gen, native=self.native)
            seen.append(resample(picture, SIZE))
        return torch.cat(seen)

    def losses(self, network, batch, gen, stage):
        rows = torch.from_numpy(batch.indices)
        teacher = self.teacher[rows].to(gen.device)
        labels = self.labels[rows].to(gen.device)
        seen = self.see(batch, gen)
        with half(gen.device):
            student = network(seen)
        same = (labels[:, None] == labels[None]) & (labels >= 0)
        return Losses(
            {
                "distil": self.weights["distil"] * losses.identity(student, teacher),
                "contrast": self.weights["contrast"] * losses.contrast(student, teacher, same),
                "margin": self.weights["margin"] * losses.margin(student, self.extra.people, labels),
            }
        )

    def look(self, network, batch, gen):
        """Cosine between the clean and the camera's view of the same face, and of the next one in the batch."""
        clean = network(batch.pictures)
        occluded, visible, _ = self.bank.occlude(batch.pictures, batch.landmarks, gen, shares=CAMERA_SHARES)
        seen, _ = degradation.camera(occluded, visible, gen, native=(24, 24))
        tiny = network(seen)
        figures = {
            "cosine tiny to clean, same picture": float((clean * tiny).sum(1).mean()),
            "cosine tiny to clean, another": float((clean * tiny.roll(1, 0)).sum(1).mean()),
        }
        return figures, sheet([grow(seen), batch.pictures])
