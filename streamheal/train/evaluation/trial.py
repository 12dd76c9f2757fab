"""One restorer under one protocol: the same hidden, shrunk test faces for it, for its parts and for the base lines."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from streamheal.heal.networks.layers import resample, resample_map
from streamheal.heal.networks.restored import Restored
from streamheal.train import data
from streamheal.train.evaluation import metrics
from streamheal.train.evaluation.ablations import ABLATIONS
from streamheal.train.evaluation.measures import AT_ONCE, Judges, Measured, Truth, measure
from streamheal.train.evaluation.people import pairs_of_people
from streamheal.train.evaluation.skin import typology_angle
from streamheal.train.samples.bank import Bank
from streamheal.train.samples.protocols import draw_pair
from streamheal.train.sheets import grow

SEED = 2026
GROUP = 10  # pictures that share one draw of the camera's native size and kernel
SEGMENTED = ("jdsr", "fd", "cctv")  # things before a face, as the segmenter finds them; not holes cut out
FIRST, WORST = 12, 6  # faces on the contact sheet
RESTORED, TELEA = "restored", "Telea + bicubic"


@dataclass(frozen=True, slots=True, eq=False)
class Subjects:
    """Clean test pictures, and what the judges make of them."""

    pictures: torch.Tensor  # (N, 3, S, S) in [0, 1]
    landmarks: torch.Tensor  # (N, 68, 2) px
    seen: dict[str, np.ndarray]  # `Judges.look`
    known: np.ndarray | None  # (N, 192) embeddings of another picture of the same people, where there are such
    tones: np.ndarray  # (N,) typology angle of the skin in degrees, NaN where no cheek is seen
    what: str

    @classmethod
    def choose(cls, data_dir: Path, cache: Path, side: int, most: int, judges: Judges) -> "Subjects":
        """Up to `most`: at 128 px one probe and one gallery picture of LFW's test people; at 256 px tuning pictures,
        as no test picture is that large, and without a second one of anybody."""
        if side == data.SIZE:
            faces = data.load(data.shards(data_dir, ["faces128-test-lfw"]), cache)
            gallery, probes = pairs_of_people(faces, most, SEED)
            return cls.of(faces, probes, gallery, f"{len(probes)} pictures of as many people (LFW)", judges)
        faces = data.load(data.shards(data_dir, ["faces256-val"]), cache)
        rows = np.random.default_rng(SEED).permutation(len(faces))[:most]
        what = f"{len(rows)} pictures of faces256-val, a TUNING shard: no test picture has 256 px"
        return cls.of(faces, rows, None, what, judges)

    @classmethod
    def of(
        cls, faces: data.Faces, rows: np.ndarray, gallery: np.ndarray | None, what: str, judges: Judges
    ) -> "Subjects":
        pictures, landmarks = faces.pictures(rows), faces.landmarks[rows]
        tones = np.array([typology_angle(*face) for face in zip(pictures, landmarks, strict=True)])
        known = judges.look(_tensor(faces.pictures(gallery))).get("embeddings") if gallery is not None else None
        clean = _tensor(pictures)
        return cls(clean, torch.from_numpy(landmarks), judges.look(clean), known, tones, what)


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What restorers get of N faces."""

    lr: torch.Tensor  # (N, 3, s, s) in [0, 1]
    visible: torch.Tensor  # (N, 1, s, s)
    kinds: list[str]  # what hides each
    natives: list[int]  # side of each in the camera's own pixels
    size: int  # side at which they were drawn, s but for networks that take whole faces


def draw(protocol: str, subjects: Subjects, bank: Bank, size: int) -> Inputs:
    """The same for the same seed. A network that takes whole faces (128 px) gets those of 16 px enlarged, except under
    the protocols that have sizes of their own."""
    drawn_at = 16 if size >= data.SIZE and protocol not in ("fd", "cctv") else size
    gen = torch.Generator().manual_seed(SEED)
    pairs, kinds, natives = [], [], []
    for start in range(0, len(subjects.pictures), GROUP):
        part = slice(start, start + GROUP)
        pair = draw_pair(protocol, subjects.pictures[part], subjects.landmarks[part], bank, gen, size=drawn_at)
        pairs.append((resample(pair.lr, size), resample_map(pair.visible, size)))
        kinds += pair.kinds
        natives += [pair.native] * len(pair.kinds)
    lr, visible = (torch.cat(maps) for maps in zip(*pairs, strict=True))
    return Inputs(lr, visible, kinds, natives, drawn_at)


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A restorer's answers to one protocol, measured, beside those of the base lines and of its own parts."""

    protocol: str
    scale: int  # HR side ÷ side at which the inputs were drawn
    subjects: Subjects
    inputs: Inputs
    truth: Truth
    methods: dict[str, Measured]  # the base lines, then RESTORED, then variants of it
    overlaps: dict[str, np.ndarray]  # of a blind system: IoU of what it, and the segmenter, take to be hidden
    rows: list[torch.Tensor]  # of the contact sheet


def run(
    system: str,
    network: nn.Module,
    protocol: str,
    subjects: Subjects,
    bank: Bank,
    judges: Judges,
    segmenter: nn.Module | None,
) -> Trial:
    """Put `network` to the test. Nothing is drawn at random but by SEED."""
    side = subjects.pictures.shape[-1]
    inputs = draw(protocol, subjects, bank, network.lr_size)
    restored = restore(network, inputs.lr, inputs.visible)
    found = None
    if segmenter is not None and protocol in SEGMENTED:
        found = torch.cat([segmenter.visible(part) for part in inputs.lr.split(AT_ONCE)])
    outputs = {
        "bicubic": resample(inputs.lr, side),
        TELEA: resample(metrics.telea(inputs.lr, inputs.visible), side),
        RESTORED: restored.hr,
    }
    if found is not None and not network.blind:
        outputs["restored, found visibility"] = restore(network, inputs.lr, found).hr
    if system in ABLATIONS:
        outputs |= ABLATIONS[system](network, inputs.lr, inputs.visible, subjects.landmarks, restored)

    truth = Truth(subjects.pictures, grow(inputs.visible, side) < 0.5, subjects.seen)
    overlaps = {}
    if network.blind:
        maps = {"its own noise map": restored.occlusion > 0.5}
        maps |= {"the shipped segmenter": found < 0.5} if found is not None else {}
        wanted = (inputs.visible < 0.5)[:, 0].numpy()
        overlaps = {name: metrics.iou(where[:, 0].numpy(), wanted) for name, where in maps.items()}
    methods = {name: measure(output, truth, judges) for name, output in outputs.items()}
    return Trial(
        protocol, side // inputs.size, subjects, inputs, truth, methods, overlaps,
        _rows(inputs, outputs, restored, subjects.pictures, methods[RESTORED].each["PSNR"]),
    )  # fmt: skip


def restore(network: nn.Module, lr: torch.Tensor, visible: torch.Tensor) -> Restored:
    """`network` on all of them, a few at once: hr, lr_completed, occlusion and evidence."""
    parts = [network(a, b) for a, b in zip(lr.split(AT_ONCE), visible.split(AT_ONCE), strict=True)]
    completed = [part.lr_completed for part in parts]
    return Restored(
        hr=torch.cat([part.hr for part in parts]),
        lr_completed=_stages(completed) if isinstance(completed[0], list) else torch.cat(completed),
        occlusion=torch.cat([part.occlusion for part in parts]),
        evidence=torch.cat([part.evidence for part in parts]),
    )


def _stages(parts: list[list[torch.Tensor]]) -> list[torch.Tensor]:
    return [torch.cat(stage) for stage in zip(*parts, strict=True)]


def _rows(
    inputs: Inputs, outputs: dict[str, torch.Tensor], restored: Restored, truth: torch.Tensor, psnr: np.ndarray
) -> list[torch.Tensor]:
    """Input, visibility, Telea, restored, evidence, truth: the first faces, a gap, and those that came out worst."""
    worst, shown = np.argsort(psnr)[:WORST], []
    for pictures in (inputs.lr, inputs.visible, outputs[TELEA], outputs[RESTORED], restored.evidence, truth):
        first, last = (_thumbnails(chosen) for chosen in (pictures[:FIRST], pictures[worst]))
        shown.append(torch.cat([first, torch.ones_like(first[:1]), last]))
    return shown


def _thumbnails(pictures: torch.Tensor) -> torch.Tensor:
    small = resample(pictures, data.SIZE) if pictures.shape[-1] > data.SIZE else grow(pictures)
    return small.expand(-1, 3, -1, -1)


def _tensor(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
