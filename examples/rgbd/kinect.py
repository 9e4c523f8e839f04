"""What a Kinect would have measured of an exact depth: noise, steps that grow with depth squared, and holes.

exact, depth, cosine (H, W), metres; 0 is no depth.   Imports: nothing.
Source: Khoshelham & Elberink 2012, doi:10.3390/s120201437, sections 3 and 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

STEP = 2.85e-3
"""1/m: one step of disparity changes 1/depth by this much, so depth by STEP · depth²: 2.6 cm at 3 m, 7 cm at 5 m."""
NOISE = 0.5
"""Steps of disparity: the standard deviation of its random error."""
RANGE = (0.5, 5.0)
"""Metres in which the sensor answers."""
BASELINE = 0.075
"""Metres from the camera to the projector, whose pattern does not reach everything that the camera sees."""
GRAZING = 0.12
"""Cosine between ray and normal below which the pattern is smeared out."""
JUMP, TORN = 0.08, 0.4
"""Relative change of depth to a neighbour that is an edge, and how often a pixel at an edge is lost."""


def quantised(exact: Array, noise: Array | float = 0.0) -> Array:
    """The nearest depth that a whole number of disparity steps can say; noise in steps."""
    return 1 / (STEP * np.maximum(np.rint(1 / (STEP * exact) + noise), 1))


def edges(exact: Array) -> Array:
    """Pixels with a neighbour, across or down, whose depth differs by more than JUMP of the nearer."""
    edge = np.zeros(exact.shape, bool)
    for ahead, behind in (((slice(1, None),), (slice(-1),)), ((slice(None), slice(1, None)), (slice(None), slice(-1)))):
        jump = np.abs(exact[ahead] - exact[behind]) > JUMP * np.minimum(exact[ahead], exact[behind])
        edge[ahead] |= jump
        edge[behind] |= jump
    return edge


def measured(exact: Array, cosine: Array, lit: Array, rng: np.random.Generator) -> Array:
    """The depth image of a scene; `lit` says where the projector's pattern falls."""
    noise, luck = rng.normal(0, NOISE, exact.shape), rng.random(exact.shape)
    lost = ~lit | (cosine < GRAZING) | (exact < RANGE[0]) | (exact > RANGE[1]) | (edges(exact) & (luck < TORN))
    return np.where(lost, 0, quantised(exact, noise)).astype(np.float32)
