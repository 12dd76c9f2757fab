"""What each kind of network learns: how a batch is made from faces, what is lost, what is looked at meanwhile."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import nn

from streamheal.errors import ConfigError
from streamheal.heal.networks.layers import resample, resample_map
from streamheal.train import degradation, losses
from streamheal.train.bank import Bank
from streamheal.train.data import FLIP68, SIZE, Faces
from streamheal.train.degradation import uniform
from streamheal.train.protocols import CAMERA_SHARES, PROTOCOLS, make_pair


@dataclass(slots=True)
class Batch:
    """Clean faces on the device, mirrored by chance while training."""

    pictures: torch.Tensor  # (B, 3, 128, 128) in [0, 1]
    landmarks: torch.Tensor  # (B, 68, 2) px
    indices: np.ndarray  # (B,) into the faces

    @classmethod
    def of(cls, faces: Faces, indices: np.ndarray, gen: torch.Generator, *, mirror: bool) -> "Batch":
        pictures = torch.from_numpy(faces.pictures(indices)).to(gen.device).permute(0, 3, 1, 2).float() / 255
        landmarks = torch.from_numpy(faces.landmarks[indices]).to(gen.device)
        if mirror:
            flip = uniform((len(indices),), 0, 1, gen) < 0.5
            pictures = torch.where(flip.view(-1, 1, 1, 1), pictures.flip(3), pictures)
            mirrored = landmarks[:, FLIP68] * landmarks.new_tensor([-1, 1]) + landmarks.new_tensor([SIZE - 1, 0])
            landmarks = torch.where(flip.view(-1, 1, 1), mirrored, landmarks)
        return cls(pictures, landmarks, indices)


class Task(Protocol):
    """A task owns what it learns beside the network (`extra`), if anything."""

    extra: nn.Module

    def loss(self, network: nn.Module, batch: Batch, gen: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]: ...

    def look(self, network: nn.Module, batch: Batch, gen: torch.Generator) -> tuple[dict[str, float], torch.Tensor]:
        """Figures on held-out faces, and a contact sheet `(3, H, W)` in [0, 1]."""


def build(kind: str, options: dict, faces: Faces, bank: Bank) -> Task:
    """Raises ConfigError on an unknown option."""
    try:
        if kind == "restorer":
            return RestorerTask(bank, **options)
        if kind == "occlusion":
            return OcclusionTask(bank, **options)
        return EmbedderTask(bank, faces, **options)
    except TypeError as error:
        raise ConfigError(f"options of a {kind} recipe: {error}") from error


@dataclass(slots=True)
class RestorerTask:
    """Pairs of mixed protocols, drawn anew for every `group` pictures."""

    bank: Bank
    shares: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PROTOCOLS, 1.0))
    group: int = 8
    imperfect: float = 0.4  # share of pictures whose visibility is as wrong as a segmenter's may be
    size: int = 16
    extra: nn.Module = field(default_factory=nn.Module)

    def pair(self, batch: Batch, gen: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        weights = torch.tensor([float(share) for share in self.shares.values()], device=gen.device)
        lr, visible = [], []
        for start in range(0, len(batch.pictures), self.group):
            part = slice(start, start + self.group)
            protocol = list(self.shares)[int(torch.multinomial(weights, 1, generator=gen))]
            one = make_pair(protocol, batch.pictures[part], batch.landmarks[part], self.bank, gen, size=self.size)
            lr.append(one[0])
            visible.append(misjudge(one[1], gen, self.imperfect) if protocol in ("jdsr", "cctv") else one[1])
        return torch.cat(lr), torch.cat(visible)

    def loss(self, network, batch, gen):
        lr, visible = self.pair(batch, gen)
        with half(gen.device):
            hr = network(lr, visible).hr
        loss = losses.pixel(hr, batch.pictures)
        return loss, {"pixel": loss.item()}

    def look(self, network, batch, gen):
        figures, rows = {}, []
        for protocol in self.shares:
            lr, visible = make_pair(protocol, batch.pictures, batch.landmarks, self.bank, gen, size=self.size)
            hr = network(lr, visible).hr.float()
            error = ((hr - batch.pictures) ** 2).mean((1, 2, 3)).clamp(min=1e-8)
            figures[f"psnr {protocol}"] = float((-10 * error.log10()).mean())
            rows += [grow(lr), grow(visible).expand(-1, 3, -1, -1), hr]
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


@dataclass(slots=True)
class OcclusionTask:
    """Synthetic occluders over real faces, at every size that a camera gives."""

    bank: Bank
    shares: dict[str, float] = field(default_factory=lambda: dict(CAMERA_SHARES))
    group: int = 8
    camera: float = 0.6  # share of groups that go through the camera's degradation; the rest stay sharp
    native: tuple[int, int] = (12, 48)
    extra: nn.Module = field(default_factory=nn.Module)

    def pair(self, batch: Batch, gen: torch.Generator, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        seen, target = [], []
        for start in range(0, len(batch.pictures), self.group):
            part = slice(start, start + self.group)
            picture, visible, _ = self.bank.occlude(
                batch.pictures[part], batch.landmarks[part], gen, shares=self.shares
            )
            target.append(resample_map(visible, size))
            if float(uniform((), 0, 1, gen)) < self.camera:
                picture, _ = degradation.camera(picture, visible, gen, native=tuple(self.native))
            seen.append(resample(picture, size))
        return torch.cat(seen), torch.cat(target)

    def loss(self, network, batch, gen):
        seen, target = self.pair(batch, gen, network.config.size)
        with half(gen.device):
            logits = network(seen)
        loss = losses.visibility(logits, target)
        return loss, {"visibility": loss.item()}

    def look(self, network, batch, gen):
        size = network.config.size
        seen, target = self.pair(batch, gen, size)
        found = torch.sigmoid(network(seen).float())
        hidden, wanted = found < 0.5, target < 0.5
        union = (hidden | wanted).sum().clamp(min=1)
        figures = {"iou hidden": float((hidden & wanted).sum() / union)}
        rows = [seen, target.expand(-1, 3, -1, -1), found.expand(-1, 3, -1, -1)]
        return figures, sheet([grow(row) for row in rows])


class EmbedderTask:
    """The student sees small, blurred, hidden faces; the teacher has seen the clean ones.

    The teacher's 128 numbers are not normalised and share a large common part (mean norm 1.31 of 1.43), so plain
    cosines crowd together above 0.8. The mean over the training faces is taken off, then both are L2-normalised: the
    student's cosines spread over [-1, 1], and Euclidean order is kept.
    """

    def __init__(
        self,
        bank: Bank,
        faces: Faces,
        *,
        group: int = 16,
        clean: float = 0.25,  # share of groups that stay sharp and free
        native: tuple[int, int] = (12, 48),
        contrast_weight: float = 0.2,
        margin_weight: float = 0.1,
    ):
        self.bank, self.group, self.clean, self.native = bank, group, clean, tuple(native)
        self.contrast_weight, self.margin_weight = contrast_weight, margin_weight
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

    def loss(self, network, batch, gen):
        rows = torch.from_numpy(batch.indices)
        teacher = self.teacher[rows].to(gen.device)
        labels = self.labels[rows].to(gen.device)
        seen = self.see(batch, gen)
        with half(gen.device):
            student = network(seen)
        same = (labels[:, None] == labels[None]) & (labels >= 0)
        parts = {
            "distil": losses.distillation(student, teacher),
            "contrast": losses.contrast(student, teacher, same),
            "margin": losses.margin(student, self.extra.people, labels),
        }
        total = parts["distil"] + self.contrast_weight * parts["contrast"] + self.margin_weight * parts["margin"]
        return total, {name: value.item() for name, value in parts.items()}

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


def half(device: torch.device) -> torch.autocast:
    """bf16 for the network alone; degradation and losses stay in fp32."""
    return torch.autocast(torch.device(device).type, torch.bfloat16)


def grow(pictures: torch.Tensor) -> torch.Tensor:
    """To 128 px by nearest neighbour, so that a contact sheet shows the pixels that there are."""
    return torch.nn.functional.interpolate(pictures.float(), (SIZE, SIZE), mode="nearest")


def sheet(rows: list[torch.Tensor], most: int = 12) -> torch.Tensor:
    """Rows of `(B, 3, 128, 128)` one below the other → `(3, H, W)`."""
    most = min(most, *(len(row) for row in rows))
    return torch.cat([torch.cat(list(row[:most].clamp(0, 1)), 2) for row in rows], 1)
