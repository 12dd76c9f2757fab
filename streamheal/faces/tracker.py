"""Follows faces from frame to frame: a Kalman filter per face and two passes of assignment, as ByteTrack does it
(Zhang et al., ECCV 2022): confident detections first, then weak ones, which are often faces that are being hidden.

What differs, because surveillance faces are tiny and frames come when they come:
- A 12 px face moves by more than its own size between frames, so plain IoU is 0. Boxes are grown by the uncertainty of
  the prediction before their overlap is judged (as C-BIoU, Yang et al., WACV 2023, but by as much as the filter is
  unsure).
- Every noise is a share of the face's side and a function of seconds, so that 5, 25 and 50 fps give the same tracks.
- Velocity fades (Ornstein-Uhlenbeck, Singer 1970): a face that is hidden for a second is sought near where it went, not
  where a straight line leads.

filterpy's filters run one by one, and are most of what a frame costs here; the costs between all tracks and detections
are computed at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from filterpy.kalman import KalmanFilter
from scipy.optimize import linear_sum_assignment

from streamheal.records import Face

# Motion of faces, in sides (geometric mean of width and height) and seconds. A walker crosses 7 face sides a second.
BIRTH_SPEED = 8.0  # standard deviation of the velocity of a face seen once
CRUISE_SPEED = 6.0  # of the velocity to which the model forgets
SPEED_MEMORY = 1.0  # seconds in which a velocity fades to 1/e
GROWTH = 0.5  # of the rate of ln side, 1/s
ASPECT_DRIFT = 0.3  # of ln aspect after one second
# Noise of a detection.
BOX_NOISE = 0.08  # of its centre, in sides …
PIXEL_NOISE = 0.5  # … and at least, pixels
SHAPE_NOISE = 0.12  # of ln side and ln aspect
# Matching.
REACH = 2.0  # boxes grow by so many standard deviations of the predicted centre on every side …
MAX_REACH = 2.0  # … and by at most so many sides
WEAK_REACH = 0.3  # the same for weak detections, many of which are no faces: a track mustn't hop between them
WEAK_WITHIN = 0.5  # seconds unseen after which a weak detection is no longer believed to be the same face
LONGEST = 60.0  # seconds that a motion is predicted over; after more, a face is anywhere, and numbers overflow
NOMINAL_STEP = 0.04  # seconds, where the first timestamps don't say


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One person's face as it stands now."""

    id: int
    first_seen: float  # the frame's time, UTC seconds
    last_seen: float
    frames: int  # in which it was detected
    confirmed: bool
    box: np.ndarray  # (4,) float32 xyxy, filtered, pixels
    velocity: np.ndarray  # (2,) float32, pixels per second


@dataclass(frozen=True, slots=True)
class TrackUpdate:
    """What one frame did."""

    matched: list[tuple[Track, Face]] = field(default_factory=list)  # in the order of the faces
    confirmed: list[Track] = field(default_factory=list)  # for the first time
    ended: list[Track] = field(default_factory=list)  # confirmed or not


class _Path:
    """A track while it lives: the filter and the book-keeping. State: cx, cy, ln side, ln aspect, and the rates of the
    first three."""

    __slots__ = ("born", "confirmed", "filter", "first_seen", "frames", "id", "last_seen", "seen", "updates")

    def __init__(self, id: int, measured: np.ndarray, noise: np.ndarray, time: float, clock: float):
        self.id, self.first_seen, self.last_seen, self.frames, self.confirmed = id, time, time, 1, False
        self.born = self.seen = clock
        self.updates = 1
        side = np.exp(measured[2])
        self.filter = KalmanFilter(dim_x=7, dim_z=4)
        self.filter.x = np.concatenate([measured, np.zeros(3)])[:, None]
        self.filter.H = np.eye(4, 7)
        self.filter.P = np.diag([*noise, (BIRTH_SPEED * side) ** 2, (BIRTH_SPEED * side) ** 2, GROWTH**2])

    def predict(self, F: np.ndarray, unit_Q: np.ndarray) -> None:
        side = np.exp(min(self.filter.x[2, 0], 10.0))
        scale = np.array([side, side, 1, 1, side, side, 1])
        self.filter.predict(F=F, Q=unit_Q * scale[:, None] * scale)
        self.updates += 1

    def see(self, measured: np.ndarray, noise: np.ndarray, time: float, clock: float) -> None:
        self.filter.update(measured[:, None], R=np.diag(noise))
        self.last_seen, self.seen, self.frames = max(self.last_seen, time), clock, self.frames + 1

    def snapshot(self) -> Track:
        x = self.filter.x[:, 0]
        width, height = np.exp(x[2] + x[3] / 2), np.exp(x[2] - x[3] / 2)
        box = [x[0] - width / 2, x[1] - height / 2, x[0] + width / 2, x[1] + height / 2]
        return Track(
            self.id, self.first_seen, self.last_seen, self.frames, self.confirmed,
            np.array(box, np.float32), x[4:6].astype(np.float32),
        )  # fmt: skip


class Tracker:
    """Follows the faces of one camera. Ids count from 1 and are never used twice, also not after `reset`.

    `high_score`, `low_score`, `match_iou`: see `config.Tracker`; `confirm_after`, `lost_after`: seconds. Deterministic:
    the same times and faces give the same tracks.
    """

    def __init__(
        self,
        *,
        high_score: float = 0.5,
        low_score: float = 0.3,
        match_iou: float = 0.2,
        confirm_after: float = 0.2,
        lost_after: float = 1.0,
    ):
        self.high_score, self.low_score, self.match_iou = high_score, min(low_score, high_score), match_iou
        self.confirm_after, self.lost_after = confirm_after, lost_after
        self._paths: list[_Path] = []
        self._next_id = 1
        self._time: float | None = None
        self._step = NOMINAL_STEP
        self._clock = 0.0  # seconds followed so far; unlike the frames' times it never goes back

    @classmethod
    def from_config(cls, config) -> "Tracker":
        """From a `config.Tracker`."""
        return cls(**config.model_dump())

    def update(self, time: float, faces: Sequence[Face]) -> TrackUpdate:
        """Takes the faces found in the frame of `time` (seconds). A frame without faces counts too: call it with none.

        A time that stands still, goes back or isn't a number counts as one more frame at the last rate. Faces whose box
        is empty or not finite are left out.
        """
        step = self._advance(time)
        time = self._time
        faces = [f for f in faces if f.score >= self.low_score and _sound(f.box)]
        measured, noise = _measure(faces)
        F, Q = _motion(min(step, LONGEST))
        for path in self._paths:
            path.predict(F, Q)

        strong = [i for i, f in enumerate(faces) if f.score >= self.high_score]
        owner: dict[int, _Path] = {}

        def match(paths: list[_Path], among: list[int], max_reach: float = MAX_REACH) -> None:
            taken = {p.id for p in owner.values()}
            paths = [p for p in paths if p.id not in taken]
            among = [i for i in among if i not in owner]
            for row, column in self._assign(paths, measured[among], noise[among], max_reach):
                owner[among[column]] = paths[row]

        # Confirmed tracks choose first, so that a false detection's track can't take a face from one that is known.
        match([p for p in self._paths if p.confirmed], strong)
        match([p for p in self._paths if not p.confirmed], strong)
        match([p for p in self._paths if self._clock - p.seen <= WEAK_WITHIN], list(range(len(faces))), WEAK_REACH)

        for i, path in owner.items():
            path.see(measured[i], noise[i], time, self._clock)
        for i in strong:
            if i not in owner:
                owner[i] = _Path(self._next_id, measured[i], noise[i], time, self._clock)
                self._next_id += 1
                self._paths.append(owner[i])

        confirmed = [p for p in self._paths if not p.confirmed and p.seen == self._clock and self._is_sure(p)]
        for path in confirmed:
            path.confirmed = True
        ended = [p for p in self._paths if self._clock - p.seen > self._patience(p)]
        self._paths = [p for p in self._paths if self._clock - p.seen <= self._patience(p)]
        return TrackUpdate(
            matched=[(owner[i].snapshot(), faces[i]) for i in sorted(owner)],
            confirmed=[p.snapshot() for p in confirmed],
            ended=[p.snapshot() for p in ended],
        )

    def reset(self) -> list[Track]:
        """Ends every track, for a new epoch: after a reconnect nobody knows how much time was lost."""
        ended, self._paths, self._time = [p.snapshot() for p in self._paths], [], None
        return ended

    def finish(self) -> list[Track]:
        """Ends every track, at the end of the stream."""
        return self.reset()

    @property
    def tracks(self) -> list[Track]:
        """Those alive, the unconfirmed and the hidden too."""
        return [p.snapshot() for p in self._paths]

    def _advance(self, time: float) -> float:
        """Seconds from the last frame to this one, always above 0."""
        if self._time is None:
            self._time = time if np.isfinite(time) else 0.0
            step = self._step
        else:
            step = time - self._time
            if np.isfinite(time):
                self._time = time
            if not 0 < step < np.inf:
                step = self._step
            elif step < self.lost_after:
                self._step = step
        self._clock += step
        return step

    def _is_sure(self, path: _Path) -> bool:
        """Detected over `confirm_after` seconds, in every third frame at least: noise that flickers isn't."""
        # 1e-6: five frames of 0.04 s are 0.2 s, also where their sum in floating point is a little less.
        return path.seen - path.born >= self.confirm_after - 1e-6 and 3 * path.frames >= path.updates

    def _patience(self, path: _Path) -> float:
        """Seconds without a detection that a track outlives; half of them before it is confirmed."""
        return self.lost_after if path.confirmed else self.lost_after / 2

    def _assign(
        self, paths: list[_Path], measured: np.ndarray, noise: np.ndarray, max_reach: float
    ) -> list[tuple[int, int]]:
        """Pairs (path, detection): first as many as may match, then the most likely ones."""
        if not paths or not len(measured):
            return []
        x = np.stack([p.filter.x[:4, 0] for p in paths])[:, None]
        variance = np.stack([p.filter.P.diagonal()[:4] for p in paths])[:, None] + noise
        # The model keeps the four apart, so that the innovation's covariance is its diagonal.
        unlikely = 0.5 * ((measured - x) ** 2 / variance + np.log(variance)).sum(-1)
        side = np.exp(np.minimum(x[..., 2], measured[:, 2]))
        reach = np.minimum(REACH * np.sqrt(variance[..., :2].max(-1)), max_reach * side)
        allowed = _overlap(x, measured, reach) >= max(self.match_iou, 1e-3)
        rows, columns = linear_sum_assignment(np.where(allowed, unlikely, 1e6))
        return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if allowed[r, c]]


def _sound(box: np.ndarray) -> bool:
    return bool(np.isfinite(box).all() and box[2] - box[0] > 0 and box[3] - box[1] > 0)


def _measure(faces: Sequence[Face]) -> tuple[np.ndarray, np.ndarray]:
    """(N, 4) cx, cy, ln side, ln aspect (width / height), and the variances (N, 4) of their noise."""
    box = np.array([f.box for f in faces], dtype=np.float64).reshape(-1, 4)
    extent = box[:, 2:] - box[:, :2]
    side = np.sqrt(extent.prod(1))
    centre = (box[:, :2] + box[:, 2:]) / 2
    place = BOX_NOISE * side + PIXEL_NOISE
    shape = np.hypot(SHAPE_NOISE, PIXEL_NOISE / side)
    measured = np.column_stack([centre, np.log(side), np.log(extent[:, 0] / extent[:, 1])])
    return measured, np.column_stack([place, place, shape, shape]) ** 2


def _motion(step: float) -> tuple[np.ndarray, np.ndarray]:
    """Transition (7, 7) and process noise (7, 7; positions in sides) over `step` seconds.

    Exact for the Ornstein-Uhlenbeck velocity (Bar-Shalom et al. 2001, §8.2): two steps of 0.02 s are one of 0.04 s.
    """
    memory = SPEED_MEMORY
    fade = np.exp(-step / memory)
    lost = -np.expm1(-step / memory)
    F = np.eye(7)
    F[[0, 1, 2], [4, 5, 6]] = memory * lost
    F[[4, 5, 6], [4, 5, 6]] = fade
    Q = np.zeros((7, 7))
    for place, rate, speed in ((0, 4, CRUISE_SPEED), (1, 5, CRUISE_SPEED), (2, 6, GROWTH)):
        Q[place, place] = (speed * memory) ** 2 * max(2 * step / memory - 2 * lost - lost**2, 0.0)
        Q[place, rate] = Q[rate, place] = speed**2 * memory * lost**2
        Q[rate, rate] = speed**2 * -np.expm1(-2 * step / memory)
    Q[3, 3] = ASPECT_DRIFT**2 * step
    return F, Q


def _overlap(x: np.ndarray, measured: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """IoU (tracks, detections) of the boxes after each has grown by `reach` (tracks, detections) on every side."""

    def corners(state):
        centre, half = state[..., :2], np.exp(state[..., 2:3] + state[..., 3:4] * [0.5, -0.5]) / 2 + reach[..., None]
        return centre - half, centre + half

    (a0, a1), (b0, b1) = corners(x), corners(measured[None])
    common = np.clip(np.minimum(a1, b1) - np.maximum(a0, b0), 0, None).prod(-1)
    return common / ((a1 - a0).prod(-1) + (b1 - b0).prod(-1) - common)
