"""OFHNet: the inpainting at LR size, then the upsampling against a critic and a landmark network, then both."""

import torch
from torch import nn

from streamheal.heal.networks.layers import resample
from streamheal.train import adversarial, losses
from streamheal.train.critics import OfhDiscriminator
from streamheal.train.pairs import Pairs
from streamheal.train.task import Context, Losses, half, weights_of

WEIGHTS = {
    "inpainting": 1.0,  # of l_R1, eq. 1
    "pixel": 1.0,  # of l_R2 in eq. 6, which prints l_R1: nothing that it trains could change that
    # alpha and beta of eq. 6, which the paper doesn't tell. alpha is SRGAN's and FCSR-GAN's. With this beta the
    # structure costs a tenth or so of what the pixels do.
    "adversarial": 1e-3,
    "structure": 0.05,
}
PARTS = ("inpainting", "upsampling")


class OfhNetTask:
    """A stage lowers the losses of the parts that it trains: l_R1 those of the inpainting, eq. 6 of the upsampling."""

    def __init__(
        self,
        context: Context,
        *,
        shares: dict[str, float] | None = None,
        group: int = 8,
        imperfect: float = 0.4,
        critic_width: int = 32,
        weights: dict[str, float] | None = None,
    ):
        """shares: of protocols, the paper's own alone by default. group, imperfect: as in `Pairs`."""
        self.pairs = Pairs(context.bank, shares or {"ofhnet": 1.0}, 16, group, imperfect)
        self.priors, self.weights = context.priors, weights_of(WEIGHTS, weights)
        self.extra, self.critics = nn.Module(), nn.Module()
        if self.weights["adversarial"]:
            self.critics.face = OfhDiscriminator(width=critic_width)
        self.look = self.pairs.look

    def losses(self, network, batch, gen, stage):
        lr, visible = self.pairs.draw(batch, gen)
        learns = stage.train or PARTS
        with half(gen.device):
            steps = network.steps(lr, visible, upsample="upsampling" in learns)
        parts = {}
        if "inpainting" in learns:
            truth = resample(batch.pictures, network.lr_size)
            parts["inpainting"] = self.weights["inpainting"] * losses.squared(steps.inpainted, truth)
        if steps.hr is None:
            return Losses(parts)
        parts |= self._upsampling(steps.hr, batch.pictures)
        if not (stage.adversarial and self.weights["adversarial"]):
            return Losses(parts)
        parts["adversarial"] = self.weights["adversarial"] * adversarial.log_generator(self._score(steps.hr))
        fake = steps.hr.detach()
        return Losses(parts, lambda: {"critic": adversarial.log_critic(self._score(batch.pictures), self._score(fake))})

    def _upsampling(self, hr: torch.Tensor, truth: torch.Tensor) -> dict[str, torch.Tensor]:
        """Eq. 6 without its critic."""
        parts = {"pixel": self.weights["pixel"] * losses.squared(hr, truth)}
        if self.weights["structure"]:  # l_S: network A's last layer on both faces
            where = self.priors.landmark_regressor  # not in half precision, which tells 1/256 of the side apart
            parts["structure"] = self.weights["structure"] * losses.landmarks(where(hr), where(truth))
        return parts

    def _score(self, faces: torch.Tensor) -> torch.Tensor:
        with half(faces.device):
            return self.critics.face(faces)
