"""Does a restorer restore, and is it still the same person? Under each paper's protocol and under a camera's.

Every method meets the same pictures (`trial.py`), is measured by the same judges (`measures.py`) and stands in the same
tables (`trial_tables.py`).
"""

from pathlib import Path

import torch

from streamheal import weights
from streamheal.errors import ConfigError, WeightsError
from streamheal.heal import networks
from streamheal.train import data
from streamheal.train.evaluation import judge_further, trial, trial_tables
from streamheal.train.evaluation.measures import Judges
from streamheal.train.evaluation.report import Table
from streamheal.train.samples.bank import Bank
from streamheal.train.samples.protocols import PROTOCOLS
from streamheal.train.sheets import sheet

PICTURES = 300  # of as many people
DEFAULT = "lr-trunk"  # what ships as the default meets every protocol, and more than the protocols

# As papers are called → the protocols of that paper.
GROUPS = {
    "fcsr": ("fcsr",),
    "ofhnet": ("ofhnet",),
    "pro-uigan": ("pro-uigan-square", "pro-uigan-irregular"),
    "jdsr": ("jdsr",),
    "fd": ("fd",),
    "cctv": ("cctv",),
}
OWN = {"fcsr-gan": "fcsr", "ofhnet": "ofhnet", "pro-uigan": "pro-uigan", "jdsr-gan": "jdsr", "fd-stackgan": "fd"}


def judge(
    system: str,
    network: torch.nn.Module,
    data_dir: Path,
    cache: Path,
    *,
    protocol: str | None = None,
    pictures: int = PICTURES,
) -> tuple[list[Table], dict[str, str], torch.Tensor]:
    """`protocol`: one of GROUPS; without it the system's own and the camera's. Raises ConfigError on another, or on one
    whose pictures the network can't take."""
    chosen = fitting(system, network, protocol)
    bank = Bank.draw(trial.SEED, 48, data_dir / "occluders.zip", held_out=True)
    judges, segmenter = Judges.at_hand(data_dir), _segmenter()
    subjects = trial.Subjects.choose(data_dir, cache, network.hr_size, pictures, judges)
    trials = [trial.run(system, network, name, subjects, bank, judges, segmenter) for name in chosen]
    tables = trial_tables.overview(trials)
    if system == DEFAULT and protocol is None:
        tables += judge_further.tables(system, network, subjects, bank, judges, segmenter, data_dir, cache)
    tables += [table for held in trials for table in trial_tables.tables(held)]
    return tables, _settings(judges, segmenter), sheet([row for held in trials for row in held.rows], most=100)


def fitting(system: str, network: torch.nn.Module, protocol: str | None) -> list[str]:
    """The protocols that a network is judged by."""
    whole = network.lr_size >= data.SIZE
    if protocol is None:
        if system != DEFAULT:
            return [*GROUPS[OWN[system]], "cctv"]
        return [name for name in PROTOCOLS if name != "fd"]
    if protocol not in GROUPS:
        raise ConfigError(f"no protocol {protocol!r}; allowed: {', '.join(GROUPS)}, track, honesty")
    if protocol == "fd" and not whole:
        raise ConfigError(f"protocol fd shrinks nothing: it needs a network of {data.SIZE} px, not {network.lr_size}")
    return list(GROUPS[protocol])


def _settings(judges: Judges, segmenter: torch.nn.Module | None) -> dict[str, str]:
    said = {
        "pictures": f"test shards only; seed {trial.SEED}; occluders held out from training",
        "PSNR, SSIM": "peak 1, per picture, then mean; SSIM with an 11 px Gaussian window (σ 1.5); Y by BT.601",
        "hidden, visible": "the pixels whose LR pixel is less than half visible, and the others",
        "Telea + bicubic": "OpenCV's inpainting, radius 3, of what truly is less than half visible, then bicubic",
        "found visibility": "the shipped segmenter's map in the true one's place" if segmenter else "not judged",
        "intervals": "95 %, bootstrap over pictures (people, for TAR)",
    }
    told = {
        "identity": "by a network that no training has seen",
        "lpips": "v0.1, AlexNet",
        "landmarks": (
            "NRMSE: mean distance of 68 landmarks in the restored and in the true picture, as one network finds them "
            "that no training has seen, in % of the distance between the outer eye corners; it fails on mere blur"
        ),
        "parser": (
            "parsing IoU: ten parts of the face as the shipped face-parser finds them in the restored and in the true "
            "picture; it also teaches the systems whose losses parse faces, which favours them"
        ),
    }
    said |= {name: judges.missing.get(name, words) for name, words in told.items()}
    if judges.identity:
        said["Fréchet"] = (
            "distance between the identity judge's embeddings of restored and of true pictures, as Gaussians. Not FID: "
            "another network, and few pictures, which raises it; the clean pictures' own row is its floor"
        )
    return said | {"skin": "by the cheeks' typology angle in each photograph, which light and white balance move"}


def _segmenter() -> torch.nn.Module | None:
    try:
        return networks.load(weights.find("occlusion-unet").path)
    except WeightsError:
        return None
