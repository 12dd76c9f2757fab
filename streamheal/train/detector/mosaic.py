"""Training pictures for the detector: mosaics of scenes shrunk until faces of 8 to 48 px are the rule."""

from collections.abc import Sequence

import cv2
import numpy as np

from streamheal.train.detector.scenes import Scene

FLIPPED = (1, 0, 2, 4, 3)  # landmarks are named by their side of the picture: a mirror swaps eyes and corners
GREY = 114


def mosaic(
    scenes: Sequence[Scene], rng: np.random.Generator, *, size: int, faces: tuple[float, float], smallest: float = 5.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A `(size, size, 3)` picture packed with shrunk scenes, its boxes `(n, 4)` and landmarks `(n, 5, 3)`.

    Of each scene one face, chosen at random, gets a side drawn log-uniformly from `faces` (pixels). The third value of
    a landmark is 1 where it is known, else 0. Faces cut by more than half, or smaller than `smallest`, are greyed out.
    """
    picture = np.full((size, size, 3), GREY, np.uint8)
    boxes, landmarks = [np.empty((0, 4))], [np.empty((0, 5, 3))]
    free = [(0, 0, size, size)]
    while free:
        left, top, right, bottom = free.pop()
        room = np.array([right - left, bottom - top])
        if room.min() < 24:
            continue
        scene = scenes[rng.integers(len(scenes))]
        cell, found, points = _window(scene, rng, np.minimum(room, rng.integers(128, size + 1)), faces, smallest)
        height, width = cell.shape[:2]
        picture[top : top + height, left : left + width] = cell
        boxes.append(found + np.array([left, top, left, top]))
        landmarks.append(points + np.array([left, top, 0]) * (points[..., 2:] > 0))
        free += [(left + width, top, right, top + height), (left, top + height, right, bottom)]
    packed = picture, np.concatenate(boxes), np.concatenate(landmarks)
    picture, *known = mirrored(*packed) if rng.random() < 0.5 else packed
    return spoiled(picture, rng), *known


def _window(
    scene: Scene, rng: np.random.Generator, room: np.ndarray, faces: tuple[float, float], smallest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A part of the shrunk scene, at most `room` (w, h) in size, with the chosen face; its boxes and landmarks."""
    side = float(np.exp(rng.uniform(*np.log(faces))))
    whole = np.array(scene.image.shape[1::-1])
    if len(scene.boxes):
        chosen = scene.boxes[rng.integers(len(scene.boxes))]
        centre, factor = (chosen[:2] + chosen[2:]) / 2, side / max(1.0, min(chosen[2:] - chosen[:2]))
    else:
        centre, factor = whole / 2, rng.uniform(0.15, 0.6)
    shrunk = scene.shrunk(float(np.clip(factor, 32 / whole.min(), 1.5)))
    have = np.array(shrunk.image.shape[1::-1])
    shape = np.minimum(have, room)
    corner = (centre * have / whole - rng.uniform(0.15, 0.85, 2) * shape).clip(0, have - shape).astype(int)
    cell = shrunk.image[corner[1] : corner[1] + shape[1], corner[0] : corner[0] + shape[0]].copy()

    boxes, ignore = shrunk.boxes - np.tile(corner, 2), shrunk.ignore - np.tile(corner, 2)
    inside = boxes.clip(0, np.tile(shape, 2))
    area, left = ((b[:, 2:] - b[:, :2]).prod(1) for b in (boxes, inside))
    keep = (left >= 0.5 * area) & ((inside[:, 2:] - inside[:, :2]).min(1) >= smallest)
    for box in np.concatenate([inside[~keep], ignore]):
        if not _meets(box, inside[keep]):
            x0, y0, x1, y1 = box.round().astype(int).clip(0)
            cell[y0:y1, x0:x1] = GREY
    points = shrunk.landmarks - corner
    known = shrunk.seen[:, None] & ((points >= 0) & (points < shape)).all(-1)
    return cell, inside[keep], (np.concatenate([points, known[..., None]], 2) * known[..., None])[keep]


def _meets(box: np.ndarray, others: np.ndarray) -> bool:
    """Whether greying `box` would hide part of another face."""
    return bool(((np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])) > 0).all(1).any())


def mirrored(
    picture: np.ndarray, boxes: np.ndarray, landmarks: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The picture as in a mirror; left and right landmarks change places, so that picture left stays first."""
    width = picture.shape[1]
    boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
    landmarks = landmarks[:, FLIPPED].copy()
    landmarks[..., 0] = np.where(landmarks[..., 2] > 0, width - landmarks[..., 0], 0)
    return picture[:, ::-1].copy(), boxes, landmarks


def spoiled(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As cameras spoil it, each with some probability: light, colour, blur, noise, JPEG."""
    out = picture.astype(np.float32)
    if rng.random() < 0.8:
        out = (out - 128) * rng.uniform(0.5, 1.3) + 128 * rng.uniform(0.5, 1.3)
    if rng.random() < 0.15:
        out = np.repeat(out.mean(2, keepdims=True), 3, 2)
    elif rng.random() < 0.5:
        out *= rng.uniform(0.85, 1.15, 3).astype(np.float32)
    if rng.random() < 0.2:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < 0.3:
        out += rng.normal(0, rng.uniform(2, 12), out.shape).astype(np.float32)
    out = out.clip(0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        _, jpeg = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 90))])
        out = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    return out
