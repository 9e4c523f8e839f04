"""The one door: every verb ends here, with a Problem, its operands and the settings.

x (N, C, *S)   weights for w (O, C/G, *K)   y (N, O, *out), written in place       Imports: bound, planning, methods, race, tiles, wisdom.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from sash.arrays.numpy_ import Array, cut
from sash.arrays.weights import Weights
from sash.bound import bind
from sash.errors import ArgumentError, MemoryLimit, unknown
from sash.methods import CHOICES, little, names
from sash.planning import choose, left_of
from sash.plans import Plan
from sash.problem import Problem
from sash.race import race
from sash.tiles import execute, workers
from sash.wisdom import recall

ACCURACIES = ("normwise", "elementwise")


def check_settings(method: str, accuracy: str, max_memory: int | None) -> None:
    """The three settings that every verb takes, before anything else is looked at."""
    if method not in CHOICES and method not in names():
        raise unknown("method", method, (*CHOICES, *names()))
    if accuracy not in ACCURACIES:
        raise unknown("accuracy", accuracy, ACCURACIES)
    if max_memory is not None and (isinstance(max_memory, bool) or not hasattr(max_memory, "__index__") or max_memory < 1):
        raise ArgumentError(f"max_memory={max_memory!r} must be a whole number of bytes above 0 (an int), or None for no limit.")


def run(
    problem: Problem, x: Array, weights: Weights, y: Array, *, cval: float = 0.0, method: str = "auto", max_memory: int | None = None
) -> None:
    """Plan the problem and write y."""
    if 0 in y.shape:
        return
    if at_once(problem, x, weights, y, cval, method, max_memory):
        return
    if method == "measure":
        plan = _tried(problem, x, weights, y, cval, max_memory)
    else:
        plan = choose(problem, method, max_memory, workers())
    _fill(plan, x, weights, y, cval, max_memory)


def at_once(problem: Problem, x: Array, weights: Weights, y: Array, cval: float, method: str, max_memory: int | None) -> bool:
    """Write y if the problem is bound to its shapes and its operands lie so; whether that was so."""
    bound = bind(problem, method, max_memory, workers())
    limit = float("inf") if max_memory is None else max_memory
    if bound is None or not _lie_well(problem, x, y, weights, limit):
        return False
    bias = None if weights.bias is None else weights.bias.reshape(-1, *[1] * len(problem.axes))
    bound.call(x, bound.prepared(weights), y, cval, bias)
    return True


def _lie_well(problem: Problem, x: Array, y: Array, weights: Weights, limit: float) -> bool:
    """Whether a problem that is bound finds its operands as it was bound to them."""
    if not isinstance(x, np.ndarray) or not x.flags.c_contiguous or not y.flags.c_contiguous:
        return False
    if not problem.finite and little.spreads(problem, limit) and not np.isfinite(weights.dense).all():
        return False
    return x.flags.aligned and y.flags.aligned and x.dtype == problem.source and y.dtype == problem.result


def _tried(problem: Problem, x: Array, weights: Weights, y: Array, cval: float, max_memory: int | None) -> Plan:
    """The plan by the method that is remembered; where none is, the likely ones are tried on these very arrays.

    Trials write to y, which takes no memory, and get a new `weights` each: what a slow method makes of a kernel is not kept.
    """
    known = recall(problem, max_memory)
    if known is not None:
        try:
            return choose(problem, known.method, max_memory, workers())
        except MemoryLimit:  # its blocks have grown with a calibration: try again
            pass
    plan = choose(problem, "auto", max_memory, workers())
    if not plan.rivals:
        return plan
    plans = {name: choose(problem, name, max_memory, workers()) for name in (plan.method, *plan.rivals)}

    def trial(name: str) -> None:
        _fill(plans[name], x, replace(weights), y, cval, max_memory)

    device = x.device if problem.home == "cuda" else None
    return plans[race(problem, max_memory, {name: partial(trial, name) for name in plans}, device)]


def _fill(plan: Plan, x: Array, weights: Weights, y: Array, cval: float, max_memory: int | None) -> None:
    """Write y as planned; a transposed problem one class of its outputs after the other."""
    problem = plan.problem
    if not problem.upsampled:
        execute(plan, x, weights, y, cval)
        return
    for phases, part in problem.phases():
        block = cut(y, [slice(p.first, None, p.step) for p in phases])
        if part is not None:
            limit = None if max_memory is None else int(left_of(max_memory))
            execute(choose(part, plan.method, limit, workers()), x, weights.phase(phases), block, cval)
        else:
            block[...] = 0 if weights.bias is None else weights.bias.reshape(-1, *[1] * len(phases))
