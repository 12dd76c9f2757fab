"""What networks say of aligned faces: 68 landmarks, and the embedding that tells people apart.

The embedding teacher's weights lie in `weights/` beside the data folder; without them, the shipped embedder serves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from streamheal import weights
from streamheal.errors import ConfigError, WeightsError
from streamheal.heal import networks
from streamheal.heal.networks.layers import resample
from streamheal.records import ModelUsed
from streamheal.train import teacher
from streamheal.train.data import SIZE

TEACHER = "teacher_dlib_resnet128.safetensors"
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Landmarks:
    """A network for 68 landmarks: float `(B, 3, 128, 128)` in [0, 1] → `(B, 68, 2)` px, centres at whole numbers."""

    model: ModelUsed
    network: Callable[[torch.Tensor], torch.Tensor]

    def __call__(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """uint8 RGB `(s, s, 3)` → `(N, 68, 2)` float32 in pixels of the 128 px crop, centres at whole numbers."""
        return _run(self.network, pictures, (68, 2))


@dataclass(frozen=True, slots=True)
class Embeddings:
    """A network for embeddings, and what its Euclidean distances mean."""

    model: ModelUsed
    network: Callable[[torch.Tensor], torch.Tensor]
    alike: float  # below: taken for the same person

    def __call__(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """uint8 RGB `(s, s, 3)` → `(N, 128)` float32."""
        return _run(self.network, pictures, (128,))


def landmarks() -> Landmarks:
    """The shipped FanLite. Raises ConfigError where it doesn't ship."""
    try:
        file = weights.find("fan-lite")
    except WeightsError as error:
        raise ConfigError(f"landmarks are found by fan-lite, which is not there: {error}") from error
    return Landmarks(ModelUsed("landmarks", file.name, file.sha256), networks.load(file.path).points)


def embeddings(weights_dir: Path) -> Embeddings:
    """The teacher, where its weights are in `weights_dir`; else the shipped embedder.

    `alike`: of pairs of different people, 1 in 10 000 lies closer in the set where that happens most (833 photographs,
    mostly All-Age-Faces), of LFW's 20 million pairs 1 in a million; of pairs of one person 1 in 4 to 1 in 8. A guard
    against the surest cases, and against the same photograph twice, which stays closer in 99 of 100 cases when it is
    encoded anew, halved, shifted by 2 px, or mirrored. Looser, it would reject more strangers than it finds friends.
    """
    path = weights_dir / TEACHER
    if not path.is_file():
        file = weights.find("embedder")
        return Embeddings(ModelUsed("embedder", file.name, file.sha256), networks.load(file.path), 0.65)
    network = networks.build("embedder")
    network.load_state_dict(teacher.student_weights(path, torch.zeros(network.config.dimensions)))
    unscaled = []  # the teacher's own output is not L2-normalised, and its distances are not those of directions
    network.eval().project.register_forward_hook(lambda module, given, out: unscaled.append(out))

    def run(pictures: torch.Tensor) -> torch.Tensor:
        network(pictures)
        return unscaled.pop()

    return Embeddings(ModelUsed("embedder", path.stem, weights.check(path, None)), run, 0.37)


@torch.inference_mode()
def _run(network: Callable, pictures: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    out = [np.empty((0, *shape), np.float32)]
    for start in range(0, len(pictures), _BATCH):
        batch = torch.from_numpy(np.stack(pictures[start : start + _BATCH])).permute(0, 3, 1, 2).float() / 255
        out.append(network(resample(batch, SIZE)).float().numpy())
    return np.concatenate(out)
