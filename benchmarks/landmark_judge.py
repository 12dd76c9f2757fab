"""Which square of the canonical crop the judge of landmarks should be shown: its NRMSE to the data's own landmarks.

    python benchmarks/landmark_judge.py ../shared/data [--pictures 150]

On the tuning shard; the judge's constant `SQUARE` is the best of these.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from streamheal.train import data
from streamheal.train.evaluation import metrics
from streamheal.train.evaluation.judge_landmarks import LandmarkJudge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pictures", type=int, default=150)
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    arguments = parser.parse_args()
    faces = data.load(data.shards(arguments.data, ["faces128-val"]), arguments.cache)
    rows = np.random.default_rng(0).permutation(len(faces))[: arguments.pictures]
    pictures = torch.from_numpy(faces.pictures(rows)).permute(0, 3, 1, 2).float() / 255
    for side in (92, 100, 108, 116):
        for top in range(128 - side, max(128 - side - 20, 0) - 1, -4):
            square = ((128 - side) // 2, top, side)
            found = LandmarkJudge(arguments.data, square=square)(pictures)
            print(square, f"NRMSE {metrics.nrmse(found, faces.landmarks[rows]).mean():.2f} %", flush=True)


if __name__ == "__main__":
    main()
