"""Does a calibration keep on test people what it was fitted to on tuning people?

Stated beside found: how far pixels lie from the truth, and how often pairs are one person. A calibration that fails
here is to be fitted again or distrusted, not adjusted to the test people.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from streamheal import weights
from streamheal.calibration import Calibration, EvidenceCurve, KeptCurve, MatchCurve, logistic, place_of
from streamheal.heal import networks
from streamheal.train import data
from streamheal.train.calibrate import EMBEDDER, SEGMENTER, drift, pairs, passes
from streamheal.train.evaluation import fitting, metrics, slices
from streamheal.train.evaluation.fitting import EVIDENCE, SIDES, Pairs, brier, calibration_error
from streamheal.train.evaluation.honest_faces import Looked, Networks, embed, look, look_at_tracks
from streamheal.train.evaluation.people import pairs_of_people
from streamheal.train.evaluation.report import Cell, Table
from streamheal.train.evaluation.skin import typology_angle
from streamheal.train.samples.bank import Bank

SEED = 2026
SHARD = "faces128-test-lfw"
PEOPLE = 150  # at most, with one enrolled picture and one probe each


@dataclass(frozen=True, slots=True, eq=False)
class Subjects:
    """Test people: their faces, which pictures are enrolled and which are probes, and the enrolled embeddings."""

    faces: data.Faces
    enrolled: np.ndarray  # rows
    probes: np.ndarray  # rows
    embeddings: np.ndarray  # (all pictures, D), NaN where neither

    @classmethod
    def choose(cls, data_dir: Path, cache: Path, embedder: nn.Module, most: int) -> "Subjects":
        faces = data.load(data.shards(data_dir, [SHARD]), cache)
        enrolled, probes = pairs_of_people(faces, most, SEED)
        embeddings = np.full((len(faces), embedder.config.dimensions), np.nan, np.float32)
        both = np.concatenate([enrolled, probes])
        embeddings[both] = embed(embedder, faces.pictures(both))
        return cls(faces, enrolled, probes, embeddings)

    def pairs(self, embeddings: np.ndarray, looked: Looked) -> Pairs:
        rows = np.concatenate([self.enrolled, self.probes])
        return pairs(embeddings, looked, rows, self.embeddings, self.faces.identities)


def tables(known: Calibration, network: nn.Module, data_dir: Path, cache: Path, *, people: int = PEOPLE):
    """Tables of the network `known` belongs to, a restorer or an embedder, and a picture of them `(3, H, W)`."""
    embedder = network if known.original else networks.load(weights.find(EMBEDDER).path)
    subjects = Subjects.choose(data_dir, cache, embedder, people)
    bank = Bank.draw(SEED, 12, data_dir / "occluders.zip", held_out=True)
    looking = Networks(embedder, networks.load(weights.find(SEGMENTER).path))
    if known.original:
        crops, tracks = look_at_tracks(subjects.faces, subjects.probes, bank, looking, seed=SEED)
        told = {
            "original": (known.original, subjects.pairs(crops.original, crops)),
            "mean of 4 crops": (known.track, subjects.pairs(tracks.original, tracks)),
        }
        return [_probabilities(told)], _picture(None, told)
    looking = Networks(embedder, looking.segmenter, network, getattr(network, "fusion", None))
    crops = look(subjects.faces, subjects.probes, bank, looking, seed=SEED)
    told = {"restored": (known.restored, subjects.pairs(crops.restored, crops))}
    tones = np.array([typology_angle(*face) for face in _photographs(subjects)])
    found = [
        evidence(known.evidence, crops),
        by_part(known.evidence, crops, dict(zip(subjects.probes.tolist(), tones.tolist(), strict=True))),
        _probabilities(told),
        kept(known.kept, known.restored, crops, subjects.embeddings),
    ]
    return found, _picture((known.evidence, crops), told)


def evidence(curve: EvidenceCurve, looked: Looked) -> Table:
    """For pixels of at least so much evidence: the stated bound of the least of them, and what was found."""
    bound = _bounds(curve, looked)
    rows = []
    for i, least in enumerate(EVIDENCE):
        bin_, above = fitting.bins_of(looked.evidence) == i, looked.evidence >= least
        if not bin_.any():
            continue
        rows.append([
            f"{least:.2f}",
            f"{bin_.mean():.1%}",
            f"{looked.hidden[bin_].mean():.0%}",
            f"{bound[bin_].mean():.1f}",
            f"{np.quantile(looked.error[bin_], 0.9):.1f}",
            f"{np.quantile(looked.error[bin_], 0.5):.1f}",
            _share_within(looked, bound, bin_),
            _share_within(looked, bound, above),
        ])  # fmt: skip
    note = (
        f"{len(looked.rows)} restored crops of {len(set(looked.rows.tolist()))} test people. Absolute error, mean of "
        "RGB, 0 to 255; each row's pixels have so much evidence, up to the next row's. Within the bound should be "
        f"0.900 or more. A pixel counts as hallucinated below {curve.hallucinated_below:g}."
    )
    columns = ["evidence from", "of pixels", "truly hidden", "stated: 9 in 10 below", "found: 9 in 10 below",
               "found: half below", "within the bound", "within, all of at least this evidence"]  # fmt: skip
    return Table("Evidence: stated and found", note, columns, rows)


def by_part(curve: EvidenceCurve, looked: Looked, tones: dict[int, float]) -> Table:
    """Whether the bounds hold for everybody, and what of the hidden pixels the hallucinated mask covers."""
    bound = _bounds(curve, looked)
    groups = {"all": np.arange(len(looked.rows))}
    groups |= slices.by_native(looked.sides) | slices.by_hidden(1 - looked.visible.round(2))
    groups |= slices.by_tone(np.array([tones[row] for row in looked.rows.tolist()]))
    for together in sorted(set(looked.together.tolist())) if len(set(looked.together.tolist())) > 1 else ():
        groups[f"restored from {together} crop{'s' * (together > 1)}"] = np.flatnonzero(looked.together == together)
    rows = []
    for name, chosen in groups.items():
        made = curve.hallucinated(looked.evidence[chosen])
        error, limit, hidden = looked.error[chosen], bound[chosen], looked.hidden[chosen]
        cells: list[Cell] = [_interval(error, limit, part) for part in (~made, made)]
        cells += [_rate(hidden, made), _rate(made, hidden)]
        rows.append([name, str(len(chosen)), *cells])
    note = (
        "Share of pixels within the stated bound, where enough visible input backs them and where it does not "
        "(hallucinated); how many of the truly hidden pixels are marked, and how many of the marked are truly hidden."
    )
    columns = ["part", "crops", "within: seen", "within: hallucinated", "hidden pixels marked", "marked truly hidden"]
    return Table("Hallucinated: by part", note, columns, rows, folded=True)


def kept(curve: KeptCurve, restored: MatchCurve, looked: Looked, embeddings: np.ndarray) -> Table:
    """P(a restored face passes for its person): stated and found, by tenths of drift."""
    truth = passes(looked, embeddings, restored)
    place = place_of(np.clip(looked.sides, *curve.fitted_sides), looked.visible)
    inputs = np.stack([place[:, 0], drift(looked), place[:, 1], place[:, 2]], 1)
    stated = logistic(inputs @ curve.weights)
    order = np.argsort(stated)
    rows = [
        [f"{stated[part].min():.2f} to {stated[part].max():.2f}", f"{drift(looked)[part].mean():.2f}",
         metrics.interval(stated[part]), metrics.interval(truth[part].astype(float))]
        for part in np.array_split(order, 5) if len(part)
    ]  # fmt: skip
    rows.append(["all", f"{drift(looked).mean():.2f}", metrics.interval(stated), metrics.interval(truth.astype(float))])
    note = (
        "Passing: nearer to its own clear photograph than 99 in 100 strangers are to theirs, by the shipped embedder. "
        f"Brier score {brier(stated, truth):.3f} (always the mean: {truth.mean() * (1 - truth.mean()):.3f}), expected "
        f"calibration error {calibration_error(stated, truth):.3f}."
    )
    return Table("Restored faces that pass for their person", note, ["stated", "mean drift", "stated", "found"], rows)


def _probabilities(told: dict[str, tuple[MatchCurve, Pairs]]) -> Table:
    rows = []
    for name, (curve, met) in told.items():
        for what, chosen in _by_side(met.side).items():
            part = Pairs(*(getattr(met, field)[chosen] for field in Pairs.__dataclass_fields__))
            if not part.same.any() or part.same.all():
                continue
            weight = np.where(part.same, part.weight / part.weight[part.same].sum(),
                              part.weight / part.weight[~part.same].sum())  # fmt: skip
            stated = fitting.probability(curve, part)
            matches = [curve.at(side, share) for side, share in zip(part.side, part.visible, strict=True)]
            passed = part.cosine > np.array([match.threshold for match in matches])
            rates = np.array([match.true_accept_rate for match in matches])
            rows.append([
                f"{name}, {what}", str(int(part.same.sum())), calibration_error(stated, part.same, weight),
                brier(stated, part.same, weight), float(rates[part.same].mean()),
                metrics.interval(passed[part.same].astype(float)), float(passed[~part.same].mean()),
            ])  # fmt: skip
    note = (
        "Probes against one clear picture of everybody; half of the weight on pairs of one person. Brier: 0.25 is a "
        "coin's. Recognised: of the pairs of one person above the threshold; strangers should pass it in 0.010."
    )
    columns = ["probe", "pairs of one person", "calibration error", "Brier", "recognised: stated", "recognised: found",
               "strangers passing"]  # fmt: skip
    return Table("Same person: stated and found", note, columns, rows)


def _by_side(sides: np.ndarray) -> dict[str, np.ndarray]:
    ends = [*(side - 1 for side in SIDES[1:]), 128]
    named = {f"{low}–{high} px": (sides >= low) & (sides <= high) for low, high in zip(SIDES, ends, strict=True)}
    return {"all": np.ones(len(sides), bool), **{name: chosen for name, chosen in named.items() if chosen.any()}}


def _bounds(curve: EvidenceCurve, looked: Looked) -> np.ndarray:
    return np.stack([curve.bound(part, side) for part, side in zip(looked.evidence, looked.sides, strict=True)])


def _share_within(looked: Looked, bound: np.ndarray, where: np.ndarray) -> Cell:
    return _interval(looked.error, bound, where)


def _interval(error: np.ndarray, bound: np.ndarray, where: np.ndarray) -> Cell:
    """Share of the pixels `where` within the bound, with an interval over faces, each weighing as many as it has."""
    counts, within = where.sum(1).astype(float), ((error <= bound) & where).sum(1)
    if not counts.any():
        return "–"
    return metrics.interval_of(lambda rows: float(within[rows].sum() / max(counts[rows].sum(), 1)), len(counts))


def _rate(of: np.ndarray, which: np.ndarray) -> Cell:
    return float(which[of].mean()) if of.any() else "–"


def _photographs(subjects: Subjects):
    return zip(subjects.faces.pictures(subjects.probes), subjects.faces.landmarks[subjects.probes], strict=True)


def _picture(pixels: tuple[EvidenceCurve, Looked] | None, told: dict[str, tuple[MatchCurve, Pairs]]) -> torch.Tensor:
    """Reliability plots, side by side: `(3, H, W)`."""
    from streamheal.train.evaluation import plots

    panels = []
    if pixels:
        curve, looked = pixels
        bound = _bounds(curve, looked)
        bins = [fitting.bins_of(looked.evidence) == i for i in range(len(EVIDENCE))]
        there = [i for i, part in enumerate(bins) if part.sum() >= fitting.FEWEST]
        at = [float(looked.evidence[bins[i]].mean()) for i in there]
        lines = {
            "stated: 9 in 10 below": [float(bound[bins[i]].mean()) for i in there],
            "found: 9 in 10 below": [float(np.quantile(looked.error[bins[i]], 0.9)) for i in there],
            "found: half below": [float(np.quantile(looked.error[bins[i]], 0.5)) for i in there],
        }
        panels.append(plots.panel("Error of pixels (0 to 255) by evidence", at, lines, mark=curve.hallucinated_below))
    for name, (curve, met) in told.items():
        stated = fitting.probability(curve, met)
        which = np.minimum((stated * 10).astype(int), 9)
        there = [i for i in range(10) if (which == i).sum() >= 50]
        at = [float(np.average(stated[which == i], weights=met.weight[which == i])) for i in there]
        found = [float(np.average(met.same[which == i], weights=met.weight[which == i])) for i in there]
        lines = {"found": found, "if all were right": at}
        panels.append(plots.panel(f"Same person, {name}: found by stated", at, lines, top=1.0))
    return torch.cat(panels, 2)
