"""Really masked people: several masked pictures of one person as if they were crops of a track. They are none: taken on
other days, from other sides. So this is the hardest test of a template, and of what fusion does when little fits.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from streamheal.heal.networks.layers import resample
from streamheal.train import data
from streamheal.train.evaluation import metrics
from streamheal.train.evaluation.judges import IdentityJudge
from streamheal.train.evaluation.measures import AT_ONCE, to_bytes
from streamheal.train.evaluation.people import MaskedPeople, masked_people
from streamheal.train.evaluation.report import Table
from streamheal.train.evaluation.track_trial import MOST, each_first, restore_fused
from streamheal.train.evaluation.trial import restore

SHARD = "faces128-test-masked-rmfrd"
FULL = "original, full size: mean embedding"
ONE, ORIGINAL = "original: the least hidden crop", "original: mean embedding"
STILL, FUSED = "restored one by one: mean embedding", "fused: mean embedding"
FIRST = "fused: the least hidden crop alone"
BOTH = "original and fused: mean embedding of both"


def templates(
    judge_of: IdentityJudge,
    network: nn.Module,
    fusion: nn.Module | None,
    segmenter: nn.Module,
    data_dir: Path,
    cache: Path,
) -> tuple[Table, dict[str, np.ndarray]] | None:
    """Rank-1 of each kind of template, as a table and per person `(P,)`; None where nobody has two masked pictures."""
    faces = data.load(data.shards(data_dir, [SHARD]), cache)
    people, size = masked_people(faces), network.lr_size
    if people is None:
        return None
    pictures = torch.from_numpy(faces.pictures(people.masked)).permute(0, 3, 1, 2).float() / 255
    lr = resample(pictures, size)
    visible = torch.cat([segmenter.visible(part) for part in lr.split(AT_ONCE)])
    owners, rows, valid = tracks_of(people, visible.mean((1, 2, 3)).numpy())
    if not len(owners):
        return None
    known = people.templates(judge_of(faces.pictures(np.arange(len(faces)))))

    # Every crop of a person before the others, and only the turns of crops that there are.
    turns, valid_turns = each_first(rows)[valid.flatten()], each_first(valid)[valid.flatten()]
    together = restore_fused(network, fusion, lr[turns], visible[turns], valid_turns).hr
    crops = rows[valid]
    person = torch.arange(len(owners)).repeat_interleave(valid.sum(1)).numpy()
    alone = restore(network, lr[crops], visible[crops]).hr
    original, still, fused = (judge_of(to_bytes(p)) for p in (resample(lr[crops], data.SIZE), alone, together))
    least = np.flatnonzero(np.diff(person, prepend=-1))  # the first crop of each person is the least hidden
    found = {
        FULL: _means(judge_of(to_bytes(pictures[crops])), person),
        ONE: original[least],
        ORIGINAL: _means(original, person),
        STILL: _means(still, person),
        FIRST: fused[least],
        FUSED: _means(fused, person),
    }
    both = found[ORIGINAL] + found[FUSED]
    found[BOTH] = both / np.linalg.norm(both, axis=1, keepdims=True)

    hits = {name: metrics.ranked(probes @ known.T, owners).astype(float) for name, probes in found.items()}
    cells = []
    for name, probes in found.items():
        among = metrics.interval(metrics.rank1_among(probes @ known.T, owners, 53))
        over = metrics.interval(hits[name] - hits[ORIGINAL])
        cells.append([name, metrics.interval(hits[name]), among, over])
    note = (
        f"{len(owners)} people with 2 to {MOST} masked pictures each, {len(crops)} in all, at {size} px unless said, "
        f"with the segmenter's visibility; the gallery has the mean embedding of the open pictures of {len(known)} "
        "people. The pictures of a person are of other days: no track, and little of them fits together."
    )
    columns = ["template", "rank-1", "rank-1 of 53", "rank-1 over the original's mean"]
    return Table("Really masked people (RMFRD): templates", note, columns, cells), hits


def tracks_of(people: MaskedPeople, shown: np.ndarray) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """People with two masked pictures or more, up to MOST of those that show most, `shown` (M,) first.

    Returns whose `(P,)`, rows of the masked pictures `(P, MOST)`, padded, and which of them there are.
    """
    owners, rows = [], []
    for owner in np.unique(people.owner):
        own = np.flatnonzero(people.owner == owner)
        if len(own) > 1:
            owners.append(owner)
            rows.append(own[np.argsort(-shown[own], kind="stable")][:MOST])
    padded, valid = np.zeros((len(rows), MOST), int), np.zeros((len(rows), MOST), bool)
    for i, own in enumerate(rows):
        padded[i, : len(own)], valid[i, : len(own)] = own, True
    return np.array(owners, int), torch.from_numpy(padded), torch.from_numpy(valid)


def _means(embeddings: np.ndarray, person: np.ndarray) -> np.ndarray:
    """L2-normalised mean of each person's: `(N, D)`, `(N,)` in order → `(P, D)`."""
    sums = np.stack([embeddings[person == i].sum(0) for i in range(person.max() + 1)])
    return sums / np.linalg.norm(sums, axis=1, keepdims=True)
