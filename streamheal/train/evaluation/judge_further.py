"""What the default restorer is asked beyond the protocols: other photographs, really masked people, larger crops."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from streamheal.heal.networks.detail import give_back_detail
from streamheal.heal.networks.layers import resample
from streamheal.train import data
from streamheal.train.evaluation import metrics, trial
from streamheal.train.evaluation.judges import IdentityJudge
from streamheal.train.evaluation.measures import AT_ONCE, Judges, to_bytes
from streamheal.train.evaluation.people import masked_people
from streamheal.train.evaluation.report import Table
from streamheal.train.evaluation.trial import SEED, TELEA, Subjects, restore
from streamheal.train.evaluation.trial_tables import main
from streamheal.train.samples import degradation
from streamheal.train.samples.bank import Bank

OTHERS = 150  # pictures of each further test shard
LARGER = 100  # of the LFW people, at sizes above the network's input


def tables(
    system: str,
    network: nn.Module,
    subjects: Subjects,
    bank: Bank,
    judges: Judges,
    segmenter: nn.Module | None,
    data_dir: Path,
    cache: Path,
) -> list[Table]:
    """`subjects`: the LFW people of the protocols."""
    found = [
        _other_photographs(system, network, shard, bank, data_dir, cache)
        for shard in ("faces128-test-cc0", "faces128-test-ytf")
    ]
    if judges.identity and segmenter is not None:
        found.append(_really_masked(judges.identity, network, segmenter, data_dir, cache))
    found.append(_larger_crops(network, subjects.pictures[:LARGER]))
    return [table for table in found if table]


def _other_photographs(system: str, network: nn.Module, shard: str, bank: Bank, data_dir: Path, cache: Path) -> Table:
    faces = data.load(data.shards(data_dir, [shard]), cache)
    chosen = np.random.default_rng(SEED).permutation(len(faces))[:OTHERS]
    judges = Judges()  # pixels alone: these pictures name nobody, or few
    subjects = Subjects.of(faces, chosen, None, shard, judges)
    rows = []
    for protocol in ("ofhnet", "cctv"):
        held = trial.run(system, network, protocol, subjects, bank, judges, None)
        rows += [[f"{protocol}, {name}", *main(held, found)] for name, found in held.methods.items()]
    return Table(f"Pixels, {shard}", f"{len(chosen)} pictures.", ["protocol, method", "PSNR dB", "SSIM"], rows)


def _really_masked(
    judge_of: IdentityJudge, network: nn.Module, segmenter: nn.Module, data_dir: Path, cache: Path
) -> Table | None:
    faces = data.load(data.shards(data_dir, ["faces128-test-masked-rmfrd"]), cache)
    people, size = masked_people(faces), network.lr_size
    if people is None:
        return None
    clean = judge_of(faces.pictures(np.arange(len(faces))))
    known = people.templates(clean)
    rows = []
    for what, chosen, owner in (
        ("no mask", people.open, np.arange(len(people.open))),
        ("masked", people.masked, people.owner),
    ):
        lr = resample(torch.from_numpy(faces.pictures(chosen)).permute(0, 3, 1, 2).float() / 255, size)
        visible = torch.cat([segmenter.visible(part) for part in lr.split(AT_ONCE)])
        ways = {
            "bicubic": resample(lr, data.SIZE),
            TELEA: resample(metrics.telea(lr, visible), data.SIZE),
            "restored, found visibility": restore(network, lr, visible).hr,
        }
        embedded = {f"{what}, full size": clean[chosen]}
        embedded |= {f"{what}, {size} px, {way}": judge_of(to_bytes(output)) for way, output in ways.items()}
        for name, found in embedded.items():
            scores = found @ known.T
            among = metrics.interval(metrics.rank1_among(scores, owner, 53))
            rows.append([name, metrics.interval(metrics.ranked(scores, owner)), among])
    note = (
        f"{len(people.masked)} masked pictures of {len(people.gallery)} people; the gallery has the mean of each one's "
        "open pictures but one, which is the probe without a mask."
    )
    return Table("Really masked people (RMFRD)", note, ["probe", "rank-1", "rank-1 of 53"], rows)


def _larger_crops(network: nn.Module, clean: torch.Tensor) -> Table:
    """Crops with more pixels than the network takes: from where on is their own detail worth more than its guess?"""
    size, gen = network.lr_size, torch.Generator().manual_seed(SEED)
    cells = []
    for side in (size, size * 5 // 4, size * 3 // 2, size * 2, size * 3):
        parts = [degradation.camera(part, part[:, :1], gen, native=(side, side))[0] for part in clean.split(10)]
        row = [f"{side} px"]
        for crops in (resample(clean, side), torch.cat(parts)):
            whole = torch.ones(len(crops), 1, size, size)
            restored = restore(network, resample(crops, size), whole).hr
            detailed = give_back_detail(restored, crops, whole, size)
            outputs = (resample(crops, data.SIZE), restored, detailed)
            row += [metrics.interval(metrics.psnr(output, clean)) for output in outputs]
        cells.append(row)
    ways = ("bicubic", "restored", "with its own detail")
    columns = ["crop", *(f"{kind}: {way}" for kind in ("shrunk", "camera") for way in ways)]
    note = (
        f"PSNR in dB, {len(clean)} pictures, all visible. The network sees the crop shrunk to {size} px; its own "
        "detail is given back as in heal/networks/detail.py."
    )
    return Table("Larger crops", note, columns, cells)
