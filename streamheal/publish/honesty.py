"""What calibration says of a face, for people: probabilities in words, and a hatch over what was invented."""

import numpy as np

HATCH_SCALE = 3  # overlay pixels to a picture's
_SPACING, _WIDTH = 9, 2  # of the hatch, overlay pixels
_INK, _HALO = (255, 240, 190, 230), (40, 20, 0, 170)

_WORDS = ((0.05, "hardly ever"), (0.25, "seldom"), (0.45, "less often than not"), (0.55, "half of the time"))
_WORDS += ((0.8, "more often than not"), (0.95, "mostly"), (1.0, "nearly always"))


def in_words(probability: float) -> str:
    """`seldom (11 in 100)`."""
    word = next(word for most, word in _WORDS if probability <= most)
    return f"{word} ({round(100 * probability)} in 100)"


def facts(event: dict) -> dict[str, str]:
    """Lines for a report, by their names; nothing for an event that was not calibrated. The original comes first."""
    original, track, restored = event["original"], event.get("track_mean"), event["restored"] or {}
    said = {}
    if match := original.get("match"):
        said["to match with"] = "the original: it is what the camera saw"
        said["original, recognised"] = _recognised(match)
    if track and track.get("match"):
        said["mean of the track, recognised"] = _recognised(track["match"])
    if match := restored.get("match"):
        said["restored, recognised"] = f"{_recognised(match)}; a score of its own, of a face that is partly invented"
    if (kept := restored.get("kept")) is not None:
        said["restored, same person"] = f"faces like this one pass for their person {in_words(kept)}; never a proof"
    if error := restored.get("expected_error"):
        parts = [("where seen", error["seen"]), ("where hatched", error["hallucinated"])]
        told = [f"{value:.0f} {where}" for where, value in parts if value is not None]
        said["error"] = f"nine in ten pixels are off by at most {', '.join(told)} (of 255)"
    return said


def _recognised(match: dict) -> str:
    words, threshold = in_words(match["true_accept_rate"]), match["threshold"]
    return f"{words}, at a threshold ({threshold:.2f}) that 1 in 100 strangers pass"


def hatched(hallucinated: np.ndarray) -> str:
    """How much is hatched. Where nothing is, nobody shall take the picture for the truth."""
    if not hallucinated.any():
        return "nothing hatched, yet its detail is a guess"
    return f"{hallucinated.mean():.0%} hatched: invented"


def hatch(hallucinated: np.ndarray) -> np.ndarray:
    """A picture to lay over the restored face: lines across what was invented, and its outline.

    Bool `(h, w)` → uint8 RGBA, HATCH_SCALE times as large. Light ink with a dark halo, so that it shows on any face.
    """
    mask = np.kron(hallucinated, np.ones((HATCH_SCALE, HATCH_SCALE), bool))
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    phase = (x + y) % _SPACING
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:] & mask
    overlay = np.zeros((*mask.shape, 4), np.uint8)
    overlay[mask & (phase < 2 * _WIDTH)] = _HALO
    overlay[(mask & (phase < _WIDTH)) | (mask & ~inner)] = _INK
    return overlay
