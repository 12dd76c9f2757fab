"""What choosing crops by what they show costs, beside finding the faces: CPU seconds of one run over a clip.

    python benchmarks/gallery_cost.py [CLIP …] [--every 1]

For each clip (default: the rendered demo clip): frames, faces found, crops that were looked at and that were passed
over without a look, and the CPU time of detection, of cutting and weighing crops, and of the occlusion segmenter, also
as shares of detection's. One thread; ratios hold within a run, whatever else the machine does.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import torch

from streamheal.config import PipelineConfig, Rendered, Source
from streamheal.faces.detector import build_detector
from streamheal.heal.occlusion import OcclusionSegmenter
from streamheal.pipeline.follower import Follower
from streamheal.video.reader import Reader
from streamheal.video.sample import render


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="*")
    parser.add_argument("--every", type=int, default=1, help="look at every n-th frame")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print("| clip | frames | faces | looked at | passed over | detection s | gallery s | segmenter s |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        clips = arguments.clips or [render(Path(folder) / "demo.mp4", **Rendered().model_dump())]
        for clip in clips:
            print(measure(clip, arguments.every), flush=True)


class Stopwatch:
    """CPU seconds spent in what it wraps."""

    def __init__(self, call: Callable):
        self._call, self.seconds = call, 0.0

    def __call__(self, *given):
        began = time.process_time()
        made = self._call(*given)
        self.seconds += time.process_time() - began
        return made


def measure(clip: Path, every: int) -> str:
    """One row of the table."""
    config = PipelineConfig(source=Source(path=clip))
    detect = Stopwatch(build_detector(config.detector).detect)
    look = Stopwatch(OcclusionSegmenter(device="cpu").look)
    follower = Follower("clip", "run", config, look)
    follow = Stopwatch(follower.add)
    frames = faces = 0
    with Reader("clip", clip, live=False) as reader:
        while (frame := reader.read(0.5)) is not None or not reader.ended:
            if frame is None or frame.sequence % every:
                continue
            (found,) = detect([frame.image])
            follow(frame, found)
            frames, faces = frames + 1, faces + len(found)
    counts = follower.take_counts()
    own, seen = follow.seconds - look.seconds, look.seconds
    cells = [clip.name, frames, faces, counts["crops.looked-at"], counts["crops.passed-over"], f"{detect.seconds:.1f}"]
    cells += [f"{seconds:.1f} ({seconds / detect.seconds:.1%})" for seconds in (own, seen)]
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
