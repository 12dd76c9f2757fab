"""The judge of geometry: a network for 68 landmarks that tells how far a restored face's have moved.

It is face-api's (depthwise separable convolutions, densely connected). Nothing is trained against it: NRMSE only.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from streamheal import weights
from streamheal.train.beside import weights_beside

FILE = "landmarks68_faceapi.safetensors"
_MEAN_COLOUR = (122.782, 117.001, 104.298)  # of 255, RGB
_INPUT = 112  # px
SQUARE = (6, 12, 116)
"""Which square of the 128 px template the network is shown: left, top, side. It was made for the boxes of a detector;
with this one it agrees best with the landmarks of the data (`python benchmarks/landmark_judge.py`)."""
_TEMPLATE = 128
_STAGES = 4


class LandmarkJudge:
    """Pictures in the canonical template → 68 landmarks."""

    def __init__(self, data_dir: Path, device: str | torch.device = "cpu", *, square: tuple[int, int, int] = SQUARE):
        """Raises ConfigError if the weights don't lie beside the data folder."""
        said, _ = weights.load(weights_beside(data_dir, FILE, "the judge of landmarks"))
        self.device, self.square = device, square
        self.tensors = {}
        for name, tensor in said.items():
            kind = name.rsplit(".", 1)[1]
            order = {"filters": (3, 2, 0, 1), "pointwise_filter": (3, 2, 0, 1), "depthwise_filter": (2, 3, 0, 1)}
            tensor = tensor.permute(order[kind]) if kind in order else tensor  # from TensorFlow's (h, w, in, out)
            self.tensors[name] = tensor.contiguous().to(device)

    @torch.inference_mode()
    def __call__(self, pictures: torch.Tensor) -> np.ndarray:
        """RGB `(B, 3, s, s)` in [0, 1] → `(B, 68, 2)` x, y in px of the pictures, iBUG order."""
        left, top, side = self.square
        scale = pictures.shape[-1] / _TEMPLATE
        rows, columns = (slice(round(start * scale), round((start + side) * scale)) for start in (top, left))
        crops = pictures[..., rows, columns].to(self.device).float()
        x = F.interpolate(crops, (_INPUT, _INPUT), mode="bilinear", align_corners=False, antialias=True)
        x = x - x.new_tensor(_MEAN_COLOUR).view(1, 3, 1, 1) / 255
        for stage in range(_STAGES):
            x = self._stage(x, f"dense{stage}")
        # 7×7 cells are left: all of them
        points = x.mean((2, 3)) @ self.tensors["fc.weights"] + self.tensors["fc.bias"]
        points = points.view(-1, 68, 2) * side + points.new_tensor([left, top])
        return ((points + 0.5) * scale - 0.5).cpu().numpy()  # pixel centres lie at whole numbers

    def _stage(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """Halves the side; each convolution sees the sum of all before it (DenseNet's way, by sums)."""
        total = out = F.relu(self._convolve(x, f"{name}.conv0", stride=2))
        for number in (1, 2, 3):
            total = total + self._convolve(out, f"{name}.conv{number}", stride=1)
            out = F.relu(total)
        return out

    def _convolve(self, x: torch.Tensor, name: str, *, stride: int) -> torch.Tensor:
        """Separable, but for the very first of all; padded as TensorFlow's "same": the odd pixel right and below."""
        x = F.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
        bias = self.tensors[f"{name}.bias"]
        if (plain := self.tensors.get(f"{name}.filters")) is not None:
            return F.conv2d(x, plain, bias, stride)
        depthwise = self.tensors[f"{name}.depthwise_filter"]
        x = F.conv2d(x, depthwise, None, stride, groups=x.shape[1])
        return F.conv2d(x, self.tensors[f"{name}.pointwise_filter"], bias)
