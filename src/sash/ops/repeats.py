"""Convolutions of shapes that were seen before: everything is settled, and what is left to do is done.

    x (N, C, *S)   weight of the verb   y (N, O, *out); x and y contiguous
Imports: bound, little, adjoint, layout, arithmetic (when values must be looked at).
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from sash.arrays.numpy_ import Array, finite, readable
from sash.arrays.weights import Weights
from sash.bound import Bound, bind
from sash.machine import by_rates
from sash.methods import little
from sash.methods.offsets import Kernel
from sash.ops.adjoint import back, turned
from sash.ops.arithmetic import WORTH_MEASURING
from sash.ops.layout import Layout, Settings, settle, settle_bias, settle_transposed
from sash.problem import Problem

FEW = 1 << 14
"""Weights of which a table may say where each goes."""


class Again(NamedTuple):
    """A convolution of contiguous arrays that was settled before: all that is left to do."""

    bound: Bound
    lay: Layout
    transposed: bool
    laid: Array | None = None
    """Which weight stands where in what the kernel reads, if that is one array and little."""

    def takes(self, weight: Array) -> bool:
        """Whether these values are what it was settled for: infinite times the 0 beside or between samples is NaN."""
        return not self.transposed or finite(weight)

    def made(self, x: Array, weight: Array, bias: Any) -> Array:
        """The result; `weight` of the verb."""
        lay = self.lay
        added = settle_bias(bias, lay)
        y = np.empty(lay.shape, lay.stored)
        if added is not None:
            added = added.reshape(-1, *[1] * (y.ndim - 2))
        self.bound.call(x, self.kernel(weight), y, lay.cval.real, added)
        return y

    def kernel(self, weight: Array) -> Any:
        """The weights as the bound problem reads them."""
        if self.laid is not None:
            laid = weight.take(self.laid).astype(self.lay.types.compute, copy=False)
            return Kernel(laid, None, (laid,))
        if self.transposed:
            weight = turned(weight, self.lay.problem.groups, weight.ndim - 2)
        return self.bound.prepared(Weights(weight))


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
    if not found[0] or None in found:
        return None
    ready = Again(found[0], lay, transposed)
    return ready._replace(laid=_laid(ready, weight, problem)) if little.takes(problem) and prod(weight) <= FEW else ready


def _laid(ready: Again, weight: tuple[int, ...], problem: Problem) -> Array | None:
    """`Again.laid`, from what becomes of the weights' numbers: taking them so is one call (4 to 8 channels of 3²: 12 us, then 3)."""
    kernel = ready.kernel(np.arange(prod(weight), dtype=problem.dtype).reshape(weight))
    if not isinstance(kernel, Kernel):  # one for each class: there is little memory
        return None
    laid: Array = kernel.banks[0] if kernel.banks else kernel.w
    return laid.astype(np.int64)
