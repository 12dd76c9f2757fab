"""What a trial on tracks found, as tables: pixels and recognition, gains by the number of frames, steadiness."""

import numpy as np

from streamheal.train.evaluation import metrics, steadiness
from streamheal.train.evaluation.measures import Measured
from streamheal.train.evaluation.report import Cell, Table
from streamheal.train.evaluation.track_trial import AGAINST, EACH, FRAMES, MOST, STEADIED, TOGETHER, TrackTrial, fused
from streamheal.train.evaluation.trial_tables import cell, recognised

FAR = 1e-2
PIXELS = {"PSNR dB": "PSNR", "hidden": "PSNR hidden", "SSIM": "SSIM"}  # column → figure
GAINS = ("PSNR", "PSNR hidden", "SSIM", "cosine", "rank-1")


def tables(trial: TrackTrial) -> list[Table]:
    """All tables of one kind of track."""
    return [table for table in (methods(trial), gains(trial), steady(trial), templates(trial)) if table]


def methods(trial: TrackTrial) -> Table:
    known = trial.subjects.known
    columns = ["method", *PIXELS, *([] if known is None else ["cosine", "TAR at FAR 1e-2", "rank-1"])]
    rows = []
    for name, found in trial.methods.items():
        row: list[Cell] = [name, *(cell(found.each[f]) if f in found.each else "–" for f in PIXELS.values())]
        if known is not None:
            row += [cell(found.each["cosine"]), *recognised(found.embeddings, known, [FAR], [1])]
        rows.append(row)
    note = f"{trial.subjects.what}; hidden: {trial.hidden:.0%} of the first frame"
    note += f", {trial.unseen:.0%} in all {MOST} crops at the same place."
    return Table(f"Track, {trial.kind}", note, columns, rows)


def gains(trial: TrackTrial) -> Table:
    """Of the same pictures, so that the intervals are those of the gain."""
    base, other = trial.methods[fused(1)], trial.methods.get(AGAINST)
    pairs = {f"{fused(count)}, over T = 1": (trial.methods[fused(count)], base) for count in FRAMES[1:]}
    if other is not None:
        pairs[f"{fused(MOST)}, over the other weights"] = (trial.methods[fused(MOST)], other)
    known = trial.subjects.known
    names = [name for name in GAINS if known is not None or name in base.each]
    rows = [[words, *(gain(new, old, name, known) for name in names)] for words, (new, old) in pairs.items()]
    return Table(f"Track, {trial.kind}: gain by frames", "", ["method", *names], rows)


def gain(new: Measured, old: Measured, figure: str, known: np.ndarray | None) -> Cell:
    """How much `figure` (one of GAINS) grows from `old` to `new`, on the same pictures."""
    a, b = each(new, figure, known), each(old, figure, known)
    return cell(a - b)


def each(found: Measured, figure: str, known: np.ndarray | None) -> np.ndarray:
    """A figure per picture; "rank-1" is 1 where the person is found among `known`."""
    if figure != "rank-1":
        return found.each[figure]
    return metrics.ranked(found.embeddings @ known.T, np.arange(len(known))).astype(float)


def steady(trial: TrackTrial) -> Table | None:
    """Input, each frame alone, fused; and how much of the per-frame flicker fusion leaves."""
    if not trial.steady:
        return None
    names = list(trial.steady[TOGETHER])
    rows: list[list[Cell]] = [
        [who, *(cell(own[name]) if name in own else "–" for name in names)] for who, own in trial.steady.items()
    ]
    for who in (TOGETHER, STEADIED):
        left = [share_left(trial, name, who) if name in steadiness.FIGURES else "–" for name in names]
        rows.append([f"{who} ÷ {EACH}", *left])
    count = len(trial.steady[TOGETHER][names[0]])
    return Table(f"Track, {trial.kind}: steadiness", f"{count} tracks of {MOST} frames.", ["frames", *names], rows)


def share_left(trial: TrackTrial, figure: str, who: str) -> Cell:
    """`figure` (one of steadiness.FIGURES) of `who` ÷ that of the frames restored one by one."""
    own, alone = trial.steady[who][figure], trial.steady[EACH][figure]
    return metrics.interval_of(lambda rows: own[rows].mean() / alone[rows].mean(), len(own))


def templates(trial: TrackTrial) -> Table | None:
    """Recognition by the mean embedding of all frames."""
    known = trial.subjects.known
    if not trial.templates or known is None:
        return None
    rows = []
    for who, found in trial.templates.items():
        owner = np.arange(len(found))
        to_truth = (found * trial.subjects.seen["embeddings"][owner]).sum(1)
        rows.append([who, cell(to_truth), cell(metrics.ranked(found @ known.T, owner).astype(float))])
    note = f"{len(owner)} tracks, the mean embedding of {MOST} frames, among {len(known)} people."
    return Table(f"Track, {trial.kind}: templates", note, ["frames", "cosine", "rank-1"], rows)
