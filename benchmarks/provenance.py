"""What it costs that a restored picture says how it came to be: time and bytes, plain, with XMP, and signed (C2PA).

    pip install 'streamheal[c2pa]'
    python -m benchmarks.provenance --pictures 200

The picture is a face of 128 px, with the settings and models of a real run; its certificate is made here, on the curve
P-256, without a time-stamping authority. Each kind in turn, so that what else the machine does falls on all of them.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

import streamheal
from streamheal.config import PipelineConfig, Rendered, Source
from streamheal.publish.face_pictures import restored_png
from streamheal.publish.pictures import mark, png
from streamheal.publish.provenance_c2pa import read_credentials
from streamheal.publish.provenance_signer import PictureSigner
from streamheal.records import HealedFace, ModelUsed, SourceFrame
from tests.publish.certificates import make_signing
from tests.publish.sample import healed_face


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=200)
    arguments = parser.parse_args()
    face = a_face()
    with tempfile.TemporaryDirectory() as folder:
        signer = PictureSigner(make_signing(Path(folder)).settings)
    plain, described, signed = png(mark(face.restored)), restored_png(face), signer.sign(face)
    ways: dict[str, tuple[Callable[[], object], int | None]] = {
        "written plain": (lambda: png(mark(face.restored)), len(plain)),
        "written with XMP": (lambda: restored_png(face), len(described)),
        "written with XMP and signed": (lambda: signer.sign(face), len(signed)),
        "XMP read": (lambda: streamheal.read_provenance(described), None),
        "signature checked": (lambda: read_credentials(signed), None),
    }
    seconds = {name: [] for name in ways}
    for _ in range(arguments.pictures):
        for name, (way, _) in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    base = statistics.median(seconds["written plain"])
    for name, (_, size) in ways.items():
        median = statistics.median(seconds[name])
        length = "" if size is None else f"{size:8d} bytes"
        print(f"{name:<28} {median * 1e3:7.2f} ms {median / base:6.2f} x written plain {length}")


def a_face() -> HealedFace:
    """A photograph, with what a real run says of it."""
    picture = Image.fromarray(data.astronaut()[:220, 120:340]).resize((128, 128))
    face = replace(healed_face(), restored=np.array(picture))
    roles = ("detector", "occlusion", "restorer", "fusion", "embedder")
    made = replace(
        face.provenance,
        models=tuple(ModelUsed(role, f"{role}-16", role[0] * 64) for role in roles),
        sources=tuple(SourceFrame(number, 1_790_000_000 + number / 25, "sender", 0.04) for number in range(8)),
        settings=PipelineConfig(source=Source(rendered=Rendered())).shaping(),
    )
    return replace(face, provenance=made)


if __name__ == "__main__":
    main()
