"""JDSR-GAN ("Joint Denoising and Super-Resolution", masked faces): blind, nobody tells it where the mask is.

A noise estimator guesses how much of each LR pixel is hidden, a denoiser takes the mask off at LR size, FSRNet with
channel attention draws the face at 128 px. The estimate is our occlusion map for whoever needs one.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from streamheal.heal.networks import fsrnet
from streamheal.heal.networks.fsrnet import FsrFaces, FsrNet, FsrNetConfig
from streamheal.heal.networks.layers import SqueezeExcite, fill_hidden, resample
from streamheal.heal.networks.lr_trunk import evidence
from streamheal.heal.networks.restored import Restored

HR_SIZE = 128


@dataclass(frozen=True, slots=True)
class JdsrGanConfig:
    """Defaults: slim, 16×16 → 128×128."""

    # 16 or 32: the paper's ×8 and ×4. It feeds FSRNet, which needs 128 px, and leaves open where the denoiser works:
    # at LR size it costs a 64th of what it would at 128 px.
    lr_size: int = 16
    estimator_width: int = 32  # CBDNet's, as is the depth
    estimator_depth: int = 5
    widths: tuple[int, ...] = (64, 128, 256)  # of the denoiser at full, half, quarter size: CBDNet's, cheap at LR size
    convs: tuple[int, ...] = (2, 3, 6)  # convolutions at each of them on the way down; as many again on the way up
    # "Channel attention to each convolution block" names no ratio: 16 is Hu's, 2018. One after each block of one size,
    # one after each hidden layer of the estimator; the same in the residual blocks of FSRNet.
    squeeze: int = 16
    upsampling: FsrNetConfig = field(default_factory=dict)  # fields of FsrNetConfig; squeeze and residual as here
    # Ours, so that minutes of training are enough: (1) the denoiser's last layer and FSRNet's start at zero, the
    # untrained network is the bicubic picture; (2) what the estimator calls hidden is filled smoothly before the
    # denoiser adds to it, so the mask's own colours needn't be subtracted; (3) the estimate ends in a sigmoid: it is a
    # share of a pixel, and CBDNet's last ReLU learns nothing more once it is below zero everywhere.
    ours: bool = True

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))
        object.__setattr__(self, "convs", tuple(self.convs))
        if isinstance(self.upsampling, dict):
            said = {"squeeze": self.squeeze, "residual": self.ours} | self.upsampling
            object.__setattr__(self, "upsampling", FsrNetConfig(**said))
        if self.lr_size not in (16, 32):
            raise ValueError(f"lr_size {self.lr_size}; allowed: 16 (×8), 32 (×4)")
        if len(self.widths) != len(self.convs) or len(self.widths) < 2:
            raise ValueError(f"widths {self.widths} and convs {self.convs} must be of one length, at least 2")
        if self.lr_size % 2 ** (len(self.widths) - 1):
            raise ValueError(f"lr_size {self.lr_size} can't be halved {len(self.widths) - 1} times (widths)")
        if self.estimator_depth < 2:
            raise ValueError(f"estimator_depth {self.estimator_depth}; it must be at least 2")


PAPER: dict = {"upsampling": fsrnet.PAPER, "ours": False}
"""4.4 M parameters in the denoising, 27.6 M in the upsampling."""


@dataclass(slots=True)
class JdsrSteps:
    """All that the losses look at."""

    noise: torch.Tensor  # (B, 3, s, s) γ̂, how much of each LR value is hidden
    denoised: torch.Tensor  # (B, 3, s, s), unclamped
    faces: FsrFaces


class NoiseEstimator(nn.Sequential):
    """CNN_E of eq. 1 (CBDNet's, with channel attention): `(B, 3, s, s)` → how hidden each value is, 0 = not at all."""

    def __init__(self, config: JdsrGanConfig):
        width, layers = config.estimator_width, []
        for inside in (3, *[width] * (config.estimator_depth - 2)):
            layers += [nn.Conv2d(inside, width, 3, padding=1), nn.ReLU(), SqueezeExcite(width, config.squeeze)]
        leave = nn.Conv2d(width, 3, 3, padding=1)
        if config.ours:
            nn.init.zeros_(leave.weight)
            nn.init.constant_(leave.bias, -1.5)  # 0.18: at first nothing is hidden enough to be filled
        super().__init__(*layers, leave, nn.Sigmoid() if config.ours else nn.ReLU())


class Denoiser(nn.Module):
    """CNN_D of eq. 1: CBDNet's U-Net (additions for skips) with channel attention after each block."""

    def __init__(self, config: JdsrGanConfig):
        super().__init__()
        widths, convs = config.widths, config.convs

        def block(inside: int, width: int, count: int) -> nn.Sequential:
            layers = []
            for one in (inside, *[width] * (count - 1)):
                layers += [nn.Conv2d(one, width, 3, padding=1), nn.ReLU()]
            return nn.Sequential(*layers, SqueezeExcite(width, config.squeeze))

        self.down = nn.ModuleList(block(a, b, n) for a, b, n in zip((6, *widths), widths, convs, strict=False))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(block(a, a, n) for a, n in zip(widths, convs[:-1], strict=False))
        self.leave = nn.Conv2d(widths[0], 3, 1)
        if config.ours:
            nn.init.zeros_(self.leave.weight)
            nn.init.zeros_(self.leave.bias)

    def forward(self, noise: torch.Tensor, lr: torch.Tensor) -> torch.Tensor:
        """Both `(B, 3, s, s)` → what to add to the picture."""
        x, skips = self.down[0](torch.cat([noise, lr * 2 - 1], 1)), []
        for down in self.down[1:]:
            skips.append(x)
            x = down(F.avg_pool2d(x, 2))
        for level in reversed(range(len(skips))):
            x = self.up[level](self.grow[level](x) + skips[level])
        return self.leave(x)


class Denoising(nn.Module):
    """γ̂ = CNN_E(I), then I_D = CNN_D([γ̂, I]) + I (eq. 1, which prints CNN_D for both)."""

    def __init__(self, config: JdsrGanConfig):
        super().__init__()
        self.ours = config.ours
        self.estimator = NoiseEstimator(config)
        self.denoiser = Denoiser(config)

    def forward(self, lr: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`(B, 3, s, s)` in [0, 1] → γ̂ and the LR face without its mask, unclamped."""
        noise = self.estimator(lr)
        added = self.denoiser(noise, lr)
        return noise, added + (fill_hidden(lr, trusted(noise)) if self.ours else lr)


def trusted(noise: torch.Tensor) -> torch.Tensor:
    """γ̂ `(B, 3, s, s)` → which pixels the filling may keep `(B, 1, s, s)`: all of one that is hidden up to a quarter,
    nothing of one hidden from three quarters on. The losses don't reach the estimator through it."""
    return (1.5 - 2 * noise.detach().float().mean(1, keepdim=True)).clamp(0, 1)


class JdsrGan(nn.Module):
    """RGB at LR size → RGB 128×128, and where the face was hidden."""

    blind = True  # `visible` is there for the interface alone

    def __init__(self, config: JdsrGanConfig = JdsrGanConfig()):
        super().__init__()
        self.config = config
        self.lr_size, self.hr_size = config.lr_size, HR_SIZE
        self.denoising = Denoising(config)
        self.upsampling = FsrNet(config.upsampling)

    def steps(self, lr: torch.Tensor) -> JdsrSteps:
        """`(B, 3, s, s)` in [0, 1], s = config.lr_size → γ̂, the LR face without its mask, and FSRNet's faces."""
        noise, denoised = self.denoising(lr)
        return JdsrSteps(noise, denoised, self.upsampling(resample(denoised, HR_SIZE)))

    def forward(self, lr: torch.Tensor, visible: torch.Tensor) -> Restored:
        """`lr` (B, 3, s, s) in [0, 1] with the occluder's own pixels, s = config.lr_size → Restored.

        `visible` (B, 1, s, s) is what other restorers take; this one looks for itself and ignores it. Its answer is in
        `occlusion`, and `evidence` follows from that. Raises ValueError on another size.
        """
        size = self.config.lr_size
        if lr.shape[1:] != (3, size, size) or visible.shape != (lr.shape[0], 1, size, size):
            raise ValueError(
                f"lr {tuple(lr.shape)} and visible {tuple(visible.shape)}: this network takes (B, 3, {size}, {size}) "
                f"and (B, 1, {size}, {size}); resample the crop first"
            )
        steps = self.steps(lr)
        hr = steps.faces.hr.float()
        hidden = steps.noise.float().mean(1, keepdim=True).clamp(0, 1)
        return Restored(
            hr=hr if self.training else hr.clamp(0, 1),
            lr_completed=steps.denoised.float().clamp(0, 1),
            heatmaps=steps.faces.heatmaps,
            parsing=steps.faces.parsing,
            occlusion=hidden,
            evidence=evidence(1 - hidden),
        )
