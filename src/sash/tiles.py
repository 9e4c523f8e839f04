"""Doing the blocks of a plan: cut by `Problem.part`, shared among threads, within the plan's scratch.

    x (N, C, *S)   y (N, O, *out)       Imports: arrays, methods, plan.
Which blocks there are never depends on the number of threads, so neither do the bits of the result.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from sash.arrays import family
from sash.arrays.numpy_ import Array
from sash.arrays.weights import Weights
from sash.errors import ArgumentError
from sash.machine import usable_cores
from sash.methods import named
from sash.plans import Plan
from sash.problem import Box

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_asked: ContextVar[int] = ContextVar("sash.threads", default=0)
_pools: dict[int, ThreadPoolExecutor] = {}


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

    share(one, plan.boxes, plan.workers)


def share(one: Callable[[Any], None], boxes: Sequence[Any], crew: int) -> None:
    """Call `one` on every box, on `crew` threads of which this is one; the first error stops all and is raised."""
    left = deque(boxes)

    def drain() -> None:
        try:
            while True:
                try:
                    box = left.popleft()
                except IndexError:
                    return
                one(box)
        except BaseException:
            left.clear()
            raise

    crew = min(crew, len(boxes))
    helpers = [_pool(crew - 1).submit(drain) for _ in range(crew - 1)]
    try:
        drain()
    finally:
        errors = [helper.exception() for helper in helpers]
    for error in errors:
        if error:
            raise error


def _pool(size: int) -> ThreadPoolExecutor:
    if size not in _pools:
        from concurrent.futures import ThreadPoolExecutor

        _pools[size] = ThreadPoolExecutor(size, thread_name_prefix="sash")
    return _pools[size]


if hasattr(os, "register_at_fork"):  # a forked child has none of its parent's threads
    os.register_at_fork(after_in_child=_pools.clear)
