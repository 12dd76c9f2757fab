"""How well a track's tiny crops are laid onto each other: the error of registration in LR pixels.

    python benchmarks/registration.py --data DIR

Tracks of 128 tuning faces (`train/samples/tracks.py`), whose motion is known exactly. The error is the mean distance of
five points of the face; "before" is what the landmarks alone were off, "again" what is left once the crops were laid
onto the face that lr-trunk-16 makes of them, too (`heal/networks/agreement.py`). Prints a table for docs/training.md.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from streamheal import weights
from streamheal.heal import networks
from streamheal.heal.networks.across_track import restore_track
from streamheal.heal.networks.agreement import laid_again
from streamheal.heal.networks.registration import register
from streamheal.heal.networks.warping import rescale
from streamheal.train import data
from streamheal.train.samples.bank import Bank
from streamheal.train.samples.tracks import KINDS, draw_track

FACES, FRAMES, SIZE, SIDE = 128, 4, 16, 64
POINTS = torch.tensor([[5.0, 6.0, 1], [10.0, 6.0, 1], [7.5, 8.5, 1], [5.5, 11.0, 1], [9.5, 11.0, 1]]).T


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    arguments = parser.parse_args()
    faces = data.load(data.shards(arguments.data, ["faces128-val"]), arguments.cache)
    pictures = torch.from_numpy(faces.pictures(np.arange(FACES))).permute(0, 3, 1, 2).float() / 255
    landmarks = (torch.from_numpy(faces.landmarks[:FACES]) + 0.5) * (SIDE / data.SIZE) - 0.5
    pictures = F.interpolate(pictures, (SIDE, SIDE), mode="area")
    restorer = networks.load(weights.find("lr-trunk-16").path)
    bank = Bank.draw(0, 48, arguments.data / "occluders.zip", held_out=True)
    print("| track | before | median | 90 % below | again: median | 90 % below | 90 % fit better than |")
    print("|---" + "|--:" * 6 + "|")
    for kind in KINDS:
        tracks = draw_track(kind, pictures, landmarks, bank, torch.Generator().manual_seed(0), frames=FRAMES, size=SIZE)
        both = torch.cat([tracks.lr, tracks.visible], 2)
        first, others = both[:, 0], both[:, 1:].flatten(0, 1)
        rows = torch.arange(FACES).repeat_interleave(FRAMES - 1)
        true = rescale(tracks.maps[:, 1:].flatten(0, 1), SIZE / SIDE)
        found = register(first[:, :3], first[:, 3:], others[:, :3], others[:, 3:], rows)
        everyone = torch.ones(FACES, FRAMES, dtype=torch.bool)
        made, fused = restore_track(restorer, None, tracks.lr, tracks.visible, everyone)
        again = laid_again(made.hr, fused.laid)[~fused.laid.own]
        errors = [((maps - true) @ POINTS).norm(dim=1).mean(1) for maps in (torch.eye(2, 3), found.maps, again)]
        before, *after = ((error.median(), error.quantile(0.9)) for error in errors)
        cells = " | ".join(f"{figure:.3f}" for figures in after for figure in figures)
        print(f"| `{kind}` | {before[0]:.2f} | {cells} | {found.fits.quantile(0.1):.3f} |")


if __name__ == "__main__":
    main()
