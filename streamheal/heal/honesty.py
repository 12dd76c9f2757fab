"""What is said of a healed face beyond its pictures: what was invented, how far off it may be, what matches tell."""

import logging
from collections.abc import Iterable

from streamheal import calibration, weights
from streamheal.heal.restorer import RestoredFace
from streamheal.records import FaceCrop, ModelUsed

log = logging.getLogger(__name__)


class Honesty:
    """The calibrations of the networks in use. Raises CalibrationError where one that ships can't be trusted; for
    networks that were never calibrated it knows nothing, and says so in the log."""

    def __init__(self, embedder: ModelUsed, segmenter: ModelUsed, restorers: Iterable[ModelUsed]):
        beside = {model.role: model.sha256 for model in (embedder, segmenter)}
        self._embedder_name, self._embedder = embedder.name, calibration.find(embedder.name, beside)
        self._restorers = {model.name: calibration.find(model.name, beside) for model in restorers}
        found = {embedder.name: self._embedder, **self._restorers}
        if unknown := [name for name, known in found.items() if known is None]:
            log.info("%s: not calibrated, so events don't say what it is worth", ", ".join(unknown))

    @property
    def settings(self) -> dict[str, str]:
        """For provenance: `calibration.NAME` → SHA-256 of its file, of each in use."""
        known, found = weights.manifest(), {**self._restorers, self._embedder_name: self._embedder}
        return {f"calibration.{name}": known[name].calibration.sha256 for name in found if found[name] is not None}

    def about(
        self, crop: FaceCrop, face: RestoredFace | None, drift: float | None, *, track: bool
    ) -> dict[str, object]:
        """The fields of `HealedFace` that calibration fills. crop: the track's best; face: None where nothing was
        restored; track: whether it has a mean embedding."""
        side, visible = crop.image.shape[0], crop.quality.visible
        made = self._restorers.get(face.models[0].name) if face else None
        said: dict[str, object] = {
            "identity": calibration.identity_of(
                self._embedder, made, side=side, visible=visible, drift=drift, track=track
            )
        }
        if made is not None and made.evidence is not None:
            said["hallucinated"] = made.evidence.hallucinated(face.evidence)
            said["expected_error"] = made.evidence.expected(face.evidence, side)
        return said
