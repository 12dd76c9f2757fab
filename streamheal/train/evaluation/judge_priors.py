"""How far the priors can be trusted: landmarks against the data's own points, parsing against labels drawn by hand."""

from pathlib import Path

import numpy as np
import torch

from streamheal.heal.networks.face_parser import CLASSES
from streamheal.heal.networks.layers import resample
from streamheal.train import data
from streamheal.train.evaluation import judge_occlusion, metrics
from streamheal.train.evaluation.judge_occlusion import PICTURES, SEED, SIZES, drawn
from streamheal.train.evaluation.report import Table
from streamheal.train.samples import parsing_labels
from streamheal.train.samples.bank import Bank
from streamheal.train.samples.parsing_labels import UNKNOWN
from streamheal.train.samples.protocols import CAMERA_SHARES
from streamheal.train.sheets import grow, sheet
from streamheal.train.tasks.landmarks import dotted
from streamheal.train.tasks.parsing import painted

Judged = tuple[list[Table], dict[str, str], torch.Tensor]


def judge_landmarks(network: torch.nn.Module, data_dir: Path, cache: Path) -> Judged:
    """NRMSE by occluder and size, on people that no training has seen."""
    faces = data.load(data.shards(data_dir, ["faces128-test-lfw"]), cache)
    bank = Bank.draw(SEED, 48, data_dir / "occluders.zip", held_out=True)
    wanted = faces.landmarks[judge_occlusion.chosen(faces)]
    rows, sheets = [], []
    for kind in CAMERA_SHARES:
        cells = []
        for size in SIZES:
            seen, _ = drawn(faces, bank, kind, size)
            points = (network.points(seen) + 0.5) * (data.SIZE / size) - 0.5
            cells.append(metrics.interval(metrics.nrmse(points.numpy(), wanted)))
            if size != data.SIZE:
                sheets.append(dotted(resample(seen, data.SIZE), points))
        rows.append([kind, *cells])
    mean = np.broadcast_to(faces.landmarks.mean(0), wanted.shape)
    rows.append(["(the mean face, without looking)", *[metrics.interval(metrics.nrmse(mean, wanted))] * len(SIZES)])
    note = (
        f"NRMSE in % of the distance between the outer eye corners, mean over {PICTURES} pictures each; lower is "
        "better. The points compared with are a network's own, found on the sharp, free pictures."
    )
    settings = {
        "pictures": f"LFW test people; seed {SEED}; 128 px sharp, smaller ones through the camera's degradation",
        "occluders": "held out from training",
        "intervals": "95 %, bootstrap over pictures",
    }
    return [Table("Landmarks", note, ["occluder", *(f"{size} px" for size in SIZES)], rows)], settings, sheet(sheets)


def judge_parsing(network: torch.nn.Module, data_dir: Path, cache: Path) -> Judged:
    """IoU of each class on the labelled pictures of the tuning shard; no other held-out picture has labels."""
    shards = data.shards(data_dir, ["faces128-val"])
    labels = parsing_labels.read(shards, data.SIZE)
    pictures = torch.from_numpy(data.load(shards, cache).pictures(np.array(list(labels))))
    pictures = pictures.permute(0, 3, 1, 2).float() / 255
    shares = parsing_labels.shares(torch.from_numpy(np.stack(list(labels.values()))))
    found = {size: network(resample(pictures, size)).argmax(1) for size in SIZES}
    side = found[data.SIZE].shape[-1]
    wanted = parsing_labels.strongest(shares, side)
    common = parsing_labels.shares(wanted).mean(0, keepdim=True).argmax(1).expand_as(wanted)

    def row(name: str, classes: range | list[int]) -> list:
        each = [metrics.parsing_iou(part.numpy(), wanted.numpy(), classes) for part in (*found.values(), common)]
        return [name, *(metrics.interval(iou[~np.isnan(iou)]) for iou in each)]

    rows = [row(CLASSES[label], [label]) for label in wanted[wanted != UNKNOWN].unique().tolist()]
    rows.append(row("mean over the classes there", range(len(CLASSES))))
    columns = ["class", *(f"{size} px" for size in SIZES), "most common class of each place"]
    note = (
        f"IoU at {side}×{side}, mean over the {len(labels)} labelled pictures of the tuning shard where the class is."
    )
    settings = {
        "sizes": "128 px sharp, smaller ones by bicubic; no camera, no occluders",
        "left out": f"{(wanted == UNKNOWN).float().mean():.1%} of the pixels, behind glasses",
        "intervals": "95 %, bootstrap over pictures",
    }
    picture = [row for size in SIZES for row in (grow(resample(pictures, size)), painted(found[size]))]
    return [Table("Parsing", note, columns, rows)], settings, sheet([*picture, painted(wanted)])
