"""The project's own trunk: pixels first, then who it is and how it looks, then a critic's opinion."""

from streamheal.train import losses
from streamheal.train.critics import PatchDiscriminator
from streamheal.train.pairs_task import PairsTask
from streamheal.train.protocols import PROTOCOLS
from streamheal.train.task import Context, half

# L1 alone gives the best PSNR; the others are switched on by recipes that finish a trained network.
WEIGHTS = {"pixel": 1.0, "identity": 0.0, "perceptual": 0.0, "adversarial": 0.0}


class RestorerTask(PairsTask):
    """Pairs of mixed protocols → HR."""

    def __init__(self, context: Context, **shared):
        """`shared`: of `PairsTask`. On a CPU the identity network, too, costs more than the trunk."""
        super().__init__(context, WEIGHTS, dict.fromkeys(PROTOCOLS, 1.0), **shared)
        if self.weights["adversarial"]:
            self.critics.face = PatchDiscriminator(3, width=32)

    def losses(self, network, batch, gen, stage):
        lr, visible = self.pairs.draw(batch, gen)
        with half(gen.device):
            hr = network(lr, visible).hr
        hr, true = hr.float(), batch.pictures
        parts = {"pixel": losses.pixel(hr, true)}
        if self.weights["identity"]:
            parts["identity"] = self.identity(self.some(hr).clamp(0, 1), self.some(true))
        if self.weights["perceptual"]:
            parts["perceptual"] = self.perceptual(hr, true)
        parts = {name: self.weights[name] * part for name, part in parts.items()}
        return self.against_critic(parts, hr, true, stage, gen)
