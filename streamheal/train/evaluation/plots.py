"""Line plots for cards, drawn with what is there."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 580, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 20, 46, 60
_INKS = ((30, 90, 190), (220, 110, 20), (120, 120, 120), (30, 140, 90))  # tell apart without colour vision
_TICKS = 5


def panel(
    title: str, at: list[float], lines: dict[str, list[float]], *, top: float | None = None, mark: float | None = None
) -> torch.Tensor:
    """One plot, `(3, HEIGHT, WIDTH)` in [0, 1]: `lines` over `at` in [0, 1], up to `top` (by default the next 25 above
    the largest value), with a dashed upright line at `mark`."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    top = top or float(np.ceil(max(max(values) for values in lines.values()) / 25) * 25)

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + x * (WIDTH - _LEFT - _RIGHT),
            HEIGHT - _BOTTOM - y / top * (HEIGHT - _TOP - _BOTTOM),
        )

    draw.text((_LEFT, 12), title, "black", ImageFont.load_default(16))
    for i in range(_TICKS + 1):
        share = i / _TICKS
        draw.line([place(0, share * top), place(1, share * top)], (225, 225, 225))
        draw.text(place(-0.1, share * top + 0.025 * top), f"{share * top:g}", "black", font)
        x, y = place(share, 0)
        draw.text((x - 10, y + 6), f"{share:g}", "black", font)
    if mark is not None:
        (x, low), (_, high) = place(mark, 0), place(mark, top)
        for y in range(int(high), int(low), 8):
            draw.line([(x, y), (x, y + 4)], (90, 90, 90))
        draw.text((x + 4, high), f"hallucinated below {mark:g}", "black", font)
    for i, (name, values) in enumerate(lines.items()):
        ink, points = _INKS[i % len(_INKS)], [place(x, y) for x, y in zip(at, values, strict=True)]
        if len(points) > 1:
            draw.line(points, ink, 2)
        for x, y in points:
            draw.ellipse([x - 3, y - 3, x + 3, y + 3], ink)
        x, y = _LEFT + i * (WIDTH - _LEFT) // len(lines), HEIGHT - 24
        draw.rectangle([x, y + 4, x + 10, y + 14], ink)
        draw.text((x + 14, y), name, "black", font)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
