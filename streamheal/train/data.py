"""Faces to train and judge on: packed shards read in place, decoded once, and a guard against test people.

A shard is an uncompressed zip with pictures of 128 or 256 px, `index.csv` (name, source, identity, …, licence),
`landmarks68.npy` (N, 68, 2) in pixels of the 128 px crop, whatever the pictures' size (pixel centres lie at whole
numbers), and `teacher128.npy` (N, 128). The shard's name says its role: `…-train-…` and `…-identity` train, `…-val`
tunes, `…-test-…` judges.
"""

import csv
import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from streamheal.errors import ConfigError

LABELS = Path(__file__).parent / "labels"
"""What was labelled by hand or by eye; README.md there says how."""
SIZE = 128
SIZES = (128, 256)
Role = Literal["train", "val", "test"]

# iBUG 68 points of a mirrored face: which point each becomes
FLIP68 = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
     41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)  # fmt: skip


def role(shard: Path) -> Role:
    """What a shard may be used for, by its name. Raises ConfigError on a name that doesn't say it."""
    parts = shard.stem.split("-")
    if "test" in parts:
        return "test"
    if "val" in parts:
        return "val"
    if "train" in parts or "identity" in parts:
        return "train"
    raise ConfigError(
        f"shard {shard.name}: its name must hold -train-, -identity, -val or -test-, to say what it is for"
    )


def shards(folder: Path, names: list[str]) -> list[Path]:
    """The zips called `names` (without .zip) in `folder`. Raises ConfigError if one is missing."""
    paths = [folder / f"{name}.zip" for name in names]
    if missing := [path.name for path in paths if not path.is_file()]:
        found = ", ".join(sorted(path.name for path in folder.glob("faces*.zip"))) or "none"
        raise ConfigError(f"{', '.join(missing)} not found in {folder}; face shards there: {found}")
    return paths


def training_shards(folder: Path, names: list[str]) -> list[Path]:
    """`shards`, refused with ConfigError if any is not for training, or holds a person of a test shard in `folder`."""
    paths = shards(folder, names)
    if wrong := [path.name for path in paths if role(path) != "train"]:
        raise ConfigError(
            f"{', '.join(wrong)}: kept aside for tuning or judging, never trained on; take it from `shards`"
        )
    trained = {person for path in paths for person in people(path)}
    for path in sorted(folder.glob("faces*.zip")):
        if role(path) == "test" and (both := trained & people(path)):
            raise ConfigError(f"{', '.join(sorted(both)[:5])}: named both in training shards and in {path.name}")
    return paths


def read_index(shard: Path) -> list[dict[str, str]]:
    with zipfile.ZipFile(shard) as archive:
        return list(csv.DictReader(io.TextIOWrapper(archive.open("index.csv"), "utf-8")))


def people(shard: Path) -> set[str]:
    """Names of the people of a shard, where it names them."""
    return {row["identity"] for row in read_index(shard) if row["identity"]}


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """N aligned faces. Pictures stay on disk until asked for."""

    shards: list[Path]  # where they are from, in order
    parts: list[np.ndarray]  # (n, size, size, 3) uint8 each, memory-mapped
    names: np.ndarray  # (N,) file names
    sources: np.ndarray  # (N,) data set of each
    identities: np.ndarray  # (N,) "" where unknown
    landmarks: np.ndarray  # (N, 68, 2) float32, pixels of the pictures
    teacher: np.ndarray  # (N, 128) float32

    @property
    def size(self) -> int:
        """The pictures' side: 128 or 256."""
        return self.parts[0].shape[1]

    def __len__(self) -> int:
        return len(self.names)

    def pictures(self, indices: np.ndarray) -> np.ndarray:
        """`(n, size, size, 3)` uint8 RGB."""
        indices = np.asarray(indices)
        out = np.empty((len(indices), self.size, self.size, 3), np.uint8)
        start = 0
        for part in self.parts:
            here = (indices >= start) & (indices < start + len(part))
            out[here] = part[indices[here] - start]
            start += len(part)
        return out


def load(paths: list[Path], cache: Path) -> Faces:
    """The faces of several shards in a row. The first call decodes each into `cache` (48 KiB a picture of 128 px).

    Raises ConfigError where a shard lacks pictures, landmarks or embeddings, or where shards differ in picture size.
    """
    rows = [row for path in paths for row in read_index(path)]
    parts = [_decoded(path, cache) for path in paths]
    sizes = {path.name: part.shape[1] for path, part in zip(paths, parts, strict=True)}
    if len(set(sizes.values())) != 1:
        told = ", ".join(f"{name} {size} px" for name, size in sizes.items())
        raise ConfigError(f"shards of one recipe must hold pictures of one size, got {told}")
    landmarks = np.concatenate([_array(path, "landmarks68.npy", (68, 2)) for path in paths])
    return Faces(
        shards=list(paths),
        parts=parts,
        names=np.array([row["name"] for row in rows]),
        sources=np.array([row["source"] for row in rows]),
        identities=np.array([row["identity"] for row in rows]),
        landmarks=(landmarks + 0.5) * np.float32(parts[0].shape[1] / SIZE) - 0.5,
        teacher=np.concatenate([_array(path, "teacher128.npy", (128,)) for path in paths]),
    )


def _array(shard: Path, name: str, shape: tuple[int, ...]) -> np.ndarray:
    with zipfile.ZipFile(shard) as archive:
        if name not in archive.namelist():
            raise ConfigError(f"{shard.name}: no {name} in it; make the shard with `streamheal data prepare`")
        array = np.load(io.BytesIO(archive.read(name)), allow_pickle=False).astype(np.float32)
    if array.shape[1:] != shape:
        raise ConfigError(f"{shard.name}: {name} has shape {array.shape}, expected (N, {', '.join(map(str, shape))})")
    return array


def _decoded(shard: Path, cache: Path) -> np.ndarray:
    stat = shard.stat()
    target = cache / f"{shard.stem}-{stat.st_size}.npy"
    if not target.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        part = cache / f"{target.name}.{os.getpid()}.part"  # several trainings may decode at once
        names = [row["name"] for row in read_index(shard)]
        with zipfile.ZipFile(shard) as archive:
            side = _side(shard, archive, names)
            pictures = np.lib.format.open_memmap(part, "w+", np.uint8, (len(names), side, side, 3))
            for i, name in enumerate(names):
                picture = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
                if picture.shape != (side, side, 3):
                    raise ConfigError(f"{shard.name}: {name} is {picture.shape}, the first is ({side}, {side}, 3)")
                pictures[i] = picture
        pictures.flush()
        del pictures
        part.replace(target)
    return np.load(target, mmap_mode="r")


def _side(shard: Path, archive: zipfile.ZipFile, names: list[str]) -> int:
    """The side of a shard's pictures, by the first."""
    if not names:
        raise ConfigError(f"{shard.name}: its index names no picture")
    size = Image.open(io.BytesIO(archive.read(names[0]))).size
    if size not in [(side, side) for side in SIZES]:
        raise ConfigError(f"{shard.name}: {names[0]} is {size[0]} × {size[1]}, expected a square of 128 or 256 px")
    return size[0]
