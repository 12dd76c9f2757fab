"""FCSR-GAN (Cai 2019, "Joint Face Completion and Super-resolution via Multi-task Learning").

The small face is completed, then enlarged. Either half can be exchanged: {GFC, PConv} × {SRResNet, FSRNet}.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import nn

from streamheal.heal.networks import fsrnet, gfc, partial_conv, srresnet
from streamheal.heal.networks.fsrnet import FsrNet, FsrNetConfig
from streamheal.heal.networks.gfc import Gfc, GfcConfig
from streamheal.heal.networks.layers import fill_hidden, resample, resample_map
from streamheal.heal.networks.lr_trunk import evidence
from streamheal.heal.networks.partial_conv import PConvConfig, PConvUnet
from streamheal.heal.networks.restored import Restored, check_input
from streamheal.heal.networks.srresnet import SrResNet, SrResNetConfig

HR_SIZE = 128

Completion = Literal["gfc", "pconv"]
Upsampling = Literal["srresnet", "fsrnet"]
At = Literal["lr", "hr"]
CHOICES = {"completion": get_args(Completion), "upsampling": get_args(Upsampling), "completion_at": get_args(At)}
PARTS = {"gfc": GfcConfig, "pconv": PConvConfig, "srresnet": SrResNetConfig, "fsrnet": FsrNetConfig}


@dataclass(frozen=True, slots=True)
class FcsrGanConfig:
    """Defaults: PConv + FSRNet, the paper's best (table 6), slim."""

    lr_size: int = 16  # 16 (×8) or 32 (×4)
    completion: Completion = "pconv"
    upsampling: Upsampling = "fsrnet"
    # Ours, and the paper's text: at LR size. The authors' code upsamples first, so that seven levels fit ("hr"): 65
    # times the compute for the same pixels.
    completion_at: At = "lr"
    # Of the four halves two are built; the configurations of the others lie idle.
    gfc: GfcConfig | dict = field(default_factory=GfcConfig)
    pconv: PConvConfig | dict = field(default_factory=PConvConfig)
    srresnet: SrResNetConfig | dict = field(default_factory=SrResNetConfig)
    fsrnet: FsrNetConfig | dict = field(default_factory=FsrNetConfig)

    def __post_init__(self):
        if self.lr_size not in (16, 32):
            raise ValueError(f"lr_size {self.lr_size}; allowed: 16, 32")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} {getattr(self, name)!r}; allowed: {', '.join(allowed)}")
        for name, kind in PARTS.items():  # recipes and weight files hold plain mappings
            if isinstance(getattr(self, name), dict):
                object.__setattr__(self, name, kind(**getattr(self, name)))


PAPER: dict = {
    "completion_at": "hr",
    "gfc": gfc.PAPER, "pconv": partial_conv.PAPER, "srresnet": srresnet.PAPER, "fsrnet": fsrnet.PAPER,
}  # fmt: skip
"""53.3 M parameters (PConv 25.8, FSRNet 27.5), as the authors' code has them."""


@dataclass(slots=True)
class Steps:
    """What the losses of B faces look at, s the side that completion works at. Unclamped."""

    raw: torch.Tensor  # (B, 3, s, s): I'
    completed: torch.Tensor  # (B, 3, s, s): I_LR, visible pixels as they came
    hr: torch.Tensor  # (B, 3, 128, 128)
    coarse: torch.Tensor | None = None  # (B, 3, 128, 128), FSRNet's first face
    heatmaps: torch.Tensor | None = None  # (B, K, 64, 64) in (0, 1)
    parsing: torch.Tensor | None = None  # (B, P, 64, 64) logits


class FcsrGan(nn.Module):
    """RGB and visibility at LR size → RGB 128×128, with landmark maps and parsing where FSRNet draws it."""

    blind = False  # it needs to be told what is hidden

    def __init__(self, config: FcsrGanConfig = FcsrGanConfig()):
        super().__init__()
        self.config = config
        self.lr_size, self.hr_size = config.lr_size, HR_SIZE
        self.completion_size = config.lr_size if config.completion_at == "lr" else HR_SIZE
        if config.completion == "pconv":
            self.completion = PConvUnet(config.pconv, self.completion_size)
        else:
            self.completion = Gfc(config.gfc, self.completion_size)
        if config.upsampling == "fsrnet":
            self.upsampling = FsrNet(config.fsrnet)
        else:
            self.upsampling = SrResNet(config.srresnet, config.lr_size)

    def complete(self, lr: torch.Tensor, visible: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Eq. 1-2: I' and the composite I_LR = (1 - M)⊙I' + M⊙I_occ, M = 1 where visible.

        A soft M mixes: a pixel that is half hidden shows half of what was drawn. Both at `completion_size`.
        """
        seen, mask = lr, visible
        if (
            self.completion_size != self.lr_size
        ):  # filled before: interpolation would carry hidden pixels into seen ones
            seen = resample(fill_hidden(lr, visible), self.completion_size)
            mask = resample_map(visible, self.completion_size)
        raw = self.completion(seen, mask)
        return raw, (1 - mask) * raw + mask * seen

    def steps(self, lr: torch.Tensor, visible: torch.Tensor) -> Steps:
        """Every face on the way, eq. 1-3. Arguments as for `forward`."""
        raw, completed = self.complete(lr, visible)
        if self.config.upsampling == "fsrnet":
            faces = self.upsampling(resample(completed, HR_SIZE))
            return Steps(raw, completed, faces.hr, faces.coarse, faces.heatmaps, faces.parsing)
        return Steps(raw, completed, self.upsampling(resample(completed, self.lr_size)))

    def forward(self, lr: torch.Tensor, visible: torch.Tensor) -> Restored:
        """`lr` (B, 3, s, s) and `visible` (B, 1, s, s), both in [0, 1], s = config.lr_size → Restored.

        The occluder's own pixels may stay in `lr`: what `visible` calls hidden is not read. Raises ValueError on
        another size; `layers.resample` brings any crop to it.
        """
        check_input(lr, visible, self.lr_size)
        steps = self.steps(lr, visible)
        small = resample(steps.completed, self.lr_size).clamp(0, 1)
        return Restored(
            hr=steps.hr if self.training else steps.hr.clamp(0, 1),  # a clamp while training would stop the gradient
            lr_completed=(1 - visible) * small + visible * lr,  # again: upsampled and back is not quite what came
            heatmaps=steps.heatmaps,
            parsing=steps.parsing,
            occlusion=1 - visible,
            evidence=evidence(visible),
        )
