"""What hides faces, drawn over the canonical template: masks, glasses, scarves, hands, things. Procedural and seeded;
real templates, textures and hands join in where an archive of them is at hand.

Each is `(128, 128, 4)` uint8 RGBA, made at twice the size. `MEAN68` is the face that it is drawn for; `bank.py`
fits it to others.
"""

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SIDE = 256  # drawn at twice the template, then shrunk: soft edges

# mean of the 68 iBUG points over 15 757 aligned training pictures, in px of the 128 px template
MEAN68 = np.array(
    [
        (19.4, 52.2), (20.7, 63.7), (22.9, 74.7), (25.4, 83.9), (29.2, 94.5), (35.4, 102.3), (42.5, 108.1),
        (51.5, 114.2), (64.6, 117.6), (77.3, 114.0), (85.4, 108.0), (92.1, 102.5), (97.7, 93.6), (102.0, 83.3),
        (104.0, 73.4), (105.9, 63.0), (106.4, 51.8), (28.8, 42.7), (34.2, 39.2), (40.6, 38.1), (46.7, 38.6),
        (52.3, 40.5), (73.7, 40.4), (79.0, 38.5), (85.1, 37.7), (92.0, 38.6), (96.9, 41.9), (63.0, 53.2),
        (63.3, 61.0), (63.4, 67.9), (63.1, 74.4), (56.7, 78.2), (59.6, 79.4), (63.6, 80.3), (67.5, 79.0),
        (70.6, 78.3), (37.8, 51.6), (41.6, 50.3), (47.1, 50.1), (51.8, 52.6), (47.9, 54.5), (42.0, 54.1),
        (74.2, 52.5), (79.1, 49.6), (84.8, 49.7), (88.4, 51.6), (84.6, 54.1), (78.9, 53.7), (48.5, 91.2),
        (53.9, 88.8), (60.4, 87.3), (63.8, 87.7), (67.1, 86.8), (74.1, 89.1), (79.6, 91.0), (73.8, 95.7),
        (69.1, 98.3), (63.8, 99.2), (59.2, 98.5), (53.9, 96.5), (49.4, 91.5), (59.0, 90.6), (63.8, 90.8),
        (68.5, 90.7), (78.1, 91.1), (68.6, 93.4), (64.0, 94.0), (59.5, 93.6),
    ],
    np.float32,
)  # fmt: skip

_SKIN = [(245, 214, 190), (224, 177, 144), (198, 144, 108), (160, 106, 74), (112, 72, 50), (70, 45, 34)]
_CLOTH = [(240, 240, 240), (150, 195, 225), (95, 150, 205), (25, 25, 28), (120, 125, 130), (150, 200, 175),
          (225, 170, 185), (40, 50, 90), (150, 30, 40)]  # fmt: skip


@dataclass(frozen=True, slots=True)
class RealThings:
    """Photographed occluders; empty lists where there is no archive. Pictures `(h, w, 3 or 4)` uint8."""

    masks: list[np.ndarray] = field(default_factory=list)  # RGBA, front views
    side_masks: list[tuple[np.ndarray, bool]] = field(default_factory=list)  # RGBA, worn towards picture left?
    sunglasses: list[np.ndarray] = field(default_factory=list)  # RGBA
    hats: list[np.ndarray] = field(default_factory=list)  # RGBA
    hands: list[np.ndarray] = field(default_factory=list)  # RGB on a plain background
    textures: list[np.ndarray] = field(default_factory=list)  # RGB

    @classmethod
    def read(cls, archive: Path | None, *, held_out: bool = False) -> "RealThings":
        """From the occluder archive; every fifth picture is held out for judging. Without the archive: nothing."""
        things = cls()
        if archive is None or not archive.is_file():
            return things
        with zipfile.ZipFile(archive) as file:
            names = [name for name in sorted(file.namelist()) if name.endswith(".webp")]
            for i, name in enumerate(names):
                few = "templates/" in name or "accessories" in name  # too few to hold any out: warped anew instead
                if not few and (i % 5 == 0) != held_out:
                    continue
                mode = "RGBA" if few else "RGB"
                picture = np.asarray(Image.open(io.BytesIO(file.read(name))).convert(mode))
                if "templates/" in name and (name.endswith("_left.webp") or name.endswith("_right.webp")):
                    things.side_masks.append((picture, name.endswith("_left.webp")))
                elif "templates/" in name:
                    things.masks.append(picture)
                elif "sunglasses" in name:
                    things.sunglasses.append(picture)
                elif "_hat" in name:
                    things.hats.append(picture)
                elif "hands" in name:
                    things.hands.append(picture)
                elif "texture" in name:
                    things.textures.append(picture)
        return things


def draw(kind: str, rng: np.random.Generator, things: RealThings) -> np.ndarray:
    """One occluder of `kind` (a key of DRAWERS): `(128, 128, 4)` uint8 RGBA."""
    layer = DRAWERS[kind](rng, things)
    premultiplied = layer.astype(np.float32) * np.dstack([layer[..., 3:] / 255.0] * 3 + [np.ones((SIDE, SIDE))])
    small = cv2.resize(premultiplied, (128, 128), interpolation=cv2.INTER_AREA)
    small[..., :3] /= np.maximum(small[..., 3:] / 255, 1e-3)
    return small.clip(0, 255).astype(np.uint8)


def medical(rng: np.random.Generator, things: RealThings) -> np.ndarray:
    if things.masks and rng.random() < 0.5:
        return _worn_template(rng, things)
    points = MEAN68 * 2
    out = points[1:16] + (points[1:16] - points[30]) * rng.uniform(-0.02, 0.10)
    out = out if rng.random() < 0.6 else out[1:14]
    top_y = rng.uniform(56, 70) if rng.random() < 0.9 else rng.uniform(78, 86)  # one in ten below the nose
    dip = rng.uniform(4, 14)  # cheeks lie lower than the ridge
    top = [(92 * 2, (top_y + dip) * 2), (75 * 2, (top_y + 2) * 2), (63.5 * 2, top_y * 2), (52 * 2, (top_y + 2) * 2),
           (35 * 2, (top_y + dip) * 2)]  # fmt: skip
    out[:, 1] = np.maximum(out[:, 1], (top_y + 2) * 2)
    alpha = _polygon(np.concatenate([out, np.array(top)]))
    surface = _cloth(rng, things)
    for row in np.linspace(top_y * 2 + 30, 215, int(rng.integers(0, 4))):  # pleats
        sag = (np.arange(SIDE) - 127) ** 2 / 900
        for x in range(SIDE):
            y = int(row - sag[x] + 8)
            surface[max(y, 0) : max(y + 3, 0), x] = surface[max(y, 0) : max(y + 3, 0), x] * 0.8
    layer = _layer(_lit(rng, surface), alpha)
    for ear, corner in ((points[0], out[0]), (points[16], out[-1])):  # straps
        if rng.random() < 0.7:
            colour = (*map(int, surface[150, 128]), 255)
            cv2.line(layer, _int(corner), _int(ear + rng.normal(0, 4, 2)), colour, 3, cv2.LINE_AA)
    return layer


def _worn_template(rng: np.random.Generator, things: RealThings) -> np.ndarray:
    """A photographed mask, its opaque box stretched to reach from the nose to the chin and from ear to ear."""
    side = bool(things.side_masks) and rng.random() < 0.25
    picture, to_left = things.side_masks[rng.integers(len(things.side_masks))] if side else (None, False)
    picture = picture if side else things.masks[rng.integers(len(things.masks))]
    rows, columns = np.nonzero(picture[..., 3] > 128)
    source = np.array([(columns.min(), rows.min()), (columns.max(), rows.min()), (columns.min(), rows.max())])
    left, right = (20 + rng.uniform(-2, 6)) * 2, (106 - rng.uniform(-2, 6)) * 2
    if side:
        left, right = (left, right - 24) if to_left else (left + 24, right)
    top, bottom = rng.uniform(54, 66) * 2, rng.uniform(114, 124) * 2
    target = np.array([(left, top), (right, top), (left, bottom)])
    matrix = cv2.getAffineTransform(source.astype(np.float32), target.astype(np.float32))
    layer = cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=cv2.INTER_AREA)
    if rng.random() < 0.6:  # dyed or printed: the folds' light stays
        grey = layer[..., :3].mean(2, keepdims=True) / max(float(layer[..., :3][layer[..., 3] > 128].mean()), 30)
        layer[..., :3] = (_cloth(rng, things) * grey).clip(0, 255)
    return layer


def sunglasses(rng: np.random.Generator, things: RealThings) -> np.ndarray:
    if things.sunglasses and rng.random() < 0.3:
        picture = things.sunglasses[rng.integers(len(things.sunglasses))]
        width = int(rng.uniform(78, 92) * 2)
        small = cv2.resize(picture, (width, int(width * picture.shape[0] / picture.shape[1] * rng.uniform(0.85, 1.3))))
        return _place(small, (127 + rng.normal(0, 3), 106 + rng.normal(0, 4)))
    layer = np.zeros((SIDE, SIDE, 4), np.uint8)
    tint = np.array(rng.integers(0, 60, 3) if rng.random() < 0.8 else rng.integers(20, 200, 3))
    lens = _lit(rng, np.tile(tint, (SIDE, SIDE, 1)).astype(np.float32), strength=0.6)
    alpha = _lenses(rng)
    layer[..., :3], layer[..., 3] = lens, alpha * rng.uniform(0.88, 1.0)
    _frame(layer, rng, alpha, colour=tuple(int(c) for c in rng.integers(0, 90, 3)))
    return layer


def eyeglasses(rng: np.random.Generator, things: RealThings) -> np.ndarray:
    """Frames round clear lenses: drawn, but the face behind counts as visible."""
    layer = np.zeros((SIDE, SIDE, 4), np.uint8)
    alpha = _lenses(rng)
    layer[..., :3] = 255
    layer[..., 3] = alpha * rng.uniform(0, 0.12)  # a faint reflection
    _frame(layer, rng, alpha, colour=tuple(int(c) for c in rng.integers(0, 140, 3)))
    return layer


def _lenses(rng: np.random.Generator) -> np.ndarray:
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    width, height, power = rng.uniform(27, 36), rng.uniform(18, 30), rng.uniform(2, 5)
    y, x = np.mgrid[:SIDE, :SIDE]
    for eye in (MEAN68[36:42].mean(0) * 2, MEAN68[42:48].mean(0) * 2):
        inside = (np.abs(x - eye[0]) / width) ** power + (np.abs(y - eye[1] - 4) / height) ** power
        alpha[inside < 1] = 255
    return alpha


def _frame(layer: np.ndarray, rng: np.random.Generator, lenses: np.ndarray, colour: tuple[int, ...]) -> None:
    outlines, _ = cv2.findContours(lenses, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    thick = int(rng.integers(2, 8))
    cv2.drawContours(layer, outlines, -1, (*colour, 255), thick, cv2.LINE_AA)
    cv2.line(layer, (118, 100), (138, 100), (*colour, 255), thick, cv2.LINE_AA)
    cv2.line(layer, (60, 98), (36, 94), (*colour, 255), thick, cv2.LINE_AA)
    cv2.line(layer, (196, 98), (218, 94), (*colour, 255), thick, cv2.LINE_AA)


def scarf(rng: np.random.Generator, things: RealThings) -> np.ndarray:
    level, x = rng.uniform(68, 100) * 2, np.linspace(0, SIDE, 12)
    edge = level + rng.normal(0, 5, 12) + rng.uniform(-20, 20) * (x - 128) / 128
    alpha = _polygon(np.concatenate([np.stack([x, edge], 1), [(SIDE, SIDE), (0, SIDE)]]))
    surface = _cloth(rng, things).astype(np.float32)
    folds = cv2.resize(rng.normal(1, 0.16, (10, 4)).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return _layer(_lit(rng, surface * folds[..., None]), alpha)


def hat(rng: np.random.Generator, things: RealThings) -> np.ndarray:
    if things.hats and rng.random() < 0.3:
        picture = things.hats[rng.integers(len(things.hats))]
        width = int(rng.uniform(110, 140) * 2)
        small = cv2.resize(picture, (width, int(width * picture.shape[0] / picture.shape[1])))
        return _place(small, (128 + rng.normal(0, 5), rng.uniform(-40, 10)))
    x = np.linspace(-10, SIDE + 10, 12)
    edge = rng.uniform(18, 40) * 2 + rng.uniform(-12, 12) * ((x - 128) / 128) ** 2 + rng.normal(0, 2, 12)
    alpha = _polygon(np.concatenate([np.stack([x, edge], 1), [(SIDE + 10, -5), (-10, -5)]]))
    return _layer(_lit(rng, _cloth(rng, things)), alpha)


def hand(rng: np.random.Generator, things: RealThings) -> np.ndarray:
    if things.hands and rng.random() < 0.75:
        small = _cut_out(things.hands[rng.integers(len(things.hands))])
    else:
        small = _drawn_hand(rng)
    if rng.random() < 0.5:
        small = small[:, ::-1]
    scale = rng.uniform(0.8, 1.6) * SIDE / small.shape[0]
    angle = rng.normal(0, 45)
    matrix = cv2.getRotationMatrix2D((small.shape[1] / 2, small.shape[0] / 2), angle, scale)
    matrix[:, 2] += np.array([rng.uniform(40, 216), rng.uniform(100, 230)]) - np.array(small.shape[1::-1]) / 2
    return cv2.warpAffine(np.ascontiguousarray(small), matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)


def _cut_out(picture: np.ndarray) -> np.ndarray:
    """A hand on a plain grey background → RGBA, by its redness (Cr), the largest piece, holes closed."""
    red = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb)[..., 1], (3, 3), 0)
    _, mask = cv2.threshold(red, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    alpha = np.zeros(picture.shape[:2], np.uint8)
    if outlines:
        cv2.drawContours(alpha, [max(outlines, key=cv2.contourArea)], -1, 255, -1)
    return np.dstack([picture, cv2.erode(alpha, np.ones((2, 2), np.uint8))])


def _drawn_hand(rng: np.random.Generator) -> np.ndarray:
    alpha = np.zeros((200, 200), np.uint8)
    cv2.ellipse(alpha, (100, 120), (int(rng.uniform(30, 42)), int(rng.uniform(34, 46))), 0, 0, 360, 255, -1)
    cv2.line(alpha, (100, 130), (int(rng.normal(100, 12)), 199), 255, int(rng.uniform(36, 50)))
    spread = rng.uniform(3, 14)
    for i in range(4):
        angle = np.deg2rad((i - 1.5) * spread)
        length = rng.uniform(65, 95) if rng.random() < 0.8 else rng.uniform(30, 45)
        root = np.array([76 + 16 * i, 108])
        cv2.line(
            alpha, _int(root), _int(root + length * np.array([np.sin(angle), -np.cos(angle)])), 255, 15, cv2.LINE_AA
        )
    cv2.line(alpha, (70, 130), (int(rng.uniform(28, 50)), int(rng.uniform(80, 115))), 255, 16, cv2.LINE_AA)
    skin = np.tile(np.array(_SKIN[rng.integers(len(_SKIN))], np.float32), (200, 200, 1)) * rng.uniform(0.85, 1.1)
    depth = cv2.GaussianBlur(cv2.distanceTransform(alpha, cv2.DIST_L2, 3), (9, 9), 0)
    skin = skin * (0.75 + 0.25 * np.minimum(depth / 8, 1))[..., None]
    return np.dstack([skin.clip(0, 255).astype(np.uint8), alpha])


def thing(rng: np.random.Generator, things: RealThings) -> np.ndarray:
    """A telephone, cup, microphone, or something of no name, from the bottom or a side."""
    return _held(rng, things, None)


def telephone(rng: np.random.Generator, things: RealThings) -> np.ndarray:
    return _held(rng, things, _telephone)


def cup(rng: np.random.Generator, things: RealThings) -> np.ndarray:
    return _held(rng, things, _cup)


def microphone(rng: np.random.Generator, things: RealThings) -> np.ndarray:
    return _held(rng, things, _microphone)


def _held(rng: np.random.Generator, things: RealThings, shape: Callable | None) -> np.ndarray:
    """`shape` (drawn by lot if None) where hands hold things."""
    centre = np.array([rng.uniform(40, 216), rng.uniform(90, 240)])
    lot, size = rng.integers(4), rng.uniform(24, 64)
    shape = shape or (_telephone, _cup, _microphone, _no_name)[lot]
    return _layer(_lit(rng, _surface(rng, things)), shape(rng, centre, size))


def _telephone(rng: np.random.Generator, centre: np.ndarray, size: float) -> np.ndarray:
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    box = cv2.boxPoints((tuple(centre), (size * 0.9, size * 1.7), float(rng.normal(0, 25))))
    return cv2.fillPoly(alpha, [box.astype(np.int32)], 255, cv2.LINE_AA)


def _cup(rng: np.random.Generator, centre: np.ndarray, size: float) -> np.ndarray:
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    half = size * np.array([0.6, 0.7])
    cv2.rectangle(alpha, _int(centre - half), _int(centre + half), 255, -1)
    return cv2.ellipse(alpha, _int(centre - [0, size * 0.7]), _int((size * 0.6, size * 0.2)), 0, 0, 360, 255, -1)


def _microphone(rng: np.random.Generator, centre: np.ndarray, size: float) -> np.ndarray:
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(alpha, _int(centre), int(size * 0.5), 255, -1, cv2.LINE_AA)
    foot = _int((centre[0] + rng.normal(0, 60), 300))
    return cv2.line(alpha, _int(centre), foot, 255, int(size * 0.45), cv2.LINE_AA)


def _no_name(rng: np.random.Generator, centre: np.ndarray, size: float) -> np.ndarray:
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radius = size * rng.uniform(0.6, 1.2, 9)
    return _polygon(centre + np.stack([np.cos(angles), np.sin(angles)], 1) * radius[:, None])


def rectangle(rng: np.random.Generator, things: RealThings) -> np.ndarray:
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(int(rng.integers(1, 3))):
        width, height = rng.uniform(32, 128, 2).astype(int)
        x, y = int(rng.uniform(0, SIDE - width)), int(rng.uniform(0, SIDE - height))
        alpha[y : y + height, x : x + width] = 255
    return _layer(_surface(rng, things), alpha)


def irregular(rng: np.random.Generator, things: RealThings) -> np.ndarray:
    """Free-form strokes (Liu 2018, partial convolutions), hiding about a tenth to four tenths of the picture."""
    alpha, wanted = np.zeros((SIDE, SIDE), np.uint8), rng.uniform(0.08, 0.38)
    while (alpha > 0).mean() < wanted:
        at, angle, thick = rng.uniform(20, SIDE - 20, 2), rng.uniform(0, 2 * np.pi), int(rng.uniform(10, 40))
        for _ in range(int(rng.integers(2, 7))):
            angle += rng.normal(0, 0.9)
            to = np.clip(at + rng.uniform(16, 64) * np.array([np.cos(angle), np.sin(angle)]), 0, SIDE - 1)
            cv2.line(alpha, _int(at), _int(to), 255, thick, cv2.LINE_AA)
            at = to
    return _layer(_surface(rng, things), alpha)


DRAWERS: dict[str, Callable[[np.random.Generator, RealThings], np.ndarray]] = {
    "medical": medical, "sunglasses": sunglasses, "eyeglasses": eyeglasses, "scarf": scarf, "hat": hat, "hand": hand,
    "thing": thing, "rectangle": rectangle, "irregular": irregular,
    "telephone": telephone, "cup": cup, "microphone": microphone,
}  # fmt: skip

LOOSE = ("rectangle", "irregular", "thing", "telephone", "cup", "microphone")
"""Kinds that hang on no landmark."""

TRANSPARENT = ("eyeglasses",)
"""Kinds that are drawn without hiding the face."""


def _polygon(points: np.ndarray) -> np.ndarray:
    """A closed outline, rounded, `(SIDE, SIDE)` uint8."""
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(alpha, [np.round(points).astype(np.int32)], 255, cv2.LINE_AA)
    alpha = cv2.GaussianBlur(alpha, (0, 0), 3, borderType=cv2.BORDER_REPLICATE)
    return ((alpha.astype(np.float32) - 128) * 4 + 128).clip(0, 255).astype(np.uint8)


def _layer(surface: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.dstack([surface.clip(0, 255).astype(np.uint8), alpha]))


def _place(picture: np.ndarray, centre: tuple[float, float]) -> np.ndarray:
    height, width = picture.shape[:2]
    matrix = np.array([[1, 0, centre[0] - width / 2], [0, 1, centre[1] - height / 2]], np.float32)
    return cv2.warpAffine(picture, matrix, (SIDE, SIDE))


def _cloth(rng: np.random.Generator, things: RealThings) -> np.ndarray:
    if rng.random() < 0.7:
        colour = np.array(_CLOTH[rng.integers(len(_CLOTH))], np.float32) + rng.normal(0, 10, 3)
        return np.tile(colour, (SIDE, SIDE, 1)).clip(0, 255)
    return _surface(rng, things)


def _surface(rng: np.random.Generator, things: RealThings) -> np.ndarray:
    """`(SIDE, SIDE, 3)` float32: plain, skin-coloured, striped, checked, speckled, or a photographed texture."""
    draw_of = rng.random()
    if things.textures and draw_of < 0.35:
        texture = things.textures[rng.integers(len(things.textures))]
        return cv2.resize(texture, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    first, second = rng.uniform(0, 255, 3), rng.uniform(0, 255, 3)
    if draw_of < 0.6:
        return np.tile(first, (SIDE, SIDE, 1)).astype(np.float32)
    if draw_of < 0.75:
        skin = np.array(_SKIN[rng.integers(len(_SKIN))]) + rng.normal(0, 8, 3)
        return np.tile(skin, (SIDE, SIDE, 1)).astype(np.float32)
    y, x = np.mgrid[:SIDE, :SIDE]
    angle, period = rng.uniform(0, np.pi), rng.uniform(10, 50)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
    if draw_of < 0.85:
        wave = wave * np.sin((y * np.cos(angle) - x * np.sin(angle)) * 2 * np.pi / period)
    elif draw_of < 0.93:
        cells = int(rng.integers(8, 128))
        wave = cv2.resize(rng.normal(0, 0.6, (cells, cells)), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    mix = ((wave + 1) / 2).clip(0, 1)[..., None]
    return (first * mix + second * (1 - mix)).astype(np.float32)


def _lit(rng: np.random.Generator, surface: np.ndarray, strength: float = 0.3) -> np.ndarray:
    """The surface under light that falls off in a random direction."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 + strength * rng.random() * (x * np.cos(angle) + y * np.sin(angle))
    return (surface * light[..., None]).clip(0, 255)


def _int(point) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
