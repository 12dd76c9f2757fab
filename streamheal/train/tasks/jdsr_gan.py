"""JDSR-GAN: L_de of what is taken off at LR size and L_fsr of the face that is drawn from the rest, end to end."""

from typing import Literal, get_args

import torch

from streamheal.errors import ConfigError
from streamheal.heal.networks.fsrnet import FsrFaces
from streamheal.heal.networks.jdsr_gan import JdsrGan
from streamheal.heal.networks.layers import resample
from streamheal.train.criteria import losses
from streamheal.train.criteria.critics import WganCritic
from streamheal.train.criteria.face_prior import FacePrior, LandmarkLoss, ParsingLabels
from streamheal.train.criteria.perceptual import POOLS
from streamheal.train.samples.protocols import make_pair
from streamheal.train.sheets import grow, sheet
from streamheal.train.task import Batch, Context, Losses, half, one_of
from streamheal.train.tasks.pairs_task import PairsTask

WEIGHTS = {
    # L_de, the paper's. All losses are means, which the paper leaves open.
    "asymmetric": 0.5,
    "noise_smooth": 0.05,
    "style": 10.0,
    "lr_perceptual": 0.1,
    "lr_pixel": 1.0,
    "lr_smooth": 1.0,
    # L_fsr, the paper's; the first two are its mu and nu
    "landmarks": 1.0,
    "parsing": 0.1,
    "perceptual": 0.1,
    "pixel": 1.0,
    "smooth": 0.01,
    "identity": 1.0,
    "adversarial": 1e-3,
    # Ours: the prior and the fine encoder read FSRNet's coarse face, so it must be one (FCSR-GAN's code has this term).
    "coarse": 1.0,
}

DENOISING, UPSAMPLING = "denoising", "upsampling"
Noise = Literal["coverage", "difference"]


class JdsrGanTask(PairsTask):
    """Which losses count follows from the parts that a stage trains; where it is the denoising alone, nothing is drawn
    at 128 px, and a step costs a tenth."""

    game = "wgan-gp"

    def __init__(
        self,
        context: Context,
        *,
        # What the estimator learns; eq. 8 needs a true noise level and the paper doesn't say what that is. "coverage":
        # how much of each pixel the occluder covers, so that the estimate is an occlusion map. "difference": how far
        # the hidden picture is from the clean one, per colour; a white mask on a pale cheek is none.
        noise: Noise = "coverage",
        alpha: float = 0.3,  # of the asymmetric loss; the paper says (0, 0.5), 0.3 is CBDNet's
        parsing_labels: ParsingLabels = "parser",
        prior_loss: LandmarkLoss = "cross-entropy",  # "squared" is the paper's, for landmarks and parsing
        critic_width: int = 64,
        **shared,
    ):
        """`shared`: of `PairsTask`, but for `imperfect`: nobody tells this network where the occluder is."""
        super().__init__(context, WEIGHTS, {"jdsr": 1.0}, imperfect=0.0, **shared)
        if not 0 < alpha < 0.5:
            raise ConfigError(f"options: alpha: {alpha}; above 0 and below 0.5, so that a miss costs more")
        self.face_prior = FacePrior(context.priors, labels=parsing_labels, landmark_loss=prior_loss)
        self.noise, self.alpha, self.prior_loss = one_of("noise", noise, get_args(Noise)), alpha, prior_loss
        if self.weights["adversarial"]:
            self.critics.face = WganCritic(3, width=critic_width)

    def losses(self, network: JdsrGan, batch, gen, stage):
        lr, visible, batch = self.draw(batch, gen, stage)
        learns = stage.train or (DENOISING, UPSAMPLING)
        with half(gen.device):
            if UPSAMPLING in learns:
                steps = network.steps(lr)
                noise, denoised, faces = steps.noise, steps.denoised, steps.faces
            else:
                noise, denoised = network.denoising(lr)
        parts = {}
        if DENOISING in learns:
            small = resample(batch.pictures, network.lr_size)
            parts |= self.denoising(noise, denoised, small, self.true_noise(lr, visible, small))
        if UPSAMPLING in learns:
            parts |= self.upsampling(faces, batch)
        parts = {name: self.weights[name] * part for name, part in parts.items()}
        if UPSAMPLING not in learns:
            return Losses(parts)
        return self.against_critic(parts, faces.hr, batch.pictures, stage, gen)

    def true_noise(self, lr: torch.Tensor, visible: torch.Tensor, small: torch.Tensor) -> torch.Tensor:
        """γ of eq. 8, `(B, 3, s, s)` in [0, 1]."""
        return (1 - visible).expand_as(lr) if self.noise == "coverage" else (lr - small).abs()

    def denoising(
        self, noise: torch.Tensor, denoised: torch.Tensor, small: torch.Tensor, true: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """L_de of γ̂ and of the LR face `(B, 3, s, s)`; `small`, `true`: the clean face and γ."""
        parts = {
            "asymmetric": losses.asymmetric(noise, true, alpha=self.alpha),
            "noise_smooth": losses.total_variation(noise),
            "lr_pixel": losses.pixel(denoised, small),
            "lr_smooth": losses.total_variation(denoised),
        }
        if self.weights["style"] or self.weights["lr_perceptual"]:
            layers = POOLS[:2] if small.shape[-1] < 32 else POOLS  # of a 16 px face the third leaves 2×2
            found, wanted = self.features(denoised, layers), self.features(small, layers)
            parts |= {"style": losses.style(found, wanted), "lr_perceptual": losses.perceptual(found, wanted)}
        return parts

    def upsampling(self, faces: FsrFaces, batch: Batch) -> dict[str, torch.Tensor]:
        """L_fsr of FSRNet's faces, and the pixels of the coarse one."""
        parts = {
            "pixel": losses.pixel(faces.hr, batch.pictures),
            "coarse": losses.pixel(faces.coarse, batch.pictures),
            "smooth": losses.total_variation(faces.hr),
        }
        if self.weights["landmarks"]:
            parts["landmarks"] = self.face_prior.landmarks(faces.heatmaps, batch)
        if self.weights["parsing"]:
            parts["parsing"] = self.parsing(faces.parsing, batch)
        if self.weights["perceptual"]:
            parts["perceptual"] = self.perceptual(faces.hr, batch.pictures)
        if self.weights["identity"]:
            parts["identity"] = self.identity(faces.hr, batch.pictures)
        return parts

    def parsing(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        if self.prior_loss == "squared":
            return losses.parsing_l2(logits, self.face_prior.wanted(batch, logits.shape[-1]))
        return self.face_prior.parsing(logits, batch)

    def look(self, network, batch, gen):
        """PSNR on each protocol, IoU of what is found hidden and what is, and rows of inputs, estimates, LR and HR."""
        figures, rows = {}, []
        pictures, landmarks = batch.pictures[:32], batch.landmarks[:32]  # FSRNet is slow on a CPU
        side = pictures.shape[-1]
        for protocol in self.pairs.shares:
            lr, visible = make_pair(protocol, pictures, landmarks, self.pairs.bank, gen, size=self.pairs.size)
            said = network(lr, visible)
            error = ((said.hr.float() - pictures) ** 2).mean((1, 2, 3)).clamp(min=1e-8)
            found, wanted = said.occlusion > 0.5, visible < 0.5
            figures[f"psnr {protocol}"] = float((-10 * error.log10()).mean())
            figures[f"iou hidden {protocol}"] = float((found & wanted).sum() / (found | wanted).sum().clamp(min=1))
            rows += [grow(lr, side), grow(said.occlusion, side).expand(-1, 3, -1, -1), grow(said.lr_completed, side)]
            rows.append(said.hr)
        return figures, sheet([*rows, pictures])
