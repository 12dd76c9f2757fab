"""Clips whose every frame carries its number in its pixels, so that a test can tell which frame it was given."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 12
BLOCK = 16
WIDTH, HEIGHT = BITS * BLOCK, 112


def numbered_picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """RGB picture: the top row of blocks is `number` in binary, most significant bit first; grey texture below."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.repeat(((x * 3 + y * 2 + number * 5) % 128 + 64).astype(np.uint8)[..., None], 3, axis=2)
    for bit in range(BITS):
        on = number >> (BITS - 1 - bit) & 1
        image[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 if on else 0
    return image


def number_in(image: np.ndarray) -> int:
    """The number that `numbered_picture` drew, through any codec that keeps black and white apart."""
    number = 0
    for bit in range(BITS):
        block = image[4 : BLOCK - 4, bit * BLOCK + 4 : (bit + 1) * BLOCK - 4]
        number = number << 1 | int(block.mean() > 127)
    return number


def write_clip(
    path: Path,
    frames: int,
    rate: int = 25,
    *,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    first: int = 0,
    gop: int = 25,
    b_frames: int = 0,
    format: str | None = None,
    metadata: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    codec: str = "libx264",
    pixel_shape: Fraction | None = None,
) -> Path:
    """Encode `frames` numbered pictures, the first with number `first`."""
    with av.open(str(path), "w", format=format, options=options or {}) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, rate)
        if pixel_shape is not None:
            stream.codec_context.sample_aspect_ratio = pixel_shape
        if codec == "libx264":
            stream.options = {"preset": "ultrafast", "bf": str(b_frames), "crf": "20"}
            stream.codec_context.gop_size = gop
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered_picture(first + i, *size), format="rgb24")
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_sound(path: Path, seconds: float = 1.0) -> Path:
    """A file with sound and no video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for i in range(int(seconds * 16000) // 1024):
            samples = (np.sin(np.arange(i * 1024, (i + 1) * 1024) / 20) * 0.3).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.rate, frame.pts = 16000, i * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
