"""From a photograph to one aligned face, or the reason why not."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from streamheal import config
from streamheal.faces import alignment
from streamheal.faces.alignment import TEMPLATE_SIDE
from streamheal.faces.detector import FaceDetector, build_detector
from streamheal.faces.quality import face_oval
from streamheal.records import Face
from streamheal.train.prepare import parsing
from streamheal.train.prepare.photos import Photo, Rejected, read

LEAST_SCORE = 0.5  # of the detector; a pipeline begins a track from here on too
FIRST_SIDE, SECOND_SIDE = 640, 1920  # most faces in photographs are found in the small picture, at 1/9 of the cost
LOOK_SIDE = 320  # of the second look at the face that is meant; there it measures 160 px
CLEARLY_LARGER = 0.7  # another face with more than this share of the largest one's size may be meant as well
MIDDLE = 1 / 6  # of the longer side: how far from the middle the face may lie in a picture that was cut round it
LEAST_INTEROCULAR = {128: 30.0, 256: 60.0}
"""Pixels between the eyes in the photograph. The template has 35.2 and 70.5 there: at most 1.2-fold magnification."""
LEAST_SHARPNESS = {128: 25.0, 256: 15.0}
"""Variance of the Laplacian of the crop's luma. Of 200 faces of LFW, 95 % lie above 92, and 95 % below 31 once they are
blurred by σ = 1.5 px; of 100 at 256 px, above 124, and below 11 at σ = 2 px."""
MOST_OF_FACE_OUTSIDE = 0.02  # share of the oval from brows to chin beyond the photograph's border
MOST_OF_CROP_OUTSIDE = 0.25  # corners may lie outside, where border pixels repeat; a quarter is half a forehead
MOST_DISAGREEMENT = 0.25
"""Mean distance of five landmarks from two sources, in interocular distances. Median 0.09, 99.9 % below 0.25 to 0.31
over 5 000 photographs of several sets and 6 358 of LFW: what lies beyond is two different faces, or none."""


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """One face in the canonical template."""

    image: np.ndarray  # (s, s, 3) uint8 RGB
    parsing: np.ndarray | None  # (s, s) uint8 classes
    five: np.ndarray  # (5, 2) pixels of the 128 px crop, continuous
    points: np.ndarray | None  # (68, 2) likewise, where the data set gives them
    interocular: float  # in the photograph, pixels
    sharpness: float  # variance of the Laplacian
    score: float  # the detector's


class Aligner:
    """Finds the face that is meant, checks it, and cuts it out at `size`."""

    def __init__(self, size: int, *, central: bool, least_interocular: float | None = None):
        self.size, self.central = size, central
        self.least_interocular = LEAST_INTEROCULAR[size] if least_interocular is None else least_interocular
        self.detectors = [_detector(side) for side in (FIRST_SIDE, SECOND_SIDE)]
        self.model = self.detectors[0].model

    def align(self, photos: Sequence[Photo]) -> list[Aligned | Rejected]:
        """One answer a photograph. All of them are in memory at once."""
        images: list[np.ndarray | Rejected] = []
        for photo in photos:
            try:
                images.append(read(photo))
            except Rejected as why:
                images.append(why)
        whole = [i for i, image in enumerate(images) if isinstance(image, np.ndarray)]
        found = dict(zip(whole, self.detect([images[i] for i in whole]), strict=True))
        answers: list[Aligned | Rejected] = []
        for i, photo in enumerate(photos):
            try:
                answers.append(self.cut(photo, images[i], found[i]) if i in found else images[i])
            except Rejected as why:
                answers.append(why)
        return answers

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """Faces of each picture; those where the first look finds none are looked at again in more detail."""
        first, second = self.detectors
        found = first.detect(images)
        again = [i for i, faces in enumerate(found) if not faces and max(images[i].shape[:2]) > FIRST_SIDE]
        for i, faces in zip(again, second.detect([images[i] for i in again]), strict=True):
            found[i] = faces
        return found

    def cut(self, photo: Photo, image: np.ndarray, faces: Sequence[Face]) -> Aligned:
        """The face of `image` that is meant, upright in the template. Raises Rejected with the reason."""
        face = meant(photo, faces, image.shape[:2], central=self.central)
        five = self.refined(image, face.landmarks) if photo.five is None else photo.five
        interocular = _interocular(five)
        if interocular < self.least_interocular:
            said = f"{interocular:.1f} px between the eyes, at least {self.least_interocular:g} wanted"
            raise Rejected("too small", said)
        crop = alignment.cut(image, five, max_side=self.size)
        if crop is None:
            raise Rejected("no face", "the five landmarks have not the layout of a face")
        affine = alignment.similarity(five)
        _check_border(affine, image.shape[:2])
        pixels = alignment.resample(crop.image, self.size)
        sharpness = float(cv2.Laplacian(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())
        if sharpness < LEAST_SHARPNESS[self.size]:
            raise Rejected("too blurred", f"sharpness {sharpness:.1f}, at least {LEAST_SHARPNESS[self.size]:g} wanted")
        known = photo.points is not None and len(photo.points) == 68
        return Aligned(
            image=pixels,
            parsing=self._labels(photo, affine, image.shape[:2]) if photo.parsing else None,
            five=alignment.apply(affine, five),
            points=alignment.apply(affine, photo.points) if known else None,
            interocular=interocular,
            sharpness=sharpness,
            score=face.score,
        )

    def refined(self, image: np.ndarray, five: np.ndarray) -> np.ndarray:
        """Five landmarks (5, 2), found again where the face stands upright and at one size, in twice the crop's square.

        Of a face turned by 25° the detector's landmarks are 0.12 interocular distances off, upright 0.07. They stay as
        they are where the second look finds no face in the middle.
        """
        five = np.asarray(five, np.float64)
        upright = alignment.similarity(five, LOOK_SIDE / 2)
        upright[:, 2] += LOOK_SIDE / 4
        if not np.isfinite(upright).all():
            return five
        (faces,) = self.detectors[0].detect([alignment.warp(image, upright, (LOOK_SIDE, LOOK_SIDE))])
        middle = alignment.apply(upright, five)
        near = [face for face in faces if disagreement(middle, face.landmarks) < MOST_DISAGREEMENT]
        if not near:
            return five
        best = min(near, key=lambda face: disagreement(middle, face.landmarks))
        return alignment.apply(alignment.invert(upright), best.landmarks)

    def _labels(self, photo: Photo, affine: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """The parsing labels in the same crop. CelebAMask-HQ's are half the photograph's size."""
        labels = parsing.read(photo.parsing)
        to_crop = affine * (self.size / TEMPLATE_SIDE)
        to_crop[:, :2] *= [shape[1] / labels.shape[1], shape[0] / labels.shape[0]]
        return alignment.warp(labels, to_crop, (self.size, self.size), cv2.INTER_NEAREST)


def meant(photo: Photo, faces: Sequence[Face], shape: tuple[int, int], *, central: bool) -> Face:
    """The face that the photograph is of: by the data set's own landmarks, by its place, or by its size.

    `shape`: height, width. `central`: the picture was cut round the face. Raises Rejected.
    """
    faces = [face for face in faces if face.score >= LEAST_SCORE]
    if not faces:
        raise Rejected("no face", f"the detector finds none that it is sure of ({LEAST_SCORE:g})")
    if photo.five is not None:
        face = min(faces, key=lambda face: disagreement(photo.five, face.landmarks))
        if (far := disagreement(photo.five, face.landmarks)) > MOST_DISAGREEMENT:
            raise Rejected(
                "landmarks disagree", f"the data set's and the detector's, by {far:.2f} interocular distances"
            )
        return face
    if photo.points is not None:
        middle = photo.points.mean(0)
        face = min(faces, key=lambda face: _distance(face, middle))
        if not _inside(face, middle):
            raise Rejected("landmarks disagree", "the detector finds no face where the data set has one")
        return face
    if central:
        middle = np.array([shape[1], shape[0]]) / 2
        face = min(faces, key=lambda face: _distance(face, middle))
        if _distance(face, middle) > MIDDLE * max(shape):
            raise Rejected("no face", "none in the middle, where pictures of this layout have it")
        return face
    largest, *others = sorted(faces, key=lambda face: -_side(face))
    if others and _side(others[0]) > CLEARLY_LARGER * _side(largest):
        alike = 1 + sum(_side(other) > CLEARLY_LARGER * _side(largest) for other in others)
        raise Rejected("several faces", f"{alike} of like size")
    return largest


def disagreement(given: np.ndarray, found: np.ndarray) -> float:
    """Mean distance of landmarks (5, 2) from others, in the interocular distance of the first."""
    return float(np.linalg.norm(given - found, axis=1).mean() / max(_interocular(given), 1e-6))


def five_of(points: np.ndarray) -> np.ndarray:
    """`(…, 68, 2)` iBUG points → `(…, 5, 2)`: eyes, tip of the nose, corners of the mouth; picture left first."""
    eyes = [points[..., first : first + 6, :].mean(-2) for first in (36, 42)]
    return np.stack([*eyes, points[..., 30, :], points[..., 48, :], points[..., 54, :]], -2)


def _check_border(affine: np.ndarray, shape: tuple[int, int]) -> None:
    """Raises Rejected where too much of the crop lies beyond a photograph of (height, width) = `shape`."""
    side = 32
    centres = (np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1) + 0.5) * (TEMPLATE_SIDE / side)
    there = alignment.apply(alignment.invert(affine), centres.reshape(-1, 2))
    outside = ((there < 0) | (there > [shape[1], shape[0]])).any(1).reshape(side, side)
    oval = face_oval(side) > 0
    of_face, of_crop = outside[oval].mean(), outside.mean()
    if of_face > MOST_OF_FACE_OUTSIDE or of_crop > MOST_OF_CROP_OUTSIDE:
        raise Rejected("cut by the border", f"{of_face:.0%} of the face and {of_crop:.0%} of the crop lie outside")


def _detector(side: int) -> FaceDetector:
    return build_detector(config.Detector(max_side=side))


def _interocular(five: np.ndarray) -> float:
    return float(np.linalg.norm(five[0] - five[1]))


def _side(face: Face) -> float:
    return float(np.sqrt(np.prod(face.box[2:] - face.box[:2])))


def _distance(face: Face, point: np.ndarray) -> float:
    return float(np.linalg.norm((face.box[:2] + face.box[2:]) / 2 - point))


def _inside(face: Face, point: np.ndarray) -> bool:
    return bool((face.box[:2] <= point).all() and (point <= face.box[2:]).all())
