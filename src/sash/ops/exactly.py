"""Normalised correlations of bytes, from sums that are whole numbers: no digit is lost, and nothing is centred first.

    x (1, C, *S) uint8   t (O, C, *K) uint8   y (1, O, *out) float32
The method is `bytes`, whose sums for squares these are: of x, of x^2, and of products.  With n samples a window,
    zncc = (n sum xt - sum x sum t) / sqrt((n sum x^2 - (sum x)^2) (n sum t^2 - (sum t)^2))
and every term is below 2^53.   Imports: arrays, crew, machine, methods, planning, plans, tiles.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sash.arrays.numpy_ import Array, take
from sash.arrays.weights import Weights
from sash.crew import share
from sash.errors import ArgumentError, MemoryLimit
from sash.machine import machine
from sash.methods import bytes_
from sash.planning import choose
from sash.plans import Candidate, Plan, size
from sash.problem import Box, Problem
from sash.tiles import workers

SCORE = 3
"""Results of `bytes` that take as long as one score, with what it is made of."""

HALF = 128
"""What is taken from the template's bytes, which makes them signed."""


def squares(problem: Problem) -> Problem:
    """The sum of squared differences that reads the same windows."""
    return problem._replace(reduce="squared", dtype="float32", source="uint8", result="float32", bytewise=True, straight=False)


def refuses(problem: Problem) -> str:
    """Why these scores cannot be summed so."""
    if not problem.bytewise:
        return bytes_.ONLY
    if problem.taps * 255 * HALF >= 1 << 31:
        return f"{problem.taps} products of up to {255 * HALF} do not fit 31 bits"
    return bytes_.refuses(squares(problem))


def planned(problem: Problem, max_memory: int | None, crew: int) -> Plan:
    """How they would be; raises where that cannot be, or not in `max_memory`."""
    if refusal := refuses(problem):
        raise ArgumentError(f"method={bytes_.NAME!r} cannot do this: {refusal}.")
    plan = choose(squares(problem), bytes_.NAME, max_memory, crew)
    more = problem.results * SCORE * machine().rates["bytes.result"] / plan.workers
    return replace(plan, reason="sums of bytes in whole numbers", candidates=(replace(plan.chosen, seconds=plan.seconds + more),))


def candidate(problem: Problem, max_memory: int | None) -> Candidate:
    """`planned` beside other methods, or why not."""
    refusal = refuses(problem)
    if refusal:
        return Candidate(bytes_.NAME, 0.0, 0, 0, refusal, None)
    try:
        return planned(problem, max_memory, workers()).chosen
    except MemoryLimit as limit:
        return Candidate(bytes_.NAME, 0.0, limit.least, 0, f"needs {size(limit.least)} of scratch, more than max_memory", None)


def score_exactly(plan: Plan, centred: bool, x: Array, t: Array, y: Array) -> None:
    """Write ncc or zncc (`centred`), block by block."""
    from sash.kernels.cpu.scored import matched

    problem, cost = plan.problem, plan.chosen.cost
    assert cost is not None
    prepared = bytes_.prepare(problem, Weights(t), cost)
    n = problem.taps
    total = t.reshape(len(t), -1).sum(1, dtype=np.int64)
    power = prepared.total.astype(np.int64)
    power = n * power - total**2 if centred else power

    def one(box: Box) -> None:
        runs, part = problem.part(box)
        out = y[(slice(None), slice(None), *(slice(o, p) for o, p in box[1:]))]
        tables, once, twice, products = bytes_.moments(part, take(x, runs), prepared, 0.0)
        for o, dots in enumerate(products):
            score = dots.view(np.float32)  # each is read before it is written over
            matched(dots, once, twice, HALF, int(total[o]), int(power[o]), n, centred, score)
            bytes_.store(part, tables, score[None], o, out)

    share(one, plan.boxes or [problem.whole], plan.workers, plan.seconds)
