"""Phi: VGG-16's features up to relu3_3, by which perceptual and style losses compare pictures. Training only."""

from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from streamheal import weights
from streamheal.train.beside import weights_beside

FILE = "vgg16_relu3_3.safetensors"
LAYERS = {
    "relu1_1": 0, "relu1_2": 2, "pool1": None,
    "relu2_1": 5, "relu2_2": 7, "pool2": None,
    "relu3_1": 10, "relu3_2": 12, "relu3_3": 14, "pool3": None,
}  # fmt: skip
"""Names in the order that they are computed, each convolution with its number in torchvision's `features`."""
POOLS = ("pool1", "pool2", "pool3")
"""What style and perceptual losses of FCSR-GAN compare (after Liu 2018, PConv); a 16 px LR has two worth it."""

_WIDTHS = (3, 64, 64, 128, 128, 256, 256, 256)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB


class Phi(nn.Module):
    """RGB pictures in [0, 1] → features by name. In eval mode and frozen; gradients reach the pictures."""

    def __init__(self):
        super().__init__()
        convolutions = [number for number in LAYERS.values() if number is not None]
        self.features = nn.ModuleDict(
            {
                str(number): nn.Conv2d(inside, outside, 3, padding=1)
                for number, inside, outside in zip(convolutions, _WIDTHS[:-1], _WIDTHS[1:], strict=True)
            }
        )
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    @classmethod
    def load(cls, data_dir: Path) -> "Phi":
        """With the weights that lie in `weights/` beside the data folder. Raises ConfigError if they don't."""
        phi = cls()
        phi.load_state_dict(weights.load(weights_beside(data_dir, FILE, "a perceptual or style loss"))[0])
        return phi

    def forward(self, pictures: torch.Tensor, layers: Iterable[str] = POOLS) -> dict[str, torch.Tensor]:
        """`(B, 3, H, W)` in [0, 1] → `{name: (B, C, h, w)}` of the layers asked for; nothing behind them is computed.

        Pools are maxima over 2×2: H and W of at least 2, 4, 8 for one, two, three of them. Raises ValueError on a layer
        that isn't there.
        """
        wanted = set(layers)
        if not wanted or (unknown := wanted - set(LAYERS)):
            raise ValueError(f"no layers {sorted(unknown) if wanted else 'asked for'}; there are: {', '.join(LAYERS)}")
        # VGG has learned from pictures normalised like this: others shift every feature (Pro-UIGAN's code, FCSR-GAN's)
        x, out = (pictures - self.mean) / self.std, {}
        for name, number in LAYERS.items():
            x = F.max_pool2d(x, 2) if number is None else F.relu(self.features[str(number)](x))
            if name in wanted:
                out[name] = x
            if len(out) == len(wanted):
                break
        return out
