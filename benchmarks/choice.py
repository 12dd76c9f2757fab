"""Which restorer does best on which crop: what `restorer: auto` goes by (streamheal/heal/choice.py).

    python benchmarks/choice.py --data DIR [--only lr-trunk-16 …] [--faces 64]

Faces of the tuning shard, degraded as a camera degrades, at each size; with something hidden (the true visibility is
given) and open. Restored as in use, the crop's own detail given back; PSNR in dB, and milliseconds a face on this
machine, relative to the first network's.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from streamheal import weights
from streamheal.heal.device import to_pictures
from streamheal.heal.networks.layers import resample
from streamheal.heal.restorer import Restorer
from streamheal.heal.tracks import View
from streamheal.train import data
from streamheal.train.samples import degradation
from streamheal.train.samples.bank import Bank
from streamheal.train.samples.protocols import CAMERA_SHARES

SIDES = (12, 16, 20, 24, 32, 48, 64, 96, 128)
SEED = 2026
GROUP = 8  # faces that share a kernel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--faces", type=int, default=64)
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    known = [name for name, file in weights.manifest().items() if file.kind == "restorer"]
    restorers = {}
    for name in arguments.only or known:
        if not name.endswith("-256"):
            restorers[name] = Restorer(name, device="cpu")

    faces = data.load(data.shards(arguments.data, ["faces128-val"]), arguments.cache)
    rows = np.random.default_rng(SEED).permutation(len(faces))[: arguments.faces]
    clean = torch.from_numpy(faces.pictures(rows)).permute(0, 3, 1, 2).float() / 255
    landmarks = torch.from_numpy(faces.landmarks[rows])
    bank = Bank.draw(SEED, 24, arguments.data / "occluders.zip", held_out=True)
    hiding = {kind: share for kind, share in CAMERA_SHARES.items() if kind not in ("none", "eyeglasses")}

    print("| crop | hidden | enlarged | " + " | ".join(restorers) + " |")
    print("|---|---|" + "---|" * (len(restorers) + 1))
    took = dict.fromkeys(restorers, 0.0)
    for what, shares in (("yes", hiding), ("no", {"none": 1})):
        for side in SIDES:
            crops, visible = degraded(clean, landmarks, bank, shares, side)
            tracks = [[View(*crop)] for crop in zip(to_pictures(crops), visible[:, 0].numpy(), strict=True)]
            figures = [psnr(resample(crops, 128), clean)]
            for name, restorer in restorers.items():
                began = time.perf_counter()
                made = np.stack([face.picture for face in restorer.restore(tracks)])
                took[name] += time.perf_counter() - began
                figures.append(psnr(torch.from_numpy(made).permute(0, 3, 1, 2).float() / 255, clean))
            print(f"| {side} px | {what} | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |", flush=True)
    first = next(iter(took.values()))
    print("\ntime a face, relative: " + ", ".join(f"{name} {seconds / first:.1f}" for name, seconds in took.items()))


@torch.inference_mode()
def degraded(
    clean: torch.Tensor, landmarks: torch.Tensor, bank: Bank, shares: dict[str, float], side: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops `(N, 3, side, side)` and their visibility. The same for the same arguments."""
    gen = torch.Generator().manual_seed(SEED + side)
    crops, maps = [], []
    for start in range(0, len(clean), GROUP):
        part = slice(start, start + GROUP)
        occluded, visible, _ = bank.occlude(clean[part], landmarks[part], gen, shares=shares)
        crop, seen = degradation.camera(occluded, visible, gen, native=(side, side))
        crops.append(crop)
        maps.append(seen)
    return torch.cat(crops), torch.cat(maps)


def psnr(made: torch.Tensor, clean: torch.Tensor) -> float:
    error = ((made - clean) ** 2).mean((1, 2, 3)).clamp(min=1e-8)
    return float((-10 * error.log10()).mean())


if __name__ == "__main__":
    main()
