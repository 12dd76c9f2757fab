"""Recall by size, precision and false alarms on the tuning scenes, over scales and thresholds of a detector.

    python benchmarks/detector_thresholds.py centerface --data DIR --scale 1 2 --score 0.2 0.3 0.4

The tables by which `detector.min_score` and `detector.scale` were chosen; the test split has no say in it.
"""

import argparse
from pathlib import Path

from streamheal.faces.detector import build_detector
from streamheal.train.detector.recall import judge, row, settings_of, shrunk
from streamheal.train.detector.scenes import Teacher, scenes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="centerface, yunet, yolo11n-face")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scale", type=float, nargs="+", default=[1.0, 2.0])
    parser.add_argument("--score", type=float, nargs="+", default=[0.3])
    arguments = parser.parse_args()
    pictures = list(shrunk(scenes(arguments.data, "tune", Teacher(arguments.data))))
    settings = settings_of(arguments.name, arguments.data)
    print("scale, threshold | recall by size … | precision | false alarms a picture | landmark error")
    for scale in arguments.scale:
        for score in arguments.score:
            changed = {"scale": scale, "max_side": 4096, "min_score": score}
            detector = build_detector(settings.model_copy(update=changed))
            print(*row(f"{scale:g}, {score:g}", judge(detector, pictures)), sep=" | ", flush=True)


if __name__ == "__main__":
    main()
