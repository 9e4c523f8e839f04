"""Numbers of any kind on a real engine: exact integers in the fastest type that proves exact, complex ones as channels.

    x (N, C, *S)   kernel (O, C/G, *K) or terms   y (N, O, *out), written in place
What can be told of a kernel's values (finite, of low rank) becomes a flag of the Problem here.
Imports: running, problem, arrays, integers, separation.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from sash.arrays.numpy_ import Array, fill
from sash.arrays.weights import Weights
from sash.errors import OverflowRisk
from sash.methods import CHOICES
from sash.ops.integers import exactly, within
from sash.ops.separation import factors
from sash.problem import Problem
from sash.running import run

FEW = 1 << 16
"""Terms up to which "auto" does not look whether a kernel is finite: nothing that minds would be chosen."""

LITTLE = 1 << 12
"""Results from which on it matters for the prediction whether 1-D kernels are symmetric."""

SHORT = 64
"""Taps up to which Python looks through them faster than NumPy (9: 1 us, then 5)."""

TALLEST = float(np.finfo(np.float32).max)

ELIMINATED, LEAST = 1 << 20, 4
"""Taps times terms up to which more terms are looked for, and the terms that always are: looking for 127 in 255² took 25 ms,
and transforms by such a kernel four."""

WORTH_MEASURING = 1 << 24
"""Terms from which on `separable="auto"` measures a kernel's rank (the measurement takes well under a millisecond)."""


class How(NamedTuple):
    """Settings that do not change what is computed."""

    separable: bool | str = "auto"
    method: str = "auto"
    max_memory: int | None = None


def carry_out(problem: Problem, x: Array, kernel: Weights, y: Array, cval: complex, exact: bool, how: How) -> None:
    """Make y, whatever the element types; `exact`: integers with integers."""
    if problem.home == "cuda":
        from sash.ops import device

        device.carry_out(problem, x, kernel, y, cval, exact, how)
        return
    problem = _knowing(problem, kernel, y, exact, how)
    if exact:
        problem = exactly(problem, x, kernel, int(cval.real), y.dtype)
        cval = within(int(cval.real), problem.dtype)
        _check_bias(problem, kernel.bias)
    elif problem.dtype == "float32" and kernel.terms is None and too_tall(kernel):
        problem = problem._replace(dtype="float64", straight=False)  # such taps are infinite in float32
    if y.dtype.kind == "c":
        if cval:  # one number cannot pad two parts
            whole = x.dtype.newbyteorder("=") if x.dtype.kind == "c" else y.dtype
            x = fill(x, problem.axes, whole.name, cval)
            problem = problem._replace(axes=tuple([a.moved(n, 0, n) for a, n in zip(problem.axes, x.shape[2:], strict=True)]))
        for part in as_real(problem, x, kernel, y):
            run(*part, method=how.method, max_memory=how.max_memory)
        if kernel.bias is not None:
            y += kernel.bias.reshape(-1, *[1] * (y.ndim - 2))
        return
    run(problem, x, kernel, y, cval=cval.real, method=how.method, max_memory=how.max_memory)


def _check_bias(problem: Problem, bias: Array | None) -> None:
    """An exact result must hold its bias too."""
    most = 0 if bias is None or not bias.size else max(abs(int(bias.min())), abs(int(bias.max())))
    if most and (1 << problem.bits) + most >= 1 << 63:
        raise OverflowRisk(
            f"with a bias of up to {most}, results of up to {problem.bits} bits might not fit int64; use floats, or smaller numbers."
        )


def _knowing(problem: Problem, kernel: Weights, y: Array, exact: bool, how: How) -> Problem:
    """The problem with what the kernel's values tell: whether all are finite, and how few products they are a sum of."""
    if problem.rank:
        return problem._replace(mirrored=True) if y.size >= LITTLE and kernel.mirrored else problem
    if kernel.array is None:
        return problem
    terms = y.size * kernel.array.size // problem.outputs
    if not problem.finite and (how.method not in CHOICES or terms >= FEW):
        problem = problem._replace(finite=bool(np.isfinite(kernel.array).all()))
    if problem.inputs == problem.outputs == 1 and not problem.upsampled and not problem.planes and _worth_measuring(problem, how, terms):
        return _factored(problem, kernel, how, exact)
    return problem


def _worth_measuring(problem: Problem, how: How, terms: int) -> bool:
    """Whether the kernel's rank should be looked for."""
    if how.separable is False or how.method not in (*CHOICES, "separable"):
        return False
    if how.separable is True or how.method == "separable":
        return True
    return terms > WORTH_MEASURING and not problem.elementwise and sum(a.size > 1 for a in problem.axes) > 1


def _factored(problem: Problem, kernel: Weights, how: How, exact: bool) -> Problem:
    """The problem with the kernel's rank, where it has few enough terms to be of use or they were asked for."""
    assert kernel.array is not None
    if kernel.array.dtype.kind == "c" or not problem.finite or (problem.elementwise and not exact):
        return problem
    dense = kernel.array[0, 0]
    long = [i for i, n in enumerate(dense.shape) if n > 1]
    if not long:
        return problem
    wanted = how.separable is True or how.method == "separable"
    most = dense.size if wanted else min(dense.size // sum(dense.shape[i] for i in long), max(ELIMINATED // dense.size, LEAST))
    terms = factors(dense.squeeze(), problem.dtype, exact, most)
    if terms is None:
        return problem
    kernel.terms = tuple(per_axis(dict(zip(long, term, strict=True)), dense.ndim) for term in terms)
    return problem._replace(rank=len(terms), mirrored=kernel.mirrored)


def per_axis(kernels: dict[int, Array], ndim: int) -> tuple[Array, ...]:
    """One 1-D kernel per axis of x; those of one tap become 1, and one that is longer takes over their scale."""
    if len(kernels) == ndim and all([k.size > 1 and k.dtype.kind == "f" and k.itemsize > 2 for k in kernels.values()]):
        return tuple([kernels[i] for i in range(ndim)])
    kernels = {a: k.astype(np.float32) if k.dtype == np.float16 else k for a, k in kernels.items()}  # products need more digits
    if all(k.dtype.kind in "biu" for k in kernels.values()):
        return _per_axis_exactly(kernels, ndim)
    scale = prod(k[0] for k in kernels.values() if k.size == 1)
    longer = min((a for a, k in kernels.items() if k.size > 1), default=ndim - 1)
    one = np.ones(1, next(iter(kernels.values())).dtype)
    long = {a: k for a, k in kernels.items() if k.size > 1}
    if scale != 1:
        long[longer] = long.get(longer, one) * scale
    return tuple(long.get(i, one) for i in range(ndim))


def _per_axis_exactly(kernels: dict[int, Array], ndim: int) -> tuple[Array, ...]:
    """The same for integers, as int64; refuses taps that int64 cannot hold."""
    long = {a: [int(v) for v in k] for a, k in kernels.items() if k.size > 1}
    scale = prod([int(k[0]) for k in kernels.values() if k.size == 1])
    longer = min(long, default=ndim - 1)
    long[longer] = [v * scale for v in long.get(longer, [1])]
    most = max(abs(v) for k in long.values() for v in k)
    if most >= 1 << 63:
        raise OverflowRisk(
            f"a tap of {most} (kernels of one tap multiplied in) does not fit int64, which holds {(1 << 63) - 1}; use floats."
        )
    return tuple([np.array(long.get(i, [1]), np.int64) for i in range(ndim)])


def too_tall(kernel: Weights) -> bool:
    """Whether float32 cannot hold the kernel's taps, which are of a wider type."""
    w = kernel.array
    if w is None or w.dtype.itemsize < 8 or not w.size:
        return False
    if w.size <= SHORT and w.dtype.kind == "f":
        return not all([-TALLEST <= v <= TALLEST or v != v for v in w.ravel().tolist()])
    return bool(np.abs(w).max() > TALLEST)


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
    rows = [a.reshape(len(w), w.shape[1] * both, *w.shape[2:]) for a in (re, im)]
    problem = problem._replace(inputs=problem.inputs * both, rank=0, mirrored=False)
    x4 = x5.reshape(len(x), problem.inputs, *x.shape[2:])
    if y.shape[1] == 1:
        return [(problem._replace(outputs=2), x4, Weights(np.concatenate(rows)), y5[:, 0])]
    return [(problem, x4, Weights(row), y5[:, :, i]) for i, row in enumerate(rows)]


def _parts(x: Array) -> Array:
    """The real and the imaginary part behind the channels: (N, C, 2, *S), a view where x is of native byte order."""
    x = x.astype(x.dtype.newbyteorder("="), copy=False)
    return np.moveaxis(x[..., None].view(x.real.dtype), -1, 2)
