"""Real video: does a second frame help, when the face itself has moved? Two frames of one clip for each person; they
lie seconds apart, so that pose, lips and light differ.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from streamheal.train import data
from streamheal.train.evaluation.measures import Judges, Measured, Truth, measure
from streamheal.train.evaluation.people import pairs_of_people
from streamheal.train.evaluation.report import Table
from streamheal.train.evaluation.track_tables import gain
from streamheal.train.evaluation.track_trial import fused, restore_fused
from streamheal.train.evaluation.trial import SEED, restore
from streamheal.train.evaluation.trial_tables import cell
from streamheal.train.samples import degradation
from streamheal.train.sheets import grow

SHARD = "faces128-test-ytf"
HOLES = {"nothing hidden": None, "a rectangle in each": (1 / 16, 1 / 4)}


def table(
    judges: Judges, network: nn.Module, fusion: nn.Module | None, most: int, data_dir: Path, cache: Path
) -> Table | None:
    """Up to `most` people; None where the shard names nobody with two frames."""
    faces = data.load(data.shards(data_dir, [SHARD]), cache)
    try:
        others, firsts = pairs_of_people(faces, most, SEED)
    except ValueError:  # nobody has two
        return None
    pictures = torch.from_numpy(faces.pictures(np.stack([firsts, others], 1).ravel())).permute(0, 3, 1, 2).float() / 255
    clean = pictures[::2]
    seen = judges.look(clean)
    rows, size, gen = [], network.lr_size, torch.Generator().manual_seed(SEED)
    for name, area in HOLES.items():
        lr = degradation.shrink(pictures, size, "bicubic")
        visible = torch.ones_like(lr[:, :1])
        if area:
            visible = degradation.rectangles(len(lr), size, gen, area=area)
        lr = lr * visible
        truth = Truth(clean, grow(visible[::2], clean.shape[-1]) < 0.5, seen)
        outputs = {
            fused(1): restore(network, lr[::2], visible[::2]).hr,
            fused(2): restore_fused(network, fusion, lr.unflatten(0, (-1, 2)), visible.unflatten(0, (-1, 2))).hr,
        }
        found = {way: measure(output, truth, judges, luma=False) for way, output in outputs.items()}
        rows += [[f"{name}, {way}", *_cells(own, found[fused(1)])] for way, own in found.items()]
    columns = ["frames", "PSNR dB", "SSIM", *(["cosine"] if judges.identity else []), "gain dB"]
    note = f"{len(clean)} people, two frames of one clip each, seconds apart, shrunk to {size} px."
    return Table("Frames of real video (YouTube Faces)", note, columns, rows)


def _cells(own: Measured, alone: Measured) -> list:
    figures = [name for name in ("PSNR", "SSIM", "cosine") if name in own.each]
    return [*(cell(own.each[name]) for name in figures), gain(own, alone, "PSNR", None)]
