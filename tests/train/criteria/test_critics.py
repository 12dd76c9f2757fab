"""Critics: what each score sees, measured by its gradient; sizes and parameter counts of the papers."""

import pytest
import torch

from streamheal.train.criteria import adversarial, critics

CASES = {
    "patch": (lambda: critics.PatchDiscriminator(3, 4), 128, (1, 14, 14)),
    "patch, conditioned": (lambda: critics.PatchDiscriminator(7, 4, 2), 128, (1, 30, 30)),
    "fcsr": (lambda: critics.FcsrCritic(width=2), 128, (1, 2, 2)),
    "ofh": (lambda: critics.OfhDiscriminator(width=4), 128, (1,)),
    "pro-ui global": (lambda: critics.ProUiGlobal(width=4), 128, (1, 8, 8)),
    "pro-ui local, block 3": (lambda: critics.ProUiLocal(width=4), 128, (1, 8, 8)),
    "pro-ui local, block 1": (lambda: critics.ProUiLocal(width=4, pairs=2), 32, (1, 4, 4)),
    "wgan": (lambda: critics.WganCritic(width=4), 128, (1, 8, 8)),
}  # fmt: skip


def receptive_field(critic: torch.nn.Module, side: int) -> int:
    """Width of the patch that the middle score depends on."""
    picture = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0), requires_grad=True)
    scores = critic(picture)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    columns = picture.grad.abs().sum((0, 1, 2)).nonzero()
    return int(columns.max() - columns.min()) + 1


@pytest.mark.parametrize(("n_layers", "patch"), [(1, 16), (2, 34), (3, 70)])
def test_patch_critics_see_patches_of_the_papers_width(n_layers, patch):
    assert receptive_field(critics.PatchDiscriminator(3, 2, n_layers), 256) == patch


def test_fcsrs_critic_sees_the_whole_face():
    assert receptive_field(critics.FcsrCritic(width=1), 640) == 318


@pytest.mark.parametrize("name", CASES)
def test_scores_are_logits_of_the_stated_shape_and_teach_both_sides(name):
    torch.manual_seed(0)
    make, side, shape = CASES[name]
    critic = make()
    pictures = torch.rand(2, 7 if "conditioned" in name else 3, side, side, requires_grad=True)
    scores = critic(pictures)
    assert scores.shape == (2, *shape)
    adversarial.log_critic(scores, critic(1 - pictures)).backward()
    assert pictures.grad.abs().max() > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in critic.parameters())


@pytest.mark.parametrize(
    ("make", "millions"),
    [
        (critics.FcsrCritic, 44.7),
        (critics.ProUiGlobal, 4.7),
        (critics.PatchDiscriminator, 2.77),
    ],
)
def test_by_default_they_are_as_large_as_the_papers(make, millions):
    with torch.device("meta"):
        critic = make()
    assert sum(p.numel() for p in critic.parameters()) / 1e6 == pytest.approx(millions, rel=5e-3)


def test_the_local_critic_looks_at_the_middle_half_only():
    critic = critics.ProUiLocal(width=2).eval()
    picture = torch.rand(1, 3, 128, 128)
    changed = torch.rand(1, 3, 128, 128)
    changed[..., 32:96, 32:96] = picture[..., 32:96, 32:96]
    torch.testing.assert_close(critic(picture), critic(changed))
    changed[..., 32, 32] += 1
    assert not torch.allclose(critic(picture), critic(changed))


def test_the_spectral_norm_holds_every_layers_slope():
    critic = critics.PatchDiscriminator(3, 8)
    for _ in range(30):  # a power iteration each
        critic(torch.rand(1, 3, 32, 32))
    for layer in critic:
        if isinstance(layer, torch.nn.Conv2d):
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, rel=0.05)


def test_wgans_critic_keeps_the_rows_of_a_batch_apart():
    critic, pictures = critics.WganCritic(width=4), torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(critic(pictures)[1:2], critic(pictures[1:2]))


def test_a_patch_critic_needs_a_layer():
    with pytest.raises(ValueError, match="at least 1"):
        critics.PatchDiscriminator(n_layers=0)
