"""Frozen networks that tell others what a face is: landmarks, parsing, looks, identity. Each loads when first asked."""

from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from streamheal import weights
from streamheal.errors import ConfigError, WeightsError
from streamheal.heal import networks
from streamheal.train.criteria.perceptual import Phi


class Priors:
    """Each is in eval mode, its parameters without gradient; gradients pass through to its input.

    Raises ConfigError, at the first use, where a network is not there yet.
    """

    def __init__(self, data_dir: Path, device: str | torch.device = "cpu"):
        self.data_dir, self.device = data_dir, device

    @cached_property
    def phi(self) -> nn.Module:
        """VGG-16's features, for perceptual and style losses."""
        with torch.inference_mode(False):
            return Phi.load(self.data_dir).to(self.device)

    @cached_property
    def parser(self) -> nn.Module:
        return self._shipped("face-parser")

    @cached_property
    def fan(self) -> nn.Module:
        return self._shipped("fan-lite")

    @cached_property
    def landmark_regressor(self) -> nn.Module:
        return self._shipped("landmark-regressor")

    @cached_property
    def embedder(self) -> nn.Module:
        """The identity network of the losses; the judge of identity is another one that no training sees."""
        return self._shipped("embedder")

    def restorer(self, name: str, size: int) -> nn.Module:
        """A shipped restorer to learn from, of inputs of `size` px. Raises ConfigError on another kind or size."""
        network = self._shipped(name, "leave `teacher` out")
        if (kind := weights.find(name).kind) != "restorer":
            raise ConfigError(f"options: teacher: {name} is of kind {kind}, it must be a restorer")
        if network.lr_size != size:
            raise ConfigError(f"options: teacher: {name} takes inputs of {network.lr_size} px, these are of {size}")
        return network

    def _shipped(self, name: str, otherwise: str = "set the weight of the loss to 0") -> nn.Module:
        try:
            with torch.inference_mode(False):  # who asks first may only be looking; later ones train through it
                network = networks.load(weights.find(name).path).to(self.device)
        except WeightsError as error:
            raise ConfigError(
                f"this training needs the network {name!r}: {error}; train it with configs/{name}.yaml, or {otherwise}"
            ) from error
        return network.requires_grad_(False)
