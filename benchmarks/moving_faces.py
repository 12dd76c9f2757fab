"""What a track's other crops bring to a face that turns and speaks between them: large faces of real clips, shrunk.

    python benchmarks/moving_faces.py --data DIR

Tracks of eight crops, four a second, of faces that have 90 px and more in CLIPS (in DIR/videos). The first and the
fourth crop of each are restored: alone, with one about a second off, and with all eight. "Least squares" lets each
crop pull as hard as it differs. These clips chose OWN and NOISE of `heal/networks/agreement.py`; other people's real
video judges them: `streamheal evaluate lr-trunk-16 --protocol track`.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from streamheal import weights
from streamheal.faces import alignment
from streamheal.heal import networks
from streamheal.heal.networks import agreement
from streamheal.heal.networks.across_track import restore_track
from streamheal.heal.networks.layers import resample
from streamheal.train.data import SIZE
from streamheal.train.detector.scenes import Teacher
from streamheal.train.evaluation import metrics
from streamheal.video.decode import VideoInput
from streamheal.video.link import OpenOptions

CLIPS = (
    "short_hamilton_clip_640x360.mp4", "talking_head1_700x700.mp4", "talking_head5_524x524.mp4",
    "three_people_selfie_480x848.mp4", "woman_moving_head_960x540.mp4", "man_park_nomask_1280x720.mp4",
)  # fmt: skip
FRAMES, PER_SECOND, LEAST = 8, 4, 90
FIRST, AFTER = (0, 3), 5  # the crops that are restored, and how many on the next one lies that helps
AT_ONCE = 20


def faces_of(clip: Path, teacher: Teacher) -> list[list[np.ndarray]]:
    """The aligned faces `(128, 128, 3)` uint8 of each person, in order."""
    people: list[tuple[np.ndarray, list[np.ndarray]]] = []
    for image in frames_of(clip):
        for landmarks in teacher(image)[1]:
            crop = alignment.cut(image, landmarks, max_side=SIZE)
            if crop is None or crop.image.shape[0] < LEAST:
                continue
            centre = landmarks.mean(0)
            near = [i for i, (last, _) in enumerate(people) if np.linalg.norm(last - centre) < 0.8 * len(crop.image)]
            if near:
                i = min(near, key=lambda i: np.linalg.norm(people[i][0] - centre))
                people[i] = centre, people[i][1]
            else:
                i = len(people)
                people.append((centre, []))
            people[i][1].append(alignment.resample(crop.image, SIZE))
    return [faces for _, faces in people]


def frames_of(clip: Path) -> Iterator[np.ndarray]:
    """PER_SECOND of its frames."""
    video = VideoInput(OpenOptions(url=str(clip), live=False))
    every = max(1, round(video.rate / PER_SECOND))
    for i, decoded in enumerate(found for found in video if found is not None):
        if i % every == 0:
            image = np.empty((*decoded.shape, 3), np.uint8)
            decoded.write(image)
            yield image


def restored(network: nn.Module, crops: torch.Tensor, chosen: list[int]) -> torch.Tensor:
    """The first of the `chosen` of each track's crops, `(N, 3, 128, 128)`."""
    size, made = network.lr_size, []
    for part in crops[:, chosen].split(AT_ONCE):
        lr = resample(part.flatten(0, 1), size).unflatten(0, part.shape[:2])
        everyone = torch.ones(part.shape[:2], dtype=torch.bool)
        made.append(restore_track(network, None, lr, torch.ones_like(lr[:, :, :1]), everyone)[0].hr)
    return torch.cat(made)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    teacher, tracks = Teacher(data), []
    for clip in CLIPS:
        for faces in faces_of(data / "videos" / clip, teacher):
            starts = range(0, len(faces) - FRAMES + 1, FRAMES // 2)
            tracks += [np.stack(faces[start : start + FRAMES]) for start in starts]
    crops = torch.from_numpy(np.stack(tracks)).permute(0, 1, 4, 2, 3).float() / 255
    print(f"{len(crops)} tracks\n")
    print("| network | one crop | two: gain dB | eight: gain dB | least squares: two | eight |")
    print("|---" + "|--:" * 5 + "|")
    for name in ("lr-trunk-16", "lr-trunk-32"):
        network = networks.load(weights.find(name).path)

        def decibels(count: int, network: nn.Module = network) -> float:
            means = []
            for first in FIRST:
                chosen = [(first + AFTER * i) % FRAMES for i in range(count)]
                means.append(metrics.psnr(restored(network, crops, chosen), crops[:, first]).mean())
            return float(np.mean(means))

        alone = decibels(1)
        robust = [decibels(count) - alone for count in (2, FRAMES)]
        known = agreement.OWN, agreement.NOISE
        agreement.OWN, agreement.NOISE = 1.0, torch.inf
        squares = [decibels(count) - alone for count in (2, FRAMES)]
        agreement.OWN, agreement.NOISE = known
        print(f"| {name} | {alone:.2f} | " + " | ".join(f"{gain:+.2f}" for gain in (*robust, *squares)) + " |")


if __name__ == "__main__":
    main()
