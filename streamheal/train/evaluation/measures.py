"""What is measured on each restored picture: its pixels, and what networks that nothing was trained on make of it."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from streamheal import weights
from streamheal.errors import StreamhealError
from streamheal.heal import networks
from streamheal.heal.networks.face_parser import CLASSES
from streamheal.heal.networks.layers import resample
from streamheal.train.criteria.similarity import ssim_map
from streamheal.train.data import SIZE
from streamheal.train.evaluation import metrics
from streamheal.train.evaluation.judge_landmarks import LandmarkJudge
from streamheal.train.evaluation.judges import IdentityJudge
from streamheal.train.evaluation.lpips import LpipsJudge

AT_ONCE = 20  # pictures
PARTS = range(1, len(CLASSES))  # all of the parser's classes but the background


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The clean pictures of a test, and what the judges make of them."""

    pictures: torch.Tensor  # (N, 3, S, S) in [0, 1]
    hidden: torch.Tensor  # (N, 1, S, S) bool: what the restorer had to invent
    seen: dict[str, np.ndarray]  # `Judges.look` at the pictures


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One method's pictures: `each[figure]` (N,), NaN where it doesn't apply; `embeddings` (N, 192) or None."""

    each: dict[str, np.ndarray]
    embeddings: np.ndarray | None


@dataclass(frozen=True, slots=True, eq=False)
class Judges:
    """Each None where its weights are not at hand; `missing` says which and why."""

    identity: IdentityJudge | None = None
    lpips: LpipsJudge | None = None
    landmarks: LandmarkJudge | None = None
    parser: nn.Module | None = None
    missing: dict[str, str] = field(default_factory=dict)

    @classmethod
    def at_hand(cls, data_dir: Path) -> "Judges":
        makers = {
            "identity": lambda: IdentityJudge(data_dir),
            "lpips": lambda: LpipsJudge(data_dir),
            "landmarks": lambda: LandmarkJudge(data_dir),
            "parser": lambda: networks.load(weights.find("face-parser").path),
        }
        found, missing = {}, {}
        for name, make in makers.items():
            try:
                found[name] = make()
            except StreamhealError as error:
                missing[name] = str(error)
        return cls(**found, missing=missing)

    def look(self, pictures: torch.Tensor) -> dict[str, np.ndarray]:
        """Whose face `(N, 3, S, S)` show ("embeddings", (N, 192)), where its landmarks are ("points", (N, 68, 2), px of
        128) and its parts ("classes", (N, s, s)). All see 128 px, so that figures of larger faces compare."""
        small = resample(pictures, SIZE)
        seen = {}
        if self.identity:
            seen["embeddings"] = self.identity(to_bytes(small))
        if self.landmarks:
            seen["points"] = np.concatenate([self.landmarks(part) for part in small.split(AT_ONCE)])
        if self.parser:
            seen["classes"] = torch.cat([self.parser(part).argmax(1) for part in small.split(AT_ONCE)]).numpy()
        return seen


def measure(output: torch.Tensor, truth: Truth, judges: Judges, *, luma: bool = True) -> Measured:
    """Figures of restored pictures `(N, 3, S, S)` against the truth; of RGB alone without `luma`."""
    parts = []
    for start in range(0, len(output), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        clean, hidden = truth.pictures[rows], truth.hidden[rows]
        part = pixels(output[rows], clean, hidden, luma=luma)
        if judges.lpips:
            part["LPIPS"] = judges.lpips(output[rows], clean)
        parts.append(part)
    each = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    seen = judges.look(output)
    if judges.identity:
        each["cosine"] = (seen["embeddings"] * truth.seen["embeddings"]).sum(1)
    if judges.landmarks:
        each["NRMSE"] = metrics.nrmse(seen["points"], truth.seen["points"])
    if judges.parser:
        each["parsing IoU"] = metrics.parsing_iou(seen["classes"], truth.seen["classes"], PARTS)
    return Measured(each, seen.get("embeddings"))


def pixels(
    output: torch.Tensor, clean: torch.Tensor, hidden: torch.Tensor, *, luma: bool = True
) -> dict[str, np.ndarray]:
    """PSNR (dB, peak 1) and SSIM per picture, of RGB and of Y; whole, and over the hidden and the visible part."""
    found = {}
    kinds = [("", output, clean), *([(" Y", metrics.luma(output), metrics.luma(clean))] if luma else [])]
    for channel, a, b in kinds:
        error, likeness = (a - b) ** 2, ssim_map(a, b)
        edge = (hidden.shape[-1] - likeness.shape[-1]) // 2
        inner = hidden[:, :, edge:-edge, edge:-edge]  # SSIM's window needs its 5 px on each side
        for part, where, middle in (
            ("", None, None),
            (" hidden", hidden, inner),
            (" visible", ~hidden, ~inner),
        ):
            found[f"PSNR{channel}{part}"] = (-10 * _mean(error, where).clamp(min=1e-10).log10()).numpy()
            found[f"SSIM{channel}{part}"] = _mean(likeness, middle).numpy()
    return found


def _mean(maps: torch.Tensor, where: torch.Tensor | None) -> torch.Tensor:
    """Of `(B, C, H, W)` over the pixels of `where` (B, 1, H, W), all by default: `(B,)`, NaN where there are none."""
    if where is None:
        return maps.mean((1, 2, 3))
    return (maps * where).sum((1, 2, 3)) / (where.sum((1, 2, 3)) * maps.shape[1])


def to_bytes(pictures: torch.Tensor) -> np.ndarray:
    """`(N, 3, H, W)` in [0, 1] → uint8 `(N, H, W, 3)`."""
    return (pictures.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
