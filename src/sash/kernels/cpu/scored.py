"""Normalised correlations from sums over windows, in one pass: NumPy's dozen would each read and write all of them.

product (O, P) of m t x   squares, sums (Q, P) of m x² and m x, Q = O or 1   power, n (O,)   y (O, P)
Imports: numba.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

EXACT = 8 * float(np.finfo(np.float64).eps)
"""A deviation below this share of the mean is the mean's rounding."""


@njit(nogil=True, cache=True, no_cfunc_wrapper=True, error_model="numpy")
def scored(product: Any, squares: Any, sums: Any, power: Any, n: Any, centred: bool, noise: float, least: float, y: Any) -> None:
    """y = product / sqrt(variance power), between -1 and 1; 0 where that is of no variance.

    variance = squares - sums² / n, none where it is at most `noise` of squares, or `least`; all of squares unless `centred`.
    """
    for o in range(len(product)):
        q, side = o % len(squares), np.sqrt(power[o])  # a root of each: their product may leave the range of floats
        for i in range(product.shape[1]):
            square = squares[q, i]
            variance = square - sums[q, i] * sums[q, i] / n[o] if centred else square
            variance = 0.0 if variance <= noise * square or variance <= least else variance
            spread = np.sqrt(variance) * side
            score = product[o, i] / spread
            score = 1.0 if score > 1.0 else score
            score = -1.0 if score < -1.0 else score
            y[o, i] = 0.0 if spread == 0.0 else score


@njit(nogil=True, cache=True, no_cfunc_wrapper=True, error_model="numpy")
def windowed(x: Any, t: Any, m: Any, at: Any, to: Any, step: Any, off: Any, width: int, centred: bool, y: Any) -> None:
    """The same of little images, window by window: means are taken away before anything is squared.

    x flat   t (O, T)   m (Q, T)   at, to (R,) rows of x and y   step (O,)   off (T,)
    """
    T = len(off)
    w, mean, variance, product = np.empty(T), np.empty(width), np.empty(width), np.empty(width)
    for o in range(len(t)):
        mask, n, middle, power = m[o % len(m)], 0.0, 0.0, 0.0
        for l in range(T):
            n += mask[l]
            middle += mask[l] * t[o, l]
        middle = middle / n if centred else 0.0
        for l in range(T):
            w[l] = mask[l] * (t[o, l] - middle)
            power += w[l] * (t[o, l] - middle)
        side = 0.0 if power <= n * (EXACT * middle) ** 2 else np.sqrt(power)
        for r in range(len(at)):
            mean[:] = 0.0
            if centred:
                for l in range(T):
                    a, weight = at[r] + off[l], mask[l]
                    for j in range(width):
                        mean[j] += weight * x[a + j]
                for j in range(width):
                    mean[j] /= n
            variance[:], product[:] = 0.0, 0.0
            for l in range(T):
                a, weight, tap = at[r] + off[l], mask[l], w[l]
                for j in range(width):
                    gap = x[a + j] - mean[j]
                    variance[j] += weight * gap * gap
                    product[j] += tap * gap
            b = to[r] + step[o]
            for j in range(width):
                least = n * (EXACT * mean[j]) ** 2
                spread = 0.0 if variance[j] <= least else np.sqrt(variance[j]) * side
                score = product[j] / spread
                score = 1.0 if score > 1.0 else score
                score = -1.0 if score < -1.0 else score
                y[b + j] = 0.0 if spread == 0.0 else score
