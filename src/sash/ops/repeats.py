"""Convolutions of shapes that were seen before: everything is settled, and what is left to do is done.

    x (N, C, *S)   weight of the problem that is bound   y (N, O, *out), both contiguous
Imports: bound, adjoint, layout, arithmetic (when values must be looked at).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sash.arrays.numpy_ import Array, readable
from sash.arrays.weights import Weights
from sash.bound import Bound, bind
from sash.machine import by_rates
from sash.ops.adjoint import back
from sash.ops.arithmetic import WORTH_MEASURING
from sash.ops.layout import Layout, Settings, settle, settle_bias, settle_transposed


class Again(NamedTuple):
    """A convolution of contiguous arrays that was settled before: all that is left to do."""

    bound: Bound
    lay: Layout
    groups: int

    def made(self, x: Array, weight: Array, bias: Any) -> Array:
        """The result; `weight` of the problem that is bound."""
        lay = self.lay
        added = settle_bias(bias, lay)
        y = np.empty(lay.shape, lay.stored)
        if added is not None:
            added = added.reshape(-1, *[1] * (y.ndim - 2))
        self.bound.call(x, self.bound.prepared(Weights(weight)), y, lay.cval.real, added)
        return y


@by_rates(256)
def again(
    crew: int,
    x: tuple[int, ...],
    kind: np.dtype[Any],
    weight: tuple[int, ...],
    weight_kind: np.dtype[Any],
    settings: Settings,
    transposed: bool,
) -> Again | None:
    """From shapes, types and settings alone; None where values matter, or the problem is not bound."""
    lay = (settle_transposed if transposed else settle)(x, kind, weight, weight_kind, settings)
    compute = np.dtype(lay.types.compute)
    real = kind.isnative and not lay.types.exact and weight_kind.kind != "c" and lay.types.result == lay.stored
    if not real or lay.stored.kind == "c" or lay.last or 0 in lay.shape or weight_kind.itemsize > compute.itemsize:
        return None
    problem = lay.problem._replace(straight=readable(kind, lay.problem.dtype))
    groups = problem.groups
    if transposed:
        problem, folding = back(problem)
        if any(folding):
            return None
    if kind.name != problem.source:  # transposed problems are bound to the result's type
        return None
    if problem.inputs == problem.outputs == 1 and not transposed and problem.results * problem.taps > WORTH_MEASURING:
        return None  # the kernel's rank may be looked for
    # What is told of a kernel's values may lead to other methods: bound is what is the same either way.
    found = [bind(problem._replace(finite=f), settings.method, settings.max_memory, crew) for f in (True, False)]
    return None if not found[0] or None in found else Again(found[0], lay, groups)
