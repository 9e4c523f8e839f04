"""What the tests of method="measure" share: arrays, and which methods would race on them."""

import numpy as np

import sash
from sash import planning

RNG = np.random.default_rng(0)
X, K = RNG.random((90, 100), np.float32), RNG.random((31, 31), np.float32)
LONG = RNG.random((300, 400), np.float32), RNG.random((15, 15), np.float32)


def rivals(shape, size, **settings):
    """The predicted best, and the others that are worth a trial."""
    found = planning.choose(sash.plan("correlate", shape, size, **settings).problem, "auto", settings.get("max_memory"), 2)
    return (found.method, *found.rivals)
