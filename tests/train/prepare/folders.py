"""Made-up copies of the layouts that data sets are handed out in: the astronaut of scikit-image, each time lit anew."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from streamheal.faces.alignment import apply, invert, similarity
from streamheal.train.samples.occluders import MEAN68
from tests.faces.portrait import astronaut

POSE = {"size": 145, "centre": (89, 125), "shape": (218, 178)}  # as in CelebA's aligned pictures


def lit(seed: int, **pose) -> tuple[np.ndarray, np.ndarray]:
    """A portrait `(H, W, 3)` in a light of its own, so that no two are the same photograph; its five landmarks."""
    picture, five = astronaut(**(POSE | pose))
    field = np.random.default_rng(seed).uniform(0.3, 1.5, (4, 4, 1)).astype(np.float32)
    light = cv2.resize(field, picture.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return (picture * light[..., None]).clip(0, 255).astype(np.uint8), five


def save(path: Path, picture: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, quality=95)
    return path


def celeba(folder: Path, people: list[str], parts: list[int], *, place: str = "img_align_celeba") -> Path:
    """Picture i + 1 shows `people[i]` and belongs to part `parts[i]` (0 train, 1 val, 2 test)."""
    names = [f"{i + 1:06}.jpg" for i in range(len(people))]
    fives = []
    for i, name in enumerate(names):
        picture, five = lit(i)
        save(folder / place / name, picture)
        fives.append((five - 0.5).round().astype(int).ravel())
    rows = [f"{name} {' '.join(map(str, five))}" for name, five in zip(names, fives, strict=True)]
    heading = (
        "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
    )
    kind = "align_celeba" if "align" in place else "celeba"
    write(folder / f"Anno/list_landmarks_{kind}.txt", [str(len(names)), heading, *rows])
    write(folder / "Anno/identity_CelebA.txt", map(" ".join, zip(names, people, strict=True)))
    write(folder / "Eval/list_eval_partition.txt", map(" ".join, zip(names, map(str, parts), strict=True)))
    return folder


def celebamask_hq(folder: Path, count: int) -> Path:
    """Pictures of 256 px with two masks of 128 px each: skin left of the middle, hair above it."""
    for i in range(count):
        picture, _ = lit(i, size=170, centre=(128, 140), shape=(256, 256))
        save(folder / f"CelebA-HQ-img/{i}.jpg", picture)
        skin, hair = np.zeros((2, 128, 128), np.uint8)
        skin[:, :64], hair[:64] = 255, 255
        for part, mask in (("hair", hair), ("skin", skin)):
            save(folder / f"CelebAMask-HQ-mask-anno/{i // 2}/{i:05}_{part}.png", np.stack([mask] * 3, 2))
    return folder


def helen(folder: Path, train: int, test: int) -> Path:
    """300-W's form: a .pts of 68 points beside each picture."""
    for i in range(train + test):
        picture, five = lit(i)
        place = folder / ("trainset" if i < train else "testset") / f"{i:04}_1.jpg"
        save(place, picture)
        place.with_suffix(".pts").write_text(pts(points68(five)))
    return folder


def lfw(folder: Path, people: dict[str, int]) -> Path:
    """A folder a person, pictures of 250 px."""
    seed = 0
    for person, count in people.items():
        for i in range(count):
            picture, _ = lit(seed := seed + 1, size=130, centre=(125, 130), shape=(250, 250))
            save(folder / person / f"{person}_{i + 1:04}.jpg", picture)
    return folder


def points68(five: np.ndarray) -> np.ndarray:
    """The mean face's 68 points where `five` are."""
    return apply(invert(similarity(five)), MEAN68 + 0.5)


def pts(points: np.ndarray) -> str:
    rows = "\n".join(f"{x:.3f} {y:.3f}" for x, y in points + 0.5)
    return f"version: 1\nn_points: {len(points)}\n{{\n{rows}\n}}\n"


def write(path: Path, lines) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
