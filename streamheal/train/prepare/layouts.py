"""How data sets lie in folders. Each reader takes the folder and says what is known of each photograph.

CelebA, CelebA-HQ, CelebAMask-HQ, Helen and LFW as they are handed out, and any folder of photographs. Text files are
read with spaces, tabs or commas between their columns: CelebA goes round in both forms.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamheal.errors import ConfigError
from streamheal.train.data import Role
from streamheal.train.prepare.parsing import CLASSES
from streamheal.train.prepare.photos import Photo, listing

PARTITION: dict[str, Role] = {"0": "train", "1": "val", "2": "test"}
_FOLDERS: dict[str, Role] = {
    "train": "train", "trainset": "train", "val": "val", "valid": "val", "test": "test", "testset": "test",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layout:
    """What sets one data set apart."""

    recognised: Callable[[Path], bool]
    read: Callable[[Path], list[Photo]]
    licence: str
    central: bool  # pictures were cut round one person: the face in the middle is meant


def read(folder: Path, name: str = "auto") -> tuple[str, list[Photo]]:
    """The layout's name and the photographs of `folder`. Raises ConfigError where there is nothing to read."""
    if not folder.is_dir():
        raise ConfigError(f"no folder at {folder}; give the one that holds the photographs")
    if name not in ("auto", *LAYOUTS):
        raise ConfigError(f"no layout {name!r}; allowed: auto, {', '.join(LAYOUTS)}")
    if name == "auto":
        name = next(key for key, layout in LAYOUTS.items() if layout.recognised(folder))
    photos = LAYOUTS[name].read(folder)
    if not photos:
        raise ConfigError(f"no photographs of layout {name} in {folder}; see docs/training.md for what lies where")
    return name, photos


# CelebA


def _celeba(folder: Path) -> list[Photo]:
    """`img_celeba` (in the wild) where it is there, else `img_align_celeba*`, each with its own five landmarks."""
    paths = listing(folder)
    wild = [path for path in paths if _within(path, folder, "img_celeba")]
    aligned = [path for path in paths if _within(path, folder, "img_align_celeba")]
    identity, partition = _table(folder, "identity_CelebA"), _table(folder, "list_eval_partition")
    five = _table(folder, "list_landmarks_celeba" if wild else "list_landmarks_align_celeba")
    return [
        Photo(
            path,
            _relative(path, folder),
            identity=_celebrity(identity.get(path.stem)),
            split=_role(partition.get(path.stem)),
            # CelebA counts from pixel centres; its left eye is the one on the picture's left
            five=_points(five[path.stem], 5, path) + 0.5 if path.stem in five else None,
        )
        for path in wild or aligned or paths
    ]


def _is_celeba(folder: Path) -> bool:
    names = ("identity_CelebA", "list_eval_partition", "list_landmarks_align_celeba", "list_landmarks_celeba")
    return any(_find(folder, name) for name in names)


# CelebA-HQ and CelebAMask-HQ


def _celeba_hq(folder: Path, masks: bool = False) -> list[Photo]:
    """Identities and partition come by way of `CelebA-HQ-to-CelebA-mapping.txt`, else the partition from folders."""
    mapping = {row: values[-1].split(".")[0] for row, values in _table(folder, "CelebA-HQ-to-CelebA-mapping").items()}
    identity, partition = _table(folder, "identity_CelebA"), _table(folder, "list_eval_partition")
    labels = _labels(folder) if masks else {}
    photos = []
    for path in listing(folder):
        if masks and path.parent.name != "CelebA-HQ-img":
            continue
        number = str(int(digits.group())) if (digits := re.search(r"\d+$", path.stem)) else path.stem
        original = mapping.get(number)
        photos.append(
            Photo(
                path,
                _relative(path, folder),
                identity=_celebrity(identity.get(original)),
                split=_role(partition.get(original)) or _role_by_folder(path, folder),
                parsing=tuple(labels.get(number, ())),
            )
        )
    return photos


def _celebamask_hq(folder: Path) -> list[Photo]:
    return _celeba_hq(folder, masks=True)


def _labels(folder: Path) -> dict[str, list[tuple[int | None, Path]]]:
    """Number of a picture → its masks, in the order in which they cover each other."""
    out: dict[str, list[tuple[int | None, Path]]] = {}
    for path in sorted(folder.rglob("*.png")):
        number, _, part = path.stem.partition("_")
        if number.isdigit() and part in CLASSES:
            out.setdefault(str(int(number)), []).append((CLASSES[part], path))
        elif number.isdigit() and not part and path.parent.name != "CelebA-HQ-img":
            out[str(int(number))] = [(None, path)]
    return {number: sorted(parts, key=lambda entry: entry[0] or 0) for number, parts in out.items()}


def _is_celebamask_hq(folder: Path) -> bool:
    return any(path.is_dir() for path in folder.glob("**/CelebA-HQ-img"))


def _is_celeba_hq(folder: Path) -> bool:
    named = re.search(r"celeba[-_]?hq", folder.resolve().name, re.IGNORECASE)
    return bool(named or _find(folder, "CelebA-HQ-to-CelebA-mapping"))


# Helen


def _helen(folder: Path) -> list[Photo]:
    """300-W's form: `trainset` and `testset` with a .pts of 68 points beside each picture; or the original one:
    `annotation/*.txt`, each with a picture's name and 194 points."""
    original = {}
    for path in sorted(folder.rglob("annotation/*.txt")):
        name, *rows = path.read_text(errors="replace").split("\n")
        original[name.strip()] = _points(re.split(r"[\s,]+", " ".join(rows).strip()), 194, path)
    photos = []
    for path in listing(folder):
        beside = path.with_suffix(".pts")
        points = _pts(beside) if beside.is_file() else original.get(path.stem)
        photos.append(Photo(path, _relative(path, folder), split=_role_by_folder(path, folder), points=points))
    return photos


def _pts(path: Path) -> np.ndarray:
    """iBUG's text file, which counts the first pixel's centre as 1."""
    inside = path.read_text(errors="replace").partition("{")[2].partition("}")[0]
    return _points(inside.split(), 68, path) - 0.5


def _is_helen(folder: Path) -> bool:
    return any(folder.glob("**/annotation/*.txt")) or any(folder.glob("**/trainset/*.pts"))


# LFW, or any set with a folder a person; any folder


def _lfw(folder: Path) -> list[Photo]:
    return [Photo(path, _relative(path, folder), identity=path.parent.name) for path in listing(folder)]


def _is_lfw(folder: Path) -> bool:
    """Nearly all pictures are called after their folder: `Ada_Lovelace/Ada_Lovelace_0001.jpg`."""
    paths = listing(folder)
    fitting = sum(bool(re.fullmatch(re.escape(path.parent.name) + r"_\d{4}", path.stem)) for path in paths)
    return bool(paths) and fitting >= 0.9 * len(paths)


def _any_folder(folder: Path) -> list[Photo]:
    return [Photo(path, _relative(path, folder)) for path in listing(folder)]


LAYOUTS: dict[str, Layout] = {  # the first that recognises a folder has it
    "celebamask-hq": Layout(_is_celebamask_hq, _celebamask_hq, "CelebAMask-HQ: non-commercial research", True),
    "celeba-hq": Layout(_is_celeba_hq, _celeba_hq, "CelebA-HQ: non-commercial research", True),
    "celeba": Layout(_is_celeba, _celeba, "CelebA: non-commercial research", False),
    "helen": Layout(_is_helen, _helen, "Helen/300-W: research, non-commercial", False),
    "lfw": Layout(_is_lfw, _lfw, "LFW: public research benchmark, no licence text", True),
    "folder": Layout(lambda folder: True, _any_folder, "not stated", False),
}


# What the readers share


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _within(path: Path, folder: Path, prefix: str) -> bool:
    return any(part.startswith(prefix) for part in path.relative_to(folder).parts[:-1])


def _find(folder: Path, stem: str) -> Path | None:
    return next((path for suffix in ("txt", "csv") for path in sorted(folder.glob(f"**/{stem}.{suffix}"))), None)


def _table(folder: Path, stem: str) -> dict[str, list[str]]:
    """Rows of `stem`.txt or .csv anywhere in `folder`, by the first column without its suffix; {} where it is absent.

    Counts and headings go in too, under keys that no picture has.
    """
    path = _find(folder, stem)
    if path is None:
        return {}
    rows = (re.split(r"[\s,]+", line.strip()) for line in path.read_text(errors="replace").splitlines())
    return {row[0].split(".")[0]: row[1:] for row in rows if len(row) > 1}


def _celebrity(row: list[str] | None) -> str:
    return f"celeba_{row[0]}" if row else ""


def _role(row: list[str] | None) -> Role | None:
    return PARTITION.get(row[0]) if row else None


def _role_by_folder(path: Path, folder: Path) -> Role | None:
    """By a folder on the way to it: `train`, `trainset`, `train_1`, `val`, `test`, `testset`."""
    parts = [part.split("_")[0] for part in path.relative_to(folder).parts[:-1]]
    return next((_FOLDERS[part] for part in parts if part in _FOLDERS), None)


def _points(numbers: list[str], count: int, path: Path) -> np.ndarray:
    """`(count, 2)` from text. Raises ConfigError, which names `path`, if it holds another number of them."""
    try:
        return np.array([float(number) for number in numbers], np.float64).reshape(count, 2)
    except ValueError as error:
        said = " ".join(numbers)[:60]
        raise ConfigError(f"landmarks of {path.name}: expected {count} points x y, got {said!r}") from error
