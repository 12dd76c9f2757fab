"""What fusion was aimed at, and how far it came: one line for each aim."""

import numpy as np

from streamheal.train.evaluation import steadiness
from streamheal.train.evaluation.masked_templates import FUSED, ORIGINAL
from streamheal.train.evaluation.metrics import interval
from streamheal.train.evaluation.report import Cell, Table
from streamheal.train.evaluation.track_tables import each, gain, share_left
from streamheal.train.evaluation.track_trial import (
    AGAINST,
    BASE_LINES,
    EACH,
    MOST,
    STEADIED,
    TOGETHER,
    TrackTrial,
    fused,
)

GAINS = {"moving": {"PSNR": 2.0, "cosine": 0.08, "rank-1": 0.15}, "mask": {"PSNR": 0.7, "cosine": 0.03}}
"""Kind of track → figure → least gain over the best still system, eight frames."""

FLICKER = 0.5
"""Most of the per-frame restoration's flicker that may be left."""

FIGURES = ("PSNR", "SSIM", "cosine", "rank-1")


def table(trials: list[TrackTrial], masked: dict[str, np.ndarray] | None) -> Table:
    """`masked`: of really masked people, found or not (1 or 0) by each kind of template."""
    rows = []
    for trial in trials:
        rows += [*_gains(trial), *_base_lines(trial), *_flicker(trial)]
    if masked:
        more = interval(masked[FUSED] - masked[ORIGINAL])
        rows.append(_row("really masked people: rank-1 of the fused template over the original's", more, "> 0", 1e-9))
    note = f"{MOST} crops. Of the same pictures, so that intervals are those of the difference."
    return Table("What was aimed at", note, ["aim", "reached", "aimed at", "met"], rows)


def _gains(trial: TrackTrial) -> list[list[Cell]]:
    base = AGAINST if AGAINST in trial.methods else fused(1)
    own, still, known = trial.methods[fused(MOST)], trial.methods[base], trial.subjects.known
    rows = []
    for figure, least in GAINS.get(trial.kind, {}).items():
        if known is None and figure != "PSNR":
            continue
        unit = " dB" if figure == "PSNR" else ""
        words = f"{trial.kind}: {figure} over {base}"
        rows.append(_row(words, gain(own, still, figure, known), f"≥ {least:g}{unit}", least))
    return rows


def _base_lines(trial: TrackTrial) -> list[list[Cell]]:
    """The lead over the best base line, figure by figure."""
    own, known, rows = trial.methods[fused(MOST)], trial.subjects.known, []
    for figure in FIGURES:
        rivals = {}
        for name in BASE_LINES:
            if name not in trial.methods or (known is None and figure in ("cosine", "rank-1")):
                continue
            if figure == "rank-1" or figure in trial.methods[name].each:
                rivals[name] = each(trial.methods[name], figure, known).mean()
        if rivals:
            best = max(rivals, key=rivals.get)
            lead = gain(own, trial.methods[best], figure, known)
            rows.append(_row(f"{trial.kind}: {figure} over {best}, the best base line", lead, "> 0", 1e-9))
    return rows


def _flicker(trial: TrackTrial) -> list[list[Cell]]:
    if not trial.steady:
        return []
    rows = []
    for figure in steadiness.FIGURES:
        if any(figure not in own for own in trial.steady.values()):
            continue
        for who in (TOGETHER, STEADIED):
            left = share_left(trial, figure, who)
            met = "yes" if left["mean"] <= FLICKER else "no"
            rows.append([f"{trial.kind}: {figure}, {who} ÷ {EACH}", left, f"≤ {FLICKER:g}", met])
    return rows


def _row(words: str, reached: Cell, aimed: str, least: float) -> list[Cell]:
    return [words, reached, aimed, "yes" if reached["mean"] >= least else "no"]
