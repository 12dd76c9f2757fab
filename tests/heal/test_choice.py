"""`restorer: auto`: a network for each crop, within the budget, and the reason said."""

import numpy as np
import pytest

from streamheal import weights
from streamheal.heal import choice
from streamheal.heal.choice import Budget, auto_networks, best_first
from streamheal.heal.restorer import Restorer
from streamheal.heal.tracks import View


@pytest.mark.parametrize("side", [8, 12, 16, 22, 23, 40, 128, 500])
@pytest.mark.parametrize("hidden", [0.0, 0.01, 0.3, 1.0])
def test_there_is_a_trained_network_for_every_crop(side, hidden):
    names = best_first(side, hidden)
    assert names and all(weights.manifest()[name].kind == "restorer" for name in names)
    assert set(names) <= set(auto_networks())


def test_without_a_budget_the_best_is_taken_whatever_it_costs():
    budget = Budget(None)
    budget.spent("best", 100.0, 1)
    assert budget.pick(("best", "cheap")) == ("best", "")


def test_a_network_above_the_budget_gives_way_and_the_reason_says_so():
    budget = Budget(0.05)
    assert budget.pick(("best", "cheap"))[0] == "best", "what was never tried is tried"
    budget.spent("best", 0.8, 4)
    assert budget.pick(("best", "cheap")) == ("cheap", "; best takes 200 ms a face here, 50 are allowed")


def test_where_none_fits_the_cheapest_is_taken():
    budget = Budget(0.01)
    budget.spent("best", 0.3, 1)
    budget.spent("cheap", 0.1, 1)
    name, why = budget.pick(("best", "cheap"))
    assert name == "cheap" and why.endswith("none fits, this one takes least")


def test_a_network_that_was_slow_once_is_tried_again():
    budget = Budget(0.1)
    budget.spent("best", 0.2, 1)
    picked = [budget.pick(("best", "cheap"))[0] for _ in range(300)]
    assert picked[0] == "cheap" and picked[-1] == "best"


def test_each_face_says_which_network_took_it_and_why(monkeypatch):
    monkeypatch.setattr(choice, "OPEN", ((20, ("lr-trunk-16",)), (10_000, ("fcsr-gan-32", "lr-trunk-16"))))
    monkeypatch.setattr(choice, "HIDDEN", ((10_000, ("ofhnet",)),))
    crops = [np.full((side, side, 3), 128, np.uint8) for side in (16, 40, 16)]
    maps = [np.ones((16, 16), np.float32), np.ones((40, 40), np.float32), np.zeros((16, 16), np.float32)]
    tracks = [[View(*crop)] for crop in zip(crops, maps, strict=True)]
    made = Restorer().restore(tracks)
    assert [face.models[0].name for face in made] == ["lr-trunk-16", "fcsr-gan-32", "ofhnet"]
    assert made[1].reason == "auto: 40 px, 0% of the face hidden: this one did best on such crops"
    assert "16 px, 100% of the face hidden" in made[2].reason
    (again,) = Restorer("lr-trunk").restore(tracks[:1])
    assert np.array_equal(again.picture, made[0].picture) and "named" in again.reason
