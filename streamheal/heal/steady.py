"""A live track is published again and again: what was drawn of its face last steadies what is drawn now.

For cameras alone. The events of a recording must be the same however often its run was interrupted, so none of them may
lean on what this process remembers.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np
import torch

from streamheal.heal.device import to_batch, to_pictures
from streamheal.heal.helping import STRANGER
from streamheal.heal.networks.layers import resample, resample_map
from streamheal.heal.networks.steady import Drawn, steadied
from streamheal.heal.restorer import TOOK_PART, RestoredFace
from streamheal.records import FaceCrop, HealJob, SourceFrame

SIZES = (16, 32)  # px at which crops are laid onto each other: it was judged so
LARGER = 1.5  # times that a crop may be; still larger ones show more themselves
TRACKS = 256  # whose faces are remembered, should ends not be told; some 100 kB each


@dataclass(frozen=True, slots=True, eq=False)
class _Last:
    """A track's last revision that was restored."""

    crop: FaceCrop
    embedding: np.ndarray
    picture: np.ndarray
    evidence: np.ndarray
    sources: dict[SourceFrame, float]  # frames that had a part in it → how great a one


class Steady:
    """Remembers what was drawn of each track, until it ends. Not for use by several threads at once."""

    def __init__(self):
        self._last: OrderedDict[tuple, _Last] = OrderedDict()

    def steady(
        self, job: HealJob, team: list[FaceCrop], embedding: np.ndarray, face: RestoredFace
    ) -> tuple[RestoredFace, tuple[SourceFrame, ...]]:
        """The face laid together with the last one of its track, and the frames that came into it by that alone.

        `team`: the crops that `face.sources` counts; `embedding`: of the first, which was restored.
        """
        sources = {SourceFrame.of(team[place]): 1.0 for place in face.sources}
        own = set(sources)
        crop, key = team[0], (job.run, job.camera, job.epoch, job.track)
        last = self._last.pop(key, None)
        size = last and _laid_at(crop, last.crop)
        if size and _same(last, embedding, face):
            before = _drawn(last.crop, last.picture, last.evidence, size)
            made, share = steadied(_drawn(crop, face.picture, face.evidence, size), before)
            if share >= TOOK_PART:
                reason = f"{face.reason}; steadied by what was drawn of the track before"
                face = replace(
                    face, picture=to_pictures(made.hr)[0], evidence=made.evidence[0, 0].numpy(), reason=reason
                )
                earlier = {source: part * float(share) for source, part in last.sources.items()}
                sources = {source: part for source, part in earlier.items() if part >= TOOK_PART} | sources
        if job.reason != "ended":
            self._last[key] = _Last(crop, embedding, face.picture, face.evidence.astype(np.float16), sources)
        if len(self._last) > TRACKS:
            self._last.popitem(last=False)
        return face, tuple(source for source in sources if source not in own)


def _same(last: _Last, embedding: np.ndarray, face: RestoredFace) -> bool:
    """The same person, as far as one can tell, drawn at the same size."""
    return last.embedding @ embedding >= STRANGER and last.picture.shape == face.picture.shape


def _laid_at(one: FaceCrop, other: FaceCrop) -> int | None:
    side = max(one.image.shape[0], other.image.shape[0])
    return next((size for size in SIZES if side <= LARGER * size), None)


def _drawn(crop: FaceCrop, picture: np.ndarray, evidence: np.ndarray, size: int) -> Drawn:
    cpu = torch.device("cpu")
    return Drawn(
        hr=to_batch([picture], cpu),
        evidence=torch.from_numpy(evidence.astype(np.float32))[None, None],
        lr=resample(to_batch([crop.image], cpu), size),
        visible=resample_map(torch.from_numpy(crop.visible)[None, None].float(), size),
    )
