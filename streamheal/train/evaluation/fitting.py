"""Calibration curves from measured faces: errors over evidence, same-person probabilities over cosines."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression, minimize

from streamheal.calibration import FAR, LEAST_VISIBLE, EvidenceCurve, KeptCurve, MatchCurve, logistic, place_of

EVIDENCE = (0.0, 0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98)
"""Where each bin of evidence begins. Most pixels have next to none or next to all."""
SIDES = (8, 17, 25, 37, 73)
"""Native px from which on each row of a curve holds."""
DRAWS = 40
SURE = 0.95  # of the bootstrap's draws, a stated bound is not exceeded by so many
FEWEST = 200  # pixels in a bin, below which it is left to its neighbours
STRANGERS = 60  # per probe
RIDGE = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Cosines of probes to enrolled pictures. Each probe's pairs weigh 1 with its own person and 1 with strangers."""

    cosine: np.ndarray  # (M,)
    same: np.ndarray  # (M,) bool
    weight: np.ndarray  # (M,) sums to the same over both kinds
    side: np.ndarray  # (M,) native px of the probe
    visible: np.ndarray  # (M,) share of its face oval


def fit_evidence(evidence: np.ndarray, error: np.ndarray, sides: np.ndarray, *, seed: int = 0) -> EvidenceCurve:
    """`evidence` in [0, 1] and `error` in 0 to 255, `(N, P)` pixels of N faces whose crops have `sides` (N,) native px.

    Errors fall with evidence and with size (pool-adjacent-violators, by turns). The nine-in-ten ones are the upper end
    of a bootstrap over faces, so that other faces keep them, not half of the time, but nearly always.
    """
    rng = np.random.default_rng(seed)
    half, nine, counts = [], [], []
    for row in _rows_by_side(sides):
        middle, count = _quantiles(evidence[row], error[row], 0.5)
        half.append(middle)
        counts.append(count)
        drawn = []
        for _ in range(DRAWS):
            again = row[rng.integers(0, len(row), len(row))]
            drawn.append(_quantiles(evidence[again], error[again], 0.9)[0])
        nine.append(_upper(np.array(drawn)))
    overall = _falling(*_quantiles(evidence, error, 0.5))
    return EvidenceCurve(
        sides=SIDES,
        evidence=EVIDENCE,
        half=_rounded(_falling_both_ways(np.array(half), np.array(counts))),
        nine_in_ten=_rounded(_falling_both_ways(np.array(nine), np.array(counts))),
        hallucinated_below=hallucinated_below(overall),
    )


def hallucinated_below(half: np.ndarray) -> float:
    """The evidence below which a pixel counts as hallucinated: where its typical error (the median over all sizes, one
    per bin of EVIDENCE) is nearer to that of a pixel with no evidence than to that of one with all of it."""
    middle = (half[0] + half[-1]) / 2
    nearer_to_seen = half <= middle
    return EVIDENCE[int(np.argmax(nearer_to_seen))]


def pairs_of(
    probes: np.ndarray, owners: np.ndarray, sides: np.ndarray, visible: np.ndarray, enrolled: np.ndarray,
    people: np.ndarray, *, seed: int = 0,
) -> Pairs:  # fmt: skip
    """Every probe beside clear pictures of its person, but not the one it was made of, and beside strangers.

    probes (N, D), made of photograph `owners` (N,); enrolled (M, D), one per photograph; people (M,) their names, ""
    where unknown: such a picture is a stranger to all others.
    """
    rng = np.random.default_rng(seed)
    found: list[list[np.ndarray]] = []
    for probe, owner, side, share in zip(probes, owners, sides, visible, strict=True):
        own = (people == people[owner]) & (people[owner] != "")
        own[owner] = False
        others = ~own
        others[owner] = False
        strangers = rng.permutation(np.flatnonzero(others))[:STRANGERS]
        for rows, same in ((np.flatnonzero(own), True), (strangers, False)):
            if len(rows):
                ones = np.ones(len(rows))
                found.append([enrolled[rows] @ probe, ones == same, ones / len(rows), ones * side, ones * share])
    cosine, same, weight, side, share = (np.concatenate(parts) for parts in zip(*found, strict=True))
    weight = np.where(same, weight / weight[same].sum(), weight / weight[~same].sum())
    return Pairs(cosine, same, weight, side, share)


def fit_match(pairs: Pairs) -> MatchCurve:
    about = place_of(pairs.side, pairs.visible)
    inputs = np.concatenate([about * pairs.cosine[:, None], about], 1)
    found = fit_logistic(inputs, pairs.same, pairs.weight)
    thresholds, rates = rates_of(pairs)
    return MatchCurve(
        slope=_floats(found[:3]),
        intercept=_floats(found[3:]),
        sides=SIDES,
        thresholds=thresholds,
        rates=rates,
        fitted_sides=(int(pairs.side.min()), int(pairs.side.max())),
    )


def rates_of(pairs: Pairs) -> tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]:
    """Thresholds at FAR and true accept rates there, by side, for hidden and for open faces. Rates fall neither with
    size nor with what is visible: where few people say otherwise, they are pooled."""
    thresholds, rates, counts = [], [], []
    open_face = pairs.visible >= LEAST_VISIBLE
    for row in _rows_by_side(pairs.side):
        cells = [row[open_face[row] == is_open] for is_open in (False, True)]
        cells = [cell if pairs.same[cell].any() and not pairs.same[cell].all() else row for cell in cells]
        least = [float(np.quantile(pairs.cosine[cell][~pairs.same[cell]], 1 - FAR)) for cell in cells]
        own = [cell[pairs.same[cell]] for cell in cells]
        passed = [pairs.cosine[rows] > limit for rows, limit in zip(own, least, strict=True)]
        rates.append([np.average(p, weights=pairs.weight[rows]) for p, rows in zip(passed, own, strict=True)])
        counts.append([len(rows) for rows in own])
        thresholds.append(_floats(least))
    rising = -_falling_both_ways(-np.array(rates), np.array(counts))
    return tuple(thresholds), tuple(_floats(row) for row in rising)


def probability(curve: MatchCurve, pairs: Pairs) -> np.ndarray:
    """P(same person) of each pair, `(M,)`, half of all pairs being one person."""
    slope, intercept = curve.line(pairs.side, pairs.visible)
    return logistic(slope * pairs.cosine + intercept)


def fit_kept(drift: np.ndarray, sides: np.ndarray, visible: np.ndarray, kept: np.ndarray) -> KeptCurve:
    """`kept` (N,) bool: the restored face passes for the person in the clear photograph."""
    one, size, share = place_of(sides, visible).T
    found = fit_logistic(np.stack([one, drift, size, share], 1), kept, np.ones(len(kept)))
    return KeptCurve(_floats(found), (int(sides.min()), int(sides.max())))


def fit_logistic(inputs: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Coefficients `(D,)` of a weighted logistic regression of bool `labels` (N,) on `inputs` (N, D), with a small
    ridge, so that labels which can be told apart for certain don't lead to infinity."""
    share, signs = weight / weight.sum(), np.where(labels, 1.0, -1.0)

    def loss(found: np.ndarray) -> tuple[float, np.ndarray]:
        margin = signs * (inputs @ found)
        slope = inputs.T @ (-share * signs * logistic(-margin))
        return float(share @ np.logaddexp(0, -margin) + RIDGE * found @ found), slope + 2 * RIDGE * found

    return minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B").x


def brier(probability: np.ndarray, truth: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Mean squared distance of probabilities from what was true; 0.25 is a coin's, 0 is certainty."""
    return float(np.average((probability - truth) ** 2, weights=weight))


def calibration_error(
    probability: np.ndarray, truth: np.ndarray, weight: np.ndarray | None = None, *, bins: int = 10
) -> float:
    """Expected calibration error: the mean distance between stated and found frequency over equal `bins`."""
    weight = np.ones(len(probability)) if weight is None else weight
    which = np.minimum((probability * bins).astype(int), bins - 1)
    total = [np.bincount(which, weight * value, bins) for value in (1.0 * truth, probability)]
    return float(np.abs(total[0] - total[1]).sum() / weight.sum())


def bins_of(evidence: np.ndarray) -> np.ndarray:
    """Which bin of EVIDENCE each value belongs to; same shape."""
    return np.searchsorted(EVIDENCE, evidence, "right") - 1


def _rows_by_side(sides: np.ndarray) -> list[np.ndarray]:
    """Indices of each range of SIDES; of all where a range holds nothing."""
    group = np.searchsorted(SIDES, sides, "right") - 1
    found = [np.flatnonzero(group == i) for i in range(len(SIDES))]
    return [rows if len(rows) else np.arange(len(sides)) for rows in found]


def _quantiles(evidence: np.ndarray, error: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The quantile of the error in each bin, NaN where it holds too few pixels, and how many it holds."""
    which, flat = bins_of(evidence).ravel(), error.ravel()
    parts = [flat[which == i] for i in range(len(EVIDENCE))]
    counts = np.array([len(part) for part in parts])
    return np.array([np.quantile(part, share) if len(part) >= FEWEST else np.nan for part in parts]), counts


def _upper(drawn: np.ndarray) -> np.ndarray:
    """The upper end of the bootstrap's draws `(DRAWS, bins)`; NaN where a bin was nearly always too small."""
    known = (~np.isnan(drawn)).sum(0) >= DRAWS / 2
    return np.array([np.nanquantile(drawn[:, i], SURE) if known[i] else np.nan for i in range(drawn.shape[1])])


def _falling(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Values that never rise with evidence; a bin of too few pixels takes its lower neighbour's, which is the safe
    side."""
    known = ~np.isnan(values)
    if not known.any():
        raise ValueError(f"no bin of evidence holds {FEWEST} pixels; measure more faces")
    fitted = isotonic_regression(values[known], weights=counts[known], increasing=False).x
    places = np.maximum(np.searchsorted(np.flatnonzero(known), np.arange(len(values)), "right") - 1, 0)
    return fitted[places]


def _falling_both_ways(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """`(sides, bins)` that rise neither with evidence nor with size; nearly the nearest such, in a few turns."""
    fitted = np.stack([_falling(row, count) for row, count in zip(values, counts, strict=True)])
    weights = np.maximum(counts, 1).astype(float)
    for _ in range(50):
        for axis in (0, 1):
            fitted = np.stack([
                isotonic_regression(line, weights=weight, increasing=False).x
                for line, weight in zip(np.moveaxis(fitted, axis, -1), np.moveaxis(weights, axis, -1), strict=True)
            ], axis=1 - axis)  # fmt: skip
    return fitted


def _floats(values) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in values)


def _rounded(rows: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(float(value), 2) for value in row) for row in rows)
