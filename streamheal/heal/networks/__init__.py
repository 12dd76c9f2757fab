"""Every network of the project: name → its configuration and its module. One file per system, one dict, no magic.

network = build("lr-trunk", {"width": 72})
network = build("ofhnet", variant="paper")          # the widths of the paper; the default is the slim one that ships
network = load(weights.find("lr-trunk-16").path)
"""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Literal

from torch import nn

from streamheal import weights
from streamheal.errors import ConfigError, WeightsError
from streamheal.heal.networks import fan_lite, fcsr_gan, fd_stackgan, identity_net, jdsr_gan, ofhnet, pro_uigan
from streamheal.heal.networks.embedder import Embedder, EmbedderConfig
from streamheal.heal.networks.face_parser import FaceParser, FaceParserConfig
from streamheal.heal.networks.fan_lite import FanLite, FanLiteConfig
from streamheal.heal.networks.fcsr_gan import FcsrGan, FcsrGanConfig
from streamheal.heal.networks.fd_stackgan import FdStackGan, FdStackGanConfig
from streamheal.heal.networks.identity_net import IdentityNet, IdentityNetConfig
from streamheal.heal.networks.jdsr_gan import JdsrGan, JdsrGanConfig
from streamheal.heal.networks.landmark_regressor import LandmarkRegressor, LandmarkRegressorConfig
from streamheal.heal.networks.lr_trunk import LrTrunk, LrTrunkConfig
from streamheal.heal.networks.ofhnet import OfhNet, OfhNetConfig
from streamheal.heal.networks.pro_uigan import ProUigan, ProUiganConfig
from streamheal.heal.networks.restored import Restored
from streamheal.heal.networks.track_fusion import TrackFusion, TrackFusionConfig
from streamheal.heal.networks.unet import OcclusionUnet, OcclusionUnetConfig

__all__ = ["NETWORKS", "PAPER", "RESTORERS", "Restored", "build", "load", "save"]

NETWORKS: dict[str, tuple[type, type[nn.Module]]] = {
    "lr-trunk": (LrTrunkConfig, LrTrunk),
    "fcsr-gan": (FcsrGanConfig, FcsrGan),
    "ofhnet": (OfhNetConfig, OfhNet),
    "pro-uigan": (ProUiganConfig, ProUigan),
    "jdsr-gan": (JdsrGanConfig, JdsrGan),
    "fd-stackgan": (FdStackGanConfig, FdStackGan),
    "track-fusion": (TrackFusionConfig, TrackFusion),
    "unet": (OcclusionUnetConfig, OcclusionUnet),
    "embedder": (EmbedderConfig, Embedder),
    "fan-lite": (FanLiteConfig, FanLite),
    "face-parser": (FaceParserConfig, FaceParser),
    "landmark-regressor": (LandmarkRegressorConfig, LandmarkRegressor),
    "identity-net": (IdentityNetConfig, IdentityNet),
}

RESTORERS = ("lr-trunk", "fcsr-gan", "ofhnet", "pro-uigan", "jdsr-gan", "fd-stackgan")
"""Those that take `(lr, visible)` and return `Restored`."""

PAPER: dict[str, dict] = {
    "fcsr-gan": fcsr_gan.PAPER,
    "ofhnet": ofhnet.PAPER,
    "pro-uigan": pro_uigan.PAPER,
    "jdsr-gan": jdsr_gan.PAPER,
    "fd-stackgan": fd_stackgan.PAPER,
    "fan-lite": fan_lite.PAPER,
    "identity-net": identity_net.PAPER,
}
"""What makes a system's config as wide as its paper's; a system that no paper has is not in it."""

Variant = Literal["slim", "paper"]


def build(system: str, config: dict | None = None, variant: Variant = "slim") -> nn.Module:
    """An untrained network: the slim one that ships, or as wide as the paper's, with `config` on top.

    Raises ConfigError on an unknown system or variant, or an unknown or impossible config field.
    """
    if system not in NETWORKS:
        raise ConfigError(f"no network {system!r}; there are: {', '.join(NETWORKS)}")
    if variant not in ("slim", "paper") or (variant == "paper" and system not in PAPER):
        known = ", ".join(("slim", "paper") if system in PAPER else ("slim",))
        raise ConfigError(f"network {system!r} has no variant {variant!r}; allowed: {known}")
    kind, module = NETWORKS[system]
    config = (PAPER[system] if variant == "paper" else {}) | (config or {})
    allowed = [field.name for field in fields(kind)]
    if unknown := sorted(set(config) - set(allowed)):
        raise ConfigError(f"network {system!r} has no {', '.join(unknown)}; allowed: {', '.join(allowed)}")
    try:
        return module(kind(**config))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"network {system!r} can't be built from {config}: {error}") from error


def load(path: Path, sha256: str | None = None) -> nn.Module:
    """The trained network in the safetensors file at `path`, in eval mode, float32.

    Raises WeightsError if the file is not whole, not pinned to `sha256`, or not of a network of this version.
    """
    tensors, header = weights.load(path, sha256)
    try:
        network = build(header["system"], header["network"])
        network.load_state_dict(tensors)
    except (KeyError, ConfigError, RuntimeError) as error:
        raise WeightsError(f"weight file {path} doesn't fit any network of this version: {error}") from error
    return network.eval()


def save(path: Path, system: str, network: nn.Module, training: dict | None = None) -> str:
    """Write `network` (fp16) with all that builds it again; `training` is told along. Returns the SHA-256."""
    header = {"system": system, "network": asdict(network.config), "training": training or {}}
    return weights.save(path, network.state_dict(), header)
