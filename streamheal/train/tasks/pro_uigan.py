"""Pro-UIGAN: the first block, then the second, then all three together, each against critics of its own."""

from functools import partial
from typing import get_args

import torch

from streamheal.errors import ConfigError
from streamheal.heal.networks.landmark_maps import GROUPS
from streamheal.heal.networks.layers import resample
from streamheal.heal.networks.pro_uigan import BLOCK_LANDMARKS, ProUigan, Step
from streamheal.train.criteria import adversarial, losses
from streamheal.train.criteria.critics import ProUiGlobal, ProUiLocal
from streamheal.train.criteria.face_prior import LandmarkLoss, landmark_maps
from streamheal.train.criteria.perceptual import POOLS
from streamheal.train.samples import heatmaps
from streamheal.train.samples.degradation import uniform
from streamheal.train.task import Context, Losses, half, one_of
from streamheal.train.tasks.pairs_task import PairsTask

# The paper's weights; all losses are means, which it leaves open. A number at the end is the block's.
WEIGHTS = {
    "pixel": 4.0,  # L_mse has 1, over pictures in [-1, 1], which makes squares four times as large
    "feature": 0.01,  # alpha
    "heatmaps": 1.0,  # L_H
    "style1": 10.0,
    "style2": 10.0,
    "style3": 1.0,
    "adversarial": 0.01,  # psi
    # Ours, and the authors' code: L_mse and L_feat also on the face that a block's attention sees, times this. Without
    # them nothing says what that face should be.
    "completed": 1.0,
    "absolute": 0.0,  # ours, for short trainings: L1 beside each of these squares, times this and "pixel"
}
FEATURE = "relu3_2"  # the paper's layer, there of VGG-19; up to it both are built alike
BLOCKS = ("block1", "block2", "block3")


class ProUiganTask(PairsTask):
    """A stage lowers the losses of the blocks that it trains: the paper's L_net1 to L_net3, L_G where it trains all."""

    def __init__(
        self,
        context: Context,
        *,
        # Ours: how often a group of landmarks (jaw, brows, …) of a face is drawn where it truly is, in place of the
        # landmark network's guess. That one reads what the face already shows, so its maps alone hardly teach a block
        # to obey them, which is what editing asks.
        true_priors: float = 0.3,
        # The paper squares the error. From a sigmoid near 0, as nearly all of a map is, that gives next to no gradient.
        landmark_loss: LandmarkLoss = "squared",
        critic_width: int = 64,
        **shared,
    ):
        """`shared`: of `PairsTask`, but for `size`, which is the paper's."""
        own = {"pro-uigan-square": 1.0, "pro-uigan-irregular": 1.0}
        super().__init__(context, WEIGHTS, own, size=16, **shared)
        if not 0 <= true_priors <= 1:
            raise ConfigError(f"options: true_priors: {true_priors}; it must be from 0 to 1")
        self.true_priors = true_priors
        self.landmark_loss = one_of("landmark_loss", landmark_loss, get_args(LandmarkLoss))
        if self.weights["adversarial"]:
            self.critics.local1 = ProUiLocal(width=critic_width, pairs=2)
            self.critics.local3 = ProUiLocal(width=critic_width)
            self.critics.global3 = ProUiGlobal(width=critic_width)

    def losses(self, network: ProUigan, batch, gen, stage):
        lr, visible, batch = self.draw(batch, gen, stage)
        learning = [i for i, block in enumerate(BLOCKS) if not stage.train or block in stage.train]
        given = self._given(batch.landmarks, gen)
        with half(gen.device):
            steps = network.steps(lr, visible, batch.landmarks, given, blocks=max(learning) + 1)
        parts = {}
        for i in learning:
            for name, part in self._block(i, steps[i], batch).items():
                parts[name] = parts.get(name, 0.0) + part
        if not (stage.adversarial and self.weights["adversarial"]):
            return Losses(parts)
        judged = [pair for i in learning for pair in self._judged(i, steps[i], batch.pictures)]
        if not judged:
            return Losses(parts)
        parts["adversarial"] = self.weights["adversarial"] * sum(
            adversarial.hinge_generator(self.score(critic, fake)) for critic, _, fake in judged
        )
        judged = [(critic, real, fake.detach()) for critic, real, fake in judged]
        return Losses(parts, lambda: {f"critic {one[0]}": self._criticise(*one) for one in judged})

    def _given(self, landmarks: torch.Tensor, gen: torch.Generator) -> torch.Tensor:
        """(B, 68) bool: which landmarks' maps are drawn from the truth. Editing gives a group at a time, too."""
        drawn = uniform((len(landmarks), len(GROUPS)), 0, 1, gen) < self.true_priors
        given = torch.zeros(landmarks.shape[:2], dtype=torch.bool, device=landmarks.device)
        for column, group in enumerate(GROUPS.values()):
            given[:, group] = drawn[:, column, None]
        return given

    def _block(self, i: int, step: Step, batch) -> dict[str, torch.Tensor]:
        """L_net of block i (0 to 2) without its critics."""
        weights, side = self.weights, step.completed.shape[-1]
        same, truth = resample(batch.pictures, side), resample(batch.pictures, 2 * side)
        wanted = heatmaps.draw(batch.landmarks[:, BLOCK_LANDMARKS[i]], batch.pictures.shape[-1], side)
        unlike = partial(losses.squared_beside_absolute, absolute=weights["absolute"])
        parts = {
            "pixel": weights["pixel"] * unlike(step.face, truth),
            "completed": weights["completed"] * weights["pixel"] * unlike(step.completed, same),
            "heatmaps": weights["heatmaps"] * landmark_maps(step.heatmaps, wanted, self.landmark_loss),
        }
        style = weights[f"style{i + 1}"]
        if not (style or weights["feature"]):
            return parts
        layers = (*POOLS, FEATURE)
        found, true = self.features(self.some(step.face), layers), self.features(self.some(truth), layers)
        parts["style"] = style * losses.style(_only(found, POOLS), _only(true, POOLS))
        parts["feature"] = losses.perceptual(_only(found, (FEATURE,)), _only(true, (FEATURE,)), power=2)
        if weights["completed"]:
            found, true = (self.features(self.some(face), (FEATURE,)) for face in (step.completed, same))
            parts["feature"] = parts["feature"] + weights["completed"] * losses.perceptual(found, true, power=2)
        parts["feature"] = weights["feature"] * parts["feature"]
        return parts

    def _judged(self, i: int, step: Step, pictures: torch.Tensor) -> list[tuple[str, torch.Tensor, torch.Tensor]]:
        """(critic, real, fake), faces in [-1, 1]: block 1 has a local critic, block 2 none, block 3 both."""
        critics = (("local1",), (), ("local3", "global3"))[i]
        real = resample(pictures, step.face.shape[-1])
        return [(critic, real * 2 - 1, step.face * 2 - 1) for critic in critics]

    def _criticise(self, critic: str, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        return adversarial.hinge_critic(self.score(critic, real), self.score(critic, fake))


def _only(features: dict[str, torch.Tensor], layers: tuple[str, ...]) -> dict[str, torch.Tensor]:
    return {name: features[name] for name in layers}
