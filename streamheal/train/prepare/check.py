"""Whether prepared sets are what their manifests say: checksums, nobody in two splits, shapes."""

import io
import json
import zipfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from streamheal.errors import ConfigError
from streamheal.train import data
from streamheal.train.data import Role
from streamheal.train.prepare import near, pack, parsing, split

_PARTS = {"landmarks68.npy": (68, 2), "teacher128.npy": (128,)}


@dataclass(slots=True)
class Split:
    """Who is in the shards of one role."""

    people: set[str] = field(default_factory=set)
    identities: list[str] = field(default_factory=list)
    embeddings: list[np.ndarray] = field(default_factory=list)


def problems(folder: Path) -> dict[str, list[str]]:
    """What is wrong with each set in `folder`, by the set's name; raises ConfigError where there is none."""
    manifests = sorted(folder.glob("*.manifest.json"))
    if not manifests:
        raise ConfigError(f"no *.manifest.json in {folder}: no whole set was prepared there")
    found: dict[str, list[str]] = {}
    everywhere: dict[Role, set[str]] = defaultdict(set)
    for path in manifests:
        name = path.name.removesuffix(".manifest.json")
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            found[name], splits = _set(folder, manifest)
        except (ValueError, KeyError, TypeError, AttributeError, OSError, zipfile.BadZipFile) as error:
            found[name] = [f"can't be read: {error!r}"]
            continue
        for role, one in splits.items():
            for other, people in everywhere.items():
                if other != role and (both := one.people & people):
                    found[name].append(f"{_few(both)}: in {role} here, in {other} in another set of the folder")
        for role, one in splits.items():
            everywhere[role] |= one.people
    return found


def _set(folder: Path, manifest: dict) -> tuple[list[str], dict[Role, Split]]:
    wrong: list[str] = []
    for name, said in manifest["files"].items():
        path = folder / Path(name).name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif path.stat().st_size != said["bytes"] or pack.sha256(path) != said["sha256"]:
            wrong.append(f"{name} is not the file that was made: its SHA-256 differs")
    splits: dict[Role, Split] = defaultdict(Split)
    if wrong:  # what is inside is not ours
        return wrong, splits
    for name, said in manifest["shards"].items():
        role = data.role(folder / name)
        if role != said["role"]:
            wrong.append(f"{name}: is for {role} by its name, for {said['role']} by the manifest")
        wrong += [
            f"{name}: {what}"
            for what in _shard(folder / name, said["pictures"], manifest["settings"]["size"], splits[role])
        ]
    return wrong + _apart(splits, manifest["settings"]["alike"]), splits


def _shard(path: Path, pictures: int, size: int, into: Split) -> list[str]:
    """What is wrong inside a shard; its people are added to `into`."""
    wrong: list[str] = []
    rows = data.read_index(path)
    if len(rows) != pictures:
        wrong.append(f"{len(rows)} rows in the index, {pictures} in the manifest")
    with zipfile.ZipFile(path) as archive:
        for row in rows:
            with Image.open(io.BytesIO(archive.read(row["name"]))) as picture:
                picture.load()
                if picture.size != (size, size):
                    wrong.append(f"{row['name']} is {picture.width} × {picture.height}, expected {size}")
            if row["parsing"]:
                labels = np.asarray(Image.open(io.BytesIO(archive.read(row["parsing"]))))
                if labels.shape != (size, size) or labels.max() >= parsing.COUNT:
                    wrong.append(f"{row['parsing']} has not {parsing.COUNT} classes at {size} px")
        arrays = {name: np.load(io.BytesIO(archive.read(name)), allow_pickle=False) for name in _PARTS}
    for name, array in arrays.items():
        if array.shape != (len(rows), *_PARTS[name]) or not np.isfinite(array).all():
            wrong.append(f"{name} has shape {array.shape}, or numbers that are not finite")
    into.people |= {row["identity"] for row in rows if row["identity"]}
    into.identities += [row["identity"] for row in rows]
    into.embeddings.append(arrays["teacher128.npy"].astype(np.float32))
    return wrong


def _apart(splits: dict[Role, Split], alike: float) -> list[str]:
    """Who is in two splits, by name, or by looks where one of the two is not named."""
    wrong: list[str] = []
    roles = [role for role in split.ROLES if role in splits]
    for at, low in enumerate(roles):
        for high in roles[at + 1 :]:
            one, other = splits[low], splits[high]
            if both := one.people & other.people:
                wrong.append(f"{_few(both)}: in {low} and in {high}")
            closest = alike - 0.01  # embeddings are stored in half precision
            for left, right in near.pairs(np.concatenate(one.embeddings), np.concatenate(other.embeddings), closest):
                pairs = zip(left, right, strict=True)
                if count := sum(not (one.identities[i] and other.identities[j]) for i, j in pairs):
                    wrong.append(f"{count} unnamed pictures of {low} and {high} look like the same person")
    return wrong


def _few(names: set[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (" …" if len(names) > 5 else "")
