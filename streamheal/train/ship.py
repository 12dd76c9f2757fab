"""Put trained weights into `models/`: the file, its hash in the manifest, the figures in its card."""

import shutil
from pathlib import Path

from streamheal import weights
from streamheal.heal import networks
from streamheal.heal.networks import RESTORERS
from streamheal.train.evaluation.report import Evaluation, markdown, put_into_card

KINDS = {
    **dict.fromkeys(RESTORERS, "restorer"),
    "track-fusion": "fusion",
    "unet": "occlusion",
    "embedder": "embedder",
    "fan-lite": "landmarks",
    "landmark-regressor": "landmarks",
    "face-parser": "parsing",
    "ultralytics": "detector",
}
"""What the network of each system is for."""


def ship(model: str, path: Path, models: Path, found: Evaluation | None = None) -> Path:
    """Copy the weights at `path` to `models`/MODEL.safetensors and pin them, and renew the card's figures from `found`.

    Raises WeightsError on a file that is not whole, ValueError where `found` judged another file.
    """
    target = models / f"{model}.safetensors"
    part = target.with_suffix(".part")
    shutil.copyfile(path, part)  # first, as a training that still runs may renew `path` at any time
    sha256 = weights.check(part, None)
    if found and found.sha256 != sha256:
        part.unlink()
        raise ValueError(f"figures are of weights {found.sha256}, the file is {sha256}: evaluate it again")
    system = weights.load(part)[1]["system"]
    part.replace(target)
    weights.pin(model, target, kind=KINDS[system], system=system, licence="research only")
    words = markdown(found) if found else f"Weights `{sha256}`; not judged yet.\n"
    put_into_card(models / f"{model}.md", words)
    return target


def ship_fusion(model: str, models: Path) -> Path:
    """Ship the part of the shipped restorer `model` that brings a track's crops together on its own, for the systems of
    its size that have none: `models`/track-fusion-SIZE.safetensors. What only `model` takes (features) is left out.
    Raises ValueError where it has no such part."""
    tensors, header = weights.load(weights.find(model).path)
    config = header["network"]
    if not config.get("fusion"):
        raise ValueError(f"{model} has no fusion of its own: there is nothing to ship")
    alone = networks.build("track-fusion", {"lr_size": config["lr_size"], "width": config["fusion"]})
    names = alone.state_dict()
    alone.load_state_dict({name: tensors[f"fusion.{name}"] for name in names})
    name = f"track-fusion-{config['lr_size']}"
    target = models / f"{name}.safetensors"
    networks.save(target, "track-fusion", alone, header.get("training", {}) | {"part of": model})
    weights.pin(name, target, kind=KINDS["track-fusion"], system="track-fusion", licence="research only")
    return target
