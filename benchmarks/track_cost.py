"""What a face of a whole track costs beside a face of one crop: CPU time, as a ratio within one run.

    python benchmarks/track_cost.py [NAME or FILE …] [--fusion FILE] [--threads 1] [--rounds 9]

Tracks of 8 crops, 16 at once; still and fused take turns, so that a busy machine slows both. The ratio is that of the
medians. Without names: every shipped restorer that fusion serves.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from track_failures import restorers

from streamheal.heal.networks.across_track import restore_track
from streamheal.train.evaluation.track_trial import MOST, each_first
from streamheal.train.samples.tracks import passing_rectangles

TRACKS = 16
PARTS = (
    "one face of 8 crops ÷ one face of its first",
    "all 8 crops restored with the others ÷ each alone",
    "one face of 8 crops ÷ all 8 crops each alone",
)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="shipped restorers, or weights (.safetensors)")
    parser.add_argument("--fusion", type=Path, help="for those that have none of their own; default: the shipped one")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| restorer | " + " | ".join(PARTS) + " |\n|---|---|---|---|")
    for name, network, fusion in restorers(arguments.names, arguments.fusion):
        cells = " | ".join(f"{ratio:.2f}" for ratio in ratios(network, fusion, arguments.rounds))
        print(f"| {name} | {cells} |", flush=True)


def ratios(network: nn.Module, fusion: nn.Module | None, rounds: int) -> tuple[float, float, float]:
    """CPU time of each of PARTS."""
    size, gen = network.lr_size, torch.Generator().manual_seed(0)
    visible = passing_rectangles(TRACKS, MOST, size, gen)
    lr = torch.rand(TRACKS, MOST, 3, size, size, generator=gen) * visible
    valid = torch.ones(TRACKS, MOST, dtype=torch.bool)
    turns = list(zip(each_first(lr).split(TRACKS), each_first(visible).split(TRACKS), strict=True))

    def still() -> None:
        network(lr[:, 0], visible[:, 0])

    def fused() -> None:
        restore_track(network, fusion, lr, visible, valid)

    def every_still() -> None:
        for turn in range(MOST):
            network(lr[:, turn], visible[:, turn])

    def every_fused() -> None:
        for crops, seen in turns:
            restore_track(network, fusion, crops, seen, valid)

    one, track, eight, all_fused = medians((still, fused, every_still, every_fused), rounds)
    return track / one, all_fused / eight, track / eight


def medians(calls: tuple[Callable[[], None], ...], rounds: int) -> list[float]:
    """Seconds of CPU time of each call; they take turns."""
    spent = [[] for _ in calls]
    for turn in range(rounds + 1):
        for call, own in zip(calls, spent, strict=True):
            began = time.process_time()
            call()
            if turn:  # the first warms up
                own.append(time.process_time() - began)
    return [statistics.median(own) for own in spent]


if __name__ == "__main__":
    main()
