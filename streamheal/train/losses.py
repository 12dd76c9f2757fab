"""Losses as pure functions. Pictures `(B, 3, H, W)`, embeddings `(B, D)`; each returns a scalar (float32)."""

import torch
import torch.nn.functional as F


def pixel(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute error."""
    return (output.float() - target.float()).abs().mean()


def visibility(logits: torch.Tensor, target: torch.Tensor, *, dice: float = 1.0) -> torch.Tensor:
    """Binary cross-entropy plus `dice` × soft Dice loss of the hidden part; `(B, 1, s, s)`, target 1 = visible.

    Dice keeps small occluders from drowning in visible pixels; its +1 px makes "nothing hidden" well defined.
    """
    logits, target = logits.float(), target.float()
    entropy = F.binary_cross_entropy_with_logits(logits, target)
    hidden, wanted = torch.sigmoid(-logits), 1 - target
    overlap = (2 * (hidden * wanted).sum((1, 2, 3)) + 1) / ((hidden + wanted).sum((1, 2, 3)) + 1)
    return entropy + dice * (1 - overlap).mean()


def distillation(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """1 - cosine, mean over the batch. Both L2-normalised."""
    return (1 - (student * teacher).sum(1)).mean()


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
