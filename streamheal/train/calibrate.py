"""`streamheal calibrate NAME`: what a restorer's evidence, and cosines of its faces and of originals, are worth.

Fitted on tuning people alone: the embedder, and with it the restorers' identity loss, has seen the people of the
training shards, who would flatter it; the test people are for judging what is fitted here
(`evaluation/judge_honesty.py`).
"""

from pathlib import Path

import numpy as np

from streamheal import weights
from streamheal.calibration import FAR, Calibration
from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.train import data
from streamheal.train.evaluation import fitting
from streamheal.train.evaluation.honest_faces import SIDES, Looked, Networks, embed, look, look_at_tracks
from streamheal.train.samples.bank import Bank

SHARD = "faces128-val"
SEED = 4096  # not the judges': other occluders, other noise
PHOTOGRAPHS = 500  # at most: all of named people, the rest of anybody
EMBEDDER, SEGMENTER = "embedder", "occlusion-unet"


def calibrate(name: str, data_dir: Path, cache: Path, *, photographs: int = PHOTOGRAPHS) -> Path:
    """Fit the calibration of the shipped weights `name`, write it beside them and pin it; returns its path.

    Raises ConfigError for weights that are neither a restorer's nor an embedder's, or that make no faces of 128 px.
    """
    file = weights.find(name)
    if file.kind not in ("restorer", "embedder"):
        raise ConfigError(f"{name} is of kind {file.kind}; calibrations are for restorers and embedders")
    used = {known: weights.find(known) for known in (SEGMENTER, *([] if file.kind == "embedder" else [EMBEDDER]))}
    embedder = networks.load((file if file.kind == "embedder" else used[EMBEDDER]).path)
    restorer = networks.load(file.path) if file.kind == "restorer" else None
    if restorer is not None and restorer.hr_size != data.SIZE:
        raise ConfigError(f"{name} makes faces of {restorer.hr_size} px; tuning pictures are of {data.SIZE} px")
    faces = data.load(data.shards(data_dir, [SHARD]), cache)
    rows = choose(faces, photographs)
    bank = Bank.draw(SEED, 12, data_dir / "occluders.zip", held_out=True)
    looking = Networks(embedder, networks.load(used[SEGMENTER].path), restorer, getattr(restorer, "fusion", None))
    enrolled = np.full((len(faces), embedder.config.dimensions), np.nan, np.float32)
    enrolled[rows] = embed(embedder, faces.pictures(rows))
    people = set(faces.identities[rows]) - {""}
    found = Calibration(
        of=name,
        sha256=file.sha256,
        beside={known.kind: known.sha256 for known in used.values()},
        fitted_on={
            "shard": f"{SHARD}, tuning people: no training has seen them, no test asks for them",
            "photographs": f"{len(rows)}, {int((faces.identities[rows] != '').sum())} of {len(people)} named people",
            "crops": f"a camera's and its encoder's, {SIDES[0]} to {SIDES[1]} native px, half of them cut askew; "
            "visibility as the segmenter finds it",
            "pairs": f"half of them one person; strangers' share above a threshold: {FAR}",
        },
        **fit(faces, rows, bank, looking, enrolled),
    )
    target = file.path.with_name(f"{name}.calibration.json")
    part = target.with_suffix(".part")
    part.write_text(found.as_json())
    part.replace(target)
    weights.pin_calibration(name, target)
    return target


def choose(faces: data.Faces, most: int) -> np.ndarray:
    """Rows of up to `most` photographs: of named people first, who alone give pairs of one person."""
    rng = np.random.default_rng(SEED)
    named, others = np.flatnonzero(faces.identities != ""), np.flatnonzero(faces.identities == "")
    return rng.permutation(np.concatenate([rng.permutation(named)[:most], rng.permutation(others)])[:most])


def fit(faces: data.Faces, rows: np.ndarray, bank: Bank, looking: Networks, enrolled: np.ndarray) -> dict:
    """The parts of a `Calibration`: an embedder's, or with a restorer that one's."""

    def match(probes: np.ndarray, looked: Looked):
        return fitting.fit_match(pairs(probes, looked, rows, enrolled, faces.identities))

    if looking.restorer is None:
        crops, tracks = look_at_tracks(faces, rows, bank, looking, seed=SEED)
        return {"original": match(crops.original, crops), "track": match(tracks.original, tracks)}
    crops = look(faces, rows, bank, looking, seed=SEED)
    restored = match(crops.restored, crops)
    return {
        "evidence": fitting.fit_evidence(crops.evidence, crops.error, crops.sides),
        "restored": restored,
        "kept": fitting.fit_kept(drift(crops), crops.sides, crops.visible, passes(crops, enrolled, restored)),
    }


def pairs(
    probes: np.ndarray, looked: Looked, rows: np.ndarray, enrolled: np.ndarray, people: np.ndarray
) -> fitting.Pairs:
    """`probes` beside the photographs `rows` of `people` (all photographs' names)."""
    place = np.full(len(people), -1)
    place[rows] = np.arange(len(rows))
    own = place[looked.rows]
    return fitting.pairs_of(probes, own, looked.sides, looked.visible, enrolled[rows], people[rows])


def drift(looked: Looked) -> np.ndarray:
    """1 - cosine between the embeddings of each crop and of what was made of it."""
    return 1 - (looked.original * looked.restored).sum(1)


def passes(looked: Looked, enrolled: np.ndarray, curve) -> np.ndarray:
    """Whether each restored face is nearer to its own clear photograph than all but a share FAR of strangers are to
    theirs."""
    cosine = (looked.restored * enrolled[looked.rows]).sum(1)
    limits = [curve.at(side, share).threshold for side, share in zip(looked.sides, looked.visible, strict=True)]
    return cosine > np.array(limits)
