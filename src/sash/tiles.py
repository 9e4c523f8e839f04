"""Doing the blocks of a plan: cut by `Problem.part`, shared among threads, within the plan's scratch.

    x (N, C, *S)   y (N, O, *out)       Imports: arrays, crew, methods, plan.
Which blocks there are never depends on the number of threads, so neither do the bits of the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from operator import index

import numpy as np

from sash import heap
from sash.arrays import family
from sash.arrays.numpy_ import Array
from sash.arrays.weights import Weights
from sash.crew import share
from sash.errors import ArgumentError
from sash.machine import usable_cores
from sash.methods import named
from sash.plans import Plan
from sash.problem import Box

heap.keep()

_asked: ContextVar[int] = ContextVar("sash.threads", default=0)


@contextmanager
def threads(n: int) -> Iterator[int]:
    """Use at most n threads inside the block (default: as many as this process has cores).

    The result has the same bits for every n.

    Parameters
    ----------
    n : int
        At least 1. Counts the calling thread.

    Raises
    ------
    ArgumentError
        n is below 1.

    Examples
    --------
    >>> import numpy as np, sash
    >>> with sash.threads(1):
    ...     sash.correlate(np.arange(5), [1, 1]).tolist()
    [1, 3, 5, 7]
    """
    if isinstance(n, bool) or not hasattr(n, "__index__") or index(n) < 1:
        raise ArgumentError(f"threads({n!r}): the number of threads must be an int of at least 1.")
    token = _asked.set(index(n))
    try:
        yield n
    finally:
        _asked.reset(token)


def workers() -> int:
    """Threads that may be used here."""
    return _asked.get() or _cores()


def _cores() -> int:
    global _counted
    if not _counted:
        _counted = usable_cores()
    return _counted


_counted = 0


def execute(plan: Plan, x: Array, weights: Weights, y: Array, cval: float) -> None:
    """Fill y as planned."""
    problem, cost = plan.problem, plan.chosen.cost
    assert cost is not None
    method = named(plan.method)
    prepared = method.prepare(problem, weights, cost)
    bias = None if weights.bias is None else weights.bias.reshape(-1, *[1] * len(problem.axes))
    if not plan.boxes:
        with np.errstate(all="ignore"):  # NaN and infinities are results like others, whatever the method
            method.run(problem, x, prepared, y, cval)
        if bias is not None:
            y += bias
        return

    def one(box: Box) -> None:
        runs, part = problem.part(box)
        (first, last), *rest = box
        piece = family(x).take(x[first:last], runs)
        block = y[(slice(first, last), slice(None), *(slice(o, p) for o, p in rest))]
        with np.errstate(all="ignore"):
            method.run(part, piece, prepared.at(box) if problem.planes else prepared, block, cval)
        if bias is not None:
            block += bias

    share(one, plan.boxes, plan.workers, plan.seconds)
