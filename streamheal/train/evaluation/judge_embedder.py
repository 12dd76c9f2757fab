"""Do embeddings tell people apart, when one picture is clean and the other tiny or hidden?"""

from pathlib import Path

import numpy as np
import torch

from streamheal.train import data
from streamheal.train.evaluation import metrics
from streamheal.train.evaluation.people import masked_people, pairs_of_people
from streamheal.train.evaluation.report import Table
from streamheal.train.samples import degradation
from streamheal.train.samples.bank import Bank
from streamheal.train.sheets import grow, sheet

SEED = 2026
PEOPLE = {"faces128-test-lfw": 500, "faces128-test-ytf": 500}  # most; each needs two pictures
COLUMNS = ["probe", "same person", "different", "TAR at FAR 1e-2", "TAR at FAR 1e-3", "threshold at FAR 1e-3"]


def judge(network: torch.nn.Module, data_dir: Path, cache: Path) -> tuple[list[Table], dict[str, str], torch.Tensor]:
    bank = Bank.draw(SEED, 48, data_dir / "occluders.zip", held_out=True)
    tables, sheets = [], []
    for shard, most in PEOPLE.items():
        faces = data.load(data.shards(data_dir, [shard]), cache)
        gallery, probes = pairs_of_people(faces, most, SEED)
        known = embed(network, _pictures(faces, gallery))
        rows = [["teacher, clean (Euclidean)", *_scored(-_distances(faces.teacher[probes], faces.teacher[gallery]))]]
        for name, pictures in _conditions(faces, probes, bank).items():
            rows.append([name, *_scored(embed(network, pictures) @ known.T)])
            if not sheets or len(sheets) < 6:
                sheets.append(grow(pictures[:12]))
        note = f"{len(gallery)} people, one clean gallery picture and one other probe picture each."
        tables.append(Table(shard, note, COLUMNS, rows))

    faces = data.load(data.shards(data_dir, ["faces128-test-masked-rmfrd"]), cache)
    if people := masked_people(faces):
        own = embed(network, _pictures(faces, np.arange(len(faces))))
        known, teachers = people.templates(own), np.stack([faces.teacher[rows].mean(0) for rows in people.gallery])
        rows = []
        for probe, which, owner in (
            ("no mask", people.open, np.arange(len(people.open))),
            ("masked", people.masked, people.owner),
        ):
            for name, scores in (
                ("student", own[which] @ known.T),
                ("teacher", -_distances(faces.teacher[which], teachers)),
            ):
                rows.append([f"{name}, {probe}", metrics.interval(metrics.ranked(scores, owner))])
        note = (
            f"{len(people.masked)} masked pictures of {len(people.gallery)} people, at full size; the gallery has the "
            "mean of each one's open pictures but one, which is the probe without a mask."
        )
        tables.append(Table("Really masked people (RMFRD)", note, ["network, probe", "rank-1"], rows))
    settings = {
        "score": "cosine of L2-normalised embeddings; the teacher's own measure is Euclidean distance (shown negated)",
        "tiny": "the camera's degradation (blur, noise, JPEG, gamma) at the native size named, nothing hidden",
        "masked": "a drawn medical mask fitted to the landmarks; at full size sharp",
        "people": f"none in any training shard; seed {SEED}",
        "intervals": "95 %, bootstrap over people",
    }
    return tables, settings, sheet(sheets)


def _pictures(faces: data.Faces, rows: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(faces.pictures(rows)).permute(0, 3, 1, 2).float() / 255


def _conditions(faces: data.Faces, rows: np.ndarray, bank: Bank) -> dict[str, torch.Tensor]:
    clean = _pictures(faces, rows)
    gen = torch.Generator().manual_seed(SEED)
    masked, visible, _ = bank.occlude(clean, torch.from_numpy(faces.landmarks[rows]), gen, shares={"medical": 1})
    ways = {"student, clean": clean}
    for size in (32, 16):
        parts = [degradation.camera(p, p[:, :1], gen, native=(size, size))[0] for p in clean.split(10)]
        ways[f"student, {size} px"] = torch.cat(parts)
    ways["student, masked"] = masked
    parts = [
        degradation.camera(p, v, gen, native=(32, 32))[0]
        for p, v in zip(masked.split(10), visible.split(10), strict=True)
    ]
    ways["student, masked, 32 px"] = torch.cat(parts)
    return ways


def embed(network: torch.nn.Module, pictures: torch.Tensor) -> np.ndarray:
    return torch.cat([network(part) for part in pictures.split(64)]).numpy()


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T, 0))


def _scored(scores: np.ndarray) -> list:
    same = np.eye(len(scores), dtype=bool)

    def tar(far: float) -> dict[str, float]:
        return metrics.interval_of(
            lambda rows: metrics.tar_at_far(scores[rows], same[rows], far), len(scores), draws=50
        )

    spread = [f"{scores[where].mean():.2f} ± {scores[where].std():.2f}" for where in (same, ~same)]
    return [*spread, tar(1e-2), tar(1e-3), f"{metrics.threshold_at_far(scores, same, 1e-3):.3f}"]
