"""Kernels for CPUs: Numba, and SIMD instructions written out (`simd`).

Numba looks for SciPy's linear algebra when its array functions are loaded, which takes a quarter of a filled cache's
first call (0.12 of 0.7 s); SciPy is required here, so the answer is known, and what calls BLAS still loads it then.
"""

import sys

if "numba.np.arraymath" not in sys.modules:
    from numba.np import linalg

    look = linalg.ensure_blas
    linalg.ensure_blas = lambda: None
    try:
        from numba.np import arraymath
    finally:
        linalg.ensure_blas = look
    arraymath.ensure_blas = look
