"""The pictures of failure cases in the cards: what each restorer makes of input that asks too much of it.

    python benchmarks/failures.py [--only lr-trunk-16 …]

Two photographs in the public domain (NASA's Eileen Collins, the US Navy's Grace Hopper) that dependencies carry. Of
each, from left to right: 12 px and nothing hidden; a mask that nobody found; all but the brow hidden; the face askew,
as after a bad detection; dark, noisy and compressed. Rows: the input, the visibility that was given, what came of it,
the photograph. Writes models/failures/NAME.jpg.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from streamheal import weights
from streamheal.faces.alignment import similarity
from streamheal.heal.device import to_pictures
from streamheal.heal.networks.layers import resample, resample_map
from streamheal.heal.restorer import Restorer
from streamheal.heal.tracks import View
from streamheal.train.samples import degradation
from streamheal.train.samples.bank import Bank
from streamheal.video.sample import PEOPLE, photograph

SHOWN = 96  # px
SEED = 2026


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "models" / "failures")
    arguments = parser.parse_args()
    arguments.out.mkdir(exist_ok=True)
    known = [name for name, file in weights.manifest().items() if file.kind == "restorer"]
    truth = [aligned(person) for person in PEOPLE[:2]]
    bank = Bank.draw(SEED, per_kind=8)
    for name in arguments.only or known:
        restorer = Restorer(name, device="cpu", size=256 if name.endswith("-256") else 128)
        columns = [column for picture in truth for column in cases(picture, 32 if "-32" in name else 16, bank)]
        made = [face.picture for face in restorer.restore([[View(*column)] for column in columns])]
        rows = [
            [enlarged(crop, cv2.INTER_NEAREST) for crop, _ in columns],
            [enlarged(np.uint8(255 * visible)[..., None].repeat(3, 2), cv2.INTER_NEAREST) for _, visible in columns],
            [enlarged(picture, cv2.INTER_AREA) for picture in made],
            [enlarged(picture, cv2.INTER_AREA) for picture in truth for _ in range(len(columns) // 2)],
        ]
        sheet = np.concatenate([np.concatenate(row, 1) for row in rows])
        cv2.imwrite(str(arguments.out / f"{name}.jpg"), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
        print(arguments.out / f"{name}.jpg")


def aligned(person) -> np.ndarray:
    return cv2.warpAffine(photograph(person), similarity(np.array(person.landmarks)), (128, 128), flags=cv2.INTER_AREA)


def cases(picture: np.ndarray, size: int, bank: Bank) -> list[tuple[np.ndarray, np.ndarray]]:
    """Crops and the visibility that is given with each."""
    gen = torch.Generator().manual_seed(SEED)
    hr = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    masked, mask, _ = bank.occlude(hr, None, gen, shares={"medical": 1})
    mostly = torch.ones_like(mask)
    mostly[:, :, 52:] = 0
    askew = cv2.warpAffine(picture, cv2.getRotationMatrix2D((50, 74), 28, 0.85), (128, 128), flags=cv2.INTER_AREA)
    dark, _ = degradation.camera(hr**2.2 * 0.6, torch.ones_like(mask), gen, native=(size, size))
    return [
        small(resample(hr, 12), torch.ones_like(mask), 12),
        small(resample(masked, size), torch.ones_like(mask), size),
        small(resample(hr * mostly, size), mostly, size),
        small(
            resample(torch.from_numpy(askew).permute(2, 0, 1)[None].float() / 255, size), torch.ones_like(mask), size
        ),
        small(dark, torch.ones_like(mask), size),
    ]


def small(crop: torch.Tensor, visible: torch.Tensor, size: int) -> tuple[np.ndarray, np.ndarray]:
    return to_pictures(crop)[0], resample_map(visible, size)[0, 0].numpy()


def enlarged(picture: np.ndarray, how: int) -> np.ndarray:
    return cv2.resize(picture, (SHOWN, SHOWN), interpolation=how)


if __name__ == "__main__":
    main()
