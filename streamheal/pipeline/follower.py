"""One camera's tracks: from the faces of each frame to the jobs that are due."""

from collections.abc import Sequence

from streamheal.config import PipelineConfig
from streamheal.faces.gallery import Galleries, Look
from streamheal.faces.tracker import Tracker
from streamheal.records import Face, Frame, HealJob


class Follower:
    """Tracker and galleries of one camera."""

    def __init__(self, camera: str, run: str, config: PipelineConfig, look: Look | None = None):
        self.camera = camera
        self._tracker = Tracker.from_config(config.tracker)
        self._galleries = Galleries.from_config(run, camera, config.gallery, look)
        self._epoch: int | None = None
        self.confirmed = 0

    def take_counts(self) -> dict[str, int]:
        """What happened since it was last asked, by name."""
        galleries = self._galleries
        counts = {
            "tracks": self.confirmed,
            "crops.looked-at": galleries.looked_at,
            "crops.passed-over": galleries.passed_over,
        }
        self.confirmed = galleries.looked_at = galleries.passed_over = 0
        return counts

    def add(self, frame: Frame, faces: Sequence[Face]) -> list[HealJob]:
        """The jobs that are due with this frame."""
        jobs = self.finish() if self._epoch not in (None, frame.epoch) else []
        self._epoch = frame.epoch
        update = self._tracker.update(frame.captured_at, faces)
        self.confirmed += len(update.confirmed)
        return jobs + self._galleries.add(frame, update)

    def finish(self) -> list[HealJob]:
        """End all tracks: at the end, and after a reconnect, when nobody knows how much time was lost."""
        self._tracker.reset()
        return self._galleries.finish()
