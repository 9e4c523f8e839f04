"""The usual ways: what people write today, for the demo to stand beside.

Imports: nothing of sash.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage, signal

Array = NDArray[Any]


def gaussian_filter(x: Array, sigma: float) -> Array:
    """SciPy's blur; its default boundary "reflect" is sash's "symmetric"."""
    return np.asarray(ndimage.gaussian_filter(x, sigma))


def tensordot(x: Array, kernel: Array, stride: int) -> Array:
    """Every window of a strided view times the kernel; tensordot copies all of them first."""
    view = sliding_window_view(x, kernel.shape)[::stride, ::stride]
    return np.asarray(np.tensordot(view, kernel, 2))


def fftconvolve(x: Array, kernel: Array, stride: int) -> Array:
    """All positions by FFT, most of them thrown away."""
    return np.asarray(signal.fftconvolve(x, kernel[::-1, ::-1], mode="valid")[::stride, ::stride])


def unfolded_sad(image: Array, template: Array) -> Array:
    """All windows side by side, minus the template."""
    windows = sliding_window_view(image.astype(np.int16), template.shape)
    return np.asarray(1 - np.abs(windows - template).mean(axis=(-3, -2, -1))[..., 0] / 255)


def match_template(image: Array, template: Array) -> Array:
    """scikit-image's zero-mean normalised correlation."""
    from skimage.feature import match_template as skimage_match

    return np.asarray(skimage_match(image, template))[..., 0]
