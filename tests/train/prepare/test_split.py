"""People dealt out to training, tuning and judging: nobody is in two."""

import numpy as np
import pytest

from streamheal.errors import ConfigError
from streamheal.train.prepare import near, split
from streamheal.train.prepare.photos import Rejected

ALIKE = 0.37
WANTED = split.shares("80/10/10")


def people(count: int, photographs: int, named: bool = True):
    """Identities, keys and embeddings of people far from each other, whose own photographs are 0.1 apart."""
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 1, (count, 128)) / 8
    vectors = np.repeat(centres, photographs, 0) + rng.normal(0, 0.1 / 16, (count * photographs, 128))
    identities = [f"p{i // photographs}" if named else "" for i in range(count * photographs)]
    return identities, [f"key{i}" for i in range(len(identities))], vectors.astype(np.float32)


def of_each(verdicts, whom) -> dict:
    """Split → who is in it."""
    return {role: {who for who, said in zip(whom, verdicts, strict=True) if said == role} for role in split.ROLES}


def test_people_are_dealt_out_whole_and_each_split_gets_its_share():
    identities, keys, vectors = people(50, 4)
    verdicts = split.by_share(identities, keys, vectors, WANTED, alike=ALIKE, seed=0)
    members = of_each(verdicts, identities)
    assert not members["train"] & members["val"] | members["train"] & members["test"] | members["val"] & members["test"]
    assert {role: verdicts.count(role) for role in split.ROLES} == {"train": 160, "val": 20, "test": 20}


def test_the_same_people_go_to_the_same_splits_in_any_order_and_others_by_another_seed():
    identities, keys, vectors = people(30, 3)
    there = split.by_share(identities, keys, vectors, WANTED, alike=ALIKE, seed=0)
    back = split.by_share(identities[::-1], keys[::-1], vectors[::-1], WANTED, alike=ALIKE, seed=0)
    assert there == back[::-1]
    assert there != split.by_share(identities, keys, vectors, WANTED, alike=ALIKE, seed=1)


def test_unnamed_photographs_of_one_person_stay_together():
    _, keys, vectors = people(40, 3, named=False)
    verdicts = split.by_share([""] * 120, keys, vectors, WANTED, alike=ALIKE, seed=0)
    assert not any(isinstance(said, Rejected) for said in verdicts)
    for i in range(0, 120, 3):
        assert len(set(verdicts[i : i + 3])) == 1
    assert {"val", "test"} < set(verdicts)


def test_an_unnamed_photograph_goes_where_the_named_person_is_that_it_shows():
    identities, keys, vectors = people(20, 2)
    for hidden in range(0, 40, 2):
        unnamed = [*identities[:hidden], "", *identities[hidden + 1 :]]
        verdicts = split.by_share(unnamed, keys, vectors, WANTED, alike=ALIKE, seed=0)
        assert verdicts[hidden] == verdicts[hidden + 1]


@pytest.mark.parametrize(("count", "roles"), [(1, {"train"}), (2, {"train", "val"}), (3, {"train", "val", "test"})])
def test_few_people_train_first_then_tune_then_judge(count, roles):
    identities, keys, vectors = people(count, 10)
    assert set(split.by_share(identities, keys, vectors, WANTED, alike=ALIKE, seed=0)) == roles


def test_a_split_without_a_share_gets_nobody():
    identities, keys, vectors = people(20, 2)
    verdicts = split.by_share(identities, keys, vectors, split.shares("90/10/0"), alike=ALIKE, seed=0)
    assert set(verdicts) == {"train", "val"}


@pytest.mark.parametrize("text", ["90/10", "0/50/50", "90/-5/15", "most", "90/5/nan", "80,10,10"])
def test_shares_that_mean_nothing_are_refused(text):
    with pytest.raises(ConfigError, match=r"give TRAIN/VAL/TEST such as 90/5/5"):
        split.shares(text)


def test_who_is_in_two_parts_of_a_partition_stays_in_the_one_further_aside():
    identities, _, vectors = people(3, 2)
    verdicts = split.by_partition(identities, ["train", "test", "train", "train", "val", None], vectors, alike=ALIKE)
    assert verdicts[0].reason == "person in two splits" and "p0 is in train and test" in verdicts[0].detail
    assert verdicts[1:5] == ["test", "train", "train", "val"]
    assert verdicts[5].reason == "not in the partition"


def test_an_unnamed_photograph_that_looks_like_somebody_of_another_split_is_left_out():
    identities, _, vectors = people(4, 2)
    identities[0] = ""  # shows p0, who is held out
    identities[4] = identities[5] = ""  # one unnamed person on both sides: training gives way
    identities[7] = ""  # held out, and shows p3, who trains
    given = ["train", "test", "train", "train", "train", "val", "train", "test"]
    verdicts = split.by_partition(identities, given, vectors, alike=ALIKE)
    why = "looks like a person of another split"
    assert [getattr(said, "reason", said) for said in verdicts] == [
        why, "test", "train", "train", why, "val", "train", why,
    ]  # fmt: skip
    assert "p0 of test, at distance 0." in verdicts[0].detail


def test_two_names_are_two_people_however_alike():
    _, _, vectors = people(1, 2)
    assert split.by_partition(["ada", "twin"], ["train", "test"], vectors, alike=ALIKE) == ["train", "test"]


def test_no_chain_ties_strangers_together():
    row = np.zeros((9, 128), np.float32)
    row[:, 0] = np.arange(9) * 0.3  # each is alike to its neighbours only
    assert near.groups(row, ALIKE).tolist() == [0, 0, 2, 2, 4, 4, 6, 6, 8]


def test_groups_are_the_same_in_one_block_and_in_many(monkeypatch):
    _, _, vectors = people(30, 4, named=False)
    vectors = vectors[np.random.default_rng(1).permutation(120)]
    whole = near.groups(vectors, ALIKE)
    monkeypatch.setattr(near, "_BLOCK", 8 * 7)
    assert np.array_equal(near.groups(vectors, ALIKE), whole)
    assert len(set(whole)) == 30


def test_close_pairs_are_found_across_blocks(monkeypatch):
    monkeypatch.setattr(near, "_BLOCK", 7)
    _, _, vectors = people(10, 3)
    found = {(i, j) for left, right in near.pairs(vectors, vectors, ALIKE) for i, j in zip(left, right, strict=True)}
    assert found == {(i, j) for i in range(30) for j in range(30) if i // 3 == j // 3}
