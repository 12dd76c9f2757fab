"""The project's own trunk: pixels first, then who it is and how it looks, then a critic's opinion."""

import math

from torch import nn

from streamheal.train import adversarial, losses
from streamheal.train.critics import PatchDiscriminator
from streamheal.train.pairs import Pairs
from streamheal.train.protocols import PROTOCOLS
from streamheal.train.task import Context, Losses, half, weights_of

# L1 alone gives the best PSNR; the others are switched on by recipes that finish a trained network.
WEIGHTS = {"pixel": 1.0, "identity": 0.0, "perceptual": 0.0, "adversarial": 0.0}


class RestorerTask:
    """Pairs of mixed protocols → HR."""

    def __init__(
        self,
        context: Context,
        *,
        size: int = 16,
        shares: dict[str, float] | None = None,
        group: int = 8,
        imperfect: float = 0.4,
        weights: dict[str, float] | None = None,
        perceptual_share: float = 1.0,
    ):
        """`perceptual_share`: of each batch, what the identity and the perceptual network look at; on a CPU each costs
        more than the trunk, and more pictures are worth more."""
        self.pairs = Pairs(context.bank, shares or dict.fromkeys(PROTOCOLS, 1.0), size, group, imperfect)
        self.priors, self.weights = context.priors, weights_of(WEIGHTS, weights)
        self.perceptual_share = perceptual_share
        self.extra, self.critics = nn.Module(), nn.Module()
        if self.weights["adversarial"]:
            self.critics.patch = PatchDiscriminator(3, width=32)
        self.look = self.pairs.look

    def losses(self, network, batch, gen, stage):
        lr, visible = self.pairs.draw(batch, gen)
        with half(gen.device):
            hr = network(lr, visible).hr
        hr, weights = hr.float(), self.weights
        parts = {"pixel": weights["pixel"] * losses.pixel(hr, batch.pictures)}
        looked_at = slice(math.ceil(len(hr) * self.perceptual_share))
        if weights["identity"]:
            with half(gen.device):
                embedder = self.priors.embedder
                own, wanted = embedder(hr[looked_at].clamp(0, 1)), embedder(batch.pictures[looked_at])
            parts["identity"] = weights["identity"] * losses.identity(own, wanted)
        if weights["perceptual"]:
            with half(gen.device):
                own, wanted = self.priors.phi(hr[looked_at]), self.priors.phi(batch.pictures[looked_at])
            parts["perceptual"] = weights["perceptual"] * losses.perceptual(own, wanted)
        if not (stage.adversarial and weights["adversarial"]):
            return Losses(parts)
        patch = self.critics.patch
        parts["adversarial"] = weights["adversarial"] * adversarial.hinge_generator(patch(hr))
        fake = hr.detach()
        return Losses(parts, lambda: {"critic": adversarial.hinge_critic(patch(batch.pictures), patch(fake))})
