"""How light the skin of a face is, so that figures can be told apart by it."""

import numpy as np
from skimage.color import rgb2lab

# Two discs on the cheeks: about the mean of these landmarks (lower lid, mouth corner, wing of the nose, jaw), as large
# as this share of the distance between the outer eye corners.
_CHEEKS = ((41, 48, 31, 3), (46, 54, 35, 13))
_RADIUS = 0.14
_FEWEST = 12  # pixels


def typology_angle(picture: np.ndarray, landmarks: np.ndarray) -> float:
    """The individual typology angle in degrees (Chardon 1991): arctan((L* - 50) / b*) of the cheeks' median colour.

    `picture` (h, w, 3) uint8 RGB, `landmarks` (68, 2) px. From above 55 (very light) to below -30 (dark). NaN where the
    picture doesn't show the cheeks. White balance and exposure move it: a face has one angle in each photograph.
    """
    landmarks = np.asarray(landmarks, np.float64)
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    radius = _RADIUS * np.linalg.norm(landmarks[36] - landmarks[45])
    centres = [landmarks[list(points)].mean(0) for points in _CHEEKS]
    cheeks = np.any([np.hypot(x - centre[0], y - centre[1]) <= radius for centre in centres], 0)
    if cheeks.sum() < _FEWEST:
        return float("nan")
    lightness, _, yellow = np.median(rgb2lab(picture[cheeks][None])[0], 0)
    return float(np.degrees(np.arctan2(lightness - 50, yellow)))  # arctan2: a bluish cast must not turn light to dark
