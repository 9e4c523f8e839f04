"""The other two sides of T(x, w, z) = <z, y>, which is linear in each: what a result's weights z make of x and of w.

    x (N, C, *S)   w (O, C/G, *K)   z (N, O, *out)        frame: the positions of x and of its extension that are read
Both are problems of the engine (`Problem.adjoint_x`, `adjoint_w`), so methods, blocks and limits serve them too; what
lands on the extension is folded back to the samples that it repeats.   Imports: arithmetic, problem, arrays.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from sash.arrays.numpy_ import Array, cut
from sash.arrays.weights import Weights
from sash.errors import OverflowRisk
from sash.ops.arithmetic import How, carry_out
from sash.problem import Problem


def turned(w: Array, groups: int, axes: int) -> Array:
    """(..., O, C/G, *K) to (..., C, O/G, *K), turned round along every kernel axis."""
    at = w.ndim - axes - 2
    lead, (o, c), sizes = w.shape[:at], w.shape[at : at + 2], w.shape[at + 2 :]
    w = w.reshape(*lead, groups, o // groups, c, *sizes).swapaxes(at + 1, at + 2).reshape(*lead, groups * c, o // groups, *sizes)
    return cut(w, [slice(None, None, -1)] * axes)


def reverse(problem: Problem, z: Array, kernel: Weights, x: Array, exact: bool, how: How) -> None:
    """Write x, the transposed operation on z; `kernel` is already turned."""
    back = problem.adjoint_x()
    folding = [a.folds() for a in problem.axes]
    if not any(folding):
        carry_out(back, z, kernel, x, 0, exact, how)
        return
    if exact:
        least = prod([1 + len(f) for f in folding]) * int(np.abs(z).max(initial=0)) * int(np.abs(kernel.array).max(initial=0))  # type: ignore[arg-type]
        if least * problem.taps * problem.outputs >= 1 << 63:
            raise OverflowRisk("sums of what the boundary folds back might not fit int64 for this data; use floats, or smaller numbers.")
    bias, kernel = kernel.bias, Weights(kernel.array, kernel.terms, spread=kernel.spread, gate=kernel.gate)
    frame = np.empty((*x.shape[:2], *back.out), np.float32 if x.dtype == np.float16 else x.dtype)
    carry_out(back._replace(result=frame.real.dtype.name), z, kernel, frame, 0, exact, how)
    folded = fold(problem, frame)
    if bias is not None:
        folded += bias.reshape(-1, *[1] * len(problem.axes))
    np.copyto(x, folded, casting="unsafe")


def fold(problem: Problem, frame: Any) -> Any:
    """The part of the frame that stands on samples, with all else added to the samples that it repeats (in place)."""
    for i, axis in enumerate(problem.axes, start=2):
        before = (slice(None),) * i
        start = -axis.frame[0]
        core = frame[(*before, slice(start, start + axis.n))]
        for at, run in axis.folds():
            piece = frame[(*before, slice(at, at + run.length))]
            if run.step == 0:
                core[(*before, slice(run.first, run.first + 1))] += piece.sum(i, keepdims=True)
            elif run.step == 1:
                core[(*before, slice(run.first, run.first + run.length))] += piece
            else:
                core[(*before, slice(run.first - run.length + 1, run.first + 1))] += np.flip(piece, i)
        frame = core
    return frame
