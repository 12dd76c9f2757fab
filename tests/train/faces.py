"""A small made-up data folder in the layout of the shards: real portraits cut out of pictures inside scikit-image."""

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.data import astronaut

from streamheal.train.samples.occluders import MEAN68

FIELDS = ["name", "source", "identity", "interocular", "sharpness", "score", "parsing", "licence"]


def portraits(count: int, seed: int = 0, size: int = 128) -> np.ndarray:
    """`(count, size, size, 3)` uint8: the astronaut's face, shifted, scaled and mirrored."""
    rng, picture = np.random.default_rng(seed), Image.fromarray(astronaut())
    out = []
    for _ in range(count):
        side, x, y = rng.integers(120, 170), rng.integers(150, 180), rng.integers(20, 50)
        face = picture.crop((x, y, x + side, y + side)).resize((size, size), Image.Resampling.BICUBIC)
        out.append(np.asarray(face)[:, :: rng.choice([-1, 1])])
    return np.stack(out)


def write_shard(folder: Path, name: str, people: list[str], seed: int = 0, size: int = 128) -> Path:
    """A shard `folder`/`name`.zip with one picture of `size` px for each entry of `people` ("" = nobody named)."""
    rng, path = np.random.default_rng(seed), folder / f"{name}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        text = io.StringIO()
        writer = csv.DictWriter(text, FIELDS)
        writer.writeheader()
        for i, (person, picture) in enumerate(zip(people, portraits(len(people), seed, size), strict=True)):
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "WEBP", lossless=True)
            archive.writestr(f"{name}-{i:03}.webp", buffer.getvalue())
            writer.writerow(dict.fromkeys(FIELDS, "") | {"name": f"{name}-{i:03}.webp", "identity": person})
        archive.writestr("index.csv", text.getvalue())
        landmarks = np.tile(MEAN68, (len(people), 1, 1)) + rng.normal(0, 1, (len(people), 68, 2))
        teacher = rng.normal(0, 1, (len(people), 128))
        for file, array in (("landmarks68.npy", landmarks), ("teacher128.npy", teacher)):
            buffer = io.BytesIO()
            np.save(buffer, array.astype(np.float32))
            archive.writestr(file, buffer.getvalue())
    return path


def write_data(folder: Path) -> Path:
    """Training, tuning and test shards of different people."""
    folder.mkdir(parents=True, exist_ok=True)
    write_shard(folder, "faces128-train-00", ["ada", "ada", "bob", "", "", "", "", ""], 1)
    write_shard(folder, "faces128-val", ["cy", "cy", "", ""], 2)
    write_shard(folder, "faces128-test-lfw", ["dee", "dee", "eve", "eve"], 3)
    return folder
