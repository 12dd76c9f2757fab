"""Where networks run, and how pictures get there."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.records import ModelUsed
from streamheal.weights import WeightFile


def choose_device(name: str) -> torch.device:
    """`auto` is the first CUDA device if there is one, else the CPU. Raises ConfigError for one that isn't there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"device {name!r} can't be used ({reason}); use auto, cpu, or a device that is there"
        ) from None
    return device


def runtime(device: str) -> str:
    """What computes, for provenance: `torch 2.6.0 on cpu`. Another one may round otherwise."""
    return f"torch {torch.__version__} on {choose_device(device)}"


def to_batch(pictures: Sequence[np.ndarray], device: torch.device) -> torch.Tensor:
    """uint8 `(s, s, 3)` pictures of one size → float `(B, 3, s, s)` in [0, 1]."""
    stacked = torch.from_numpy(np.stack(pictures)).to(device)
    return stacked.permute(0, 3, 1, 2).float() / 255


def to_pictures(batch: torch.Tensor) -> np.ndarray:
    """float `(B, 3, s, s)` in [0, 1] → uint8 `(B, s, s, 3)`."""
    return batch.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def batches(pictures: Sequence[np.ndarray], most: int) -> Iterator[tuple[list[int], list[np.ndarray]]]:
    """Pictures of equal side together, at most `most`, with their places: crops come at native size, and networks take
    one size a call."""
    sides: dict[int, list[int]] = {}
    for place, picture in enumerate(pictures):
        sides.setdefault(picture.shape[0], []).append(place)
    for places in sides.values():
        for start in range(0, len(places), most):
            part = places[start : start + most]
            yield part, [pictures[i] for i in part]


def load_network(file: WeightFile, device: str) -> tuple[ModelUsed, nn.Module, torch.device]:
    """The trained network in `file`, on its device, and what provenance says of it."""
    chosen = choose_device(device)
    return ModelUsed(file.kind, file.name, file.sha256), networks.load(file.path, file.sha256).to(chosen), chosen
