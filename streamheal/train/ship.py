"""Put trained weights into `models/`: the file, its hash in the manifest, the figures in its card."""

import shutil
from pathlib import Path

from streamheal import weights
from streamheal.train.report import Evaluation, markdown, put_into_card

KINDS = {"lr-trunk": "restorer", "unet": "occlusion", "embedder": "embedder"}


def ship(model: str, path: Path, models: Path, found: Evaluation | None = None) -> Path:
    """Copy the weights at `path` to `models`/MODEL.safetensors and pin them, and renew the card's figures from `found`.

    Raises WeightsError on a file that is not whole, ValueError where `found` judged another file.
    """
    sha256 = weights.check(path, None)
    if found and found.sha256 != sha256:
        raise ValueError(f"figures are of weights {found.sha256}, the file is {sha256}: evaluate it again")
    system = weights.load(path)[1]["system"]
    target = models / f"{model}.safetensors"
    if path.resolve() != target.resolve():
        shutil.copyfile(path, target)
    weights.pin(model, target, kind=KINDS[system], system=system, licence="research only")
    words = markdown(found) if found else f"Weights `{sha256}`; not judged yet.\n"
    put_into_card(models / f"{model}.md", words)
    return target
