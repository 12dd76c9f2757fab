"""Losses between a network and its critic, as pure functions of the critic's scores `(B, …)`; scalars (float32).

GAMES names them for recipes: what the network lowers, what the critic lowers. WGAN's critic needs
`gradient_penalty` beside it.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F


def hinge_generator(fake: torch.Tensor) -> torch.Tensor:
    """- mean score (Lim & Ye 2017; Miyato 2018, eq. 17)."""
    return -fake.float().mean()


def hinge_critic(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Scores short of 1 on real and above -1 on made-up pictures (Miyato 2018, eq. 16). 2 for scores of 0."""
    return F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean()


def log_generator(fake: torch.Tensor) -> torch.Tensor:
    """- mean log D (Goodfellow 2014, §3): the form that does not saturate. Scores are logits."""
    return F.softplus(-fake.float()).mean()


def log_critic(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """- mean log D(real) - mean log(1 - D(fake)) (Goodfellow 2014, eq. 1). Scores are logits; 2·ln 2 for zeros."""
    return F.softplus(-real.float()).mean() + F.softplus(fake.float()).mean()


wgan_generator = hinge_generator  # Arjovsky 2017, eq. 3: the same


def wgan_critic(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Mean score of made-up less that of real pictures (Gulrajani 2017, eq. 3, without its penalty)."""
    return fake.float().mean() - real.float().mean()


def gradient_penalty(
    critic: Callable[[torch.Tensor], torch.Tensor],
    real: torch.Tensor,
    fake: torch.Tensor,
    gen: torch.Generator,
    weight: float = 10.0,
) -> torch.Tensor:
    """weight · mean (‖∂critic/∂x‖ - 1)², x drawn between real and made-up pictures (Gulrajani 2017, eq. 3).

    `real`, `fake` (B, C, H, W). JDSR-GAN and FCSR-GAN's code weigh it by 0.1, Gulrajani by 10.
    """
    real, fake = real.detach().float(), fake.detach().float()
    share = torch.rand((len(real), 1, 1, 1), generator=gen, device=gen.device).to(real.device)
    between = torch.lerp(fake, real, share).requires_grad_()
    with torch.autocast(real.device.type, enabled=False):  # a gradient of a gradient has no digits to lose
        # scores of a map are averaged: else its size would multiply the slope
        scores = critic(between).reshape(len(real), -1).mean(1)
    (slope,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    return weight * ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()


GAMES: dict[str, tuple[Callable, Callable]] = {
    "hinge": (hinge_generator, hinge_critic),
    "log": (log_generator, log_critic),
    "wgan-gp": (wgan_generator, wgan_critic),
}
