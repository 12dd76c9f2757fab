"""The best crops of each track, and when a track is due to be healed.

Nothing here looks at a clock: what is due follows from the frames' times alone, so that a replay gives the same jobs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from streamheal.faces import alignment, coverage, quality
from streamheal.faces.tracker import Track, TrackUpdate
from streamheal.records import Face, FaceCrop, Frame, HealJob, PublishReason

Look = Callable[[Sequence[FaceCrop]], Sequence[FaceCrop]]
"""Gives the same crops with `visible` known, and their quality with it."""

CHANGED = 12.0
"""Grey levels by which an eighth of the face must differ from when it was last looked at, before what is visible can be
another. Low, so that few changes are missed: then many crops are looked at for nothing, as landmarks of tiny faces
tremble (benchmarks/gallery_cost.py counts them)."""
LOOK_AGAIN = 0.5  # seconds of stream time after which a crop counts as changed anyway: some hands are like faces
WORTH = 0.02  # of quality score by which a crop must be expected to better a full gallery, to be worth a look


@dataclass(slots=True)
class _Gallery:
    """One track's crops, in the order of `coverage.in_order_of_gain`, and what was published of it."""

    track: Track
    crops: list[FaceCrop] = field(default_factory=list)
    last_gain: float = 0.0  # what the last crop adds to those before it
    covered: np.ndarray | None = None  # (CELLS²,): how clearly the crops together show each cell
    looked: FaceCrop | None = None  # the last that was looked at
    thumbnail: np.ndarray | None = None  # and its picture
    revision: int = 0
    published_score: float = 0.0
    published_area: float = 0.0
    published_at: float = 0.0

    @property
    def area(self) -> float:
        """Share of the face that the crops together show."""
        return float(np.max([coverage.shown(crop) for crop in self.crops], axis=0) @ coverage.oval_cells())

    def take(self, crop: FaceCrop, size: int) -> None:
        """Hold `crop`, and no more than `size` of all."""
        self.looked, self.thumbnail = crop, coverage.thumbnail(crop.image)
        crops = [*self.crops, crop]
        order, gains = coverage.in_order_of_gain(crops)
        self.crops, self.last_gain = [crops[i] for i in order[:size]], gains[:size][-1]
        views = [coverage.shown(crop) * crop.quality.clearness for crop in self.crops]
        self.covered = np.max(views, axis=0)


class Galleries:
    """The galleries of one camera's tracks. At most `size` crops per track are held, and none of a track that ended.

    `min_crop` (pixels), `improve_by` (quality score, or share of the face), `min_interval` (seconds): see
    `config.Gallery`. `look`: finds what is visible on a crop; without it, all crops count as wholly visible.
    `looked_at` and `passed_over` count crops: those that were looked at, and those that could not have got in whatever
    they showed, or that showed what had just been looked at.
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
        look: Look | None = None,
    ):
        self.run, self.camera = run, camera
        self.size, self.min_crop, self.improve_by, self.min_interval = size, min_crop, improve_by, min_interval
        self.looked_at = self.passed_over = 0
        self._look = look
        self._galleries: dict[int, _Gallery] = {}

    @classmethod
    def from_config(cls, run: str, camera: str, config, look: Look | None = None) -> "Galleries":
        """With the settings of a `config.Gallery`."""
        return cls(run, camera, **config.model_dump(), look=look)

    def add(self, frame: Frame, update: TrackUpdate) -> list[HealJob]:
        """Takes the faces that the tracker matched in `frame`; gives the jobs that are due, in the order of the tracks.

        A corrupt frame gives no crops. A track is published first when it is confirmed and has a crop; again when its
        best crop improved by `improve_by`, or its crops together show that much more of the face (a hand moved away),
        and `min_interval` has passed; and once more when it ends.
        """
        matched = sorted(update.matched, key=lambda pair: pair[0].id)
        for track, _ in matched:
            self._galleries.setdefault(track.id, _Gallery(track)).track = track
        if not frame.corrupt:
            self._keep(frame, matched)
        jobs = []
        for track, _ in matched:
            gallery = self._galleries[track.id]
            if reason := self._due(gallery, frame.captured_at):
                jobs.append(self._publish(gallery, reason, frame.captured_at))
        return jobs + [job for track in update.ended for job in self._end(track.id)]

    def finish(self) -> list[HealJob]:
        """Ends every track: at the end of the stream, and, with `Tracker.reset`, when a new epoch begins."""
        return [job for track in sorted(self._galleries) for job in self._end(track)]

    def crops(self, track: int) -> tuple[FaceCrop, ...]:
        """What is held of a track: the best first, then those that add most to what is before them."""
        return tuple(self._galleries[track].crops) if track in self._galleries else ()

    def _keep(self, frame: Frame, matched: Sequence[tuple[Track, Face]]) -> None:
        """Cut out those that may get in, look at them in one call, and keep those that do."""
        fits = alignment.similarity(np.array([face.landmarks for _, face in matched]).reshape(-1, 5, 2))
        candidates = [
            crop
            for (track, face), fit in zip(matched, fits, strict=True)
            if (crop := self._candidate(self._galleries[track.id], frame, face, fit)) is not None
        ]
        if candidates and self._look is not None:
            candidates = self._look(candidates)
            self.looked_at += len(candidates)
        for crop in candidates:
            self._galleries[crop.track].take(crop, self.size)

    def _candidate(self, gallery: _Gallery, frame: Frame, face: Face, fit: np.ndarray) -> FaceCrop | None:
        """The crop, where it is one, and may get in."""
        size = alignment.native_side(fit)
        if not size >= self.min_crop:  # NaN too
            return None
        bound = quality.score_bound(size, face.score)
        full = len(gallery.crops) == self.size
        if full and coverage.most_gain(bound, gallery.covered) < gallery.last_gain:
            self.passed_over += 1  # too small or doubtful to get in, however good the rest: not worth cutting
            return None
        cut = alignment.cut(frame.image, face.landmarks, fit=fit)
        if cut is None:  # landmarks that are no face
            return None
        crop = FaceCrop(
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
        if full and not self._may_add(gallery, crop):
            self.passed_over += 1
            return None
        return crop

    def _may_add(self, gallery: _Gallery, crop: FaceCrop) -> bool:
        """Whether a crop that nobody has looked at may get into a full gallery.

        Of a face that looks as it did when it was last looked at, the same is visible; of any other, all may be.
        """
        last = gallery.looked
        recent = 0 <= crop.captured_at - last.captured_at < LOOK_AGAIN
        same = recent and coverage.change(coverage.thumbnail(crop.image), gallery.thumbnail) < CHANGED
        visible, share = (last.visible, last.quality.visible) if same else (None, 1.0)
        score = crop.quality.score * share - WORTH
        expected = replace(crop, visible=visible, quality=replace(crop.quality, visible=share, score=score))
        order, _ = coverage.in_order_of_gain([*gallery.crops, expected])
        return order[-1] != len(gallery.crops)

    def _due(self, gallery: _Gallery, time: float) -> PublishReason | None:
        if not gallery.track.confirmed or not gallery.crops:
            return None
        if gallery.revision == 0:
            return "confirmed"
        better = gallery.crops[0].quality.score >= gallery.published_score + self.improve_by
        improved = better or gallery.area >= gallery.published_area + self.improve_by
        # A camera's clock may be set back: then the interval can't be known, and one job too many does less harm.
        rested = not 0 <= time - gallery.published_at < self.min_interval
        return "improved" if improved and rested else None

    def _publish(self, gallery: _Gallery, reason: PublishReason, time: float) -> HealJob:
        gallery.revision += 1
        gallery.published_score, gallery.published_area = gallery.crops[0].quality.score, gallery.area
        gallery.published_at = time
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
