"""What the tasks of all restorers share: pairs to learn from, frozen networks to compare faces by, a critic."""

import dataclasses

import torch
from torch import nn

from streamheal.errors import ConfigError
from streamheal.train.criteria import adversarial, losses
from streamheal.train.criteria.perceptual import POOLS
from streamheal.train.recipe import Stage
from streamheal.train.samples.pairs import Pairs
from streamheal.train.task import Batch, Context, Losses, half, weights_of

TRUST = 0.7  # in the teacher's answer; the rest is the true face's, whose detail no teacher draws


class PairsTask:
    """A restorer learns pairs of hidden and true faces. Each system's task adds its losses and its critics."""

    game = "hinge"  # between the network and its critic: a key of adversarial.GAMES
    penalty = 0.1  # of WGAN-GP's gradients: JDSR-GAN's eta, and FCSR-GAN's code; Gulrajani has 10

    def __init__(
        self,
        context: Context,
        known: dict[str, float],
        own: dict[str, float],
        *,
        size: int = 16,
        shares: dict[str, float] | None = None,
        group: int = 8,
        imperfect: float = 0.4,
        perceptual_share: float = 1.0,
        teacher: str = "",
        weights: dict[str, float] | None = None,
    ):
        """`known`: the task's losses and their weights, `weights` in their place. `own`: shares of protocols where
        `shares` says none. `size`, `group`, `imperfect`: as in `Pairs`.

        `perceptual_share`: of each batch, what frozen networks look at. VGG-16 costs more than most slim networks; a
        share gives the same gradient with more noise, and more pictures are worth more.

        `teacher`: a shipped restorer of the same input size, whose answers stand in for most of each true face until a
        critic joins (distillation). Of all faces that could be there it gives nearly the mean, which is what squares
        and L1 lead to, by way of many more pictures.
        """
        if not 0 < perceptual_share <= 1:
            raise ConfigError(f"options: perceptual_share: {perceptual_share}; above 0 and at most 1")
        self.pairs = Pairs(context.bank, shares or own, size, group, imperfect)
        self.priors, self.weights = context.priors, weights_of(known, weights)
        self.perceptual_share = perceptual_share
        self.extra, self.critics = nn.Module(), nn.Module()
        self.teacher = context.priors.restorer(teacher, size) if teacher else None

    def draw(self, batch: Batch, gen: torch.Generator, stage: Stage) -> tuple[torch.Tensor, torch.Tensor, Batch]:
        """Inputs and visibility, and what the network is to make of them."""
        lr, visible = self.pairs.draw(batch, gen)
        if self.teacher is None or stage.adversarial:
            return lr, visible, batch
        with torch.no_grad(), half(gen.device):
            said = self.teacher(lr, visible).hr.float()
        return lr, visible, dataclasses.replace(batch, pictures=torch.lerp(batch.pictures, said, TRUST))

    def look(self, network: nn.Module, batch: Batch, gen: torch.Generator) -> tuple[dict[str, float], torch.Tensor]:
        return self.pairs.look(network, batch, gen)

    def some(self, faces: torch.Tensor) -> torch.Tensor:
        """Those of a batch that frozen networks look at, at least one."""
        return faces[: max(1, round(self.perceptual_share * len(faces)))]

    def features(self, faces: torch.Tensor, layers: tuple[str, ...] = POOLS) -> dict[str, torch.Tensor]:
        """What VGG-16 sees in faces in [0, 1]."""
        with half(faces.device):
            return self.priors.phi(faces, layers)

    def perceptual(self, drawn: torch.Tensor, true: torch.Tensor, layers: tuple[str, ...] = POOLS) -> torch.Tensor:
        """How unlike some of the drawn faces look."""
        return losses.perceptual(self.features(self.some(drawn), layers), self.features(self.some(true), layers))

    def identity(self, drawn: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
        """How unlike persons the faces are."""
        with half(drawn.device):
            own, wanted = self.priors.embedder(drawn), self.priors.embedder(true)
        return losses.identity(own, wanted)

    def score(self, critic: str, faces: torch.Tensor) -> torch.Tensor:
        with half(faces.device):
            return self.critics.get_submodule(critic)(faces)

    def against_critic(
        self,
        parts: dict[str, torch.Tensor],
        drawn: torch.Tensor,
        true: torch.Tensor,
        stage: Stage,
        gen: torch.Generator,
    ) -> Losses:
        """`parts`, and in an adversarial stage what `critics.face` thinks of the drawn faces, and has to learn."""
        if not (stage.adversarial and self.weights["adversarial"]):
            return Losses(parts)
        generator, critic = adversarial.GAMES[self.game]
        parts["adversarial"] = self.weights["adversarial"] * generator(self.score("face", drawn))
        fake = drawn.detach()

        def critics() -> dict[str, torch.Tensor]:
            lost = {"critic": critic(self.score("face", true), self.score("face", fake))}
            if self.game == "wgan-gp":
                lost["penalty"] = adversarial.gradient_penalty(self.critics.face, true, fake, gen, self.penalty)
            return lost

        return Losses(parts, critics)
