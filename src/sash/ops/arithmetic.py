"""Numbers of any kind on a real engine: exact integers in the fastest type that proves exact, complex ones as channels.

    x (N, C, *S)   kernel (O, C/G, *K) or terms   y (N, O, *out), written in place
Imports: running, problem, arrays, integers.
"""

from __future__ import annotations

import numpy as np

from sash.arrays.numpy_ import Array, fill
from sash.arrays.weights import Weights
from sash.ops.integers import exactly, within
from sash.problem import Problem
from sash.running import run


def carry_out(
    problem: Problem, x: Array, kernel: Weights, y: Array, cval: complex, exact: bool, method: str, max_memory: int | None
) -> None:
    """Make y, whatever the element types; `exact`: integers with integers."""
    if exact:
        problem = exactly(problem, x, kernel, int(cval.real), y.dtype)
        cval = within(int(cval.real), problem.dtype)
    elif problem.dtype == "float32" and _too_tall(kernel):
        problem = problem._replace(dtype="float64", straight=False)  # such taps are infinite in float32
    if y.dtype.kind == "c":
        if cval:  # one number cannot pad two parts
            whole = x.dtype.newbyteorder("=") if x.dtype.kind == "c" else y.dtype
            x = fill(x, problem.axes, whole.name, cval)
            problem = problem._replace(axes=tuple([a.moved(n, 0, n) for a, n in zip(problem.axes, x.shape[2:], strict=True)]))
        for part in as_real(problem, x, kernel, y):
            run(*part, method=method, max_memory=max_memory)
        if kernel.bias is not None:
            y += kernel.bias.reshape(-1, *[1] * (y.ndim - 2))
        return
    run(problem, x, kernel, y, cval=cval.real, method=method, max_memory=max_memory)


def _too_tall(kernel: Weights) -> bool:
    """Whether float32 cannot hold the kernel's taps."""
    w = kernel.array
    return w is not None and w.dtype.itemsize >= 8 and w.size > 0 and bool(np.abs(w).max() > np.finfo(np.float32).max)


def as_real(problem: Problem, x: Array, kernel: Weights, y: Array) -> list[tuple[Problem, Array, Weights, Array]]:
    """A complex problem as real ones: with a real kernel each part is a batch, with a complex one parts are channels.

    y's parts are made at once where one view holds them (one output channel), else one after the other.
    """
    part = f"float{y.dtype.itemsize * 4}"
    problem = problem._replace(straight=False, result=part, source=x.real.dtype.name)
    x5 = _parts(x) if x.dtype.kind == "c" else x[:, :, None]
    y5 = _parts(y)
    both = x5.shape[2]
    if kernel.array is None or kernel.array.dtype.kind != "c":
        kernel = Weights(kernel.array, kernel.terms, spread=kernel.spread)
        if both == 1:  # real with real, asked for as complex
            y5[:, :, 1] = 0
        if len(x) == 1:
            return [(problem._replace(batch=both), np.moveaxis(x5[0], 1, 0), kernel, np.moveaxis(y5[0, :, :both], 1, 0))]
        return [(problem, x5[:, :, i], kernel, y5[:, :, i]) for i in range(both)]
    w = kernel.array
    re, im = np.stack([w.real, -w.imag][:both], 2), np.stack([w.imag, w.real][:both], 2)
    rows = [a.reshape(len(w), -1, *w.shape[2:]) for a in (re, im)]
    problem = problem._replace(inputs=problem.inputs * both, rank=0)
    x4 = x5.reshape(len(x), -1, *x.shape[2:])
    if y.shape[1] == 1:
        return [(problem._replace(outputs=2), x4, Weights(np.concatenate(rows)), y5[:, 0])]
    return [(problem, x4, Weights(row), y5[:, :, i]) for i, row in enumerate(rows)]


def _parts(x: Array) -> Array:
    """The real and the imaginary part behind the channels: (N, C, 2, *S), a view where x is of native byte order."""
    x = x.astype(x.dtype.newbyteorder("="), copy=False)
    return np.moveaxis(x[..., None].view(x.real.dtype), -1, 2)
