"""What a trial found, as tables: pixels, faces, recognition, slices, and the papers' figures beside."""

from collections.abc import Iterable
from functools import partial

import numpy as np

from streamheal.train.evaluation import metrics, published, slices
from streamheal.train.evaluation.measures import Measured
from streamheal.train.evaluation.report import Cell, Table
from streamheal.train.evaluation.trial import RESTORED, TELEA, Trial

RANKS = (1, 2, 3, 4, 5)
FARS = {"1e-2": 1e-2, "1e-3": 1e-3}
PAIRS = 10  # false accepts that a TAR at this FAR must at least stand on
PARTS = ("", " hidden", " visible")
FACES = ("LPIPS", "Fréchet", "NRMSE", "parsing IoU", "cosine")  # columns, where their judge is at hand


def tables(trial: Trial) -> list[Table]:
    """All tables of one trial."""
    some = [pixels(trial), faces(trial), recognition(trial), occlusion(trial), sliced(trial), papers(trial)]
    return [table for table in some if table]


def overview(trials: list[Trial]) -> list[Table]:
    """PSNR and SSIM, cosine, TAR and rank-1 of all protocols at a glance."""
    first = trials[0]
    side = first.subjects.pictures.shape[-1]
    rows = [[f"{t.protocol}, {name}", *main(t, found)] for t in trials for name, found in t.methods.items()]
    title, note = f"Pixels, {side // first.scale} → {side} px", f"{first.subjects.what}. RGB; jdsr on Y."
    found = [Table(title, note, ["protocol, method", "PSNR dB", "SSIM"], rows)]
    if first.subjects.known is not None:
        known = first.subjects.known
        clean = recognised(first.truth.seen["embeddings"], known, [1e-2], RANKS[:1])
        rows = [["clean picture", "–", *clean]]
        for t in trials:
            for name, method in t.methods.items():
                found_again = recognised(method.embeddings, known, [1e-2], RANKS[:1])
                rows.append([f"{t.protocol}, {name}", cell(method.each["cosine"]), *found_again])
        note = f"{len(known)} people, one clean gallery picture each; cosine to the same picture, clean."
        found.append(Table("Identity (LFW)", note, ["probe", "cosine", "TAR at FAR 1e-2", "rank-1"], rows))
    return found


def main(trial: Trial, method: Measured) -> list[Cell]:
    """The two figures that papers print: RGB, or Y where the paper says so."""
    channel = " Y" if trial.protocol == "jdsr" else ""
    return [cell(method.each[f"{figure}{channel}"]) for figure in ("PSNR", "SSIM")]


def pixels(trial: Trial) -> Table:
    rows = []
    for channel in ("", " Y"):
        for name, found in trial.methods.items():
            cells = [cell(found.each[f"{figure}{channel}{part}"]) for figure in ("PSNR", "SSIM") for part in PARTS]
            rows.append([f"{name},{channel or ' RGB'}", *cells])
    share = trial.truth.hidden.float().mean()
    note = f"{trial.subjects.what}; hidden: {share:.0%} of the pixels."
    if trial.scale == 1:
        note += " Nothing is enlarged: bicubic is the input as it came."
    columns = ["method", "PSNR dB", "hidden", "visible", "SSIM", "hidden", "visible"]
    return Table(f"{trial.protocol}: pixels", note, columns, rows)


def faces(trial: Trial) -> Table | None:
    """How the restored faces look to networks: likeness, where landmarks and parts are, and whose face it is."""
    judged = {*trial.methods[RESTORED].each, *(["Fréchet"] if "embeddings" in trial.truth.seen else [])}
    columns = [name for name in FACES if name in judged]
    if not columns:
        return None
    rows = []
    if trial.subjects.known is not None:
        same = cell((trial.subjects.known * trial.truth.seen["embeddings"]).sum(1))
        other = {"Fréchet": _frechet(trial, trial.subjects.known), "cosine": same}
        rows.append(["another clean picture of the same people", *(other.get(name, "–") for name in columns)])
    for name, found in trial.methods.items():
        cells = [_frechet(trial, found.embeddings) if c == "Fréchet" else cell(found.each[c]) for c in columns]
        rows.append([name, *cells])
    return Table(f"{trial.protocol}: faces", "", ["method", *columns], rows)


def recognition(trial: Trial) -> Table | None:
    if trial.subjects.known is None:
        return None
    columns = ["probe", *(f"TAR at FAR {far}" for far in FARS), *(f"rank-{rank}" for rank in RANKS)]
    probes = {"clean picture": trial.truth.seen["embeddings"]}
    probes |= {name: found.embeddings for name, found in trial.methods.items()}
    rows = [[name, *recognised(seen, trial.subjects.known, FARS.values(), RANKS)] for name, seen in probes.items()]
    note = f"{len(trial.subjects.known)} people, one clean gallery picture each."
    return Table(f"{trial.protocol}: recognition", note, columns, rows)


def occlusion(trial: Trial) -> Table | None:
    if not trial.overlaps:
        return None
    rows = [[name, cell(found)] for name, found in trial.overlaps.items()]
    return Table(f"{trial.protocol}: what it takes to be hidden", "", ["map", "IoU of the hidden part"], rows)


def sliced(trial: Trial) -> Table | None:
    """Whom and what the restorer fails: Telea + bicubic → restored, on each part of the pictures."""
    groups = slices.by_kind(trial.inputs.kinds) | slices.by_native(trial.inputs.natives)
    groups |= slices.by_hidden((trial.inputs.visible < 0.5).float().mean((1, 2, 3)).numpy())
    groups |= slices.by_tone(trial.subjects.tones)
    if not groups:
        return None
    channel = " Y" if trial.protocol == "jdsr" else ""
    base, own = trial.methods[TELEA].each, trial.methods[RESTORED].each
    figures = [f"PSNR{channel}", f"PSNR{channel} hidden", f"SSIM{channel}", "LPIPS", "NRMSE", "cosine"]
    figures = [name for name in figures if name in own]
    rows = []
    for name, chosen in groups.items():
        cells = [cell(own[figure][chosen]) for figure in figures]
        rows.append([name, str(len(chosen)), cell(base[figures[0]][chosen]), *cells])
    columns = ["part", "pictures", f"{TELEA}: {figures[0]}", *(f"{RESTORED}: {name}" for name in figures)]
    note = f"Parts of fewer than {slices.FEWEST} pictures are left out."
    return Table(f"{trial.protocol}: by part", note, columns, rows, folded=True)


def papers(trial: Trial) -> Table | None:
    def figures(method: Measured) -> list[Cell]:
        return [*main(trial, method), *(cell(method.each[n]) if n in method.each else "–" for n in FACES[2:4])]

    ours = {name: figures(trial.methods[name]) for name in (TELEA, RESTORED)}
    return published.beside(trial.protocol, trial.scale, ours)


def cell(values: np.ndarray) -> Cell:
    """Mean with its interval over the pictures that have the figure."""
    known = values[~np.isnan(values)]
    return metrics.interval(known) if len(known) else "–"


def recognised(embeddings: np.ndarray, known: np.ndarray, fars: Iterable[float], ranks: Iterable[int]) -> list[Cell]:
    """TAR at each FAR, then each rank. Row i of `embeddings` and of `known`, the gallery, are one person."""
    scores = embeddings @ known.T
    people = len(scores)
    same = np.eye(people, dtype=bool)
    found: list[Cell] = []
    for far in fars:
        if far * people * (people - 1) < PAIRS:
            found.append("too few pairs")
            continue
        tar = partial(_tar, scores, same, far)
        found.append(metrics.interval_of(tar, people, draws=100))
    return found + [metrics.interval(metrics.ranked(scores, np.arange(people), rank)) for rank in ranks]


def _tar(scores: np.ndarray, same: np.ndarray, far: float, rows: np.ndarray) -> float:
    return metrics.tar_at_far(scores[rows], same[rows], far)


def _frechet(trial: Trial, embeddings: np.ndarray) -> Cell:
    true = trial.truth.seen["embeddings"]

    def distance(rows: np.ndarray) -> float:
        return metrics.frechet(embeddings[rows], true[rows])

    return metrics.interval_of(distance, len(true), draws=50, centred=True)
