"""What evidence and cosines are worth: measured once on tuning people (`streamheal calibrate`), looked up here.

`models/NAME.calibration.json` belongs to one weight file and says so by its hash; the manifest pins it beside the
weights. docs/honesty.md says what each number means, and where it does not hold.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from streamheal import weights
from streamheal.errors import CalibrationError
from streamheal.records import ExpectedError, Identity, Match

log = logging.getLogger(__name__)
FORMAT = 1
FAR = 0.01
"""The share of strangers that a `Match.threshold` lets pass."""
LEAST_VISIBLE = 0.9
"""Share of the face oval from which on a face counts as open, in the tables of rates."""


@dataclass(frozen=True, slots=True)
class EvidenceCurve:
    """How far restored pixels lie from the truth, by the evidence behind them and by the crop's native side.

    Errors are absolute, mean of RGB, 0 to 255; rows belong to sides, columns to evidence. A column holds from its
    evidence up to the next one's, a row from its side up to the next one's.
    """

    sides: tuple[int, ...]  # px, rising
    evidence: tuple[float, ...]  # rising, the first 0
    half: tuple[tuple[float, ...], ...]  # five in ten pixels are off by at most this
    nine_in_ten: tuple[tuple[float, ...], ...]
    hallucinated_below: float

    def hallucinated(self, evidence: np.ndarray) -> np.ndarray:
        """Boolean, same shape: pixels that too little visible input backs."""
        return evidence < self.hallucinated_below

    def bound(self, evidence: np.ndarray, side: int) -> np.ndarray:
        """The error that nine in ten pixels of such evidence stay below, for a crop of `side` native px; same shape."""
        row = max(int(np.searchsorted(self.sides, side, "right")) - 1, 0)
        column = np.searchsorted(self.evidence, evidence, "right") - 1
        return np.asarray(self.nine_in_ten[row], np.float32)[np.maximum(column, 0)]

    def expected(self, evidence: np.ndarray, side: int) -> ExpectedError:
        """`bound`, averaged over the pixels that were seen and over those that were not."""
        bound, invented = self.bound(evidence, side), self.hallucinated(evidence)
        seen, made = (float(bound[part].mean()) if part.any() else None for part in (~invented, invented))
        return ExpectedError(seen=seen, hallucinated=made)


@dataclass(frozen=True, slots=True)
class MatchCurve:
    """What cosines to a clear enrolled picture are worth, by the crop's native side and by how much is visible.

    slope and intercept are linear in [1, log2(side / 16), visible share]. Tables: rows belong to sides, the first
    column to faces of which less than LEAST_VISIBLE is visible, the second to open ones.
    """

    slope: tuple[float, float, float]
    intercept: tuple[float, float, float]
    sides: tuple[int, ...]
    thresholds: tuple[tuple[float, float], ...]  # cosine that a share FAR of strangers exceeds
    rates: tuple[tuple[float, float], ...]  # share of the person's own pictures above it
    fitted_sides: tuple[int, int]  # px; beyond them the nearer one counts

    def line(self, side: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Slopes, never negative, and intercepts of many crops; same shape."""
        about = place_of(np.clip(side, *self.fitted_sides), visible)
        return np.maximum(about @ self.slope, 0.0), about @ self.intercept

    def at(self, side: int, visible: float) -> Match:
        """For a crop of `side` native px of whose face the share `visible` is visible."""
        slope, intercept = self.line(side, visible)
        row = max(int(np.searchsorted(self.sides, side, "right")) - 1, 0)
        column = int(visible >= LEAST_VISIBLE)
        return Match(
            slope=float(slope),
            intercept=float(intercept),
            threshold=self.thresholds[row][column],
            true_accept_rate=self.rates[row][column],
        )


@dataclass(frozen=True, slots=True)
class KeptCurve:
    """P(a restored face passes for its person), logistic in [1, drift, log2(side / 16), visible share]."""

    weights: tuple[float, float, float, float]
    fitted_sides: tuple[int, int]

    def at(self, drift: float, side: int, visible: float) -> float:
        one, size, share = place_of(np.clip(side, *self.fitted_sides), visible)
        return float(logistic(np.array([one, drift, size, share]) @ self.weights))


@dataclass(frozen=True, slots=True)
class Calibration:
    """All that is known of one weight file: an embedder's has `original` and `track`, a restorer's the rest."""

    of: str  # the weights' name in the manifest
    sha256: str  # their hash
    beside: dict[str, str]  # hashes of the networks that took part: role ("embedder", "occlusion") → SHA-256
    fitted_on: dict[str, str]  # who, how many, how, in words
    original: MatchCurve | None = None
    track: MatchCurve | None = None
    evidence: EvidenceCurve | None = None
    restored: MatchCurve | None = None
    kept: KeptCurve | None = None

    def as_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"


_PARTS = {
    "original": MatchCurve,
    "track": MatchCurve,
    "evidence": EvidenceCurve,
    "restored": MatchCurve,
    "kept": KeptCurve,
}


def find(name: str, beside: Mapping[str, str] = {}) -> Calibration | None:
    """The calibration that ships with the weights `name`; None where they were never calibrated.

    beside: roles and hashes of the networks in use; one that differs from what was calibrated with makes it None, too,
    and a line in the log says so. Raises CalibrationError on a file that is missing, damaged, not the pinned one, or of
    other weights.
    """
    file = weights.manifest().get(name)
    if file is None or file.calibration is None:
        return None
    found = read(file.calibration.path, file.calibration.sha256)
    if (found.of, found.sha256) != (name, file.sha256):
        raise CalibrationError(
            f"{file.calibration.path} belongs to {found.of} {found.sha256[:12]}…, the weights are {name} "
            f"{file.sha256[:12]}…; fit it again: streamheal calibrate {name} --data DIR"
        )
    for other, sha256 in found.beside.items():
        if beside.get(other, sha256) != sha256:
            log.warning("%s was calibrated with another %s: no probabilities and no bounds", name, other)
            return None
    return found


def read(path: Path, sha256: str | None = None) -> Calibration:
    """Raises CalibrationError on a file that is missing, damaged, or not the one with `sha256`."""
    again = f"fit it again: streamheal calibrate {path.name.partition('.calibration')[0]} --data DIR"
    if not path.is_file():
        raise CalibrationError(f"calibration {path} does not exist; {again}")
    if sha256 and weights.file_sha256(path, path.stat().st_mtime_ns) != sha256:
        raise CalibrationError(f"calibration {path} is not the one that the manifest pins ({sha256[:12]}…); {again}")
    try:
        said = json.loads(path.read_text())
        if said.pop("format") != FORMAT:
            raise ValueError(f"another format than {FORMAT}")
        parts = {name: kind(**_tuples(said.pop(name))) for name, kind in _PARTS.items() if said.get(name)}
        return Calibration(**{name: value for name, value in said.items() if name not in _PARTS}, **parts)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CalibrationError(f"{path} is not a calibration of this version: {error!r}; {again}") from error


def identity_of(
    embedder: Calibration | None,
    restorer: Calibration | None,
    *,
    side: int,
    visible: float,
    drift: float | None = None,
    track: bool = False,
) -> Identity | None:
    """What is known of a healed face's embeddings; None where nothing was calibrated.

    side: of the best crop, native px. visible: share of its face oval, as in `Quality.visible`. drift: None where
    nothing was restored. track: whether there is a mean embedding.
    """
    if embedder is None or embedder.original is None:
        return None
    made = restorer if drift is not None else None
    return Identity(
        original=embedder.original.at(side, visible),
        track=embedder.track.at(side, visible) if track and embedder.track else None,
        restored=made.restored.at(side, visible) if made and made.restored else None,
        kept=made.kept.at(drift, side, visible) if made and made.kept else None,
    )


def quality_weighted_mean(embeddings: Sequence[np.ndarray], scores: Sequence[float]) -> np.ndarray | None:
    """The mean of a track's embeddings `(D,)`, L2-normalised, each weighing as much as its crop's quality score (all
    alike if all are 0); None for a track of one crop.

    Raises ValueError where there are not as many scores as embeddings.
    """
    if len(embeddings) != len(scores):
        raise ValueError(f"{len(embeddings)} embeddings and {len(scores)} scores; each crop needs both")
    if len(embeddings) < 2:
        return None
    shares = np.asarray(scores, np.float64)
    mean = np.average(np.stack(embeddings), axis=0, weights=shares if shares.sum() > 0 else None)
    return (mean / max(np.linalg.norm(mean), 1e-12)).astype(np.float32)


def same_person(
    cosine: float | np.ndarray, match: Match | Mapping[str, float] | None, *, prior: float = 0.5
) -> float | np.ndarray:
    """P(same person) of a cosine between an event's embedding and that of a clear enrolled picture.

    match: of the embedding that was compared: `face.identity.original`, or `event["original"]["match"]` of a line in
    events.jsonl. prior: P(same person) before looking; whoever compares a face with N people of whom at most one is it
    says 1 / N.

    Raises ValueError for a cosine outside [-1, 1], a prior outside (0, 1), or no match (never calibrated).
    """
    if match is None:
        raise ValueError("this face was not calibrated: its event has no match; see docs/honesty.md")
    if not 0 < prior < 1:
        raise ValueError(f"prior {prior}: it must lie between 0 and 1")
    cosines = np.asarray(cosine, np.float64)
    if not (np.abs(cosines) <= 1 + 1e-5).all():
        raise ValueError(f"cosine {cosine}: it must lie in [-1, 1]; are both embeddings L2-normalised?")
    slope, intercept = (match["slope"], match["intercept"]) if isinstance(match, Mapping) else (
        match.slope, match.intercept,
    )  # fmt: skip
    found = logistic(slope * cosines + intercept + np.log(prior / (1 - prior)))
    return float(found) if found.ndim == 0 else found


def place_of(side: float | np.ndarray, visible: float | np.ndarray) -> np.ndarray:
    """What slopes and intercepts are linear in: `(..., 3)` of 1, log2(side / 16), visible share."""
    side, visible = np.broadcast_arrays(np.asarray(side, np.float64), np.asarray(visible, np.float64))
    return np.stack([np.ones_like(side), np.log2(side / 16), visible], -1)


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -60, 60)))


def _tuples(said: dict) -> dict:
    """Lists as tuples, also inside."""

    def frozen(value):
        return tuple(map(frozen, value)) if isinstance(value, list) else value

    return {name: frozen(value) for name, value in said.items()}
