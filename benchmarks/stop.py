"""How long a live run takes to stop, with every confirmed track published: seconds, over a number of stops.

    python benchmarks/stop.py URL [URL …] --stops 10

Starts `streamheal run` on the cameras at URL, waits for events, sends SIGTERM, and waits for the end.
"""

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="+")
    parser.add_argument("--stops", type=int, default=10)
    arguments = parser.parse_args()
    seconds = sorted(stop_once(arguments.url) for _ in range(arguments.stops))
    print(f"{len(seconds)} stops: median {statistics.median(seconds):.2f} s, longest {seconds[-1]:.2f} s; promised 5 s")


def stop_once(urls: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        file, output = Path(folder) / "cctv.yaml", Path(folder) / "out"
        cameras = [{"name": f"camera-{i}", "url": url} for i, url in enumerate(urls)]
        file.write_text(yaml.safe_dump({"source": {"cameras": cameras}, "output": {"path": str(output)}}))
        process = subprocess.Popen(
            [sys.executable, "-c", "from streamheal.cli import main; main()", "run", str(file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        events = output / "events.jsonl"
        while process.poll() is None and not (events.exists() and events.stat().st_size):
            time.sleep(0.05)
        sent = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait()
        return time.monotonic() - sent


if __name__ == "__main__":
    main()
