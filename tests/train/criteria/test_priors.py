"""Priors: frozen, loaded once and only when asked for, and clear about what is missing."""

import pytest
import torch

from streamheal import weights
from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.train.criteria.perceptual import FILE, Phi
from streamheal.train.criteria.priors import Priors

SHIPPED = {
    "parser": ("face-parser", {"widths": [4, 4, 8, 8]}),
    "fan": ("fan-lite", {"width": 8, "depth": 1}),
    "embedder": ("embedder", {"widths": [4, 4, 8, 8, 8], "blocks": [1, 0, 0, 0, 0], "dimensions": 8}),
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A data folder with made-up VGG-16 weights beside it, and made-up shipped networks."""
    root = tmp_path_factory.mktemp("root")
    for folder in ("weights", "models"):
        (root / folder).mkdir()
    torch.manual_seed(0)
    weights.save(root / "weights" / FILE, Phi().state_dict(), {})
    for name, config in SHIPPED.values():
        path = root / "models" / f"{name}.safetensors"
        networks.save(path, name, networks.build(name, config))
        weights.pin(name, path, kind="prior", system=name, licence="none")
    return root / "data"


@pytest.fixture(autouse=True)
def shipped(monkeypatch, data_dir):
    monkeypatch.setenv("STREAMHEAL_MODELS", str(data_dir.parent / "models"))


@pytest.mark.parametrize("name", ["phi", *SHIPPED])
def test_each_is_frozen_and_leads_back_to_the_picture(data_dir, name):
    network = getattr(Priors(data_dir), name)
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    picture = torch.rand(2, 3, 32, 32, requires_grad=True)
    out = network(picture)
    (out["pool1"] if name == "phi" else out).square().sum().backward()
    assert picture.grad.abs().max() > 0


@pytest.mark.parametrize("name", ["phi", "fan"])
def test_one_that_was_first_asked_for_while_looking_still_teaches(data_dir, name):
    priors = Priors(data_dir)
    with torch.inference_mode():
        network = getattr(priors, name)
    picture = torch.rand(1, 3, 32, 32, requires_grad=True)
    out = network(picture)
    (out["pool1"] if name == "phi" else out).sum().backward()
    assert getattr(priors, name) is network


def test_nothing_loads_before_it_is_asked_for(data_dir, monkeypatch):
    monkeypatch.setattr(weights, "load", lambda *_: pytest.fail("loaded a network that nobody asked for"))
    Priors(data_dir)


def test_a_prior_that_is_not_trained_yet_names_its_recipe(data_dir):
    with pytest.raises(ConfigError, match=r"configs/landmark-regressor\.yaml"):
        _ = Priors(data_dir).landmark_regressor


def test_missing_perceptual_weights_are_named(tmp_path):
    with pytest.raises(ConfigError, match=FILE):
        _ = Priors(tmp_path / "data").phi
