"""A real pair of photographs with a real calibration and real holes, made into what the network takes.

Middlebury 2014 "Motorcycle", which scikit-image carries in its wheel: nothing is fetched.  7 % of its disparity is missing.
image (3, H, W)   disparity, depth (H, W).   Imports: shapes of arrays only; scikit-image where it is read.
Source: Scharstein et al. 2014, doi:10.1007/978-3-319-11752-2_3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

FOCAL = 994.978
"""Pixels, of the images as they are shipped."""
BASELINE = 0.193001
"""Metres between the two cameras."""
OFFSET = 31.086
"""Pixels between the two principal points: infinitely far is a disparity of -31.086, not 0."""


@dataclass(frozen=True)
class Pair:
    """The left image with a depth for each of its pixels; both may have been thinned out."""

    image: Array
    """(3, H, W) float32 in [0, 1]."""
    depth: Array
    """(H, W) float32, metres; 0 where there is no disparity."""
    focal: float = FOCAL
    """Of the calibrated image: it stays as it is when pixels are thinned out."""
    spacing: int = 1
    """Calibrated pixels for each pixel of this image."""

    def thinned(self, spacing: int) -> Pair:
        """Every `spacing`-th pixel: colours are averaged, depth is picked from the middle of what was averaged."""
        C, H, W = self.image.shape
        h, w = H // spacing, W // spacing
        cells = self.image[:, : h * spacing, : w * spacing].reshape(C, h, spacing, w, spacing)
        middle = slice(spacing // 2, None, spacing)
        return replace(self, image=cells.mean((2, 4)), depth=self.depth[middle, middle][:h, :w].copy(), spacing=self.spacing * spacing)

    @property
    def missing(self) -> float:
        """Share of pixels without depth."""
        return float((self.depth == 0).mean())


def metres(disparity: Array) -> Array:
    """Depth of disparities in pixels: focal · baseline / (disparity + offset); 0 where there is none."""
    known = np.isfinite(disparity)
    return np.where(known, FOCAL * BASELINE / (np.where(known, disparity, 0) + OFFSET), 0).astype(np.float32)


def motorcycle() -> Pair:
    """The left image of the pair, and the depth that belongs to it."""
    from skimage.data import stereo_motorcycle

    left, _, disparity = stereo_motorcycle()
    return Pair(np.ascontiguousarray(left.transpose(2, 0, 1), np.float32) / 255, metres(disparity))
