"""What a camera's encoder does to faces: true H.264, with its motion, its skipped blocks and its rate."""

import math
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F

from streamheal.errors import ConfigError
from streamheal.train.samples.degradation import uniform

_MARGIN = 4  # px round each face, so that blocks don't mix neighbours' faces more than a street behind them would


def through_h264(pictures: torch.Tensor, gen: torch.Generator) -> torch.Tensor:
    """Tracks `(B, T, 3, n, n)` in [0, 1], encoded as one small film of T pictures and decoded again.

    The faces lie side by side, with their borders continued. Rate factor 22 to 36, drawn for the film; one thread, so
    that the same pictures give the same film. Raises ConfigError where PyAV is missing.
    """
    try:
        import av
    except ImportError as error:
        raise ConfigError("H.264 needs PyAV (pip install av); codec: jpeg does without") from error
    batch, frames, _, side, _ = pictures.shape
    columns = math.ceil(math.sqrt(batch))
    cell = side + 2 * _MARGIN
    tiles = F.pad(pictures.flatten(0, 1), (_MARGIN,) * 4, mode="replicate").unflatten(0, (batch, frames))
    tiles = tiles.mul(255).round().byte().permute(1, 0, 3, 4, 2).cpu().numpy()  # (T, B, cell, cell, 3)
    width = math.ceil(columns * cell / 16) * 16
    height = math.ceil(math.ceil(batch / columns) * cell / 16) * 16
    film = np.full((frames, height, width, 3), 127, np.uint8)
    places = [(cell * (i // columns), cell * (i % columns)) for i in range(batch)]
    for i, (top, left) in enumerate(places):
        film[:, top : top + cell, left : left + cell] = tiles[:, i]

    rate = str(int(uniform((), 22, 36, gen)))
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, "yuv420p", Fraction(1, 25)
    encoder.thread_count = 1
    encoder.options = {"crf": rate, "preset": "veryfast", "tune": "zerolatency"}
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    packets = [packet for one in film for packet in encoder.encode(av.VideoFrame.from_ndarray(one, "rgb24"))]
    packets += encoder.encode(None)
    decoded = [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
    shown = np.stack([frame.to_ndarray(format="rgb24") for frame in decoded])
    inner = [
        shown[:, top + _MARGIN : top + _MARGIN + side, left + _MARGIN : left + _MARGIN + side] for top, left in places
    ]
    return torch.from_numpy(np.stack(inner)).to(pictures.device).permute(0, 1, 4, 2, 3).float() / 255
