"""One restorer on one kind of track: alone on the first frame, with 2, 4 and 8 frames fused, and what the same frames
give without any fusion.

All are judged on the first frame, which lies in the canonical template.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from streamheal.heal.networks.across_track import restore_track
from streamheal.heal.networks.layers import resample
from streamheal.heal.networks.restored import Restored
from streamheal.heal.networks.steady import Drawn, steadied
from streamheal.train import data
from streamheal.train.evaluation import metrics, steadiness
from streamheal.train.evaluation.measures import AT_ONCE, Judges, Measured, Truth, measure, to_bytes
from streamheal.train.evaluation.track_frames import best_frame, mean_of_frames, onto_first, template
from streamheal.train.evaluation.trial import FIRST, GROUP, SEED, WORST, Subjects, restore
from streamheal.train.samples.bank import Bank
from streamheal.train.samples.tracks import Tracks, draw_track
from streamheal.train.sheets import grow

FRAMES = (1, 2, 4, 8)
MOST = FRAMES[-1]
STEADY = 40  # tracks of which every frame is restored with the help of all others

BICUBIC, AGAINST = "bicubic, first frame", "still, the other weights"
BEST, MEAN, WEIGHTED = "best frame, restored", "mean of restorations", "mean of restorations, by evidence"
BICUBIC_TEMPLATE, STILL_TEMPLATE = "mean embedding, bicubic", "mean embedding, restored"
BASE_LINES = (BEST, MEAN, WEIGHTED, BICUBIC_TEMPLATE, STILL_TEMPLATE)
"""What eight frames give without fusion: the last two are embeddings alone."""

TRUE, INPUT, EACH, TOGETHER = "clean faces", "bicubic", "each frame alone", "fused"
STEADIED = "fused, steadied"  # each laid together with the frame before it, as live runs publish them
"""Whose steadiness is told."""
FRAMES_PSNR = "PSNR dB"  # of all frames, to what each would show of the clean face


def fused(frames: int) -> str:
    return f"fused, T = {frames}" if frames > 1 else "still (T = 1)"


@dataclass(frozen=True, slots=True, eq=False)
class TrackTrial:
    """N tracks of one kind, restored and measured in every way."""

    kind: str
    subjects: Subjects
    hidden: float  # share of the first frame's pixels
    unseen: float  # share that is hidden in the first frame and in each other one at the same place of the crop
    methods: dict[str, Measured]  # templates have a cosine and embeddings alone
    steady: dict[str, dict[str, np.ndarray]]  # who → figure → (n,) of the first n tracks
    templates: dict[str, np.ndarray]  # of the same n tracks: (n, D) mean embeddings
    rows: list[torch.Tensor]  # of the contact sheet


@dataclass(slots=True, eq=False)
class _Answers:
    """What a few tracks became."""

    tracks: Tracks
    alone: torch.Tensor  # (B, T, 3, S, S) every frame restored by itself, as it lies
    outputs: dict[str, torch.Tensor]  # (B, 3, S, S) of the first frame
    evidence: torch.Tensor  # (B, 1, S, S) of the fused face
    templates: dict[str, np.ndarray]  # (B, D)
    steady: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)


def run(
    network: nn.Module,
    fusion: nn.Module | None,
    kind: str,
    subjects: Subjects,
    bank: Bank,
    judges: Judges,
    *,
    against: nn.Module | None = None,
    steady: int = STEADY,
) -> TrackTrial:
    """Put `network` to the test, with `fusion` before it or, without one, by its own. Nothing is drawn at random but by
    SEED. `against`: another still restorer of the same input. `steady`: so many of the tracks are restored in full."""
    parts = []
    for start, tracks in _draw(kind, subjects, bank, network.lr_size):
        part = _answers(network, fusion, tracks, judges, against)
        if start < steady:
            _restore_all(part, network, fusion, judges, steady - start)
        part.alone = part.alone[:, :0]  # all frames at full size would fill the memory
        parts.append(part)

    side, first = subjects.pictures.shape[-1], torch.cat([part.tracks.visible[:, 0] for part in parts])
    truth = Truth(subjects.pictures, grow(first, side) < 0.5, subjects.seen)
    outputs = {name: torch.cat([part.outputs[name] for part in parts]) for name in parts[0].outputs}
    methods = {name: measure(output, truth, judges, luma=False) for name, output in outputs.items()}
    for name in parts[0].templates:
        embeddings = np.concatenate([part.templates[name] for part in parts])
        methods[name] = Measured({"cosine": (embeddings * truth.seen["embeddings"]).sum(1)}, embeddings)
    full = [part.steady for part in parts if part.steady]
    figures = {
        who: {name: np.concatenate([part[who][name] for part in full]) for name in full[0][who]} for who in full[0]
    }
    visible = torch.cat([part.tracks.visible for part in parts])
    return TrackTrial(
        kind=kind,
        subjects=subjects,
        hidden=float((first < 0.5).float().mean()),
        unseen=float((visible.amax(1) < 0.5).float().mean()),
        methods=methods,
        steady={
            who: {name: own[name] for name in (*steadiness.FIGURES, FRAMES_PSNR) if name in own}
            for who, own in figures.items()
        },
        templates={who: own["template"] for who, own in figures.items() if "template" in own},
        rows=_rows(parts, outputs, subjects.pictures, methods[fused(MOST)].each["PSNR"]),
    )


def restore_fused(
    network: nn.Module,
    fusion: nn.Module | None,
    lr: torch.Tensor,
    visible: torch.Tensor,
    valid: torch.Tensor | None = None,
) -> Restored:
    """The first frames of tracks `(B, T, 3, s, s)` with the help of the others, a few tracks at once: hr and evidence.
    `valid` (B, T): which frames there are; all by default."""
    valid = torch.ones(lr.shape[:2], dtype=torch.bool) if valid is None else valid
    parts = []
    for rows in torch.arange(len(lr)).split(AT_ONCE):
        there = valid[rows]
        parts.append(restore_track(network, fusion, lr[rows], visible[rows], there)[0])
    return Restored(hr=torch.cat([part.hr for part in parts]), evidence=torch.cat([part.evidence for part in parts]))


def each_first(frames: torch.Tensor) -> torch.Tensor:
    """`(B, T, …)` → `(B · T, T, …)`: every frame in turn before the others of its track, which keep their order."""
    count = frames.shape[1]
    turns = torch.tensor([[turn, *(other for other in range(count) if other != turn)] for turn in range(count)])
    return frames[:, turns].flatten(0, 1)


def embed(judges: Judges, frames: torch.Tensor) -> np.ndarray:
    """`(B, T, 3, S, S)` → `(B, T, D)`."""
    small = resample(frames.flatten(0, 1), data.SIZE)
    return judges.identity(to_bytes(small)).reshape(*frames.shape[:2], -1)


def _draw(kind: str, subjects: Subjects, bank: Bank, size: int) -> Iterator[tuple[int, Tracks]]:
    gen = torch.Generator().manual_seed(SEED)
    for start in range(0, len(subjects.pictures), GROUP):
        part = slice(start, start + GROUP)
        pictures, landmarks = subjects.pictures[part], subjects.landmarks[part]
        yield start, draw_track(kind, pictures, landmarks, bank, gen, frames=MOST, size=size)


def _answers(
    network: nn.Module, fusion: nn.Module | None, tracks: Tracks, judges: Judges, against: nn.Module | None
) -> _Answers:
    lr, visible, side = tracks.lr, tracks.visible, tracks.clean.shape[-1]
    restored = {count: restore_fused(network, fusion, lr[:, :count], visible[:, :count]) for count in FRAMES}
    outputs = {BICUBIC: resample(lr[:, 0], side)}
    if against is not None:
        outputs[AGAINST] = restore(against, lr[:, 0], visible[:, 0]).hr
    outputs |= {fused(count): answer.hr for count, answer in restored.items()}

    found = restore(network, lr.flatten(0, 1), visible.flatten(0, 1))
    alone = found.hr.unflatten(0, lr.shape[:2])
    stills, within = onto_first(alone, tracks.maps)
    backed, _ = onto_first(found.evidence.unflatten(0, lr.shape[:2]), tracks.maps)
    outputs[BEST] = best_frame(stills, within, visible)
    outputs[MEAN] = mean_of_frames(stills, within)
    outputs[WEIGHTED] = mean_of_frames(stills, within * (backed + 0.05))  # what nobody saw: the plain mean
    templates = {}
    if judges.identity:
        enlarged = resample(lr.flatten(0, 1), side).unflatten(0, lr.shape[:2])
        ways = {BICUBIC_TEMPLATE: onto_first(enlarged, tracks.maps)[0], STILL_TEMPLATE: stills}
        templates = {name: template(embed(judges, frames)) for name, frames in ways.items()}
    return _Answers(tracks, alone, outputs, restored[MOST].evidence, templates)


def _restore_all(part: _Answers, network: nn.Module, fusion: nn.Module | None, judges: Judges, most: int) -> None:
    """Every frame of the first `most` tracks, alone and fused, and how steady they are beside input and truth."""
    lr, visible, maps = (tensor[:most] for tensor in (part.tracks.lr, part.tracks.visible, part.tracks.maps))
    shape, side = lr.shape[:2], part.tracks.clean.shape[-1]
    true = part.tracks.true[:most]
    together = restore_fused(network, fusion, each_first(lr), each_first(visible))
    fused, evidence = together.hr.unflatten(0, shape), together.evidence.unflatten(0, shape)
    ways = {
        TRUE: true,
        INPUT: resample(lr.flatten(0, 1), side).unflatten(0, shape),
        EACH: part.alone[:most],
        TOGETHER: fused,
        STEADIED: _steadied(fused, evidence, lr, visible),
    }
    for who, frames in ways.items():
        found = {"warping error": steadiness.warping_error(frames, maps)}
        if who != TRUE:
            found[FRAMES_PSNR] = metrics.psnr(frames.flatten(0, 1), true.flatten(0, 1)).reshape(shape).mean(1)
        moved, _ = onto_first(frames, maps)
        if judges.identity:
            embeddings = embed(judges, moved)
            found |= {"identity variance": steadiness.identity_variance(embeddings), "template": template(embeddings)}
        if judges.landmarks:
            small = resample(moved.flatten(0, 1), data.SIZE)
            points = np.concatenate([judges.landmarks(some) for some in small.split(AT_ONCE)])
            found["landmark jitter px"] = steadiness.landmark_jitter(points.reshape(*shape, -1, 2))
        part.steady[who] = found


def _steadied(frames: torch.Tensor, evidence: torch.Tensor, lr: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """`(B, T, 3, S, S)`, frame after frame."""
    steps = [Drawn(*step) for step in zip(*(part.unbind(1) for part in (frames, evidence, lr, visible)), strict=True)]
    made = steps[:1]
    for step in steps[1:]:
        made.append(steadied(step, made[-1])[0])
    return torch.stack([step.hr for step in made], 1)


def _rows(
    parts: list[_Answers], outputs: dict[str, torch.Tensor], truth: torch.Tensor, psnr: np.ndarray
) -> list[torch.Tensor]:
    """The crops and their visibility, four to a square; still, fused, evidence, truth: the first faces, a gap, and
    those that came out worst."""
    lr, visible = (torch.cat([getattr(part.tracks, name) for part in parts]) for name in ("lr", "visible"))
    worst = np.argsort(psnr)[:WORST]
    lines = [squares for frames in (lr, visible) for squares in (four(frames[:, :4]), four(frames[:, 4:8]))]
    lines += [outputs[fused(1)], outputs[fused(MOST)], torch.cat([part.evidence for part in parts]), truth]
    shown = []
    for pictures in lines:
        first, last = (thumbnails(pictures[rows]) for rows in (slice(0, FIRST), worst))
        shown.append(torch.cat([first, torch.ones_like(first[:1]), last]))
    return shown


def four(frames: torch.Tensor) -> torch.Tensor:
    """Four frames `(B, 4, C, s, s)` as one square `(B, C, 2s, 2s)`, row by row."""
    above, below = (torch.cat(list(pair.unbind(1)), -1) for pair in (frames[:, :2], frames[:, 2:]))
    return torch.cat([above, below], -2)


def thumbnails(pictures: torch.Tensor) -> torch.Tensor:
    small = resample(pictures, data.SIZE) if pictures.shape[-1] > data.SIZE else grow(pictures)
    return small.expand(-1, 3, -1, -1)
