"""Faces with other landmarks than they have: Pro-UIGAN's attribute editing (its priors edited and fed back).

    made = streamheal.edit(face, move={"mouth": (0, 3)}, scale={"eyes": 1.2})
    made.restored, made.edited                      # uint8 (128, 128, 3), the second with the landmarks asked for

What comes of it is drawn, more than restored: it shows what the network makes of those landmarks, and nothing of what
the camera saw of them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from streamheal import weights
from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.heal.device import load_network, to_batch, to_pictures
from streamheal.heal.networks.landmark_maps import GROUPS
from streamheal.heal.networks.layers import resample, resample_map
from streamheal.heal.occlusion import OcclusionSegmenter
from streamheal.records import ModelUsed

LANDMARKS = 68
OPENABLE = {  # upper and lower landmarks; corners stay
    "eyes": ((37, 38, 43, 44), (40, 41, 46, 47)),
    "mouth": ((*range(49, 54), *range(61, 64)), (*range(55, 60), *range(65, 68))),
}
_PAIRED = {"brows": (slice(17, 22), slice(22, 27)), "eyes": (slice(36, 42), slice(42, 48))}  # each grows in its place
_SAME = 1e-3  # px; what is moved less is left to the network


@dataclass(frozen=True, slots=True, eq=False)
class EditedFace:
    """One face, restored and restored with edited landmarks."""

    restored: np.ndarray  # (128, 128, 3) uint8 RGB
    edited: np.ndarray  # (128, 128, 3) uint8 RGB
    landmarks: np.ndarray  # (68, 2) float32, x and y in pixels of the restored face: its own
    edited_landmarks: np.ndarray  # (68, 2) float32: those asked for
    model: ModelUsed


def edit(
    face: np.ndarray,
    visible: np.ndarray | None = None,
    *,
    landmarks: np.ndarray | None = None,
    move: Mapping[str, tuple[float, float]] | None = None,
    scale: Mapping[str, float] | None = None,
    open: Mapping[str, float] | None = None,
    system: str = "pro-uigan",
) -> EditedFace:
    """Restore an aligned face once as it is, and once with edited landmarks; what isn't edited is estimated anew.

    Args:
        face: uint8 RGB `(s, s, 3)` in the canonical template (`streamheal.faces.alignment`), any side s ≥ 8.
        visible: `(s, s)` in [0, 1], 1 = visible; None lets the segmenter find it.
        landmarks: `(68, 2)`, pixels of the 128 px face, to begin with in place of its own.
        move, scale, open: as for `change`, applied in this order.
        system: a restorer that is led by landmarks.

    Raises: ValueError for arrays of another shape, type or range, or a change that can't be; ConfigError for a system
    that isn't there or can't be edited.
    """
    return _editor(system, weights.folder()).edit(
        face, visible, landmarks=landmarks, move=move or {}, scale=scale or {}, open=open or {}
    )


def change(
    points: np.ndarray,
    *,
    move: Mapping[str, tuple[float, float]] | None = None,
    scale: Mapping[str, float] | None = None,
    open: Mapping[str, float] | None = None,
) -> np.ndarray:
    """Landmarks `(68, 2)` with groups of them (jaw, brows, nose, eyes, mouth) changed, as a new array.

    move: group → (right, down) in pixels. scale: group → factor about its centre; each eye and brow about its own.
    open: eyes or mouth → pixels by which upper and lower lid or lip move apart. Raises ValueError on another group or
    a number that isn't finite, or a factor that isn't above 0.
    """
    out = np.array(points, np.float32)
    for group, (right, down) in (move or {}).items():
        _check(group, GROUPS, right, down)
        out[GROUPS[group]] += (right, down)
    for group, factor in (scale or {}).items():
        _check(group, GROUPS, factor)
        if factor <= 0:
            raise ValueError(f"scale {group}={factor}: a factor above 0")
        for part in _PAIRED.get(group, (GROUPS[group],)):
            centre = out[part].mean(0)
            out[part] = centre + factor * (out[part] - centre)
    for group, pixels in (open or {}).items():
        _check(group, OPENABLE, pixels)
        upper, lower = OPENABLE[group]
        out[list(upper), 1] -= pixels / 2
        out[list(lower), 1] += pixels / 2
    return out


class Editor:
    """A restorer that is led by landmarks, with its weights. Raises as `edit` does."""

    def __init__(self, system: str = "pro-uigan", device: str = "auto"):
        file = _choose(system)
        self.model, self._network, self._device = load_network(file, device)
        self._segmenter = OcclusionSegmenter(device=device)

    @torch.inference_mode()
    def edit(
        self,
        face: np.ndarray,
        visible: np.ndarray | None,
        *,
        landmarks: np.ndarray | None,
        move: Mapping[str, tuple[float, float]],
        scale: Mapping[str, float],
        open: Mapping[str, float],
    ) -> EditedFace:
        """As `edit`."""
        face, visible, landmarks = _checked(face, visible, landmarks)
        if visible is None:
            (visible,) = self._segmenter.visible([face])
        size = self._network.lr_size
        lr = resample(to_batch([face], self._device), size)
        seen = resample_map(torch.from_numpy(visible)[None, None].to(self._device), size)
        restored = self._network(lr, seen).hr
        own = self._network.fan.points(restored)[0].cpu().numpy()
        wanted = change(own if landmarks is None else landmarks, move=move, scale=scale, open=open)
        given = np.abs(wanted - own).max(1) > _SAME
        points, given = (torch.from_numpy(array)[None].to(self._device) for array in (wanted, given))
        edited = self._network.edit(lr, seen, points, given).hr
        pictures = to_pictures(torch.cat([restored, edited]))
        return EditedFace(pictures[0], pictures[1], own, wanted, self.model)


@cache
def _editor(system: str, _models: Path) -> Editor:
    """Loaded once for each folder of weights, as `edit` is called in loops."""
    return Editor(system)


def _choose(system: str) -> weights.WeightFile:
    led = {name for name in networks.RESTORERS if hasattr(networks.NETWORKS[name][1], "edit")}
    known = {name: file for name, file in weights.manifest().items() if file.kind == "restorer" and file.system in led}
    for name, file in known.items():
        if system in (name, file.system):
            return weights.find(name)
    names = ", ".join(known) if known else f"none here (train one with configs/, of {', '.join(sorted(led))})"
    raise ConfigError(f"restorer {system!r} has no landmarks that can be edited; those that have: {names}")


def _checked(
    face: np.ndarray, visible: np.ndarray | None, landmarks: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    face = np.asarray(face)
    if (
        face.ndim != 3
        or face.shape[0] != face.shape[1]
        or face.shape[2] != 3
        or face.dtype != np.uint8
        or len(face) < 8
    ):
        raise ValueError(f"face has shape {face.shape} and type {face.dtype}; it must be uint8 (s, s, 3) with s ≥ 8")
    if visible is not None:
        visible = np.asarray(visible, np.float32)
        if visible.shape != face.shape[:2] or not (visible.min() >= 0 and visible.max() <= 1):
            raise ValueError(f"visible has shape {visible.shape}; it must be {face.shape[:2]}, as the face, in [0, 1]")
    if landmarks is not None:
        landmarks = np.asarray(landmarks, np.float32)
        if landmarks.shape != (LANDMARKS, 2) or not np.isfinite(landmarks).all():
            raise ValueError(f"landmarks have shape {landmarks.shape}; they must be ({LANDMARKS}, 2), all finite")
    return face, visible, landmarks


def _check(group: str, allowed: Mapping, *numbers: float) -> None:
    if group not in allowed:
        raise ValueError(f"no landmarks {group!r} to change like this; there are: {', '.join(allowed)}")
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{group}: {numbers}; finite numbers are wanted")
