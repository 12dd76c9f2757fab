"""Who trains, tunes, judges: people are dealt out whole, so that nobody is in two splits."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from streamheal.errors import ConfigError
from streamheal.train.data import Role
from streamheal.train.prepare import near
from streamheal.train.prepare.photos import Rejected

ROLES: tuple[Role, ...] = ("train", "val", "test")
Verdict = Role | Rejected


def shares(text: str) -> dict[Role, float]:
    """`90/5/5` → the share of photographs for each role. Raises ConfigError on anything else."""
    try:
        numbers = [float(number) for number in text.split("/")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or min(numbers) < 0 or numbers[0] <= 0 or not np.isfinite(numbers).all():
        raise ConfigError(f"split {text!r}: give TRAIN/VAL/TEST such as 90/5/5, or partition for the data set's own")
    return {role: number / sum(numbers) for role, number in zip(ROLES, numbers, strict=True)}


def by_share(
    identities: Sequence[str], keys: Sequence[str], embeddings: np.ndarray, wanted: dict[Role, float], *, alike: float,
    seed: int,
) -> list[Verdict]:  # fmt: skip
    """Deals people out until each role has its share of photographs: the same for the same photographs and seed.

    identities: "" where unknown; keys: one a photograph, of its content. Unnamed photographs go with the named or
    unnamed one that they look like. A person with more photographs than a role still wants goes to the next.
    """
    people = _people(identities, keys, embeddings, alike)
    members: dict[str, list[int]] = defaultdict(list)
    for row, person in enumerate(people):
        members[person].append(row)
    order = sorted(members, key=lambda person: hashlib.sha256(f"{seed}:{person}".encode()).digest())
    kept = [role for role in ROLES if wanted[role]][: len(order)]  # one person can only train, two tune as well
    roles = dict.fromkeys(order, "train")
    free = list(order)
    for place in range(len(kept) - 1, 0, -1):  # test, val; what they leave trains
        room, taken, spare = wanted[kept[place]] * len(people), 0, len(free) - place  # each role after gets somebody
        for person in free:
            if spare and (not taken or taken + len(members[person]) <= room):
                roles[person], taken, spare = kept[place], taken + len(members[person]), spare - 1
        free = [person for person in free if roles[person] == "train"]
    return _apart([roles[person] for person in people], identities, embeddings, alike)


def by_partition(
    identities: Sequence[str], given: Sequence[Role | None], embeddings: np.ndarray, *, alike: float
) -> list[Verdict]:
    """The data set's own partition; who is in two parts of it stays in the one that is kept further aside."""
    furthest: dict[str, int] = {}
    for person, role in zip(identities, given, strict=True):
        if person and role:
            furthest[person] = max(furthest.get(person, 0), ROLES.index(role))
    verdicts: list[Verdict] = []
    for person, role in zip(identities, given, strict=True):
        if role is None:
            verdicts.append(Rejected("not in the partition", "the data set's partition doesn't name it"))
        elif person and ROLES[furthest[person]] != role:
            verdicts.append(Rejected("person in two splits", f"{person} is in {role} and {ROLES[furthest[person]]}"))
        else:
            verdicts.append(role)
    return _apart(verdicts, identities, embeddings, alike)


def _people(identities: Sequence[str], keys: Sequence[str], embeddings: np.ndarray, alike: float) -> list[str]:
    """Who each photograph is taken for: its identity, or that of the nearest named one, or a group's first key."""
    named = np.array([bool(person) for person in identities], bool)
    rows, unnamed = np.flatnonzero(named), np.flatnonzero(~named)
    out = list(identities)
    closest: dict[int, tuple[float, int]] = {}
    for left, right in near.pairs(embeddings[unnamed], embeddings[rows], alike):
        for i, j in zip(unnamed[left], rows[right], strict=True):
            distance = float(np.linalg.norm(embeddings[i] - embeddings[j]))
            closest[i] = min(closest.get(i, (distance, j)), (distance, j))
    for i, (_, j) in closest.items():
        out[i] = identities[j]
    alone = np.array([i for i in unnamed if i not in closest], np.int64)
    for i, leader in zip(alone, near.groups(embeddings[alone], alike), strict=True):
        out[i] = f"?{keys[alone[leader]]}"
    return out


def _apart(verdicts: list[Verdict], identities: Sequence[str], embeddings: np.ndarray, alike: float) -> list[Verdict]:
    """Rejects unnamed photographs that look like a photograph of another split.

    First those held out that look like a named person elsewhere (names stay whole), then those of the less held-out
    split, as there are more of them. Two named people who look alike are two people.
    """
    out = list(verdicts)

    def reject(rows: list[int], others: list[int]) -> None:
        rows, others = np.array(rows, np.int64), np.array(others, np.int64)
        for left, right in near.pairs(embeddings[rows], embeddings[others], alike):
            for i, j in zip(rows[left], others[right], strict=True):
                if isinstance(out[i], str):
                    distance = float(np.linalg.norm(embeddings[i] - embeddings[j]))
                    whom = identities[j] or "an unnamed person"
                    said = f"{whom} of {verdicts[j]}, at distance {distance:.2f}, {alike:g} allowed"
                    out[i] = Rejected("looks like a person of another split", said)

    def of(role: Role, named: bool) -> list[int]:
        return [i for i, said in enumerate(out) if said == role and bool(identities[i]) == named]

    for low, high in (("train", "val"), ("train", "test"), ("val", "test")):
        reject(of(high, named=False), of(low, named=True))
    for low, high in (("train", "val"), ("train", "test"), ("val", "test")):
        reject(of(low, named=False), of(high, named=True) + of(high, named=False))
    return out
