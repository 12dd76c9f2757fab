"""Does healing across a track beat the best that single frames give? On tracks made from photographs of people that no
training has seen, on really masked people, and on frames of real video.
"""

from pathlib import Path

import torch
from torch import nn

from streamheal import weights
from streamheal.errors import ConfigError, WeightsError
from streamheal.heal import networks
from streamheal.train.evaluation import masked_templates, track_aims, track_tables, track_trial, trial, video_pairs
from streamheal.train.evaluation.measures import Judges
from streamheal.train.evaluation.report import Table
from streamheal.train.samples.bank import Bank
from streamheal.train.samples.tracks import KINDS
from streamheal.train.sheets import sheet

SLOW = 60  # tracks of each system by which a fusion is judged that serves many


def judge(
    network: nn.Module,
    data_dir: Path,
    cache: Path,
    *,
    fusion: nn.Module | None = None,
    against: nn.Module | None = None,
    pictures: int,
) -> tuple[list[Table], dict[str, str], torch.Tensor]:
    """`fusion`: what serves a network that has none of its own; without it the shipped one of its size. `against`:
    another still restorer, the best there is. Raises ConfigError where no fusion fits, or `against` doesn't."""
    fusion = fusion or fusion_for(network)
    if against is not None and against.lr_size != network.lr_size:
        raise ConfigError(f"--against takes crops of {against.lr_size} px, the model {network.lr_size}: not the same")
    judges, subjects, bank = _circumstances(network, data_dir, cache, pictures)
    trials = [track_trial.run(network, fusion, kind, subjects, bank, judges, against=against) for kind in KINDS]
    tables, masked = [], None
    segmenter = _segmenter()
    if judges.identity and segmenter is not None:
        found = masked_templates.templates(judges.identity, network, fusion, segmenter, data_dir, cache)
        if found:
            masked = found[1]
            tables.append(found[0])
    tables.append(video_pairs.table(judges, network, fusion, pictures, data_dir, cache))
    tables = [track_aims.table(trials, masked), *(t for held in trials for t in track_tables.tables(held)), *tables]
    return [t for t in tables if t], _settings(judges), sheet([row for held in trials for row in held.rows], most=100)


def judge_fusion(
    fusion: nn.Module, data_dir: Path, cache: Path, pictures: int
) -> tuple[list[Table], dict[str, str], torch.Tensor]:
    """A fusion for systems that have none of their own: before each shipped restorer that it fits, on fewer tracks."""
    tables, rows, judges = [], [], None
    for name in served(fusion.config.lr_size):
        network = networks.load(weights.find(name).path)
        judges, subjects, bank = _circumstances(network, data_dir, cache, min(pictures, SLOW))
        for kind in KINDS:
            held = track_trial.run(network, fusion, kind, subjects, bank, judges, steady=SLOW // 4)
            for table in track_tables.tables(held):
                tables.append(Table(f"{name}: {table.title}", table.note, table.columns, table.rows))
            rows += held.rows
    if judges is None:
        raise ConfigError(f"no shipped restorer of {fusion.config.lr_size} px lacks a fusion of its own")
    return tables, _settings(judges), sheet(rows, most=100)


def served(size: int) -> list[str]:
    """The shipped restorers of `size` px that have no fusion of their own."""
    found = []
    for name, file in weights.manifest().items():
        if file.kind == "restorer":
            network = networks.load(weights.find(name).path)
            if network.lr_size == size and getattr(network, "fusion", None) is None:
                found.append(name)
    return found


def fusion_for(network: nn.Module) -> nn.Module | None:
    """The shipped fusion for networks of its size; None for one that has its own. Raises ConfigError without either."""
    if getattr(network, "fusion", None) is not None:
        return None
    name = f"track-fusion-{network.lr_size}"
    if name not in weights.manifest():
        raise ConfigError(
            f"protocol track: this network has no fusion of its own, and no {name} ships; choose a system of 16 px"
        )
    return networks.load(weights.find(name).path)


def _circumstances(
    network: nn.Module, data_dir: Path, cache: Path, pictures: int
) -> tuple[Judges, trial.Subjects, Bank]:
    """Judges of pixels, identity and landmarks; the LFW people of the other protocols; occluders held out."""
    bank = Bank.draw(trial.SEED, 48, data_dir / "occluders.zip", held_out=True)
    found = Judges.at_hand(data_dir)
    judges = Judges(identity=found.identity, landmarks=found.landmarks, missing=found.missing)
    return judges, trial.Subjects.choose(data_dir, cache, network.hr_size, pictures, judges), bank


def _segmenter() -> nn.Module | None:
    try:
        return networks.load(weights.find("occlusion-unet").path)
    except WeightsError:
        return None


def _settings(judges: Judges) -> dict[str, str]:
    said = {
        "tracks": (
            f"of photographs of the test people, seed {trial.SEED}; each crop lies up to 8 px of 128, 3° and 3 % off "
            "the first, which is the one to restore; occluders held out from training"
        ),
        "moving": "a rectangle of 1/16 to 1/4 of the crop passes over; bicubic shrink, as in OFHNet's protocol",
        "mask": "the same medical mask in all crops; bicubic shrink, as in JDSR-GAN's protocol",
        "camera": "a camera's blur, size, noise and encoder (H.264 or JPEG), mixed occluders that move or stay",
        "base lines": (
            "every frame restored by itself and laid onto the first by the EXACT map, which nobody has in use: the "
            "frame that shows most of its face; the mean; the mean by evidence; the mean of their embeddings"
        ),
        "hidden": "the pixels whose LR pixel is less than half visible in the first crop",
        "warping error": (
            "mean absolute difference, of 255, between each restored frame and the next, laid onto it by the exact "
            "map; the order is random, so that neighbours differ more than in a film"
        ),
        "identity variance": "1 - mean cosine to the track's mean embedding, frames laid onto the first",
        "landmark jitter": "root mean square of 68 landmarks about their mean place, px of 128; frames laid likewise",
        "intervals": "95 %, bootstrap over pictures (tracks; people, for TAR)",
    }
    told = {"identity": "by a network that no training has seen", "landmarks": "by a network that no training has seen"}
    return said | {name: judges.missing.get(name, words) for name, words in told.items()}
