"""Trained weights: found by name, checked by hash, loaded only as safetensors (or ONNX). No pickle, no download.

`models/manifest.json` pins every file that ships:

    {"lr-trunk-16": {"file": "lr-trunk-16.safetensors", "kind": "restorer", "system": "lr-trunk",
                     "sha256": "…", "licence": "research only",
                     "calibration": {"file": "lr-trunk-16.calibration.json", "sha256": "…"}}}

`calibration` is there once `streamheal calibrate` has fitted one to these weights; new weights are pinned without.
The configuration a network was built with travels in the safetensors header, under the key `config` (JSON).
"""

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from streamheal.errors import WeightsError

_PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Pinned:
    """A file beside the weights, its path made absolute."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One entry of the manifest, its path made absolute."""

    name: str
    path: Path
    kind: str  # "detector", "occlusion", "restorer", "embedder"
    system: str  # which network of heal/networks, or which detector
    sha256: str
    licence: str
    calibration: Pinned | None = None


def folder() -> Path:
    """Where the shipped weights are: `STREAMHEAL_MODELS`, the checkout's `models/`, or the installed package's."""
    if named := os.environ.get("STREAMHEAL_MODELS"):
        return Path(named)
    checkout = _PACKAGE.parent / "models"
    return checkout if (checkout / "manifest.json").is_file() else _PACKAGE / "_models"


def manifest(models: Path | None = None) -> dict[str, WeightFile]:
    """Every weight file that ships, by name."""
    models = models or folder()
    path = models / "manifest.json"
    if not path.is_file():
        raise WeightsError(
            f"no manifest of weights at {path}; set STREAMHEAL_MODELS to the folder that has manifest.json"
        )
    try:
        entries = json.loads(path.read_text())
        return {name: _entry(name, models, said) for name, said in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} is not a manifest of weights: {error!r}") from error


def _entry(name: str, models: Path, said: dict) -> WeightFile:
    beside = said.get("calibration")
    return WeightFile(
        name, models / said["file"], said["kind"], said["system"], said["sha256"], said["licence"],
        Pinned(models / beside["file"], beside["sha256"]) if beside else None,
    )  # fmt: skip


def find(name: str) -> WeightFile:
    """The shipped weights called `name`, with their hash checked.

    Raises WeightsError if there is no such name, or the file is missing, empty, or not the pinned one.
    """
    known = manifest()
    if name not in known:
        raise WeightsError(f"no weights named {name!r}; there are: {', '.join(sorted(known)) or 'none'}")
    check(known[name].path, known[name].sha256)
    return known[name]


def check(path: Path, sha256: str | None) -> str:
    """The SHA-256 of the weight file at `path`; raises WeightsError unless it is whole and has the hash expected."""
    if not path.is_file():
        raise WeightsError(f"weight file {path} does not exist")
    if path.stat().st_size == 0:
        raise WeightsError(f"weight file {path} is empty (0 bytes); restore it from the release")
    actual = file_sha256(path, path.stat().st_mtime_ns)
    if sha256 and actual != sha256:
        raise WeightsError(
            f"weight file {path} has SHA-256 {actual}, expected {sha256}; "
            "restore the file, or pin the new hash if the change is wanted"
        )
    return actual


@cache
def file_sha256(path: Path, _modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(path: Path, sha256: str | None = None) -> tuple[dict, dict]:
    """Tensors (float32, by name) and the network's configuration from a safetensors file.

    Raises WeightsError if the file is not whole, not safetensors, or not the one with `sha256`.
    """
    check(path, sha256)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 (not a dict)
            config = json.loads((file.metadata() or {}).get("config", "{}"))
    except (SafetensorError, ValueError) as error:
        raise WeightsError(f"weight file {path} is not readable as safetensors: {error}") from error
    return tensors, config


def save(path: Path, tensors: dict, config: dict) -> str:
    """Write tensors as fp16 safetensors with the network's configuration in the header; returns the SHA-256."""
    import torch
    from safetensors.torch import save_file

    half = {k: (v.half() if v.is_floating_point() else v).detach().cpu().contiguous() for k, v in tensors.items()}
    if bad := [k for k, v in half.items() if v.is_floating_point() and not torch.isfinite(v).all()]:
        raise WeightsError(f"refusing to write {path}: not finite in fp16: {', '.join(bad[:5])}")
    part = path.with_suffix(".part")
    save_file(half, part, metadata={"config": json.dumps(config)})
    part.replace(path)
    return check(path, None)


def pin(name: str, path: Path, *, kind: str, system: str, licence: str) -> None:
    """Enter `path` under `name` in the manifest beside it. Weights that are there already keep their calibration."""
    said = {"file": path.name, "kind": kind, "system": system, "sha256": check(path, None), "licence": licence}
    target = path.parent / "manifest.json"
    before = json.loads(target.read_text()).get(name, {}) if target.is_file() else {}
    if before.get("sha256") == said["sha256"] and "calibration" in before:
        said["calibration"] = before["calibration"]
    _enter(path.parent, name, said)


def pin_calibration(name: str, path: Path) -> None:
    """Enter the calibration at `path` beside the weights `name` in the manifest of its folder.

    Raises WeightsError where it has no such weights.
    """
    target = path.parent / "manifest.json"
    known = json.loads(target.read_text()) if target.is_file() else {}
    if name not in known:
        raise WeightsError(f"no weights named {name!r} in {target}; there are: {', '.join(sorted(known)) or 'none'}")
    _enter(path.parent, name, known[name] | {"calibration": {"file": path.name, "sha256": check(path, None)}})


def _enter(models: Path, name: str, said: dict) -> None:
    target = models / "manifest.json"
    entries = json.loads(target.read_text()) if target.is_file() else {}
    target.write_text(json.dumps(dict(sorted((entries | {name: said}).items())), indent=2) + "\n")
