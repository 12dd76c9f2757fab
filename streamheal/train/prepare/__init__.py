"""From a folder of photographs to packed shards: read → find and align → measure → weed out → split → pack.

    prepare(Path("celeba"), Path("data"), name="celeba")

`data/` gets faces128-celeba-train-00.zip …, -val.zip, -test.zip, faces128-celeba.rejected.csv with each photograph that
was left out and why, and faces128-celeba.manifest.json. What can't be told of a photograph leaves it out: a data set
grows by better photographs, not by doubtful ones.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from streamheal.errors import ConfigError
from streamheal.train.data import SIZES, Role
from streamheal.train.prepare import layouts, measure, near, pack, split
from streamheal.train.prepare.align import MOST_DISAGREEMENT, Aligned, Aligner, disagreement, five_of
from streamheal.train.prepare.pack import Portrait, Workshop
from streamheal.train.prepare.photos import MAX_PIXELS, Photo, Rejected, open_bounded

DEFAULT_SPLIT = "90/5/5"
_ROLE_WORDS = {"train", "val", "test", "identity"}  # the shard's name tells its role by these
_AT_ONCE = 32  # photographs in memory, fewer if they are large


def prepare(
    photographs: Path,
    out: Path,
    *,
    size: int = 128,
    layout: str = "auto",
    name: str | None = None,
    split_by: str | None = None,
    licence: str | None = None,
    seed: int = 0,
    limit: int | None = None,
    least_interocular: float | None = None,
    shard_size: int = 5000,
    landmarks: measure.Landmarks | None = None,
    tick: Callable[[int, int], None] = lambda done, all: None,
) -> dict:
    """Packs the photographs of a folder; returns the manifest.

    split_by: "partition" (the data set's own; the default where it has one) or "90/5/5". limit: the first so many
    photographs only. least_interocular: pixels between the eyes in the photograph. landmarks: the network for them.
    tick: called with the number of photographs seen, and of all. Raises ConfigError on impossible settings, or where
    no face is left.
    """
    if size not in SIZES:
        raise ConfigError(f"size {size}: allowed are {' and '.join(map(str, SIZES))}")
    if shard_size < 1 or (limit is not None and limit < 1):
        raise ConfigError(f"shard size {shard_size}, limit {limit}: both must be at least 1")
    kind, photos = layouts.read(photographs, layout)
    name = _name(name or photographs.resolve().name.lower())
    licence = licence or layouts.LAYOUTS[kind].licence
    photos = photos[:limit]
    own = any(photo.split for photo in photos)
    split_by = split_by or ("partition" if own else DEFAULT_SPLIT)
    if split_by == "partition" and not own:
        raise ConfigError(f"layout {kind} of {photographs} has no partition; give shares such as {DEFAULT_SPLIT}")
    wanted = None if split_by == "partition" else split.shares(split_by)

    aligner = Aligner(size, central=layouts.LAYOUTS[kind].central, least_interocular=least_interocular)
    landmarks = landmarks or measure.landmarks()
    embeddings = measure.embeddings(out.resolve().parent / "weights")
    out.mkdir(parents=True, exist_ok=True)
    with Workshop(out, f"faces{size}-{name}") as work:
        portraits, rejected = _portraits(photos, work, aligner, landmarks, embeddings, tick)
        if not portraits:
            raise _nothing_left(photographs, len(photos), rejected)
        portraits = _weeded(portraits, rejected, embeddings)
        kept = _split(portraits, rejected, embeddings, wanted, seed)
        if not kept["train"]:
            raise _nothing_left(photographs, len(photos), rejected)

        shards = _packed(work, kept, name, licence, seed=seed, shard_size=shard_size)
        work.rejected(rejected)
        settings = {"layout": kind, "size": size, "split": split_by, "seed": seed, "limit": limit}
        settings |= {
            "least_interocular": aligner.least_interocular,
            "shard_size": shard_size,
            "alike": embeddings.alike,
        }
        packed = sum(len(mine) for mine in kept.values())
        return work.finish(
            {
                "set": work.name,
                "licence": licence,
                "counts": {"photographs": len(photos), "packed": packed, "rejected": pack.by_reason(rejected)},
                "splits": {role: _counts(mine) for role, mine in kept.items()},
                "shards": shards,
                "settings": settings,
                "models": {
                    model.role: {"name": model.name, "sha256": model.sha256}
                    for model in (aligner.model, landmarks.model, embeddings.model)
                },
                "versions": pack.versions(),
            }
        )


def _portraits(
    photos: Sequence[Photo],
    work: Workshop,
    aligner: Aligner,
    landmarks: measure.Landmarks,
    embeddings: measure.Embeddings,
    tick: Callable[[int, int], None],
) -> tuple[list[Portrait], list[tuple[str, Rejected]]]:
    """Every face that passes on its own, and every photograph that doesn't."""
    portraits: list[Portrait] = []
    rejected: list[tuple[str, Rejected]] = []
    digests: dict[str, str] = {}
    done = 0
    for part in _parts(photos):
        fresh = []
        for photo in part:
            digest = pack.sha256(photo.path)
            if (before := digests.setdefault(digest, photo.file)) != photo.file:
                rejected.append((photo.file, Rejected("duplicate", f"the same file as {before}")))
            else:
                fresh.append((photo, digest))
        cut: list[tuple[Photo, str, Aligned]] = []
        for (photo, digest), answer in zip(fresh, aligner.align([photo for photo, _ in fresh]), strict=True):
            if isinstance(answer, Rejected):
                rejected.append((photo.file, answer))
            else:
                cut.append((photo, digest, answer))
        pictures = [aligned.image for _, _, aligned in cut]
        points, vectors = landmarks(pictures), embeddings(pictures)
        for (photo, digest, aligned), found, embedding in zip(cut, points, vectors, strict=True):
            known = found if aligned.points is None else (aligned.points - 0.5).astype(np.float32)
            if (far := disagreement(aligned.five - 0.5, five_of(known))) > MOST_DISAGREEMENT:
                said = f"68 and five, by {far:.2f} interocular distances"
                rejected.append((photo.file, Rejected("landmarks disagree", said)))
                continue
            portraits.append(
                Portrait(
                    photo=photo,
                    digest=digest,
                    picture=work.keep(aligned.image, "WEBP"),
                    parsing=None if aligned.parsing is None else work.keep(aligned.parsing, "PNG"),
                    thumb=near.thumb(aligned.image),
                    landmarks=known,
                    embedding=embedding,
                    interocular=aligned.interocular,
                    sharpness=aligned.sharpness,
                    score=aligned.score,
                )
            )
        done += len(part)
        tick(done, len(photos))
    return portraits, rejected


def _weeded(
    portraits: list[Portrait], rejected: list[tuple[str, Rejected]], embeddings: measure.Embeddings
) -> list[Portrait]:
    """Without second copies: those held out stay, then the largest. What goes is added to `rejected`."""
    aside = (None, *split.ROLES)
    best = sorted(portraits, key=lambda p: (-aside.index(p.photo.split), -p.interocular, p.photo.file))
    copies = near.doubles(_embeddings(best), np.array([p.thumb for p in best]), embeddings.alike)
    for copy, original in copies.items():
        rejected.append((best[copy].photo.file, Rejected("duplicate", f"shows what {best[original].photo.file} shows")))
    return [portrait for i, portrait in enumerate(best) if i not in copies]


def _split(
    portraits: list[Portrait],
    rejected: list[tuple[str, Rejected]],
    embeddings: measure.Embeddings,
    wanted: dict[Role, float] | None,
    seed: int,
) -> dict[Role, list[Portrait]]:
    """Each role's faces; `wanted` None: by the data set's partition. Who may be in none is added to `rejected`."""
    people = [p.photo.identity for p in portraits]
    vectors = _embeddings(portraits)
    if wanted is None:
        verdicts = split.by_partition(people, [p.photo.split for p in portraits], vectors, alike=embeddings.alike)
    else:
        keys = [p.digest for p in portraits]
        verdicts = split.by_share(people, keys, vectors, wanted, alike=embeddings.alike, seed=seed)
    kept: dict[Role, list[Portrait]] = {role: [] for role in split.ROLES}
    for portrait, verdict in zip(portraits, verdicts, strict=True):
        if isinstance(verdict, Rejected):
            rejected.append((portrait.photo.file, verdict))
        else:
            kept[verdict].append(portrait)
    return kept


def _packed(
    work: Workshop, kept: dict[Role, list[Portrait]], name: str, licence: str, *, seed: int, shard_size: int
) -> dict[str, dict]:
    """Writes all shards, each a random mix, so that any of them is a fair sample. Returns what is in each."""
    rng = np.random.default_rng(seed)
    mixed = {role: [mine[i] for i in rng.permutation(len(mine))] for role, mine in kept.items()}
    said: dict[str, dict] = {}
    number = 0
    for shard, (role, count) in pack.shards(
        {role: len(mine) for role, mine in mixed.items()}, work.name, shard_size
    ).items():
        names = [f"{name}-{i:06}" for i in range(number, number + count)]
        work.shard(shard, mixed[role][:count], names, name, licence)
        said[f"{shard}.zip"] = {"role": role, "pictures": count}
        mixed[role], number = mixed[role][count:], number + count
    return said


def _parts(photos: Sequence[Photo]) -> Iterator[list[Photo]]:
    """Photographs in runs that fit into memory, by the sizes that their files claim."""
    part: list[Photo] = []
    pixels = 0
    for photo in photos:
        try:
            with open_bounded(photo.path) as picture:
                more = picture.width * picture.height
        except Exception:  # `photos.read` will say why
            more = 0
        if part and (len(part) == _AT_ONCE or pixels + more > MAX_PIXELS):
            yield part
            part, pixels = [], 0
        part.append(photo)
        pixels += more
    if part:
        yield part


def _embeddings(portraits: Sequence[Portrait]) -> np.ndarray:
    return np.stack([p.embedding for p in portraits])


def _nothing_left(photographs: Path, count: int, rejected: list[tuple[str, Rejected]]) -> ConfigError:
    why = ", ".join(f"{reason} {number}" for reason, number in pack.by_reason(rejected).items())
    return ConfigError(f"no face to train on in {photographs}: of {count} photographs, {why}")


def _counts(portraits: Sequence[Portrait]) -> dict[str, int]:
    named = Counter(p.photo.identity for p in portraits)
    unnamed = named.pop("", 0)
    return {"pictures": len(portraits), "people": len(named), "unnamed": unnamed}


def _name(name: str) -> str:
    """Raises ConfigError if the shards' role could be misread from it, or it is no plain file name."""
    words = set(name.split("-"))
    if not re.fullmatch(r"[a-z0-9_]+(-[a-z0-9_]+)*", name) or words & _ROLE_WORDS:
        reserved = ", ".join(sorted(_ROLE_WORDS))
        raise ConfigError(
            f"name {name!r}: give one of lower-case letters, digits, - and _, without the words {reserved} between "
            "dashes, which tell a shard's role; use --name"
        )
    return name
