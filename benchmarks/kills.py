"""Kills (SIGKILL) at random moments, in hundreds, and the count of events in and events out.

    python -m benchmarks.kills --kills 200 --seed 1 --out runs/kills

Run from the repository's root; needs Java, Maven and OpenSSL for the broker, and GStreamer's RTSP server for the camera
(kinds whose server can't be had are left out, and said so). The kinds and what each must keep: tests/kills.py. Prints
the rows of the table in docs/reliability.md; `kills.json` in the output folder holds the figures, after each kind, and
those of the kinds that an earlier call did.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from streamheal.video.sample import render
from tests import kills, targets
from tests.integration.kafka import Broker, jars
from tests.integration.rtsp import RtspCamera, gstreamer_python
from tests.video.clips import write_clip

SHARES = {
    "outbox writer": 0.4,
    "sender to Kafka": 0.15,
    "recording, at any line of code": 0.125,
    "reader process of a recording": 0.125,
    "whole program": 0.125,
    "reader process of a camera": 0.05,
    "Kafka broker": 0.03,
}
FRAMES = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/kills"))
    parser.add_argument("--only", nargs="*", choices=[*SHARES], help="these kinds alone")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    kinds = asked.only or [*SHARES]
    if "whole program" in kinds:  # what the processes to be killed need is imported once, before they are forked
        targets.preload("streamheal.heal.healer")
    kept = asked.out / "kills.json"
    rows = [r for r in json.loads(kept.read_text()) if r["kind"] not in kinds] if kept.exists() else []
    with tempfile.TemporaryDirectory(dir=asked.out) as folder:
        runs = _kinds(Path(folder))
        for kind in (kind for kind in kinds if kind in runs):
            count = -(-int(asked.kills * SHARES[kind] * 1000) // 1000)
            began = time.monotonic()
            tally = runs[kind](Random(f"{asked.seed} {kind}"), count)
            rows.append(_row(kind, tally, asked.seed, time.monotonic() - began))
            kept.write_text(json.dumps(rows, indent=2))
            print(_line(rows[-1]), flush=True)
    killed, lost = sum(r["kills"] for r in rows), sum(r["unaccounted"] for r in rows)
    print(f"\n{killed} kills, {lost} unaccounted for")
    sys.exit(lost > 0)


def _kinds(folder: Path) -> dict[str, Callable[[Random, int], kills.Tally]]:
    """Each kind as a function of its random numbers and how many kills; servers start with the first in need."""
    clip = write_clip(folder / "numbered.mp4", FRAMES)
    (folder / "broker").mkdir()
    broker = Broker(jars(), folder / "broker")

    def place(name: str) -> Path:
        (folder / name).mkdir()
        return folder / name

    def needs_broker(run: Callable) -> Callable:
        def started(rng, count):
            if not broker.running:
                broker.start()
            return run(rng, count)

        return started

    def programs(rng, count):
        hall = render(folder / "hall.mp4", seconds=3, fps=8)
        return kills.programs(rng, count, hall, place("programs"), broker.plain)

    def camera(rng, count):
        server = RtspCamera(write_clip(folder / "camera.mp4", 60 * 25))
        try:
            return kills.camera_readers(rng, count, server.start().url())
        finally:
            server.kill()

    found = {
        "outbox writer": lambda rng, count: kills.outbox_writers(rng, count, place("writers")),
        "reader process of a recording": lambda rng, count: kills.recording_readers(rng, count, clip, FRAMES),
        "recording, at any line of code": needs_broker(
            lambda rng, count: kills.recordings(rng, count, clip, place("lines"), broker.plain)
        ),
        "sender to Kafka": needs_broker(lambda rng, count: kills.senders(rng, count, place("senders"), broker.plain)),
        "Kafka broker": needs_broker(lambda rng, count: kills.brokers(rng, count, place("brokers"), broker)),
        "whole program": needs_broker(programs),
    }
    if gstreamer_python():
        found["reader process of a camera"] = camera
    else:
        print("left out: reader process of a camera (no GStreamer RTSP server)", file=sys.stderr)
    return found


def _row(kind: str, tally: kills.Tally, seed: int, seconds: float) -> dict:
    return {
        "kind": kind,
        "kills": tally.kills,
        "in": tally.came_in,
        "out": tally.came_out,
        "unaccounted": tally.unaccounted,
        "twice": tally.twice,
        "recovery_median_s": round(statistics.median(tally.recovery), 2) if tally.recovery else None,
        "recovery_longest_s": round(max(tally.recovery), 2) if tally.recovery else None,
        "seed": seed,
        "seconds": round(seconds),
    }


def _line(row: dict) -> str:
    recovery = f"{row['recovery_median_s']} s, at most {row['recovery_longest_s']} s"
    return f"| {row['kind']} | {row['kills']} | {row['in']} = {row['out']} | {row['twice']} | {recovery} |"


if __name__ == "__main__":
    main()
