"""Does the segmenter find sunglasses that people in crowds wear? Of their eyes no training says anything.

    python benchmarks/crowd_sunglasses.py [NAME or FILE …] --data DIR

Faces of FMD's photographs but for the test ones (`train/labels/fmd_covered.json`, "sunglasses"). They are few, most
stand beside faces that do teach it, and they came to notice because earlier weights called their eyes hidden, which
favours weights like those: this chooses between weights. `streamheal evaluate occlusion-unet` asks test people.
"""

import argparse
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from streamheal import weights
from streamheal.faces import alignment
from streamheal.heal import networks
from streamheal.heal.networks.layers import resample, resample_map
from streamheal.train.data import LABELS, SIZE
from streamheal.train.detector.scenes import Teacher, label, part_of, voc_boxes
from streamheal.train.samples.worn_masks import VISIBLE, marked

SIDES = (128, 24, 16)  # px, or as many as the photograph has


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["occlusion-unet"], help="segmenters, or weights (.safetensors)")
    parser.add_argument("--data", type=Path, required=True)
    asked = parser.parse_args()
    crops = list(faces(asked.data))
    print(f"{len(crops)} faces behind sunglasses; share whose eyes are found hidden, by more than half of them\n")
    print(f"| segmenter | {' | '.join(f'at most {side} px' for side in SIDES)} |\n|---|{'--:|' * len(SIDES)}")
    for name in asked.names:
        network = networks.load(Path(name) if name.endswith(".safetensors") else weights.find(name).path).eval()
        found = [np.mean([eyes_hidden(network, crop, side) for crop in crops]) for side in SIDES]
        print(f"| {name} | {' | '.join(f'{share:.2f}' for share in found)} |", flush=True)


def faces(data: Path):
    """Aligned crops at their native size."""
    teacher, covered = Teacher(data), json.loads((LABELS / "fmd_covered.json").read_text())
    with zipfile.ZipFile(data / "scenes.zip") as archive:
        for name, parts in covered.items():
            if "sunglasses" in parts and part_of(name) != "test":
                image = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
                scene = label(name, image, teacher, voc_boxes(archive.read(name.replace(".jpg", ".xml"))))
                yield from (alignment.cut(image, scene.landmarks[i], max_side=SIZE) for i in parts["sunglasses"])


def eyes_hidden(network: torch.nn.Module, crop: alignment.Crop, side: int) -> bool:
    picture = torch.from_numpy(crop.image.copy()).permute(2, 0, 1)[None].float() / 255
    seen = resample(picture, min(side, picture.shape[-1]))
    hidden = resample_map(network.visible(seen), SIZE)[0, 0].numpy() < 0.5
    points = crop.landmarks * (SIZE / crop.image.shape[0]) - 0.5
    eyes = marked(points, masked=False, covered=["mouth"]) == VISIBLE
    return bool(hidden[eyes].mean() > 0.5)


if __name__ == "__main__":
    main()
