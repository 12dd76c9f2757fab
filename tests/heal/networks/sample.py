"""Each network, small enough to be tried in a moment, and pictures to try it on."""

import torch

from streamheal.heal import networks

SMALL = {
    "lr-trunk": {"width": 16, "blocks_before": 1, "blocks_after": 1, "up_widths": [8, 8, 4]},
    "fcsr-gan": {
        "pconv": {"widths": [4, 8, 8, 8]},
        "fsrnet": {"channels": 4, "encoder_channels": 4, "planes": 4, "encoder_blocks": 1, "depth": 2},
    },
    "ofhnet": {"encoder_widths": [4] * 4, "decoder_widths": [4] * 2, "up_widths": [4] * 3, "tail_widths": [4] * 2},
    "pro-uigan": {
        "width": 8,
        "attention_width": 4,
        "before_widths": [8] * 3,
        "before_blocks": [1, 0, 0],
        "after_widths": [4] * 3,
        "after_blocks": [1] * 3,
        "tail_widths": [4, 4],
        "fan_width": 8,
        "bottleneck": "pictures",  # "features" leaves the heads to their own losses: no way from them to the face
    },
    "fd-stackgan": {"width": 4},
    "jdsr-gan": {
        "estimator_width": 8,
        "widths": [8, 12, 16],
        "convs": [1, 1, 1],
        "upsampling": {
            "channels": 4,
            "encoder_channels": 8,
            "planes": 8,
            "coarse_blocks": 1,
            "encoder_blocks": 1,
            "decoder_blocks": 1,
            "hourglasses": 1,
            "depth": 2,
        },
    },
    "unet": {"size": 32, "widths": [8, 12, 16]},
    "embedder": {"widths": [8, 12], "blocks": [1, 1]},
    "fan-lite": {"width": 8},
    "face-parser": {"size": 64, "widths": [8, 12, 16]},
    "landmark-regressor": {"size": 16, "widths": [4, 8], "hidden": 16},
    "identity-net": {"size": 32, "widths": [8, 12], "blocks": [1, 1]},
}
"""System → its config."""

SIZES = {
    "lr-trunk": 16,
    "fcsr-gan": 16,
    "unet": 24,
    "embedder": 24,
    "fan-lite": 24,
    "face-parser": 24,
    "landmark-regressor": 24,
    "ofhnet": 16,
    "pro-uigan": 16,
    "fd-stackgan": 128,
    "jdsr-gan": 16,
    "identity-net": 24,
}
"""System → side of a picture that it takes."""


def build(system: str) -> torch.nn.Module:
    torch.manual_seed(0)
    network = networks.build(system, SMALL[system])
    stir(network)
    return network.eval()


def stir(network: torch.nn.Module, std: float = 0.1) -> None:
    """Nothing stays at its zero start: an untrained restorer is its skip alone."""
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=std)


def faces(count: int, size: int) -> torch.Tensor:
    """`(count, 3, size, size)` of noise in [0, 1], the same each time."""
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def millions(network: torch.nn.Module) -> float:
    """Its parameters."""
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6
