"""Shards, the list of what was rejected, and the manifest, written so that a set is either whole or not there."""

import csv
import hashlib
import io
import json
import os
import platform
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import PIL
import torch
from PIL import Image

import streamheal
from streamheal.errors import ConfigError
from streamheal.train.data import Role
from streamheal.train.prepare.photos import Photo, Rejected

FIELDS = ("name", "source", "identity", "interocular", "sharpness", "score", "parsing", "licence", "file")
QUALITY = 90  # of WebP: about 5 KiB a face at 128 px
_NO_DATE = (1980, 1, 1, 0, 0, 0)  # zip's earliest: the same pictures make the same bytes


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """One face that may be packed. Its pictures wait on disk."""

    photo: Photo
    digest: str  # SHA-256 of the photograph's file
    picture: tuple[int, int]  # where its WebP is: see `Workshop.keep`
    parsing: tuple[int, int] | None  # and the PNG of its classes
    thumb: np.ndarray  # (32, 32) uint8
    landmarks: np.ndarray  # (68, 2) float32, pixels of the 128 px crop, centres at whole numbers
    embedding: np.ndarray  # (128,) float32
    interocular: float
    sharpness: float
    score: float


class Workshop:
    """A hidden folder in `out` where a set is made, and from where it is moved when it is whole.

    `with Workshop(out, "faces128-NAME") as work: …; work.finish(manifest)`. The manifest is moved last, and a set
    without one is not there: the next run of that name takes its place. Raises ConfigError if there is one.
    """

    def __init__(self, out: Path, name: str):
        self.out, self.name = out, name
        self.folder = out / f".{name}.part"

    def __enter__(self) -> Self:
        if (manifest := manifest_path(self.out, self.name)).exists():
            raise ConfigError(f"{manifest} says that this set is there already; give another --name, or remove it")
        shutil.rmtree(self.folder, ignore_errors=True)  # of a run that was killed
        self.folder.mkdir(parents=True)
        self._kept = (self.folder / "kept").open("w+b")
        return self

    def __exit__(self, *_) -> None:
        self._kept.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep(self, picture: np.ndarray, format: str) -> tuple[int, int]:
        """Puts an encoded picture aside; returns where."""
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format, quality=QUALITY)
        self._kept.seek(0, os.SEEK_END)
        return self._kept.tell(), self._kept.write(buffer.getvalue())

    def shard(self, name: str, portraits: Sequence[Portrait], names: Sequence[str], source: str, licence: str) -> None:
        """Writes `name`.zip."""
        with zipfile.ZipFile(self.folder / f"{name}.zip", "w") as archive:
            index = io.StringIO(newline="")
            rows = csv.DictWriter(index, FIELDS, lineterminator="\n")
            rows.writeheader()
            for portrait, stem in zip(portraits, names, strict=True):
                self._store(archive, f"{stem}.webp", self._taken(portrait.picture))
                if portrait.parsing:
                    self._store(archive, f"{stem}.parsing.png", self._taken(portrait.parsing))
                rows.writerow(
                    {
                        "name": f"{stem}.webp",
                        "source": source,
                        "identity": portrait.photo.identity,
                        "interocular": f"{portrait.interocular:.1f}",
                        "sharpness": f"{portrait.sharpness:.1f}",
                        "score": f"{portrait.score:.3f}",
                        "parsing": f"{stem}.parsing.png" if portrait.parsing else "",
                        "licence": licence,
                        "file": portrait.photo.file,
                    }
                )
            self._store(archive, "index.csv", index.getvalue().encode())
            landmarks = np.stack([portrait.landmarks for portrait in portraits]).astype(np.float32)
            teacher = np.stack([portrait.embedding for portrait in portraits]).astype(np.float16)
            for file, array in (("landmarks68.npy", landmarks), ("teacher128.npy", teacher)):
                buffer = io.BytesIO()
                np.save(buffer, array)
                self._store(archive, file, buffer.getvalue())

    def rejected(self, rejected: Iterable[tuple[str, Rejected]]) -> None:
        """Writes the list of photographs left out, each with its reason."""
        with (self.folder / f"{self.name}.rejected.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["file", "reason", "detail"])
            rows.writerows([name, why.reason, why.detail] for name, why in sorted(rejected, key=lambda row: row[0]))

    def finish(self, manifest: dict) -> dict:
        """Adds each file's size and SHA-256 to the manifest, and moves all into place. Returns the manifest."""
        made = sorted(path for path in self.folder.iterdir() if path.suffix in (".zip", ".csv"))
        files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in made}
        manifest = manifest | {"files": files}
        target = manifest_path(self.out, self.name)
        part = self.folder / target.name
        part.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        for leftover in self.out.glob(f"{self.name}-*.zip"):  # without a manifest: see above
            leftover.unlink()
        for path in [*made, part]:
            path.replace(self.out / path.name)
        return manifest

    def _taken(self, where: tuple[int, int]) -> bytes:
        self._kept.seek(where[0])
        return self._kept.read(where[1])

    def _store(self, archive: zipfile.ZipFile, name: str, content: bytes) -> None:
        archive.writestr(zipfile.ZipInfo(name, _NO_DATE), content)  # stored, not compressed: read in place


def shards(count: dict[Role, int], name: str, shard_size: int) -> dict[str, tuple[Role, int]]:
    """Shard names → role and number of pictures. Training is cut into even shards; the others stay one each."""
    out: dict[str, tuple[Role, int]] = {}
    for role, pictures in count.items():
        if role != "train":
            if pictures:
                out[f"{name}-{role}"] = role, pictures
            continue
        number = -(-pictures // shard_size)
        for i in range(number):
            out[f"{name}-train-{i:02}"] = role, (i + 1) * pictures // number - i * pictures // number
    return out


def manifest_path(out: Path, name: str) -> Path:
    return out / f"{name}.manifest.json"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """What made the set: the same versions make the same bytes."""
    return {
        "streamheal": streamheal.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "pillow": PIL.__version__,
        "torch": torch.__version__,
    }


def by_reason(rejected: Iterable[tuple[str, Rejected]]) -> dict[str, int]:
    """How many were left out for each reason, most first."""
    return dict(Counter(why.reason for _, why in rejected).most_common())
