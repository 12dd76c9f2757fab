"""The mean of weights of one training, as one network of its recipe."""

import dataclasses
import sys

import pytest
import torch

from streamheal import weights
from streamheal.errors import WeightsError
from streamheal.heal import networks
from streamheal.heal.networks import lr_trunk
from streamheal.train import average, recipe
from tests.heal.networks.sample import SMALL

NETWORK = SMALL["lr-trunk"]


@pytest.fixture
def files(tmp_path):
    made = []
    for seed in range(2):
        torch.manual_seed(seed)
        made.append(tmp_path / f"{seed}.safetensors")
        networks.save(made[-1], "lr-trunk", networks.build("lr-trunk", NETWORK), {"seen": 100 * (seed + 1)})
    return made


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(
        f"name: small\ntask: restorer\nsystem: lr-trunk\nshards: [faces]\nnetwork: {NETWORK | {'mirrored': True}}\n"
    )
    return path


def test_each_weight_is_the_mean(files, plan, tmp_path, monkeypatch):
    out = tmp_path / "mean.safetensors"
    monkeypatch.setattr(sys, "argv", ["average", *map(str, files), "--recipe", str(plan), "--out", str(out)])
    average.main()
    (one, _), (two, _), (mean, header) = (weights.load(file) for file in (*files, out))
    for name, weight in mean.items():
        torch.testing.assert_close(weight, (one[name] + two[name]) / 2, atol=1e-3, rtol=1e-3)  # kept as fp16
    assert header["network"]["mirrored"]  # as the recipe says
    assert header["training"] == {"recipe": "small", "seen": 200, "mean_of": [weights.check(f, None) for f in files]}


def test_a_part_may_be_the_last_ones_alone(files, plan):
    two, _ = weights.load(files[1])
    mean = average.averaged(files, recipe.read(plan), last=["up"]).state_dict()
    assert torch.equal(mean["up.0.0.weight"], two["up.0.0.weight"])
    assert not torch.equal(mean["enter.weight"], two["enter.weight"])


def test_what_the_recipe_leaves_open_is_as_in_the_files(files, plan):
    open_plan = dataclasses.replace(recipe.read(plan), network={"mirrored": True})
    network = average.averaged(files, open_plan)
    assert network.config == lr_trunk.LrTrunkConfig(**NETWORK | {"mirrored": True})


def test_weights_of_another_network_are_refused(files, plan, tmp_path):
    networks.save(tmp_path / "deep.safetensors", "lr-trunk", networks.build("lr-trunk", NETWORK | {"blocks_after": 2}))
    networks.save(tmp_path / "wide.safetensors", "lr-trunk", networks.build("lr-trunk", NETWORK | {"width": 24}))
    with pytest.raises(WeightsError, match=r"deep\.safetensors: not of the same network as .*0\.safetensors"):
        average.averaged([*files, tmp_path / "deep.safetensors"], recipe.read(plan))
    with pytest.raises(WeightsError, match=r"wide\.safetensors: not the weights of small"):
        average.averaged([*files, tmp_path / "wide.safetensors"], recipe.read(plan))
    with pytest.raises(WeightsError, match=r"wide\.safetensors: not the weights of small"):
        average.averaged([tmp_path / "wide.safetensors"], recipe.read(plan))
    networks.save(tmp_path / "unet.safetensors", "unet", networks.build("unet", SMALL["unet"]))
    with pytest.raises(WeightsError, match=r"unet\.safetensors: not the weights of small"):
        average.averaged([tmp_path / "unet.safetensors"], recipe.read(plan))
