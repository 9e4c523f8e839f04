"""Normalised correlations window by window: where windows hold few samples, sums over windows take longer.

    x (1, C, *S)   t, m (O, C, *K), m or one number   y (1, O, *out)
A mean is taken away from its window before anything is squared, so no digit is lost.   Imports: bound, crew, methods, kernels, arrays.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from sash.arrays.numpy_ import Array, take
from sash.crew import share
from sash.machine import machine
from sash.methods import direct, little
from sash.planning import choose
from sash.plans import Plan
from sash.problem import Box, Problem
from sash.tiles import workers

TERMS = 3
"""Terms of a direct sum that one of a score takes as long as."""

FEW, ROOM = 36, 1 << 16
"""Terms of a window, by all templates, up to which windows are scored one by one (with vectors of 64 bytes, of half as long
ones half as many), and samples of a block of them (400² by 5²: 1.12 ms by sums over windows, 0.5 one by one)."""


def few(problem: Problem) -> bool:
    """Scoring window by window takes less than sums over windows do."""
    return problem.taps * problem.outputs <= FEW * machine().vector // 64


def planned(problem: Problem) -> Plan:
    """The plan of these scores."""
    plan, tile = choose(problem, direct.NAME, None, workers()), problem.tile(ROOM)
    # Of a block: float64, and that with its border; scores, and where its rows lie; and the templates and their weights.
    scratch = 16 * problem.reads(tile) + 4 * prod(tile) * problem.outputs + 32 * prod(tile[:-1]) + 24 * problem.taps * problem.outputs
    chosen = replace(plan.chosen, seconds=TERMS * plan.seconds, scratch=scratch * plan.workers)
    return replace(plan, reason="windows of few samples are scored one by one", candidates=(chosen,))


def score_windows(found: little.Windows, centred: bool, x: Array, t: Array, m: Array, y: Array) -> None:
    """Write ncc or zncc of a little image, window by window."""
    from sash.kernels.cpu.scored import by_windows

    flat = found.enter(np.ascontiguousarray(x, np.float64), 0.0)
    template = np.ascontiguousarray(t, np.float64).reshape(len(t), -1)
    weights = np.ones((1, template.shape[1])) if not m.ndim else np.ascontiguousarray(np.broadcast_to(m, t.shape), np.float64)
    by_windows(flat, template, weights.reshape(len(weights), -1), found.tables, centred, y.reshape(-1))


def score_blocks(problem: Problem, centred: bool, x: Array, t: Array, m: Array, y: Array) -> None:
    """Write ncc or zncc block by block, window by window."""

    def one(box: Box) -> None:
        runs, part = problem.part(box)
        out = y[(slice(None), slice(None), *(slice(o, p) for o, p in box[1:]))]
        score = np.empty(out.shape, out.dtype)
        score_windows(little.windows(part), centred, take(x, runs), t, m, score)
        out[...] = score

    share(one, problem.grid(problem.tile(ROOM)), workers())
