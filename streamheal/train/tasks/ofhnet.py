"""OFHNet: the inpainting at LR size, then the upsampling against a critic and a landmark network, then both."""

import torch

from streamheal.heal.networks.layers import resample
from streamheal.train.criteria import losses
from streamheal.train.criteria.critics import OfhDiscriminator
from streamheal.train.task import Context, Losses, half
from streamheal.train.tasks.pairs_task import PairsTask

WEIGHTS = {
    "inpainting": 1.0,  # of l_R1, eq. 1
    "pixel": 1.0,  # of l_R2 in eq. 6, which prints l_R1: nothing that it trains could change that
    # alpha and beta of eq. 6, which the paper doesn't tell. alpha is SRGAN's and FCSR-GAN's. With this beta the
    # structure costs a tenth or so of what the pixels do.
    "adversarial": 1e-3,
    "structure": 0.05,
    "absolute": 0.0,  # ours, for short trainings: L1 beside both squares, times this
}
PARTS = ("inpainting", "upsampling")


class OfhNetTask(PairsTask):
    """A stage lowers the losses of the parts that it trains: l_R1 those of the inpainting, eq. 6 of the upsampling."""

    game = "log"

    def __init__(self, context: Context, *, critic_width: int = 32, **shared):
        """`shared`: of `PairsTask`, but for `size`, which is the paper's, and `perceptual_share`: VGG has no part."""
        super().__init__(context, WEIGHTS, {"ofhnet": 1.0}, size=16, perceptual_share=1.0, **shared)
        if self.weights["adversarial"]:
            self.critics.face = OfhDiscriminator(width=critic_width)

    def losses(self, network, batch, gen, stage):
        lr, visible, batch = self.draw(batch, gen, stage)
        learns = stage.train or PARTS
        with half(gen.device):
            steps = network.steps(lr, visible, upsample="upsampling" in learns)
        parts = {}
        if "inpainting" in learns:
            truth = resample(batch.pictures, network.lr_size)
            parts["inpainting"] = self.weights["inpainting"] * losses.squared_beside_absolute(
                steps.inpainted, truth, self.weights["absolute"]
            )
        if steps.hr is None:
            return Losses(parts)
        parts |= self._upsampling(steps.hr, batch.pictures)
        return self.against_critic(parts, steps.hr, batch.pictures, stage, gen)

    def _upsampling(self, hr: torch.Tensor, truth: torch.Tensor) -> dict[str, torch.Tensor]:
        """Eq. 6 without its critic."""
        parts = {"pixel": self.weights["pixel"] * losses.squared_beside_absolute(hr, truth, self.weights["absolute"])}
        if self.weights["structure"]:  # l_S: network A's last layer on both faces
            where = self.priors.landmark_regressor  # not in half precision, which tells 1/256 of the side apart
            parts["structure"] = self.weights["structure"] * losses.landmarks(where(hr), where(truth))
        return parts
