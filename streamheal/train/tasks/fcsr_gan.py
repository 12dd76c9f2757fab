"""FCSR-GAN: the completion at LR size by L_fc, then the upsampling by L_sr, then both together against a critic."""

from typing import Literal

import torch
from torch import nn

from streamheal.errors import ConfigError
from streamheal.heal.networks.fcsr_gan import FcsrGan, Steps
from streamheal.heal.networks.layers import resample
from streamheal.train import adversarial, losses
from streamheal.train.critics import FcsrCritic, PatchDiscriminator
from streamheal.train.face_prior import FacePrior, LandmarkLoss, ParsingLabels
from streamheal.train.pairs import Pairs
from streamheal.train.perceptual import POOLS
from streamheal.train.task import Batch, Context, Losses, half, weights_of

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


class FcsrGanTask:
    """Which losses count follows from the parts that a stage trains."""

    def __init__(
        self,
        context: Context,
        *,
        size: int = 16,
        shares: dict[str, float] | None = None,  # of protocols; the paper's own alone by default
        group: int = 8,
        imperfect: float = 0.4,
        # VGG-16 costs more than the slim networks that it looks at, at 16 px as at 128. A share of each batch gives the
        # same gradient with more noise.
        perceptual_share: float = 1.0,
        parsing_labels: ParsingLabels = "parser",
        landmark_loss: LandmarkLoss = "cross-entropy",
        # Ours: hinge on PatchGAN, which the paper names, with a spectral norm. "log": the paper's loss. "wgan-gp":
        # the authors' code, with its own critic.
        game: Literal["hinge", "log", "wgan-gp"] = "hinge",
        critic_width: int = 64,
        penalty: float = 0.1,  # of WGAN-GP's gradients, as the authors' code has it
        weights: dict[str, float] | None = None,
    ):
        if game not in adversarial.GAMES:
            raise ConfigError(f"options: game: {game!r}; allowed: {', '.join(adversarial.GAMES)}")
        if not 0 < perceptual_share <= 1:
            raise ConfigError(f"options: perceptual_share: {perceptual_share}; above 0 and at most 1")
        self.pairs = Pairs(context.bank, shares or {"fcsr": 1.0}, size, group, imperfect)
        self.look = self.pairs.look
        self.priors, self.weights = context.priors, weights_of(WEIGHTS, weights)
        self.face_prior = FacePrior(context.priors, labels=parsing_labels, landmark_loss=landmark_loss)
        self.perceptual_share, self.game, self.penalty = perceptual_share, game, penalty
        self.extra, self.critics = nn.Module(), nn.Module()
        if self.weights["adversarial"]:
            kind = FcsrCritic if game == "wgan-gp" else PatchDiscriminator
            self.critics.face = kind(3, width=critic_width)

    def losses(self, network: FcsrGan, batch, gen, stage):
        lr, visible = self.pairs.draw(batch, gen)
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
        if not (stage.adversarial and self.weights["adversarial"] and UPSAMPLING in learns):
            return Losses(parts)
        generator, _ = adversarial.GAMES[self.game]
        parts["adversarial"] = self.weights["adversarial"] * generator(self.score(steps.hr))
        fake = steps.hr.detach()
        return Losses(parts, lambda: self.criticise(batch.pictures, fake, gen))

    def completion(self, steps: Steps, small: torch.Tensor) -> dict[str, torch.Tensor]:
        """L_fc: style and features of the raw face and of the composite, pixels of the raw one, smooth composite."""
        parts = {}
        if self.weights["style"] or self.weights["lr_perceptual"]:
            layers = POOLS[:2] if small.shape[-1] < 32 else POOLS  # of a 16 px face the third leaves 2×2
            some = self.looked_at(small)
            wanted = self.features(small[some], layers)
            found = [self.features(face[some], layers) for face in (steps.raw, steps.completed)]
            parts["style"] = sum(losses.style(one, wanted) for one in found)
            parts["lr_perceptual"] = sum(losses.perceptual(one, wanted) for one in found)
        parts["lr_pixel"] = losses.pixel(steps.raw, small)
        parts["lr_smooth"] = losses.total_variation(steps.completed)
        return parts

    def upsampling(self, steps: Steps, batch: Batch) -> dict[str, torch.Tensor]:
        """L_sr: features, pixels, smoothness of the fine face, pixels of the coarse one, and the face prior."""
        parts = {"pixel": losses.pixel(steps.hr, batch.pictures), "smooth": losses.total_variation(steps.hr)}
        if self.weights["perceptual"]:
            some = self.looked_at(batch.pictures)
            parts["perceptual"] = losses.perceptual(self.features(steps.hr[some]), self.features(batch.pictures[some]))
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

    def looked_at(self, faces: torch.Tensor) -> slice:
        """The faces of a batch that VGG-16 sees."""
        return slice(max(1, round(self.perceptual_share * len(faces))))

    def features(self, faces: torch.Tensor, layers: tuple[str, ...] = POOLS) -> dict[str, torch.Tensor]:
        with half(faces.device):
            return self.priors.phi(faces, layers)

    def score(self, faces: torch.Tensor) -> torch.Tensor:
        with half(faces.device):
            return self.critics.face(faces)

    def criticise(self, real: torch.Tensor, fake: torch.Tensor, gen: torch.Generator) -> dict[str, torch.Tensor]:
        _, critic = adversarial.GAMES[self.game]
        parts = {"critic": critic(self.score(real), self.score(fake))}
        if self.game == "wgan-gp":
            parts["penalty"] = adversarial.gradient_penalty(self.critics.face, real, fake, gen, self.penalty)
        return parts
