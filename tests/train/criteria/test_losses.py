"""Losses against values worked out by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from streamheal.train.criteria import adversarial, losses


def test_pixel_is_the_mean_absolute_error():
    output = torch.tensor([0.0, 0.5, 1.0, 0.2]).view(1, 1, 2, 2)
    assert losses.pixel(output, torch.full((1, 1, 2, 2), 0.5)).item() == pytest.approx((0.5 + 0 + 0.5 + 0.3) / 4)


def test_visibility_of_undecided_logits():
    logits, target = torch.zeros(1, 1, 2, 2), torch.tensor([1.0, 1.0, 1.0, 0.0]).view(1, 1, 2, 2)
    dice = 1 - (2 * 0.5 + 1) / (4 * 0.5 + 1 + 1)  # half of each pixel is called hidden; one is
    assert losses.visibility(logits, target).item() == pytest.approx(math.log(2) + dice)


def test_visibility_prefers_the_right_polarity():
    target = torch.ones(1, 1, 4, 4)
    target[..., :2] = 0
    logits = (target * 2 - 1) * 5
    assert losses.visibility(logits, target) < 0.1 < losses.visibility(-logits, target)


def test_contrast_by_hand_and_without_the_same_person():
    rows = torch.eye(3)
    expected = -math.log(math.exp(1 / 0.5) / (math.exp(1 / 0.5) + 2))
    assert losses.contrast(rows, rows, temperature=0.5).item() == pytest.approx(expected, rel=1e-5)
    same = torch.eye(3, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    fewer = -math.log(math.exp(2) / (math.exp(2) + 1))
    left = losses.contrast(rows, rows, same, temperature=0.5).item()
    assert left == pytest.approx((fewer * 2 + expected) / 3, rel=1e-5)


def test_margin_is_cosface():
    people = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    embeddings = F.normalize(torch.tensor([[3.0, 4.0], [1.0, 0.0]]), dim=1)
    own, other = math.exp(10 * (0.6 - 0.2)), math.exp(10 * 0.8)
    found = losses.margin(embeddings, people, torch.tensor([0, -1]), margin=0.2, scale=10)
    assert found.item() == pytest.approx(-math.log(own / (own + other)), rel=1e-5)


def test_margin_of_unknown_people_is_nothing():
    embeddings = torch.ones(2, 2, requires_grad=True)
    losses.margin(embeddings, torch.eye(2), torch.tensor([-1, -1])).backward()
    assert embeddings.grad.abs().max() == 0


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_squared_is_the_mean_squared_error():
    assert losses.squared(torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.0])).item() == pytest.approx(0.625)


def test_total_variation_by_hand():
    assert losses.total_variation(torch.full((2, 3, 5, 5), 0.3)) == 0
    steps = torch.tensor([[0.0, 0.1, 0.3], [0.0, 0.5, 0.5]]).view(1, 1, 2, 3)
    across, down = (0.1 + 0.2 + 0.5 + 0) / 4, (0 + 0.4 + 0.2) / 3
    assert losses.total_variation(steps).item() == pytest.approx(across + down)


def test_ssim_loss_is_nothing_for_the_same_and_leads_back_to_it():
    face = noise(1, 3, 16, 16)
    assert losses.ssim(face, face).item() == pytest.approx(0, abs=1e-6)
    output = (face + 0.1 * noise(1, 3, 16, 16, seed=1)).requires_grad_()
    before = losses.ssim(output, face)
    before.backward()
    assert losses.ssim(output - 0.5 * output.grad, face) < before


def test_ssim_of_too_small_pictures_is_refused():
    with pytest.raises(ValueError, match="at least 11"):
        losses.ssim(noise(1, 3, 8, 8), noise(1, 3, 8, 8))


def test_gram_is_symmetric_and_divided_by_its_features():
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])  # two channels, 1 × 2
    expected = torch.tensor([[[5.0, 3.0], [3.0, 9.0]]]) / 4
    torch.testing.assert_close(losses.gram(features), expected)
    found = losses.gram(noise(2, 5, 4, 4).bfloat16())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, found.mT)


def test_gram_keeps_single_precision_under_autocast():
    features = noise(1, 4, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(losses.gram(features), losses.gram(features.double()).float())


def test_style_sums_over_layers_and_ignores_where_things_are():
    one = {"a": torch.ones(1, 1, 2, 2), "b": torch.ones(1, 2, 1, 1)}
    other = {"a": torch.zeros(1, 1, 2, 2), "b": torch.tensor([2.0, 0.0]).view(1, 2, 1, 1)}
    assert losses.style(one, other).item() == pytest.approx(1 + (1.5 + 0.5 * 3) / 4)
    features = {"a": noise(1, 3, 4, 4)}
    assert losses.style(features, {"a": features["a"].flip(3)}).item() == pytest.approx(0, abs=1e-6)


def test_perceptual_by_hand_and_only_between_the_same_layers():
    one, other = {"a": torch.zeros(1, 1, 2, 2), "b": torch.zeros(1, 1, 1, 1)}, {"a": torch.full((1, 1, 2, 2), -2.0)}
    other["b"] = torch.full((1, 1, 1, 1), 3.0)
    assert losses.perceptual(one, other).item() == pytest.approx(2 + 3)
    assert losses.perceptual(one, other, power=2).item() == pytest.approx(4 + 9)
    with pytest.raises(ValueError, match="same layers"):
        losses.perceptual(one, {"a": other["a"]})


def test_parsing_is_cross_entropy_of_the_known_pixels():
    logits = torch.zeros(1, 11, 1, 2)
    logits[0, 3, 0, 0] = 2.0
    labels = torch.tensor([[[3, losses.UNKNOWN]]], dtype=torch.uint8)
    expected = -math.log(math.exp(2) / (math.exp(2) + 10))
    assert losses.parsing(logits, labels).item() == pytest.approx(expected, rel=1e-5)
    right = math.exp(2) / (math.exp(2) + 10)
    squares = ((1 - right) ** 2 + 10 * ((1 - right) / 10) ** 2) / 11
    assert losses.parsing_l2(logits, labels).item() == pytest.approx(squares, rel=1e-5)


def test_parsing_where_nothing_is_known_is_nothing():
    logits = torch.randn(2, 11, 4, 4, requires_grad=True)
    unknown = torch.full((2, 4, 4), losses.UNKNOWN)
    (losses.parsing(logits, unknown) + losses.parsing_l2(logits, unknown)).backward()
    assert logits.grad.abs().max() == 0


def test_noise_overlooked_costs_more_than_noise_imagined():
    truth = torch.tensor([0.5])
    overlooked, imagined = losses.asymmetric(truth - 0.1, truth), losses.asymmetric(truth + 0.1, truth)
    assert (overlooked.item(), imagined.item()) == pytest.approx((0.7 * 0.01, 0.3 * 0.01))
    with pytest.raises(ValueError, match="alpha"):
        losses.asymmetric(truth, truth, alpha=0.7)


def test_landmarks_are_136_times_the_mean_squared_error():
    found, true = noise(3, 68, 2), noise(3, 68, 2, seed=1)
    assert losses.landmarks(found, true).item() == pytest.approx(136 * F.mse_loss(found, true).item(), rel=1e-5)


def test_identity_does_not_look_at_lengths():
    one, other = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [5.0, 5.0]])
    assert losses.identity(one, other).item() == pytest.approx((0 + 1 - math.sqrt(0.5)) / 2)


def test_hinge_stops_at_the_margin():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])
    assert adversarial.hinge_critic(real, fake).item() == pytest.approx(0.25 + 0.5)
    assert adversarial.hinge_generator(fake).item() == pytest.approx(1.5)


def test_log_loss_of_an_undecided_critic():
    assert adversarial.log_critic(torch.zeros(3), torch.zeros(3)).item() == pytest.approx(2 * math.log(2))
    assert adversarial.log_generator(torch.tensor([2.0])).item() == pytest.approx(math.log(1 + math.exp(-2)))


def test_wgan_is_the_difference_of_means():
    assert adversarial.wgan_critic(torch.tensor([2.0, 4.0]), torch.tensor([1.0])).item() == pytest.approx(-2)


def test_gradient_penalty_of_known_slopes():
    real, fake, gen = noise(4, 3, 2, 2), noise(4, 3, 2, 2, seed=1), torch.Generator().manual_seed(0)

    def penalty(slope: float) -> float:
        return adversarial.gradient_penalty(lambda x: slope * x.flatten(1).sum(1), real, fake, gen, 0.1).item()

    assert penalty(1 / math.sqrt(12)) == pytest.approx(0, abs=1e-6)  # twelve equal slopes: a norm of 1
    assert penalty(3 / math.sqrt(12)) == pytest.approx(0.1 * 4, rel=1e-4)


def test_gradient_penalty_looks_between_real_and_made_up_pictures():
    seen = []
    real, fake = torch.zeros(8, 1, 2, 2), torch.ones(8, 1, 2, 2)
    adversarial.gradient_penalty(lambda x: seen.append(x) or x, real, fake, torch.Generator().manual_seed(0))
    share = seen[0][:, 0, 0, 0]
    torch.testing.assert_close(seen[0], share.view(8, 1, 1, 1).expand(8, 1, 2, 2))  # each picture has one
    assert ((share > 0) & (share < 1)).all()
    assert share.std() > 0.1


def test_gradient_penalty_teaches_the_critic_and_nobody_else():
    critic, real = torch.nn.Conv2d(3, 1, 2), noise(2, 3, 2, 2)
    fake = noise(2, 3, 2, 2, seed=1).requires_grad_()
    adversarial.gradient_penalty(critic, real, fake, torch.Generator().manual_seed(0)).backward()
    assert critic.weight.grad.abs().max() > 0
    assert fake.grad is None


@pytest.mark.parametrize("game", adversarial.GAMES)
def test_each_game_pulls_the_two_sides_apart(game):
    generator, critic = adversarial.GAMES[game]
    low, high = torch.tensor([-0.5]), torch.tensor([0.5])
    assert generator(high) < generator(low)
    assert critic(real=high, fake=low) < critic(real=low, fake=high)
