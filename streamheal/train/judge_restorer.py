"""Does a restorer restore, and is it still the same person?"""

from pathlib import Path

import numpy as np
import torch

from streamheal import weights
from streamheal.errors import WeightsError
from streamheal.heal import networks
from streamheal.heal.networks.detail import give_back_detail
from streamheal.heal.networks.layers import resample
from streamheal.train import data, degradation, judges, metrics
from streamheal.train.bank import Bank
from streamheal.train.people import masked_people, pairs_of_people
from streamheal.train.protocols import PROTOCOLS, make_pair
from streamheal.train.report import Table
from streamheal.train.sheets import grow, sheet

PEOPLE = 300  # of the LFW test people: one gallery and one probe picture each
LARGER = 100  # of the probes, at sizes above the network's input
OTHERS = 150  # pictures of each further test shard
SEED = 2026
IDENTITY_PROTOCOLS = ("jdsr", "ofhnet", "cctv")


def judge(network: torch.nn.Module, data_dir: Path, cache: Path) -> tuple[list[Table], dict[str, str], torch.Tensor]:
    size = network.lr_size
    bank = Bank.draw(SEED, 48, data_dir / "occluders.zip", held_out=True)
    segmenter = _segmenter()
    lfw = data.load(data.shards(data_dir, ["faces128-test-lfw"]), cache)
    gallery, probes = pairs_of_people(lfw, PEOPLE, SEED)
    tables, sheets, restored = [], [], {}

    rows = []
    for protocol in PROTOCOLS:
        faces, pair = _pairs(lfw, probes, protocol, bank, size)
        outputs = _outputs(network, *pair, segmenter if protocol in ("jdsr", "cctv") else None)
        restored[protocol] = outputs
        rows += [[f"{protocol}, {name}", *_pixels(protocol, output, faces)] for name, output in outputs.items()]
        sheets += _rows(pair, outputs, network)
    sheets.append(faces[:12])
    columns = ["protocol, method", "PSNR dB", "SSIM"]
    note = f"{len(probes)} pictures of as many people (LFW). RGB; jdsr on Y."
    tables.append(Table(f"Pixels, {size} → 128 px", note, columns, rows))

    for shard in ("faces128-test-cc0", "faces128-test-ytf"):
        others = data.load(data.shards(data_dir, [shard]), cache)
        chosen = np.random.default_rng(SEED).permutation(len(others))[:OTHERS]
        rows = []
        for protocol in ("ofhnet", "cctv"):
            faces, pair = _pairs(others, chosen, protocol, bank, size)
            outputs = _outputs(network, *pair, None)
            rows += [[f"{protocol}, {name}", *_pixels(protocol, output, faces)] for name, output in outputs.items()]
        tables.append(Table(f"Pixels, {shard}", f"{len(chosen)} pictures.", columns, rows))

    if judges.available(data_dir):
        judge_of = judges.IdentityJudge(data_dir)
        tables.append(_identity(judge_of, lfw, gallery, probes, restored))
        if real := _really_masked(judge_of, network, segmenter, data_dir, cache, size):
            tables.append(real)
    tables.append(_larger(network, lfw, probes[:LARGER], size))
    settings = {
        "pictures": f"test shards only; seed {SEED}; occluders held out from training",
        "PSNR, SSIM": "peak 1, per picture, then mean; SSIM with an 11 px Gaussian window (σ 1.5); Y by BT.601",
        "Telea + bicubic": "OpenCV's inpainting, radius 3, of pixels less than half visible, then bicubic",
        "found visibility": "the shipped segmenter's map in the true one's place" if segmenter else "not judged",
        "intervals": "95 %, bootstrap over pictures (people, for TAR)",
        "identity": "by a network that no training has seen",
    }
    return tables, settings, sheet(sheets)


def _segmenter() -> torch.nn.Module | None:
    try:
        return networks.load(weights.find("occlusion-unet").path)
    except WeightsError:
        return None


def _pairs(faces, rows, protocol, bank, size):
    pictures = torch.from_numpy(faces.pictures(rows)).permute(0, 3, 1, 2).float() / 255
    landmarks = torch.from_numpy(faces.landmarks[rows])
    gen = torch.Generator().manual_seed(SEED)
    parts = [
        make_pair(protocol, pictures[i : i + 10], landmarks[i : i + 10], bank, gen, size=size)
        for i in range(0, len(pictures), 10)
    ]
    return pictures, (torch.cat([lr for lr, _ in parts]), torch.cat([visible for _, visible in parts]))


def _outputs(network, lr, visible, segmenter) -> dict[str, torch.Tensor]:
    outputs = {
        "bicubic": resample(lr, data.SIZE),
        "Telea + bicubic": resample(metrics.telea(lr, visible), data.SIZE),
        "restored": _restore(network, lr, visible),
    }
    if segmenter is not None:
        found = torch.cat([segmenter.visible(part) for part in lr.split(50)])
        outputs["restored, found visibility"] = _restore(network, lr, found)
    return outputs


def _restore(network, lr, visible) -> torch.Tensor:
    return torch.cat([network(a, v).hr for a, v in zip(lr.split(50), visible.split(50), strict=True)])


def _larger(network, lfw, rows, size) -> Table:
    """Crops with more pixels than the network takes: from where on is their own detail worth more than its guess?"""
    clean = torch.from_numpy(lfw.pictures(rows)).permute(0, 3, 1, 2).float() / 255
    gen = torch.Generator().manual_seed(SEED)
    cells = []
    for side in (size, size * 5 // 4, size * 3 // 2, size * 2, size * 3):
        parts = [degradation.camera(part, part[:, :1], gen, native=(side, side))[0] for part in clean.split(10)]
        row = [f"{side} px"]
        for crops in (resample(clean, side), torch.cat(parts)):
            whole = torch.ones(len(crops), 1, size, size)
            restored = _restore(network, resample(crops, size), whole)
            detailed = give_back_detail(restored, crops, whole, size)
            outputs = (resample(crops, data.SIZE), restored, detailed)
            row += [metrics.interval(metrics.psnr(output, clean)) for output in outputs]
        cells.append(row)
    ways = ("bicubic", "restored", "with its own detail")
    columns = ["crop", *(f"{kind}: {way}" for kind in ("shrunk", "camera") for way in ways)]
    note = (
        f"PSNR in dB, {len(rows)} pictures, all visible. The network sees the crop shrunk to {size} px; its own detail "
        "is given back as in heal/networks/detail.py."
    )
    return Table("Larger crops", note, columns, cells)


def _pixels(protocol, output, faces) -> list[dict[str, float]]:
    if protocol == "jdsr":
        output, faces = metrics.luma(output), metrics.luma(faces)
    return [metrics.interval(metrics.psnr(output, faces)), metrics.interval(metrics.ssim(output, faces))]


def _rows(pair, outputs, network) -> list[torch.Tensor]:
    lr, visible = pair[0][:12], pair[1][:12]
    evidence = network(lr, visible).evidence.expand(-1, 3, -1, -1)
    return [
        grow(lr),
        grow(visible).expand(-1, 3, -1, -1),
        outputs["Telea + bicubic"][:12],
        outputs["restored"][:12],
        evidence,
    ]


def to_bytes(pictures: torch.Tensor) -> np.ndarray:
    return (pictures.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def _identity(judge_of, lfw, gallery, probes, restored) -> Table:
    known, clean = judge_of(lfw.pictures(gallery)), judge_of(lfw.pictures(probes))
    rows = [["clean picture", "–", *_recognised(clean @ known.T)]]
    for protocol in IDENTITY_PROTOCOLS:
        for name, output in restored[protocol].items():
            found = judge_of(to_bytes(output))
            cosine = metrics.interval((found * clean).sum(1))
            rows.append([f"{protocol}, {name}", cosine, *_recognised(found @ known.T)])
    note = f"{len(probes)} people, one clean gallery picture each; cosine to the same picture, clean."
    return Table("Identity (LFW)", note, ["probe", "cosine", "TAR at FAR 1e-2", "rank-1"], rows)


def _recognised(scores: np.ndarray) -> list[dict[str, float]]:
    """`scores` (people, people); row i and column i are one person."""
    same = np.eye(len(scores), dtype=bool)
    tar = metrics.interval_of(lambda rows: metrics.tar_at_far(scores[rows], same[rows], 1e-2), len(scores), draws=100)
    return [tar, metrics.interval(metrics.ranked(scores, np.arange(len(scores))))]


def _really_masked(judge_of, network, segmenter, data_dir, cache, size) -> Table | None:
    faces = data.load(data.shards(data_dir, ["faces128-test-masked-rmfrd"]), cache)
    people = masked_people(faces)
    if segmenter is None or people is None:
        return None
    clean = judge_of(faces.pictures(np.arange(len(faces))))
    known = people.templates(clean)
    rows = []
    for what, chosen, owner in (
        ("no mask", people.open, np.arange(len(people.open))),
        ("masked", people.masked, people.owner),
    ):
        lr = resample(torch.from_numpy(faces.pictures(chosen)).permute(0, 3, 1, 2).float() / 255, size)
        visible = torch.cat([segmenter.visible(part) for part in lr.split(50)])
        ways = {
            "bicubic": resample(lr, data.SIZE),
            "Telea + bicubic": resample(metrics.telea(lr, visible), data.SIZE),
            "restored, found visibility": _restore(network, lr, visible),
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
