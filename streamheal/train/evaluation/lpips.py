"""The judge of looks: LPIPS v0.1 on AlexNet (Zhang 2018). Nothing here is trained on it."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from streamheal import weights
from streamheal.train.beside import weights_beside

FILE = "alexnet_lpips.safetensors"
_CONVOLUTIONS = (
    (0, 4, 2),
    (3, 1, 2),
    (6, 1, 1),
    (8, 1, 1),
    (10, 1, 1),
)  # number in AlexNet's features, stride, padding
_POOLED_BEFORE = (3, 6)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB
_SMALLEST = 35  # px; below that the second pooling has nothing to pool


class LpipsJudge:
    """How different two pictures look: 0 for the same, about 0.7 for two that have nothing in common."""

    def __init__(self, data_dir: Path, device: str | torch.device = "cpu"):
        """Raises ConfigError if the weights don't lie beside the data folder."""
        tensors, _ = weights.load(weights_beside(data_dir, FILE, "LPIPS"))
        self.tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        self.device = device

    @torch.inference_mode()
    def __call__(self, output: torch.Tensor, target: torch.Tensor) -> np.ndarray:
        """RGB `(B, 3, H, W)` in [0, 1], at least 35 px a side → `(B,)` (eq. 1). Raises ValueError on smaller ones."""
        if min(output.shape[-2:]) < _SMALLEST:
            raise ValueError(f"LPIPS needs pictures of at least {_SMALLEST} px a side, got {tuple(output.shape)}")
        total = torch.zeros(len(output), device=self.device)
        for layer, (a, b) in enumerate(zip(self._features(output), self._features(target), strict=True)):
            difference = (_unit(a) - _unit(b)) ** 2
            total += F.conv2d(difference, self.tensors[f"lpips.lin{layer}.weight"]).mean((1, 2, 3))
        return total.cpu().numpy()

    def _features(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """After each of the five ReLUs."""
        x = pictures.to(self.device).float()
        # the same as LPIPS's own shift and scale of pictures in [-1, 1]
        x = (x - x.new_tensor(_MEAN).view(1, 3, 1, 1)) / x.new_tensor(_STD).view(1, 3, 1, 1)
        out = []
        for number, stride, padding in _CONVOLUTIONS:
            if number in _POOLED_BEFORE:
                x = F.max_pool2d(x, 3, 2)
            kernel, bias = self.tensors[f"features.{number}.weight"], self.tensors[f"features.{number}.bias"]
            x = F.relu(F.conv2d(x, kernel, bias, stride, padding))
            out.append(x)
        return out


def _unit(features: torch.Tensor) -> torch.Tensor:
    """Each position's channels brought to length 1."""
    return features / (features.norm(dim=1, keepdim=True) + 1e-10)
