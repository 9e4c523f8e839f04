"""sash: everything that slides a window over an array, one engine, the fastest right method for each problem.

>>> import numpy as np, sash
>>> sash.correlate(np.arange(8), [1, -2, 1], stride=2)
array([0, 0, 0])
"""

from sash.errors import SashError
from sash.ops.correlate import convolve, correlate, separable_filter
from sash.ops.explain import plan
from sash.ops.gaussian import gaussian_blur, gaussian_kernel
from sash.ops.separation import Separation, separate
from sash.ops.similarity import similarity
from sash.ops.windows import windows
from sash.plan import Plan
from sash.tiles import threads
from sash.window import Window

__version__ = "0.1.0"

__all__ = [
    "Plan",
    "SashError",
    "Separation",
    "Window",
    "convolve",
    "correlate",
    "gaussian_blur",
    "gaussian_kernel",
    "plan",
    "separable_filter",
    "separate",
    "similarity",
    "threads",
    "windows",
]
