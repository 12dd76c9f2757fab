"""Losses against values worked out by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from streamheal.train import losses


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


def test_distillation_is_one_minus_cosine():
    student, teacher = torch.eye(2), torch.tensor([[1.0, 0.0], [math.sqrt(0.5), math.sqrt(0.5)]])
    assert losses.distillation(student, teacher).item() == pytest.approx((0 + 1 - math.sqrt(0.5)) / 2)


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
