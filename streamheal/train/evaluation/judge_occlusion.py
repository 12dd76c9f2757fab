"""Does the segmenter find what hides a face: drawn occluders by kind and size, real masks outlined by hand, masks that
people wear in crowds, and sunglasses."""

import json
from pathlib import Path

import cv2
import numpy as np
import torch

from streamheal.faces.alignment import MIN_SIDE
from streamheal.heal.networks.layers import resample, resample_map
from streamheal.train import data
from streamheal.train.detector.scenes import Teacher
from streamheal.train.evaluation import metrics
from streamheal.train.evaluation.report import Table
from streamheal.train.samples import degradation
from streamheal.train.samples.bank import Bank
from streamheal.train.samples.occluders import TRANSPARENT
from streamheal.train.samples.protocols import CAMERA_SHARES
from streamheal.train.samples.sunglasses import Sunglasses, shaded
from streamheal.train.samples.worn_masks import HIDDEN, OPEN, WornMasks
from streamheal.train.sheets import grow, sheet

PICTURES = 60  # of each kind and size
BARE_EYES = 300  # faces
SHADED = ["faces128-test-lfw", "faces128-test-masked-rmfrd"]
SEED = 2026
SIZES = (128, 32, 16)  # 128: sharp, no camera; others: through the camera's degradation at this native size


def judge(network: torch.nn.Module, data_dir: Path, cache: Path) -> tuple[list[Table], dict[str, str], torch.Tensor]:
    faces = data.load(data.shards(data_dir, ["faces128-test-lfw"]), cache)
    bank = Bank.draw(SEED, 48, data_dir / "occluders.zip", held_out=True)
    hides = [kind for kind in CAMERA_SHARES if kind != "none" and kind not in TRANSPARENT]
    rows, false_rows, sheets = [], [], []
    pooled = {size: [] for size in SIZES}
    for kind in CAMERA_SHARES:
        cells = []
        for size in SIZES:
            seen, target = drawn(faces, bank, kind, size)
            found = network.visible(seen)
            if kind in hides:
                overlap = metrics.iou((found < 0.5)[:, 0].numpy(), (target < 0.5)[:, 0].numpy())
                pooled[size].append(overlap)
                cells.append(metrics.interval(overlap))
            else:
                cells.append(metrics.interval((found < 0.5).float().mean((1, 2, 3)).numpy()))
            if size == 32:
                sheets += [grow(seen), grow(target).expand(-1, 3, -1, -1), grow(found).expand(-1, 3, -1, -1)]
        (rows if kind in hides else false_rows).append([kind, *cells])
    rows.append(["all kinds", *(metrics.interval(np.concatenate(pooled[size])) for size in SIZES)])
    columns = ["occluder", *(f"{size} px" for size in SIZES)]
    note = f"IoU of the hidden part, mean over {PICTURES} pictures each; occluders and people held out from training."
    tables = [
        Table("Drawn occluders", note, columns, rows),
        Table("Free faces", "Share of pixels wrongly called hidden (lower is better).", columns, false_rows),
    ]
    real, real_sheet = _real_masks(network, data_dir, cache)
    tables += [real] if real else []
    shades = worn_sunglasses(network, data.load(data.shards(data_dir, SHADED), cache))
    tables += [shades] if shades else []
    if (data_dir / "scenes.zip").is_file() and Teacher.file(data_dir).is_file():
        tables.append(worn_masks(network, WornMasks.load(data_dir, "test", cache)))
    settings = {
        "pictures": f"LFW test people; seed {SEED}; 128 px sharp, smaller ones through the camera's degradation",
        "hidden": "visible probability below 0.5, at the crop's own size",
        "intervals": "95 %, bootstrap over pictures",
        "hand-outlined masks": "really masked people (RMFRD)" if real else "no labels file: row left out",
    }
    return tables, settings, sheet([*sheets, *real_sheet])


def chosen(faces: data.Faces) -> np.ndarray:
    """The rows that are judged."""
    return np.random.default_rng(SEED).permutation(len(faces))[:PICTURES]


def drawn(faces: data.Faces, bank: Bank, kind: str, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Test faces with one kind of occluder at one size: `(n, 3, size, size)` and true visibility."""
    rows, gen = chosen(faces), torch.Generator().manual_seed(SEED + size)
    pictures = torch.from_numpy(faces.pictures(rows)).permute(0, 3, 1, 2).float() / 255
    pictures, visible, _ = bank.occlude(pictures, torch.from_numpy(faces.landmarks[rows]), gen, shares={kind: 1})
    if size == data.SIZE:
        return pictures, visible
    parts = [
        degradation.camera(p, v, gen, native=(size, size))
        for p, v in zip(pictures.split(10), visible.split(10), strict=True)
    ]
    return torch.cat([p for p, _ in parts]), torch.cat([v for _, v in parts])


def _real_masks(network, data_dir, cache) -> tuple[Table | None, list[torch.Tensor]]:
    path = data.LABELS / "rmfrd_occlusion.json"
    if not path.is_file():
        return None, []
    faces = data.load(data.shards(data_dir, ["faces128-test-masked-rmfrd"]), cache)
    labels = {entry["file"]: entry for entry in json.loads(path.read_text())}
    rows = np.flatnonzero(np.isin(faces.names, list(labels)))
    pictures = torch.from_numpy(faces.pictures(rows)).permute(0, 3, 1, 2).float() / 255
    visible = torch.stack([outlined(labels[name]["hidden"]) for name in faces.names[rows]])
    face = torch.stack([1 - outlined([labels[name]["face"]]) for name in faces.names[rows]])
    cells_hidden, cells_visible, sheets = [], [], []
    for size in SIZES:
        seen, target = resample(pictures, size), resample_map(visible, size)
        found = torch.cat([network.visible(part) for part in seen.split(50)])
        hidden, wanted = (found < 0.5)[:, 0].numpy(), (target < 0.5)[:, 0].numpy()
        inside = (resample_map(face, size) > 0.5)[:, 0].numpy()  # outlines beyond the face are only rough
        covered = (wanted & inside).any((1, 2))
        cells_hidden.append(metrics.interval(metrics.iou(hidden & inside, wanted & inside)[covered]))
        cells_visible.append(metrics.interval(metrics.iou(~hidden & inside, ~wanted & inside)))
        if size != 128:
            sheets += [grow(m.expand(-1, 3, -1, -1)) if m.shape[1] == 1 else grow(m) for m in (seen, target, found)]
    columns = ["IoU", *(f"{size} px" for size in SIZES)]
    note = f"{len(rows)} pictures outlined by hand, shrunk without degradation; scored within the face's outline."
    table = Table("Real masks", note, columns, [["hidden part", *cells_hidden], ["visible part", *cells_visible]])
    return table, sheets


def worn_masks(network: torch.nn.Module, crowds: WornMasks) -> Table:
    """Each face at the size that it has in its photograph."""
    hides = {"mouth": np.empty(len(crowds)), "eyes": np.empty(len(crowds))}
    for i, side in enumerate(np.minimum(crowds.sides, network.config.size)):
        picture = torch.from_numpy(crowds.pictures[i]).permute(2, 0, 1)[None].float() / 255
        hidden = resample_map(network.visible(resample(picture, int(side))), data.SIZE)[0, 0].numpy() < 0.5
        below = np.arange(data.SIZE)[:, None] > data.SIZE / 2
        for what, here in (("mouth", below), ("eyes", ~below)):
            there = (crowds.known[i] != OPEN) & here
            hides[what][i] = hidden[there].mean() > 0.5 if there.any() else np.nan
    rows = []
    for least, most in ((MIN_SIDE, 24), (24, 48), (48, data.SIZE + 1)):
        here = (crowds.sides >= least) & (crowds.sides < most)
        if not here.any():
            continue
        parts = hides["mouth"][here & crowds.masked], hides["mouth"][here & ~crowds.masked], hides["eyes"][here]
        parts = [part[np.isfinite(part)] for part in parts]
        counts = ", ".join(str(len(part)) for part in parts)
        cells = [metrics.interval(part) if len(part) else "–" for part in parts]
        rows.append([f"{least} to {most - 1} px ({counts})", *cells])
    note = (
        "Faces of FMD's test photographs, of which its boxes say whether they wear a mask; those that something else "
        "covers were put aside by eye. Share of faces whose part is found hidden, by more than half of what is known."
    )
    columns = ["crop (faces)", "mouth behind a mask", "mouth that is free", "eyes"]
    return Table("Masks that people wear", note, columns, rows)


def worn_sunglasses(network: torch.nn.Module, faces: data.Faces) -> Table | None:
    """Test people who wear some, and as many as BARE_EYES who don't; None where nobody does."""
    known = Sunglasses.among(faces)
    if not len(known.hidden):
        return None
    of_first_shard = np.arange(len(faces.parts[0]))  # of the other one most wear masks
    others = np.setdiff1d(of_first_shard, [*known.hidden, *known.doubtful])
    bare = np.random.default_rng(SEED).permutation(others)[:BARE_EYES]
    rows = []
    for size in SIZES:
        rows.append([f"{size} px", *(_eyes_hidden(network, faces, part, size) for part in (known.hidden, bare))])
    note = (
        f"{len(known.hidden)} test faces behind sunglasses that let no eye through, found by eye; {len(bare)} others "
        "(LFW), some with clear glasses; shrunk without degradation. Share of faces whose eyes are found hidden, by "
        "more than half of what lies within 7 px of 128 of their centres."
    )
    return Table("Sunglasses that people wear", note, ["crop", "eyes behind sunglasses", "eyes of others"], rows)


def _eyes_hidden(network: torch.nn.Module, faces: data.Faces, rows: np.ndarray, size: int) -> dict[str, float]:
    pictures = torch.from_numpy(faces.pictures(rows)).permute(0, 3, 1, 2).float() / 255
    found = torch.cat([network.visible(part) for part in resample(pictures, size).split(50)])
    hidden = (resample_map(found, data.SIZE) < 0.5)[:, 0].numpy()
    eyes = np.stack([shaded(points) == HIDDEN for points in faces.landmarks[rows]])
    return metrics.interval((hidden & eyes).sum((1, 2)) > 0.5 * eyes.sum((1, 2)))


def outlined(polygons: list[list[list[float]]], size: int = 128) -> torch.Tensor:
    """Polygons of the hidden parts in crop pixels → visibility `(1, size, size)`, 1 = visible."""
    mask = np.ones((size, size), np.uint8)
    for polygon in polygons:
        cv2.fillPoly(mask, [np.round(np.array(polygon)).astype(np.int32)], 0)
    return torch.from_numpy(mask).float()[None]
