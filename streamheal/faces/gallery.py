"""The best crops of each track, and when a track is due to be healed.

Nothing here looks at a clock: what is due follows from the frames' times alone, so that a replay gives the same jobs.
"""

from dataclasses import dataclass, field

import numpy as np

from streamheal.faces import alignment, quality
from streamheal.faces.tracker import Track, TrackUpdate
from streamheal.records import Face, FaceCrop, Frame, HealJob, PublishReason

DIVERSITY = 0.15  # of quality score that a crop unlike all others may lack and still stay
UNLIKE_ANGLE = 30.0  # degrees of yaw and pitch together, or …
UNLIKE_TIME = 1.0  # … seconds apart, at which two crops are no longer near-duplicates at all


@dataclass(slots=True)
class _Gallery:
    """One track's crops, best first, and what was published of it."""

    track: Track
    crops: list[FaceCrop] = field(default_factory=list)
    revision: int = 0
    published_score: float = 0.0
    published_at: float = 0.0


class Galleries:
    """The galleries of one camera's tracks. At most `size` crops per track are held, and none of a track that ended.

    `min_crop` (pixels), `improve_by` (quality score), `min_interval` (seconds): see `config.Gallery`.
    """

    def __init__(
        self,
        run: str,
        camera: str,
        *,
        size: int = 8,
        min_crop: int = 12,
        improve_by: float = 0.1,
        min_interval: float = 2.0,
    ):
        self.run, self.camera = run, camera
        self.size, self.min_crop, self.improve_by, self.min_interval = size, min_crop, improve_by, min_interval
        self._galleries: dict[int, _Gallery] = {}

    @classmethod
    def from_config(cls, run: str, camera: str, config) -> "Galleries":
        """With the settings of a `config.Gallery`."""
        return cls(run, camera, **config.model_dump())

    def add(self, frame: Frame, update: TrackUpdate) -> list[HealJob]:
        """Takes the faces that the tracker matched in `frame`; gives the jobs that are due, in the order of the tracks.

        A corrupt frame gives no crops. A track is published first when it is confirmed and has a crop, again when its
        best crop improved by `improve_by` and `min_interval` has passed, and once more when it ends.
        """
        jobs = []
        matched = sorted(update.matched, key=lambda pair: pair[0].id)
        fits = alignment.similarity(np.array([face.landmarks for _, face in matched]).reshape(-1, 5, 2))
        for (track, face), fit in zip(matched, fits, strict=True):
            gallery = self._galleries.setdefault(track.id, _Gallery(track))
            gallery.track = track
            if not frame.corrupt:
                self._keep(gallery, frame, face, fit)
            if reason := self._due(gallery, frame.captured_at):
                jobs.append(self._publish(gallery, reason, frame.captured_at))
        return jobs + [job for track in update.ended for job in self._end(track.id)]

    def finish(self) -> list[HealJob]:
        """Ends every track: at the end of the stream, and, with `Tracker.reset`, when a new epoch begins."""
        return [job for track in sorted(self._galleries) for job in self._end(track)]

    def crops(self, track: int) -> tuple[FaceCrop, ...]:
        """What is held of a track, best first."""
        return tuple(self._galleries[track].crops) if track in self._galleries else ()

    def _keep(self, gallery: _Gallery, frame: Frame, face: Face, fit: np.ndarray) -> None:
        size = alignment.native_side(fit)
        if size < self.min_crop:
            return
        full = len(gallery.crops) == self.size
        if full and quality.score_bound(size, face.score) + DIVERSITY < gallery.crops[-1].quality.score:
            return  # too small or doubtful to get in, however good the rest: not worth cutting
        cut = alignment.cut(frame.image, face.landmarks, fit=fit)
        if cut is None:  # landmarks that are no face
            return
        gallery.crops.append(
            FaceCrop(
                camera=frame.camera,
                epoch=frame.epoch,
                track=gallery.track.id,
                sequence=frame.sequence,
                captured_at=frame.captured_at,
                clock=frame.clock,
                clock_uncertainty=frame.clock_uncertainty,
                image=cut.image,
                affine=cut.affine,
                box=np.array(face.box, np.float32),
                landmarks=cut.landmarks,
                detector_score=face.score,
                quality=quality.assess(cut.image, cut.landmarks, cut.affine, certainty=face.score),
            )
        )
        if full:
            del gallery.crops[most_dispensable(gallery.crops)]
        gallery.crops.sort(key=lambda crop: -crop.quality.score)

    def _due(self, gallery: _Gallery, time: float) -> PublishReason | None:
        if not gallery.track.confirmed or not gallery.crops:
            return None
        if gallery.revision == 0:
            return "confirmed"
        improved = gallery.crops[0].quality.score >= gallery.published_score + self.improve_by
        # A camera's clock may be set back: then the interval can't be known, and one job too many does less harm.
        rested = not 0 <= time - gallery.published_at < self.min_interval
        return "improved" if improved and rested else None

    def _publish(self, gallery: _Gallery, reason: PublishReason, time: float) -> HealJob:
        gallery.revision += 1
        gallery.published_score, gallery.published_at = gallery.crops[0].quality.score, time
        track = gallery.track
        return HealJob(
            run=self.run,
            camera=self.camera,
            epoch=gallery.crops[0].epoch,
            track=track.id,
            revision=gallery.revision,
            reason=reason,
            crops=tuple(gallery.crops),
            first_seen=track.first_seen,
            last_seen=track.last_seen,
            frames=track.frames,
        )

    def _end(self, track: int) -> list[HealJob]:
        gallery = self._galleries.pop(track, None)
        if gallery is None or not gallery.track.confirmed or not gallery.crops:
            return []
        return [self._publish(gallery, "ended", gallery.track.last_seen)]


def most_dispensable(crops: list[FaceCrop]) -> int:
    """The index of the crop that a gallery loses least by dropping: the one place that says what a gallery is for.

    Of two near-duplicates (neighbouring frames, same pose) the worse goes; a crop unlike all others in time or pose
    stays at up to `DIVERSITY` less quality; the best always stays. `crops`: two at least.
    """
    score = np.array([crop.quality.score for crop in crops])
    angle = np.array([(crop.quality.yaw, crop.quality.pitch) for crop in crops])
    time = np.array([crop.captured_at for crop in crops])
    turned = np.linalg.norm(angle[:, None] - angle, axis=-1) / UNLIKE_ANGLE
    apart = np.abs(time[:, None] - time) / UNLIKE_TIME
    unlike = np.minimum(np.maximum(turned, apart), 1)
    np.fill_diagonal(unlike, 1)
    worth = score + DIVERSITY * unlike.min(1)
    worth[score.argmax()] = np.inf
    return int(worth.argmin())
