"""FD-StackGAN: the base network, then the refining one behind it, each against a critic of its own, then both."""

import torch

from streamheal.train.criteria import adversarial, losses
from streamheal.train.criteria.critics import PatchDiscriminator
from streamheal.train.task import Context, Losses, half
from streamheal.train.tasks.pairs_task import PairsTask

WEIGHTS = {
    # stage I: a = 100 for L1 and for SSIM, b = 33 for the perceptual loss
    "base pixel": 100.0,
    "base ssim": 100.0,
    "base perceptual": 33.0,
    "base adversarial": 1.0,
    # stage II: a = 10, b = 3.3, so that the critic weighs ten times as much
    "refine pixel": 10.0,
    "refine ssim": 10.0,
    "refine perceptual": 3.3,
    "refine adversarial": 1.0,
}
# The paper compares features of VGG-19 and doesn't say which. Up to here VGG-16, which is at hand, has the same layers.
LAYERS = ("relu1_2", "relu2_2", "relu3_2")
PARTS = ("base", "refine")


class FdStackGanTask(PairsTask):
    """A stage lowers the losses of the parts that it trains.

    A stage without critics has no perceptual loss either: it is most of the work, and the first half of a short
    training is better spent on pixels. The paper has all its losses all the time, and 1 000 epochs.
    """

    def __init__(self, context: Context, *, critic_width: int = 64, **shared):
        """`shared`: of `PairsTask`, but for `size`: the shards', which must be the network's resolution too. Protocol
        "cctv" is a camera's crop of any size, enlarged."""
        super().__init__(context, WEIGHTS, {"fd": 1.0}, size=context.faces.size, **shared)
        for part in PARTS:
            if self.weights[f"{part} adversarial"]:
                # patches of 34 px (the paper: 32) of the face and, beside it, of what it is conditioned on
                self.critics.add_module(part, PatchDiscriminator(6, critic_width, n_layers=2))

    def losses(self, network, batch, gen, stage):
        occluded, visible, batch = self.draw(batch, gen, stage)
        learns = stage.train or PARTS
        with half(gen.device):
            steps = network.steps(occluded, visible, refine="refine" in learns)
        drawn = {"base": steps.coarse, "refine": steps.refined}
        parts, judged = {}, []
        for part in learns:
            parts |= self._likeness(part, drawn[part], batch.pictures, looks=stage.adversarial)
            if stage.adversarial and (weight := self.weights[f"{part} adversarial"]):
                score = self._score(part, drawn[part], occluded)
                parts[f"{part} adversarial"] = weight * adversarial.log_generator(score)
                judged.append((part, drawn[part].detach()))

        def critics() -> dict[str, torch.Tensor]:
            return {
                f"{part} critic": adversarial.log_critic(
                    self._score(part, batch.pictures, occluded), self._score(part, fake, occluded)
                )
                for part, fake in judged
            }

        return Losses(parts, critics if judged else None)

    def _likeness(self, part: str, drawn: torch.Tensor, truth: torch.Tensor, *, looks: bool) -> dict[str, torch.Tensor]:
        """a·(L1 + 1 - SSIM), and with `looks` + b·Σ|φ - φ|."""
        parts = {
            f"{part} pixel": self.weights[f"{part} pixel"] * losses.pixel(drawn, truth),
            f"{part} ssim": self.weights[f"{part} ssim"] * losses.ssim(drawn, truth),
        }
        if looks and (weight := self.weights[f"{part} perceptual"]):
            parts[f"{part} perceptual"] = weight * self.perceptual(drawn, truth, LAYERS)
        return parts

    def _score(self, part: str, faces: torch.Tensor, occluded: torch.Tensor) -> torch.Tensor:
        """D(I, I_o) of eq. 7. Eq. 9 repeats the first stage's output where a condition should be: I_o there as well."""
        return self.score(part, torch.cat([faces, occluded], 1))
