"""Normalised correlations from sums over windows, in one pass: NumPy's dozen would each read and write all of them.

product (O, P) of m t x   squares, sums (Q, P) of m x² and m x, Q = O or 1   power, n (O,)   y (O, P)
Imports: numba.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, no_cfunc_wrapper=True, error_model="numpy")
def scored(product: Any, squares: Any, sums: Any, power: Any, n: Any, centred: bool, noise: float, least: float, y: Any) -> None:
    """y = product / sqrt(variance power), between -1 and 1; 0 where that is of no variance.

    variance = squares - sums² / n, none where it is at most `noise` of squares, or `least`; all of squares unless `centred`.
    """
    for o in range(len(product)):
        q = o % len(squares)
        for i in range(product.shape[1]):
            square = squares[q, i]
            variance = square - sums[q, i] * sums[q, i] / n[o] if centred else square
            variance = 0.0 if variance <= max(noise * square, least) else variance
            spread = variance * power[o]
            score = product[o, i] / np.sqrt(spread)
            score = 1.0 if score > 1.0 else score
            score = -1.0 if score < -1.0 else score
            y[o, i] = 0.0 if spread == 0.0 else score
