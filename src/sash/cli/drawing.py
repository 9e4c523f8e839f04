"""A box on a picture, without a plotting library.

x (H, W) or (H, W, channel), any numeric type -> (H, W, 3) uint8.   Imports: errors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sash.errors import ArgumentError

COLOUR = (255, 60, 0)


def drawable(shape: tuple[int, ...], space: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the drawing; only a flat picture can be drawn on."""
    if space != (0, 1) or (len(shape) == 3 and shape[2] not in (1, 3)) or len(shape) > 3:
        raise ArgumentError(f"A box is drawn on a flat picture, and the image has shape {shape}; leave --out away.")
    return (*shape[:2], 3)


def boxed(x: NDArray[Any], position: tuple[int, ...], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """The picture in colour with a frame just outside the box, wide enough to be seen in a thumbnail."""
    picture = in_bytes(x)
    width = max(1, max(picture.shape) // 200)
    inner = tuple(slice(p, p + n) for p, n in zip(position, size, strict=True))
    outer = tuple(slice(max(s.start - width, 0), s.stop + width) for s in inner)
    kept = picture[inner].copy()
    picture[outer] = COLOUR
    picture[inner] = kept
    return picture


def in_bytes(x: NDArray[Any]) -> NDArray[np.uint8]:
    """Any picture as RGB bytes: uint8 as it is, others from their least to their largest value."""
    if x.dtype != np.uint8:
        x = np.abs(x) if x.dtype.kind == "c" else x.astype(np.float64)
        finite = x[np.isfinite(x)]
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
        x = np.nan_to_num((x - low) / ((high - low) or 1.0), posinf=1.0, neginf=0.0).clip(0, 1) * 255
    x = x[..., None] if x.ndim == 2 else x
    return np.broadcast_to(x, (*x.shape[:2], 3)).astype(np.uint8)
