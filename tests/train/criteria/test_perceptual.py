"""Phi against the same layers written as one torchvision-like sequence, and its normalisation by hand."""

from pathlib import Path

import pytest
import torch
from torch import nn

from streamheal import weights
from streamheal.errors import ConfigError
from streamheal.train.criteria.perceptual import FILE, LAYERS, POOLS, Phi
from tests.train.faces import portraits

SHARED = Path(__file__).parents[4] / "shared"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A data folder with made-up weights beside it."""
    root = tmp_path_factory.mktemp("root")
    (root / "weights").mkdir()
    torch.manual_seed(0)
    weights.save(root / "weights" / FILE, Phi().state_dict(), {})
    return root / "data"


@pytest.fixture(scope="module")
def phi(data_dir):
    return Phi.load(data_dir)


@pytest.fixture(scope="module")
def faces():
    return torch.from_numpy(portraits(2, size=16)).permute(0, 3, 1, 2).float() / 255


def test_features_are_those_of_the_plain_sequence(phi, faces):
    widths, layers = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M"], []
    for width in widths:
        if width == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            inside = next((m.out_channels for m in reversed(layers) if isinstance(m, nn.Conv2d)), 3)
            layers += [nn.Conv2d(inside, width, 3, padding=1), nn.ReLU()]
    plain = nn.Sequential(*layers)
    plain.load_state_dict({name.removeprefix("features."): value for name, value in phi.state_dict().items()})
    x = (faces - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    found = phi(faces, LAYERS)
    for name, end in {"relu1_2": 4, "pool1": 5, "relu2_2": 9, "pool2": 10, "relu3_3": 16, "pool3": 17}.items():
        torch.testing.assert_close(found[name], plain[:end](x), msg=name)


def test_a_picture_of_imagenets_mean_colour_is_zero_to_the_first_layer(phi):
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    expected = phi.features["0"].bias.relu().view(1, -1, 1, 1).expand(1, 64, 4, 4)
    torch.testing.assert_close(phi(mean, ["relu1_1"])["relu1_1"], expected, atol=1e-6, rtol=0)


def test_only_what_is_asked_for_is_computed(phi, faces, monkeypatch):
    monkeypatch.setattr(phi.features["10"], "forward", lambda _: pytest.fail("computed a layer behind pool2"))
    assert set(phi(faces, POOLS[:2])) == {"pool1", "pool2"}


def test_it_is_frozen_but_leads_back_to_the_picture(phi, faces):
    assert not phi.training
    assert not any(p.requires_grad for p in phi.parameters())
    picture = faces.clone().requires_grad_()
    phi(picture)["pool3"].sum().backward()
    assert picture.grad.abs().max() > 0


@pytest.mark.parametrize("layers", [["relu4_1"], []])
def test_a_layer_that_is_not_there_is_refused(phi, faces, layers):
    with pytest.raises(ValueError, match="there are: relu1_1"):
        phi(faces, layers)


def test_missing_weights_say_where_they_belong(tmp_path):
    with pytest.raises(ConfigError, match=FILE):
        Phi.load(tmp_path / "data")


@pytest.mark.skipif(not (SHARED / "weights" / FILE).is_file(), reason="needs the weights beside the checkout")
def test_to_the_real_weights_blur_is_worse_than_as_much_brightness(faces):
    phi = Phi.load(SHARED / "data")
    blurred = nn.functional.avg_pool2d(faces, 3, 1, 1)
    brighter = faces + (blurred - faces).abs().mean()

    def away(picture: torch.Tensor) -> float:
        return (phi(picture, ["relu3_3"])["relu3_3"] - phi(faces, ["relu3_3"])["relu3_3"]).abs().mean().item()

    assert 0 < 2 * away(brighter) < away(blurred)
