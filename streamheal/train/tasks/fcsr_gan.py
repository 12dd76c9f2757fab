"""FCSR-GAN: the completion at LR size by L_fc, then the upsampling by L_sr, then both together against a critic."""

from typing import Literal

import torch

from streamheal.heal.networks.fcsr_gan import FcsrGan, Steps
from streamheal.heal.networks.layers import resample
from streamheal.train.criteria import adversarial, losses
from streamheal.train.criteria.critics import FcsrCritic, PatchDiscriminator
from streamheal.train.criteria.face_prior import FacePrior, LandmarkLoss, ParsingLabels
from streamheal.train.criteria.perceptual import POOLS
from streamheal.train.task import Batch, Context, Losses, half, one_of
from streamheal.train.tasks.pairs_task import PairsTask

WEIGHTS = {
    # L_fc, of the small face. The paper's weights; all losses are means, which the paper leaves open.
    "style": 10.0,
    "lr_perceptual": 0.1,
    "lr_pixel": 0.1,
    "lr_smooth": 1.0,
    # L_sr
    "perceptual": 0.01,
    "pixel": 1.0,
    "smooth": 0.01,
    # Ours, and the authors' code: the prior and the fine encoder read FSRNet's coarse face, so it must be one.
    "coarse": 1.0,
    # alpha and beta of the face prior, which the paper keeps to itself; JDSR-GAN cites it with these.
    "landmarks": 1.0,
    "parsing": 0.1,
    "adversarial": 1e-3,
}

COMPLETION, UPSAMPLING = "completion", "upsampling"


class FcsrGanTask(PairsTask):
    """Which losses count follows from the parts that a stage trains."""

    def __init__(
        self,
        context: Context,
        *,
        parsing_labels: ParsingLabels = "parser",
        landmark_loss: LandmarkLoss = "cross-entropy",
        # Ours: hinge on PatchGAN, which the paper names, with a spectral norm. "log": the paper's loss. "wgan-gp":
        # the authors' code, with its own critic.
        game: Literal["hinge", "log", "wgan-gp"] = "hinge",
        critic_width: int = 64,
        **shared,
    ):
        """`shared`: of `PairsTask`."""
        super().__init__(context, WEIGHTS, {"fcsr": 1.0}, **shared)
        self.face_prior = FacePrior(context.priors, labels=parsing_labels, landmark_loss=landmark_loss)
        self.game = one_of("game", game, adversarial.GAMES)
        if self.weights["adversarial"]:
            kind = FcsrCritic if game == "wgan-gp" else PatchDiscriminator
            self.critics.face = kind(3, width=critic_width)

    def losses(self, network: FcsrGan, batch, gen, stage):
        lr, visible, batch = self.draw(batch, gen, stage)
        learns = stage.train or (COMPLETION, UPSAMPLING)
        with half(gen.device):
            if UPSAMPLING in learns:
                steps = network.steps(lr, visible)
            else:
                steps = Steps(*network.complete(lr, visible), hr=None)
        parts = {}
        if COMPLETION in learns:
            small = resample(batch.pictures, network.lr_size)
            parts |= self.completion(steps, resample(small, network.completion_size))
        if UPSAMPLING in learns:
            parts |= self.upsampling(steps, batch)
        parts = {name: self.weights[name] * part for name, part in parts.items()}
        if UPSAMPLING not in learns:
            return Losses(parts)
        return self.against_critic(parts, steps.hr, batch.pictures, stage, gen)

    def completion(self, steps: Steps, small: torch.Tensor) -> dict[str, torch.Tensor]:
        """L_fc: style and features of the raw face and of the composite, pixels of the raw one, smooth composite."""
        parts = {}
        if self.weights["style"] or self.weights["lr_perceptual"]:
            layers = POOLS[:2] if small.shape[-1] < 32 else POOLS  # of a 16 px face the third leaves 2×2
            wanted = self.features(self.some(small), layers)
            found = [self.features(self.some(face), layers) for face in (steps.raw, steps.completed)]
            parts["style"] = sum(losses.style(one, wanted) for one in found)
            parts["lr_perceptual"] = sum(losses.perceptual(one, wanted) for one in found)
        parts["lr_pixel"] = losses.pixel(steps.raw, small)
        parts["lr_smooth"] = losses.total_variation(steps.completed)
        return parts

    def upsampling(self, steps: Steps, batch: Batch) -> dict[str, torch.Tensor]:
        """L_sr: features, pixels, smoothness of the fine face, pixels of the coarse one, and the face prior."""
        parts = {"pixel": losses.pixel(steps.hr, batch.pictures), "smooth": losses.total_variation(steps.hr)}
        if self.weights["perceptual"]:
            parts["perceptual"] = self.perceptual(steps.hr, batch.pictures)
        if steps.coarse is not None:
            parts["coarse"] = losses.pixel(steps.coarse, batch.pictures)
        draws = steps.heatmaps is not None  # FSRNet; the paper has no prior for SRResNet, so teachers look at its faces
        if self.weights["landmarks"]:
            prior = self.face_prior
            loss = prior.landmarks(steps.heatmaps, batch) if draws else prior.seen_landmarks(steps.hr, batch)
            parts["landmarks"] = loss
        if self.weights["parsing"]:
            prior = self.face_prior
            parts["parsing"] = prior.parsing(steps.parsing, batch) if draws else prior.seen_parsing(steps.hr, batch)
        return parts
