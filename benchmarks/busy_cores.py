"""What OMP_WAIT_POLICY costs or saves where other work wants the cores: seconds to heal eight tracks, both ways.

    python benchmarks/busy_cores.py [--busy N] [--rounds 3]

Starts N processes that keep a core busy each (default: one per core), and heals under each policy in turn.
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--heal", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.heal:
        print(heal())
        return
    busy = [multiprocessing.Process(target=spin, daemon=True) for _ in range(arguments.busy)]
    for process in busy:
        process.start()
    took: dict[str, list[float]] = {"ACTIVE": [], "PASSIVE": []}
    for _ in range(arguments.rounds):
        for policy, seconds in took.items():
            done = subprocess.run(
                [sys.executable, __file__, "--heal"],
                env={**os.environ, "OMP_WAIT_POLICY": policy, "PYTHONPATH": str(ROOT)},
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            seconds.append(float(done.stdout))
    active, passive = (statistics.median(took[policy]) for policy in ("ACTIVE", "PASSIVE"))
    print(f"{arguments.busy} busy processes on {os.cpu_count()} cores, medians of {arguments.rounds}: ", end="")
    print(f"ACTIVE {active:.2f} s, PASSIVE {passive:.2f} s, ratio {active / passive:.1f}")


def spin() -> None:
    while True:
        pass


def heal() -> float:
    """Seconds for one call of the healer on eight tracks of eight crops, after a first one to warm up."""
    import numpy as np

    from streamheal import pipeline_file
    from streamheal.heal.healer import Healer
    from streamheal.records import FaceCrop, HealJob, ModelUsed, Quality

    rng = np.random.default_rng(0)
    quality = Quality(16, 0.5, 0, 0, 0, 1, 1, 0.5)

    def job(track: int) -> HealJob:
        images = [rng.integers(0, 255, (side, side, 3), np.uint8) for side in rng.integers(15, 32, 8)]
        crops = tuple(
            FaceCrop("", 0, track, i, 0.0, "media", 0.0, image, np.eye(2, 3), np.zeros(4), np.zeros((5, 2)), 1, quality)
            for i, image in enumerate(images)
        )
        return HealJob("run", "c", 0, track, 1, "ended", crops, 0.0, 1.0, 8)

    healer = Healer(pipeline_file.load(ROOT / "pipelines" / "recorded.yaml"), ModelUsed("detector", "none", ""))
    jobs = [job(track) for track in range(8)]
    healer.heal(jobs)
    began = time.monotonic()
    healer.heal(jobs)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
