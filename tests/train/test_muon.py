"""Muon: orthogonal steps of AdamW's length."""

import copy

import pytest
import torch
from torch import nn

from streamheal.train.muon import Muon, MuonAndAdamW, is_matrix, orthogonal


@pytest.mark.parametrize("shape", [(3, 8, 40), (2, 40, 8), (1, 16, 16)])
def test_directions_come_out_alike_strong(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    strengths = torch.linalg.svdvals(orthogonal(matrices))
    assert strengths.min() > 0.6 and strengths.max() < 1.3
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    nearest = left @ right
    cosine = (orthogonal(matrices) * nearest).sum((1, 2)) / (
        orthogonal(matrices).norm(dim=(1, 2)) * nearest.norm(dim=(1, 2))
    )
    assert cosine.min() > 0.95


def test_a_step_is_as_long_as_adamws():
    weight = nn.Parameter(torch.zeros(32, 16, 3, 3))
    weight.grad = torch.randn(32, 16, 3, 3, generator=torch.Generator().manual_seed(0)) * 1e-4
    Muon([weight], lr=1e-3).step()
    assert weight.square().mean().sqrt().item() == pytest.approx(0.2 * 1e-3, rel=0.25)


def test_weights_of_one_shape_step_as_each_would_alone():
    gen = torch.Generator().manual_seed(0)
    grads = [torch.randn(12, 10, 3, 3, generator=gen) for _ in range(3)]
    together = [nn.Parameter(torch.ones(12, 10, 3, 3)) for _ in grads]
    for weight, grad in zip(together, grads, strict=True):
        weight.grad = grad
    Muon(together, lr=0.1, weight_decay=0.1).step()
    for i, grad in enumerate(grads):
        alone = nn.Parameter(torch.ones(12, 10, 3, 3))
        alone.grad = grad
        Muon([alone], lr=0.1, weight_decay=0.1).step()
        assert torch.allclose(alone, together[i], atol=1e-6)


def test_a_frozen_weight_stays():
    weight = nn.Parameter(torch.ones(12, 12))
    Muon([weight], lr=0.1).step()
    assert torch.equal(weight, torch.ones(12, 12))


def test_vectors_positions_and_the_last_layer_are_adamws():
    assert is_matrix(torch.zeros(72, 72, 3, 3)) and is_matrix(torch.zeros(128, 64))
    assert not is_matrix(torch.zeros(72))
    assert not is_matrix(torch.zeros(1, 72, 16, 16))
    assert not is_matrix(torch.zeros(3, 12, 3, 3))
    assert not is_matrix(torch.zeros(64, 1, 3, 3))


def test_both_optimisers_go_on_from_what_they_remember():
    def make():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 2))
        groups = [
            {"part": "", "muon": by, "params": [p for p in net.parameters() if is_matrix(p) is by]}
            for by in (True, False)
        ]
        return net, MuonAndAdamW(groups, 1e-2, (0.9, 0.99), 0.0)

    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(1))

    def step(net, optimizer):
        net(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    net, optimizer = make()
    for _ in range(3):
        step(net, optimizer)
    again, other = make()
    again.load_state_dict(net.state_dict())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # as a file would
    step(net, optimizer)
    step(again, other)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
