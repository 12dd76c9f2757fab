"""The five records that travel between stages, and the small values inside them. Nothing else travels.

    Frame → Face → FaceCrop → HealJob → HealedFace

Conventions: pictures are uint8 RGB `(H, W, 3)`; boxes are xyxy in pixels; maps are 1 = visible, 0 = hidden;
times are UTC seconds as float; embeddings are L2-normalised float32.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Clock = Literal["sender", "arrival", "media"]
"""Where a capture time comes from: the sender's real-time clock (RTCP), our clock as the frame arrived, or, for
recordings, the position in the file counted from its creation time (0 = 1970 where the file names none)."""

PublishReason = Literal["confirmed", "improved", "ended"]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture."""

    camera: str
    epoch: int  # counts reconnects; a new epoch resets the tracker
    sequence: int  # counts decoded frames within the epoch, from 0
    pts: float  # presentation time in the stream, seconds from its start
    captured_at: float  # UTC seconds
    clock: Clock
    clock_uncertainty: float  # seconds, one-sided: the true time lies within ± this
    image: np.ndarray  # (H, W, 3) uint8 RGB
    corrupt: bool = False  # the decoder concealed errors; never becomes a best crop


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One detection in a frame."""

    box: np.ndarray  # (4,) float32 xyxy, pixels
    landmarks: np.ndarray  # (5, 2) float32 pixels: eyes, nose, mouth corners; picture left first
    score: float  # [0, 1]

    @property
    def size(self) -> float:
        """The shorter side of the box, pixels."""
        return float(min(self.box[2] - self.box[0], self.box[3] - self.box[1]))


@dataclass(frozen=True, slots=True)
class Quality:
    """How much a restorer can make of a crop. Each in its own unit; `score` weighs them."""

    size: float  # side of the aligned crop in source pixels (the face is about 0.6 of it)
    sharpness: float  # [0, 1]
    yaw: float  # degrees, from five landmarks; positive looks to picture right
    pitch: float  # degrees, rough; positive looks up
    roll: float  # degrees, positive is clockwise in the picture
    exposure: float  # [0, 1], 1 = neither dark, nor blown out, nor flat
    visible: float  # [0, 1], share of the face oval that nothing hides
    score: float  # [0, 1], by which the gallery chooses: a weighted sum, scaled by `visible` and by the pose

    @property
    def clearness(self) -> float:
        """[0, 1]: the score without what is hidden: how good the crop is where it is visible."""
        return min(self.score / max(self.visible, 0.05), 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class FaceCrop:
    """One aligned face cut from a frame at its native size: a face of 19 px is cut at 19 px."""

    camera: str
    epoch: int
    track: int
    sequence: int
    captured_at: float
    clock: Clock
    clock_uncertainty: float
    image: np.ndarray  # (s, s, 3) uint8 RGB, the canonical template scaled to s
    affine: np.ndarray  # (2, 3) float64, frame pixels → crop pixels
    box: np.ndarray  # (4,) float32 xyxy in the frame
    landmarks: np.ndarray  # (5, 2) float32 in crop pixels
    detector_score: float
    quality: Quality
    visible: np.ndarray | None = None  # (s, s) float32 in [0, 1], 1 = visible; None until the segmenter has looked


@dataclass(frozen=True, slots=True, eq=False)
class HealJob:
    """A track's gallery, ready to restore. `run/camera/epoch/track/revision` names it for good."""

    run: str
    camera: str
    epoch: int
    track: int
    revision: int  # from 1; grows with each publication of the track
    reason: PublishReason
    crops: tuple[FaceCrop, ...]  # at least one: the best, then those that add most to what is before them
    first_seen: float
    last_seen: float
    frames: int  # frames in which the track was detected so far

    @property
    def id(self) -> str:
        """Deterministic event id, so that a consumer can drop duplicates."""
        return f"{self.run}/{self.camera}/{self.epoch}/{self.track}/{self.revision}"

    @property
    def best(self) -> FaceCrop:
        return self.crops[0]


@dataclass(frozen=True, slots=True)
class ModelUsed:
    """One network that had a part in a result."""

    role: str  # "detector", "occlusion", "restorer", "fusion", "embedder"
    name: str
    sha256: str


_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
CAPTURED = f"{_SOURCE_TYPE}digitalCapture"
"""IPTC NewsCode of a picture as a camera took it."""
MADE = f"{_SOURCE_TYPE}trainedAlgorithmicMedia"
"""IPTC NewsCode of a picture that a network made."""
PARTLY_MADE = f"{_SOURCE_TYPE}compositeWithTrainedAlgorithmicMedia"
"""IPTC NewsCode of a picture that a network made a part of."""


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """A frame whose crop had a part in a result."""

    sequence: int
    captured_at: float  # UTC seconds
    clock: Clock
    clock_uncertainty: float  # seconds, one-sided

    @classmethod
    def of(cls, crop: FaceCrop) -> "SourceFrame":
        """The frame that `crop` was cut from."""
        return cls(crop.sequence, crop.captured_at, crop.clock, crop.clock_uncertainty)


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a healed face came to be: enough to make it again, and to mark it as partly made by a network."""

    software: str  # "streamheal 0.1.0"
    models: tuple[ModelUsed, ...]
    source_frames: tuple[int, ...]  # sequence numbers of the crops that took part, the restored one first
    restorer: str
    restorer_reason: str  # why this restorer, in words
    digital_source_type: str = PARTLY_MADE
    settings: dict[str, str] = field(default_factory=dict)
    sources: tuple[SourceFrame, ...] = ()  # `source_frames`, each with its time
    credentials: str = ""  # of the restored picture: "signed", or why not; empty where nobody asked for it


@dataclass(frozen=True, slots=True)
class Match:
    """What a cosine between an embedding and that of an enrolled, clear picture means, for a face of this size of which
    this much is visible. `streamheal.same_person` makes a probability of it; docs/honesty.md says for whom it holds."""

    slope: float  # P(same person) = 1 / (1 + exp(-(slope * cosine + intercept))), if half of all pairs are one person
    intercept: float
    threshold: float  # the cosine that 1 % of strangers exceed
    true_accept_rate: float  # [0, 1], share of the person's own pictures that exceed it


@dataclass(frozen=True, slots=True)
class Identity:
    """How far each embedding of a face can be trusted. None: there is no such embedding, or it was not calibrated."""

    original: Match
    track: Match | None = None
    restored: Match | None = None  # of a face that a network made a part of: never the first to match with
    kept: float | None = None  # [0, 1], P(the restored face passes for the person in a clear picture)
    match_with: Literal["original"] = "original"


@dataclass(frozen=True, slots=True)
class ExpectedError:
    """How far nine in ten pixels of a restored face lie from the truth at most, 0 to 255, mean of RGB; averaged over
    the part. None where there is no such part."""

    seen: float | None  # pixels that enough visible input backs
    hallucinated: float | None


@dataclass(frozen=True, slots=True, eq=False)
class HealedFace:
    """What leaves. The original comes first and is never replaced."""

    job: HealJob
    original: np.ndarray  # (s, s, 3) uint8, the best crop at its native size, untouched
    embedding_original: np.ndarray  # (D,) float32, L2-normalised: the default for matching
    visible: np.ndarray  # (s, s) float32 in [0, 1], 1 = visible
    restored: np.ndarray | None  # (128, 128, 3) uint8 without the visible mark; None where the restorer abstained
    evidence: np.ndarray  # (128, 128) float32 in [0, 1]: share of each pixel backed by visible input
    embedding_restored: np.ndarray | None
    drift: float | None  # 1 - cosine between both embeddings, [0, 2]; None where it abstained
    abstained: str | None  # why nothing was restored, or None
    provenance: Provenance
    marked: bool = True  # pictures of the restored face bear a visible mark
    embedding_track: np.ndarray | None = None  # (D,) as the original's: mean over the track's crops by quality
    hallucinated: np.ndarray | None = None  # (128, 128) bool: too little visible input backs these pixels of `restored`
    expected_error: ExpectedError | None = None
    identity: Identity | None = None
    signed: bytes | None = None  # `restored` as PNG with its marks, signed (C2PA); None where nothing signs

    @property
    def id(self) -> str:
        return self.job.id
