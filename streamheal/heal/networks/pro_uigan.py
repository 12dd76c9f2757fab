"""Pro-UIGAN (Zhang 2021): a face doubles three times, 16 → 128 px, and is inpainted on the way by its landmarks.

Each UI-block ("upsample and inpaint") lets the face and the landmark maps look at each other (CM-AM), then doubles the
face (TUM). A landmark network reads each new face, and its maps lead the next block. Whoever hands in landmarks of his
own (`edit`) gets a face with those.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from streamheal.heal.networks.fan_lite import EMPTY, LANDMARKS, FanLite, FanLiteConfig
from streamheal.heal.networks.hourglass import Norm, normalise
from streamheal.heal.networks.landmark_maps import draw
from streamheal.heal.networks.layers import fill_hidden, resample, resample_map
from streamheal.heal.networks.lr_trunk import evidence
from streamheal.heal.networks.restored import Restored, check_input
from streamheal.heal.networks.srresnet import Block as ResidualBlock

LR_SIZE, HR_SIZE = 16, 128

# Which landmarks (iBUG order) a block is led by; the code's numbers 7, 42 and 68: a 16 px face shows no more.
_EYE_CORNERS, _MOUTH_CORNERS = (36, 39, 42, 45), (48, 54)
BLOCK_LANDMARKS: tuple[tuple[int, ...], ...] = (
    (*_EYE_CORNERS, 30, *_MOUTH_CORNERS),
    (*_EYE_CORNERS, *range(27, 31), *_MOUTH_CORNERS, *range(17), *range(17, 27), *range(60, 65)),
    tuple(range(LANDMARKS)),
)

Attention = Literal["cosine", "softmax"]
Bottleneck = Literal["features", "pictures"]
Growth = Literal["bilinear", "pixelshuffle"]


@dataclass(frozen=True, slots=True)
class ProUiganConfig:
    """Defaults: slim, 0.99 M parameters and 1.1 GMAC a face; its landmark network has 0.39 M and 0.44."""

    # Ours, widths and depths: the paper's spends four fifths of its work on 64 channels at 128 px, and a CPU trains it
    # at two faces a second. Channels and layers are cheap where pixels are few, and there the hole is filled. Triples:
    # one number for each block.
    width: int = 48  # face and maps before they meet
    attention_width: int = 32  # of each stream that leaves the attention
    before_widths: tuple[int, int, int] = (64, 48, 32)  # TUM before the doubling
    before_blocks: tuple[int, int, int] = (6, 2, 0)  # residual blocks there; the paper has none
    after_widths: tuple[int, int, int] = (64, 32, 16)  # TUM after the doubling
    after_blocks: tuple[int, int, int] = (2, 2, 1)  # residual blocks there
    tail_widths: tuple[int, int] = (16, 8)  # TUM: the convolutions before RGB
    kernels: tuple[int, int, int] = (3, 3, 3)  # of these; the code has 5 in the last two
    # "cosine" is the paper's eq. of the CM-AM; "softmax" is what the released code does. See `CrossModalAttention`.
    attention: Attention = "cosine"
    # What the TUM gets: the two streams themselves (paper), or the RGB and maps that the heads make of them (code).
    bottleneck: Bottleneck = "features"
    # The paper's deconvolutions leave checkerboards; the code, too, has bilinear + convolution.
    growth: Growth = "bilinear"
    # BatchNorm's running statistics lag behind a training of minutes; SR networks lose nothing without (EDSR, 2017).
    norm: Norm = "none"
    # The paper runs FAN-4 (23.9 M parameters) three times a face, ten times the work of the network itself.
    fan_width: int = 64
    # Ours: the occluder is filled in smoothly, the visibility is one more channel, and the blocks add to the bicubic
    # picture, from zero on. Untrained, this is inpainting + bicubic; the paper's starts at noise and needs days.
    ours: bool = True

    def __post_init__(self):
        triples = ("before_widths", "before_blocks", "after_widths", "after_blocks", "kernels")
        for name, count in (*((name, 3) for name in triples), ("tail_widths", 2)):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if len(getattr(self, name)) != count:
                raise ValueError(f"{name} {getattr(self, name)}: it must hold {count} numbers")
        for name, allowed in (("attention", Attention), ("bottleneck", Bottleneck), ("growth", Growth)):
            if getattr(self, name) not in allowed.__args__:
                raise ValueError(f"{name} {getattr(self, name)!r}; allowed: {', '.join(allowed.__args__)}")
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"kernels {self.kernels}: odd ones keep a picture's size")


PAPER: dict = {
    "width": 128, "before_widths": (128,) * 3, "before_blocks": (0,) * 3, "after_widths": (64,) * 3,
    "after_blocks": (2,) * 3, "tail_widths": (32, 12), "kernels": (3, 5, 5), "norm": "batch", "fan_width": 128,
    "ours": False,
}  # fmt: skip
"""1.26 M parameters without FAN; with the code's bottleneck ("pictures") its 1.19 M."""


@dataclass(slots=True)
class Step:
    """What one UI-block got and made of B faces of s px. Faces RGB around [0, 1], unclamped; maps in [0, 1]."""

    priors: torch.Tensor  # (B, K, s, s): landmark maps that led it
    completed: torch.Tensor  # (B, 3, s, s): the face that its attention sees, supervised alone
    heatmaps: torch.Tensor  # (B, K, s, s): the landmarks that its attention sees
    face: torch.Tensor  # (B, 3, 2s, 2s): what it hands on


class ProUigan(nn.Module):
    """RGB and visibility 16×16 → RGB 128×128, with the faces and landmark maps of every step."""

    blind = False  # it needs to be told what is hidden

    def __init__(self, config: ProUiganConfig = ProUiganConfig()):
        super().__init__()
        self.config = config
        self.lr_size, self.hr_size = LR_SIZE, HR_SIZE
        self.block1, self.block2, self.block3 = (UiBlock(config, number) for number in range(3))
        self.fan = FanLite(FanLiteConfig(width=config.fan_width))
        self.train()

    def train(self, mode: bool = True) -> "ProUigan":
        """All but the landmark network, which is trained apart (`fan-lite`) and frozen here, as in the paper."""
        super().train(mode)
        self.fan.eval().requires_grad_(False)
        return self

    def steps(
        self,
        lr: torch.Tensor,
        visible: torch.Tensor,
        points: torch.Tensor | None = None,
        given: torch.Tensor | None = None,
        *,
        blocks: int = 3,
    ) -> list[Step]:
        """What the first `blocks` UI-blocks got and made; arguments as for `edit`, without points as for `forward`."""
        check_input(lr, visible, LR_SIZE)
        start = fill_hidden(lr, visible) if self.config.ours else lr
        face, steps = start, []
        for block, chosen in list(zip((self.block1, self.block2, self.block3), BLOCK_LANDMARKS, strict=True))[:blocks]:
            side = face.shape[-1]
            priors = resample_map(self._priors(face, points, given)[:, chosen], side)
            skip, seen = None, face
            if self.config.ours:
                added = face - resample(start, side)  # by the blocks before
                skip = resample(start, 2 * side) + _double(added)
                seen = torch.cat([face, resample_map(visible, side)], 1)
            steps.append(Step(priors, *block(seen, priors, skip)))
            face = steps[-1].face
        return steps

    def _priors(self, face: torch.Tensor, points: torch.Tensor | None, given: torch.Tensor | None) -> torch.Tensor:
        """All 68 maps at the landmark network's size: its own, or drawn where points are given."""
        with torch.no_grad():  # ours: gradients through it to the face before cost a fifth of the time
            maps = self.fan(face)
        if points is None:
            return maps
        drawn = draw(points, HR_SIZE, maps.shape[-1])
        return drawn if given is None else torch.where(given[..., None, None], drawn, maps)

    def forward(self, lr: torch.Tensor, visible: torch.Tensor) -> Restored:
        """`lr` (B, 3, 16, 16) and `visible` (B, 1, 16, 16), both in [0, 1] → Restored.

        `lr_completed` is a list: the completed faces at 16, 32 and 64 px; `heatmaps` are the last block's. Raises
        ValueError on another size; `layers.resample` brings any crop to it.
        """
        return self._restored(lr, visible, self.steps(lr, visible))

    def edit(
        self, lr: torch.Tensor, visible: torch.Tensor, points: torch.Tensor, given: torch.Tensor | None = None
    ) -> Restored:
        """As `forward`, but led by `points` (B, 68, 2), pixels of the 128 px face, at every block (the paper's
        attribute editing).

        given: (B, 68) bool, which of them; the others are estimated anew at each block. All by default.
        """
        return self._restored(lr, visible, self.steps(lr, visible, points, given))

    def _restored(self, lr: torch.Tensor, visible: torch.Tensor, steps: list[Step]) -> Restored:
        hr = steps[-1].face
        completed = visible * lr + (1 - visible) * steps[0].completed
        return Restored(
            hr=hr if self.training else hr.clamp(0, 1),  # a clamp while training would stop the gradient
            lr_completed=[face.clamp(0, 1) for face in (completed, steps[0].face, steps[1].face)],
            heatmaps=steps[-1].heatmaps,
            occlusion=1 - visible,
            evidence=evidence(visible),
        )


class UiBlock(nn.Module):
    """Face and landmark maps at s px → completed face and maps at s px, face at 2s px."""

    def __init__(self, config: ProUiganConfig, number: int):
        super().__init__()
        self.bottleneck = config.bottleneck
        width, stream, landmarks = config.width, config.attention_width, len(BLOCK_LANDMARKS[number])
        self.enter_face = _conv_norm_relu(4 if config.ours else 3, width, config.norm)
        self.enter_maps = _conv_norm_relu(landmarks, width, config.norm)
        self.attention = CrossModalAttention(width, stream, config.attention)
        self.face_head = nn.Conv2d(stream, 3, 3, padding=1)
        self.maps_head = nn.Conv2d(stream, landmarks, 3, padding=1)
        nn.init.constant_(self.maps_head.bias, EMPTY)
        self.grow = Tum(2 * stream if config.bottleneck == "features" else 3 + landmarks, config, number)
        if config.ours:
            for layer in (self.face_head, self.grow.leave):  # the untrained block is its skip alone
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(
        self, face: torch.Tensor, maps: torch.Tensor, skip: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Face (B, 3, s, s) in [0, 1], with its visibility as a fourth channel where there is a skip (B, 3, 2s, 2s)."""
        streams = self.attention(self.enter_face(face * 2 - 1), self.enter_maps(maps))
        completed, heatmaps = self.face_head(streams[0]), torch.sigmoid(self.maps_head(streams[1]).float())
        completed = _picture(completed, None if skip is None else face[:, :3])
        passed = streams if self.bottleneck == "features" else (completed * 2 - 1, heatmaps)
        return completed, heatmaps, _picture(self.grow(torch.cat(passed, 1)), skip)


class CrossModalAttention(nn.Module):
    """CM-AM: every position of the face looks at all of the landmark maps, and the other way round.

    With Q of the face, K of the maps, N positions and S = ⟨Q/‖Q‖, K/‖K‖⟩ (N×N): maps' stream V_face·S + K, face's
    stream V_maps·Sᵀ + Q. The paper writes "⊙" and calls it element-wise, but shapes allow a matrix product only.
    """

    def __init__(self, width: int, stream: int, attention: Attention):
        super().__init__()
        self.attend = {"cosine": cosine_attention, "softmax": softmax_attention}[attention]
        self.face, self.face_value = nn.Conv2d(width, stream, 1), nn.Conv2d(width, stream, 1)
        self.maps, self.maps_value = nn.Conv2d(width, stream, 1), nn.Conv2d(width, stream, 1)

    def forward(self, face: torch.Tensor, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Two of (B, width, s, s) → two of (B, stream, s, s)."""
        q, k = self.face(face), self.maps(maps)
        from_maps = _over_positions(self.attend, q, k, self.maps_value(maps))
        from_face = _over_positions(self.attend, k, q, self.face_value(face))
        return from_maps + q, from_face + k


def cosine_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Mean over positions j of value_j · cos(query_i, key_j); all (B, C, N).

    Without a softmax the product re-associates, V(KᵀQ) = (VKᵀ)Q: C×C instead of N×N. The paper sums over j; a mean
    (ours) has the same size at 16 and at 64 px.
    """
    query, key = F.normalize(query, dim=1, eps=1e-6), F.normalize(key, dim=1, eps=1e-6)
    return (value @ key.mT / key.shape[2]) @ query


def softmax_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Mean over positions j of value_j, weighted by softmax over j of query_i · key_j; all (B, C, N)."""
    query, key, value = (x.mT.contiguous().unsqueeze(1) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, scale=1.0).squeeze(1).mT


class Tum(nn.Module):
    """Transformative upsampling: convolutions, twice the size, residual blocks, RGB (before tanh or a skip)."""

    def __init__(self, inside: int, config: ProUiganConfig, number: int):
        super().__init__()
        before, after, kernel = config.before_widths[number], config.after_widths[number], config.kernels[number]
        first, second = config.tail_widths
        double = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        if config.growth == "pixelshuffle":
            double = nn.Sequential(nn.Conv2d(after, after * 4, 3, padding=1), nn.PixelShuffle(2))
        self.layers = nn.Sequential(
            _conv_norm_relu(inside, before, config.norm),
            *(ResidualBlock(before, config.norm) for _ in range(config.before_blocks[number])),
            _conv_norm_relu(before, after, config.norm),
            double,
            *(ResidualBlock(after, config.norm) for _ in range(config.after_blocks[number])),
            *(nn.Conv2d(after, first, kernel, padding=kernel // 2), nn.ReLU()),
            *(nn.Conv2d(first, second, kernel, padding=kernel // 2), nn.ReLU()),
        )
        self.leave = nn.Conv2d(second, 3, kernel, padding=kernel // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.leave(self.layers(x))


def _over_positions(attend: Callable, *maps: torch.Tensor) -> torch.Tensor:
    return attend(*(x.flatten(2) for x in maps)).unflatten(2, maps[0].shape[2:])


def _picture(x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
    """RGB around [0, 1]: `skip` with x added, or as the paper has it, tanh over [-1, 1]."""
    return (torch.tanh(x.float()) + 1) / 2 if skip is None else skip + x.float()


def _double(pictures: torch.Tensor) -> torch.Tensor:
    return F.interpolate(pictures, scale_factor=2.0, mode="bilinear", align_corners=False)


def _conv_norm_relu(inside: int, outside: int, norm: Norm) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inside, outside, 3, padding=1), normalise(norm, outside), nn.ReLU())
