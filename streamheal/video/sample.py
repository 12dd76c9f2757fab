"""Renders the demo clip: real faces, made tiny, set in motion, and partly hidden. A composite, and it says so.

The photographs come inside the wheels of dependencies (scikit-image, matplotlib, ultralytics); none is shipped here.
What hides them (a medical mask, sunglasses, a hand, a post) is drawn.
"""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

import streamheal
from streamheal.errors import SourceError


@dataclass(frozen=True, slots=True)
class Person:
    """A photograph with a face, and what the face does in the clip."""

    package: str  # whose wheel carries the photograph
    photograph: str  # path inside that package
    landmarks: tuple[tuple[float, float], ...]  # eyes, nose, mouth corners in the photograph; picture left first
    interocular: float  # distance of the eyes in the clip, pixels, at the start
    growth: float  # how much nearer the face has come at the end
    start: tuple[float, float]  # where the nose begins, share of width and height
    end: tuple[float, float]
    hidden_by: tuple[tuple[str, float, float], ...] = ()  # (occluder, from, to), shares of the clip's length


PEOPLE = (
    Person(
        "skimage",
        "data/astronaut.png",
        ((203.4, 103.6), (247.5, 104.4), (224.1, 127.7), (204.0, 143.1), (242.9, 143.7)),
        6.5,
        1.4,
        (0.12, 0.30),
        (0.34, 0.36),
        (("hand", 0.35, 0.7),),
    ),
    Person(
        "matplotlib",
        "mpl-data/sample_data/grace_hopper.jpg",
        ((224.3, 197.3), (306.8, 195.6), (265.4, 238.9), (229.8, 274.0), (304.4, 272.3)),
        6,
        1.5,
        (0.86, 0.28),
        (0.62, 0.34),
        (("mask", 0.0, 1.0),),
    ),
    Person(
        "ultralytics",
        "assets/zidane.jpg",
        ((966.7, 165.0), (1027.8, 166.1), (1005.3, 204.6), (968.5, 234.4), (1019.8, 235.8)),
        8,
        1.3,
        (0.30, 0.68),
        (0.68, 0.70),
        (("mask", 0.5, 1.0),),
    ),
    Person(
        "ultralytics",
        "assets/bus.jpg",
        ((130.9, 437.1), (148.3, 437.7), (142.6, 447.3), (131.7, 455.6), (146.1, 456.2)),
        5.5,
        1.3,
        (0.53, 0.26),
        (0.40, 0.30),
    ),
    Person(
        "ultralytics",
        "assets/bus.jpg",
        ((283.0, 442.4), (300.2, 441.9), (295.0, 452.4), (285.2, 461.4), (299.2, 461.0)),
        6,
        1.3,
        (0.92, 0.66),
        (0.80, 0.72),
        (("sunglasses", 0.0, 0.55),),
    ),
)
_EYES = 320  # sprites are prepared at 320 / 4 px between the eyes, then shrunk by area as a lens would
_POST = (0.50, 0.018)  # a post in the foreground: centre and half width, shares of the picture's width


def render(
    path: Path, *, seconds: float = 8, fps: int = 25, width: int = 960, height: int = 540, seed: int = 0
) -> Path:
    """Write the clip as H.264 to `path` and return it. The same arguments render the same pictures; a clip of them that
    is there already stays, so that a run of it is the same run again (the encoder's bytes may differ in a few).

    Raises SourceError if a dependency no longer carries its photograph or the file can't be written.
    """
    said = (
        f"A composite that streamheal {streamheal.__version__} rendered ({seconds:g} s, {fps} fps, {width}x{height}, "
        f"seed {seed}); the faces come from photographs."
    )
    if _comment(path) == said:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.mp4")
    try:
        with av.open(str(part), "w", format="mp4") as container:
            # As surveillance cameras encode: block artefacts (crf 26), a keyframe every two seconds, one slice a frame.
            options = {"crf": "26", "preset": "veryfast", "g": str(2 * fps), "threads": "1"}
            stream = container.add_stream("libx264", rate=fps, options=options)
            stream.width, stream.height, stream.pix_fmt = width // 2 * 2, height // 2 * 2, "yuv420p"
            stream.time_base = Fraction(1, fps)
            container.metadata["comment"] = said
            for picture in pictures(seconds=seconds, fps=fps, width=stream.width, height=stream.height, seed=seed):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    except (av.FFmpegError, OSError) as error:
        raise SourceError(f"the demo clip can't be written to {path}: {error}") from error
    return part.replace(path)


def _comment(path: Path) -> str | None:
    """What a clip says of itself; None where there is none, or none that can be read."""
    try:
        with av.open(str(path)) as container:
            return container.metadata.get("comment")
    except (av.FFmpegError, OSError):
        return None


def pictures(*, seconds: float, fps: int, width: int, height: int, seed: int) -> Iterator[np.ndarray]:
    """The clip's pictures, `(height, width, 3)` uint8 RGB."""
    rng = np.random.default_rng(seed)
    backdrop = _backdrop(width, height, rng)
    sprites = [_Sprite(person, rng) for person in PEOPLE]
    count = max(1, round(seconds * fps))
    for index in range(count):
        now = index / max(1, count - 1)
        canvas = backdrop.copy()
        for sprite in sprites:
            sprite.draw(canvas, now)
        post, half = int(_POST[0] * width), max(2, int(_POST[1] * width))
        canvas[:, post - half : post + half] = (58, 60, 66)
        canvas[:, post - half : post - half + max(1, half // 4)] = (92, 94, 100)
        noise = rng.normal(0, 2.5, canvas.shape[:2])[..., None]
        yield np.clip(canvas + noise, 0, 255).astype(np.uint8)


def _backdrop(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """A dim hall: a lit wall, a floor, and out-of-focus patches. Nothing in it resembles a face."""
    ramp = np.linspace(0, 1, height)[:, None, None]
    wall = np.array([150.0, 148, 142]) * (1 - 0.45 * ramp) + np.zeros((height, width, 3))
    floor = int(height * 0.82)
    wall[floor:] = np.array([88.0, 84, 80])
    coarse = rng.uniform(-9, 9, (9, 16)).astype(np.float32)
    return wall + cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]


class _Sprite:
    """Head and shoulders of one person, ready to be drawn at any size."""

    def __init__(self, person: Person, rng: np.random.Generator):
        self.person = person
        picture = photograph(person)
        points = np.array(person.landmarks)
        eyes = np.linalg.norm(points[1] - points[0])
        # Head and shoulders span about 7 interocular distances in width and 8 in height around the nose.
        scale = _EYES / 4 / eyes
        self.side = int(8 * _EYES / 4)
        centre = points[2]
        matrix = np.array(
            [[scale, 0, self.side / 2 - scale * centre[0]], [0, scale, self.side * 0.42 - scale * centre[1]]]
        )
        flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        self.picture = cv2.warpAffine(
            picture, matrix, (self.side, self.side), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        self.points = points @ matrix[:, :2].T + matrix[:, 2]
        self.alpha = _head_and_shoulders(self.side, self.points)
        self.sway = rng.uniform(0, 2 * np.pi, 2)

    def draw(self, canvas: np.ndarray, now: float) -> None:
        """Paint the person as it stands at `now`, share of the clip's length, onto `canvas` (float RGB)."""
        person, (height, width) = self.person, canvas.shape[:2]
        picture, alpha = self.picture.copy(), self.alpha.copy()
        for occluder, since, until in person.hidden_by:
            if since <= now <= until:
                # A hand rises and sinks; a mask or glasses are simply worn.
                edge = min(now - since, until - now) / 0.08 if occluder == "hand" else 1
                _OCCLUDERS[occluder](picture, alpha, self.points, min(1.0, edge))
        scale = person.interocular * (1 + (person.growth - 1) * now) / (_EYES / 4) * width / 960
        x = width * (person.start[0] + (person.end[0] - person.start[0]) * now) + 2.5 * np.sin(9 * now + self.sway[0])
        y = height * (person.start[1] + (person.end[1] - person.start[1]) * now) + 2.0 * np.sin(23 * now + self.sway[1])
        side = int(np.ceil(self.side * scale)) + 2
        left, top = int(np.floor(x - side / 2)), int(np.floor(y - side * 0.42))
        # Shrink by area, then shift by the sub-pixel rest: every frame samples the face at another phase.
        layer = np.dstack([picture.astype(np.float32) * alpha[..., None], alpha])
        small = cv2.resize(layer, (side, side), interpolation=cv2.INTER_AREA)
        shift = np.array([[1, 0, x - side / 2 - left], [0, 1, y - side * 0.42 - top]])
        small = cv2.warpAffine(small, shift, (side + 1, side + 1), flags=cv2.INTER_LINEAR)
        x0, y0, x1, y1 = max(0, left), max(0, top), min(width, left + side + 1), min(height, top + side + 1)
        if x0 < x1 and y0 < y1:
            part = small[y0 - top : y1 - top, x0 - left : x1 - left]
            canvas[y0:y1, x0:x1] = canvas[y0:y1, x0:x1] * (1 - part[..., 3:]) + part[..., :3]


def photograph(person: Person) -> np.ndarray:
    """The whole photograph, `(H, W, 3)` uint8 RGB. Raises SourceError if the package no longer carries it."""
    spec = importlib.util.find_spec(person.package)
    path = Path(spec.origin).parent / person.photograph if spec and spec.origin else None
    picture = cv2.imread(str(path)) if path and path.is_file() else None
    if picture is None:
        raise SourceError(
            f"the demo needs {person.photograph} from the package {person.package}, which does not carry it; "
            "reinstall streamheal's dependencies, or run pipelines/recorded.yaml on footage of your own"
        )
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _head_and_shoulders(side: int, points: np.ndarray) -> np.ndarray:
    """A soft outline `(side, side)` in [0, 1]: an oval for the head, a wider one for the shoulders."""
    alpha = np.zeros((side, side), np.float32)
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    unit = max(np.linalg.norm(points[1] - points[0]), np.linalg.norm(mouth - eyes) * 0.9)
    centre = tuple(int(v) for v in eyes + 0.25 * (mouth - eyes))
    cv2.ellipse(alpha, centre, (int(1.35 * unit), int(1.8 * unit)), 0, 0, 360, 1, -1)
    shoulders = (centre[0], int(centre[1] + 3.9 * unit))
    cv2.ellipse(alpha, shoulders, (int(2.6 * unit), int(2.3 * unit)), 0, 0, 360, 1, -1)
    fade = np.clip((side - np.arange(side, dtype=np.float32)) / (0.12 * side), 0, 1)  # no hard lower edge
    return cv2.GaussianBlur(alpha, (0, 0), 0.12 * unit) * fade[:, None]


def _mask(picture: np.ndarray, alpha: np.ndarray, points: np.ndarray, _share: float) -> None:
    """A surgical mask from the bridge of the nose to below the chin."""
    left, right, nose, mouth_left, mouth_right = points
    eyes, mouth = (left + right) / 2, (mouth_left + mouth_right) / 2
    across, down = right - left, mouth - eyes
    bridge = eyes + 0.42 * (nose - eyes)
    outline = [
        bridge,
        bridge + 0.55 * across + 0.12 * down,
        eyes + 0.98 * across + 0.45 * down,
        mouth + 0.78 * across + 0.25 * down,
        mouth + 0.3 * across + 0.85 * down,
        mouth + 0.9 * down,
        mouth - 0.3 * across + 0.85 * down,
        mouth - 0.78 * across + 0.25 * down,
        eyes - 0.98 * across + 0.45 * down,
        bridge - 0.55 * across + 0.12 * down,
    ]
    cv2.fillPoly(picture, [np.int32(outline)], (150, 190, 206), cv2.LINE_AA)
    for fold in (0.35, 0.6, 0.85):
        middle = nose + fold * (mouth + 0.6 * down - nose)
        ends = np.int32([middle - 0.6 * across, middle + 0.6 * across]).tolist()
        cv2.line(picture, *ends, (122, 165, 184), 3, cv2.LINE_AA)


def _sunglasses(picture: np.ndarray, alpha: np.ndarray, points: np.ndarray, _share: float) -> None:
    left, right = points[:2]
    unit = np.linalg.norm(right - left)
    for eye in (left, right):
        radii = (int(0.42 * unit), int(0.32 * unit))
        cv2.ellipse(picture, np.int32(eye).tolist(), radii, 0, 0, 360, (22, 20, 24), -1, cv2.LINE_AA)
    ends = np.int32([left, right]).tolist()
    cv2.line(picture, *ends, (22, 20, 24), max(2, int(0.1 * unit)), cv2.LINE_AA)


def _hand(picture: np.ndarray, alpha: np.ndarray, points: np.ndarray, share: float) -> None:
    """Four fingers and a palm that come up before mouth and nose."""
    mouth = points[3:].mean(0)
    unit = np.linalg.norm(points[1] - points[0])
    low = mouth + np.array([0.1 * unit, 3.2 * unit * (1 - share) + 0.9 * unit])
    skin = (188, 140, 112)
    cv2.ellipse(picture, np.int32(low).tolist(), (int(0.62 * unit), int(0.7 * unit)), 0, 0, 360, skin, -1, cv2.LINE_AA)
    for finger in range(4):
        root = low + np.array([(-0.45 + 0.3 * finger) * unit, -0.2 * unit])
        tip = root + np.array([(-0.06 + 0.04 * finger) * unit, -(1.15 if finger in (1, 2) else 0.95) * unit])
        cv2.line(picture, np.int32(root).tolist(), np.int32(tip).tolist(), skin, int(0.26 * unit), cv2.LINE_AA)
        edge = np.array([0.14 * unit, 0])
        cv2.line(picture, np.int32(root + edge).tolist(), np.int32(tip + edge).tolist(), (150, 104, 82), 2, cv2.LINE_AA)


_OCCLUDERS = {"mask": _mask, "sunglasses": _sunglasses, "hand": _hand}
