"""The one door: every verb ends here, with a Problem, its operands and the settings.

x (N, C, *S)   weights for w (O, C/G, *K)   y (N, O, *out), written in place       Imports: planning, tiles.
"""

from __future__ import annotations

from sash.arrays.numpy_ import Array, cut
from sash.arrays.weights import Weights
from sash.errors import ArgumentError, unknown
from sash.methods import names
from sash.planning import choose
from sash.problem import Problem
from sash.tiles import execute, workers

ACCURACIES = ("normwise", "elementwise")


def check_settings(method: str, accuracy: str, max_memory: int | None) -> None:
    """The three settings that every verb takes, before anything else is looked at."""
    if method != "auto" and method not in names():
        raise unknown("method", method, ("auto", *names()))
    if accuracy not in ACCURACIES:
        raise unknown("accuracy", accuracy, ACCURACIES)
    if max_memory is not None and (isinstance(max_memory, bool) or not hasattr(max_memory, "__index__") or max_memory < 1):
        raise ArgumentError(f"max_memory={max_memory!r} must be a positive number of bytes, or None for no limit.")


def run(
    problem: Problem, x: Array, weights: Weights, y: Array, *, cval: float = 0.0, method: str = "auto", max_memory: int | None = None
) -> None:
    """Plan the problem and write y."""
    if 0 in y.shape:
        return
    plan = choose(problem, method, max_memory, workers())
    if not problem.upsampled:
        execute(plan, x, weights, y, cval)
        return
    for phases, part in problem.phases():
        block = cut(y, [slice(p.first, None, p.step) for p in phases])
        if part is not None:
            execute(choose(part, plan.method, max_memory, workers()), x, weights.phase(phases), block, cval)
        else:
            block[...] = 0 if weights.bias is None else weights.bias.reshape(-1, *[1] * len(phases))
