"""Losses as pure functions: what is measured against a truth. Those against a critic are in `adversarial.py`.

Pictures `(B, 3, H, W)`, embeddings `(B, D)`, features: layers by name, as `perceptual.Phi` gives them. Each returns
a scalar (float32), a mean over all that it compares, so that weights mean the same at any size.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from streamheal.train.criteria import similarity
from streamheal.train.samples.parsing_labels import UNKNOWN

Features = Mapping[str, torch.Tensor]


def pixel(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute error."""
    return (output.float() - target.float()).abs().mean()


def squared(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared error (OFHNet eq. 1; FCSR-GAN's released code on both its pictures)."""
    return F.mse_loss(output.float(), target.float())


def squared_beside_absolute(output: torch.Tensor, target: torch.Tensor, absolute: float) -> torch.Tensor:
    """Mean squared error plus `absolute` times the mean absolute one.

    Ours, for short trainings of what OFHNet's and Pro-UIGAN's papers train by squares alone (`absolute` = 0).
    """
    return squared(output, target) + absolute * pixel(output, target)


def total_variation(pictures: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of neighbours, across plus down `(B, C, H, W)`; the papers' smooth loss.

    FCSR-GAN and JDSR-GAN on pictures, JDSR-GAN also on its noise map. 0 on a constant.
    """
    pictures = pictures.float()
    across = (pictures[..., :, 1:] - pictures[..., :, :-1]).abs().mean()
    return across + (pictures[..., 1:, :] - pictures[..., :-1, :]).abs().mean()


def ssim(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """1 - mean SSIM, pictures in [0, 1] (FD-StackGAN's reconstruction loss, beside L1)."""
    return 1 - similarity.ssim(output, target).mean()


def gram(features: torch.Tensor) -> torch.Tensor:
    """`(B, C, H, W)` → `(B, C, C)` float32: channels' inner products (Gatys 2016, eq. 3) divided by C·H·W."""
    channels, height, width = features.shape[1:]
    # sums over thousands of positions: bf16 would keep two digits of them
    with torch.autocast(features.device.type, enabled=False):
        flat = features.float().flatten(2)
        return flat @ flat.mT / (channels * height * width)


def style(output: Features, target: Features) -> torch.Tensor:
    """Mean absolute difference of the Gram matrices, summed over layers (Liu 2018, PConv, eqs. 4-5)."""
    return sum((gram(output[name]) - gram(target[name])).abs().mean() for name in _same_layers(output, target))


def perceptual(output: Features, target: Features, *, power: int = 1) -> torch.Tensor:
    """Mean |difference|^power of features, summed over layers (Johnson 2016, eq. 2).

    power 1: FCSR-GAN, JDSR-GAN, FD-StackGAN; 2: Pro-UIGAN.
    """
    return sum(
        ((output[name].float() - target[name].float()).abs() ** power).mean() for name in _same_layers(output, target)
    )


def heatmaps(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared error of landmark maps `(B, K, s, s)` (FCSR-GAN's and JDSR-GAN's face prior, Pro-UIGAN's H)."""
    return squared(output, target)


def parsing(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of `(B, P, h, w)` logits and `(B, h, w)` labels (integers; 255: unknown, left out).

    FCSR-GAN's face prior as its code has it; the paper's text says L2, see `parsing_l2`. 0 where nothing is known.
    """
    known = (labels != UNKNOWN).sum().clamp(min=1)
    return F.cross_entropy(logits.float(), labels.long(), ignore_index=UNKNOWN, reduction="sum") / known


def parsing_l2(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean squared error of class probabilities and one-hot labels (JDSR-GAN's prior loss); shapes as `parsing`."""
    known = (labels != UNKNOWN).unsqueeze(1)
    classes = logits.shape[1]
    wanted = F.one_hot(labels.long().masked_fill(~known[:, 0], 0), classes).movedim(-1, 1)
    error = (logits.float().softmax(1) - wanted) ** 2
    return (error * known).sum() / (known.sum().clamp(min=1) * classes)


def parsing_dice(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """1 - soft Dice, mean over classes, the pixels of all pictures together: an eye counts as much as the hair.

    Shapes as `parsing`; the +1 px makes a class that is nowhere well defined.
    """
    known = (labels != UNKNOWN).unsqueeze(1)
    wanted = F.one_hot(labels.long().masked_fill(~known[:, 0], 0), logits.shape[1]).movedim(-1, 1) * known
    found = logits.float().softmax(1) * known
    overlap = (2 * (found * wanted).sum((0, 2, 3)) + 1) / ((found + wanted).sum((0, 2, 3)) + 1)
    return (1 - overlap).mean()


def asymmetric(output: torch.Tensor, target: torch.Tensor, *, alpha: float = 0.3) -> torch.Tensor:
    """Mean |α - 1[output < target]|·(output - target)²: noise overlooked costs more than noise imagined.

    JDSR-GAN eq. 8, after CBDNet; 0 < α < 0.5, or the sign turns round: ValueError.
    """
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha is {alpha}; below 0.5 (and above 0) under-estimation costs more, as it must")
    error = output.float() - target.float()
    return ((alpha - (error < 0).float()).abs() * error**2).mean()


def landmarks(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Squared error summed over a face's coordinates, mean over faces (OFHNet eq. 6: its structure loss).

    `(B, 68, 2)`, as shares of the picture's side: so it is 136 times the mean squared error.
    """
    return ((output.float() - target.float()) ** 2).flatten(1).sum(1).mean()


def identity(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """1 - cosine of embeddings of any length, mean over the batch.

    JDSR-GAN's identity loss, whose paper has L2: of embeddings of length 1 that is the same but for its slope. The
    embedder's student learns its teacher's by it, too.
    """
    return (1 - F.cosine_similarity(output.float(), target.float(), dim=1)).mean()


def visibility(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy plus the soft Dice loss of the hidden part; `(B, 1, s, s)`, target 1 = visible.

    Dice keeps small occluders from drowning in visible pixels; its +1 px makes "nothing hidden" well defined.
    """
    logits, target = logits.float(), target.float()
    entropy = F.binary_cross_entropy_with_logits(logits, target)
    hidden, wanted = torch.sigmoid(-logits), 1 - target
    overlap = (2 * (hidden * wanted).sum((1, 2, 3)) + 1) / ((hidden + wanted).sum((1, 2, 3)) + 1)
    return entropy + (1 - overlap).mean()


def visibility_where_known(logits: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy over the pixels that are `known` (B, 1, s, s) bool; each face counts alike."""
    entropy = F.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none") * known
    return (entropy.sum((1, 2, 3)) / known.sum((1, 2, 3)).clamp(min=1)).mean()


def contrast(
    student: torch.Tensor, teacher: torch.Tensor, same: torch.Tensor | None = None, *, temperature: float = 0.07
) -> torch.Tensor:
    """InfoNCE: each student row must choose its own teacher row among all of the batch.

    `same` (B, B) bool marks pairs of one person; those off the diagonal are left out of the choice.
    """
    logits = student @ teacher.T / temperature
    if same is not None:
        own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(same & ~own, -torch.inf)
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def margin(
    embeddings: torch.Tensor, people: torch.Tensor, labels: torch.Tensor, *, margin: float = 0.2, scale: float = 24.0
) -> torch.Tensor:
    """CosFace (Wang 2018, eq. 4): softmax over `people` (P, D), the own person's cosine made smaller by `margin`.

    `labels` (B,) int64; -1 = person unknown, left out. 0 where nobody is known.
    """
    known = labels >= 0
    if not known.any():
        return embeddings.sum() * 0.0
    cosine = embeddings[known] @ F.normalize(people, dim=1).T
    own = F.one_hot(labels[known], cosine.shape[1]).to(cosine.dtype)
    return F.cross_entropy(scale * (cosine - margin * own), labels[known])


def _same_layers(output: Features, target: Features) -> list[str]:
    if not output or set(output) != set(target):
        raise ValueError(f"features of {sorted(output)} against {sorted(target)}; compare the same layers, not none")
    return list(output)
