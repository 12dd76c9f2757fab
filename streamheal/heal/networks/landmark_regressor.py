"""Network A of OFHNet: 68 landmarks from one small grey picture, by plain regression.

Trained once on clean faces, then frozen: the distance between its answers for the restored and for the true face is the
paper's "semantic structure loss". It never runs in use.
"""

from dataclasses import dataclass

import torch
from torch import nn

from streamheal.heal.networks.layers import ConvNorm, resample

LANDMARKS = 68
_LUMA = (0.299, 0.587, 0.114)  # BT.601


@dataclass(frozen=True, slots=True)
class LandmarkRegressorConfig:
    """Defaults: 0.74 M parameters, 0.03 GMAC.

    The paper only says "the first-level CNN of [25]" with 68 points, and its list of references has no such entry. A
    plain regressor in the manner of the first level of Sun 2013 and Zhou 2013 fits; all figures here are ours.
    """

    size: int = 64  # side of the grey picture that it sees
    widths: tuple[int, ...] = (32, 64, 96, 128)  # each convolution is followed by a pooling to half
    hidden: int = 256

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))
        if self.size % 2 ** len(self.widths):
            raise ValueError(f"size {self.size} can't be halved {len(self.widths)} times (once for each of widths)")


class LandmarkRegressor(nn.Module):
    """RGB face → 68 points."""

    def __init__(self, config: LandmarkRegressorConfig = LandmarkRegressorConfig()):
        super().__init__()
        self.config = config
        layers, inside = [], 1
        for width in config.widths:
            layers += [ConvNorm(inside, width), nn.MaxPool2d(2)]
            inside = width
        self.features = nn.Sequential(*layers)
        side = config.size // 2 ** len(config.widths)
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(inside * side * side, config.hidden), nn.ReLU())
        self.leave = nn.Linear(config.hidden, 2 * LANDMARKS)
        self.register_buffer("luma", torch.tensor(_LUMA).view(1, 3, 1, 1), persistent=False)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """RGB `(B, 3, s, s)` in [0, 1], canonical template, any s → `(B, 68, 2)`: x, y as shares of the side, (0, 1).

        0 is the outer edge of the first pixel, 1 that of the last: px = share · s - 0.5, pixel centres at whole
        numbers.
        """
        grey = (resample(pictures, self.config.size) * self.luma).sum(1, keepdim=True)
        points = self.leave(self.hidden(self.features(grey * 2 - 1)))
        return torch.sigmoid(points.float()).unflatten(1, (LANDMARKS, 2))

    def points(self, pictures: torch.Tensor) -> torch.Tensor:
        """RGB `(B, 3, s, s)` in [0, 1] → `(B, 68, 2)` x, y in pixels of the input."""
        return self(pictures) * pictures.shape[-1] - 0.5
