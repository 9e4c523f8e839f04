"""The PyTorch family: tensors as arrays on the same memory, and back.

A tensor on the CPU is an array without a copy, whatever its strides; bfloat16, which NumPy has not, is widened once.
Imports: PyTorch, numpy_, axis, errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sash.arrays.numpy_ import Array
from sash.axis import Axis, Run
from sash.errors import KindError

TYPES: dict[torch.dtype, str] = {
    torch.bool: "bool",
    torch.int8: "int8",
    torch.uint8: "uint8",
    torch.int16: "int16",
    torch.uint16: "uint16",
    torch.int32: "int32",
    torch.uint32: "uint32",
    torch.int64: "int64",
    torch.uint64: "uint64",
    torch.float16: "float16",
    torch.bfloat16: "float32",
    torch.float32: "float32",
    torch.float64: "float64",
    torch.complex64: "complex64",
    torch.complex128: "complex128",
}
"""NumPy's name of the type that elements are read as."""

BACK = {np.dtype(name): kind for kind, name in TYPES.items() if kind != torch.bfloat16}
"""The tensor type of an array's elements."""

HALF = (torch.float16, torch.bfloat16)


def check(name: str, t: torch.Tensor) -> None:
    """Refuse tensors that are no strided arrays of numbers."""
    if t.layout != torch.strided or t.is_quantized:
        raise KindError(f"{name} is a {t.layout} tensor; sash takes dense ones ({name}.to_dense()).")
    if t.dtype not in TYPES:
        raise KindError(f"{name} holds {t.dtype}; sash takes bool, integers, bfloat16, float16/32/64 and complex64/128.")


def array(t: torch.Tensor) -> Array:
    """A CPU tensor's elements, on its own memory where NumPy has the type."""
    t = t.detach()
    if t.dtype == torch.bfloat16:
        t = t.float()
    if t.is_complex():
        t = t.resolve_conj()
    found: Array = t.resolve_neg().numpy()
    return found


def tensor(a: Any, kind: torch.dtype | None = None) -> torch.Tensor:
    """An array as a tensor on the same memory; copied where the type must change."""
    found = torch.from_numpy(a if isinstance(a, np.ndarray) else np.asarray(a))
    return found if kind is None or found.dtype == kind else found.to(kind)


def fill(x: torch.Tensor, axes: Sequence[Axis], cval: complex) -> torch.Tensor:
    """The extension of x on [start, stop) of every axis; a view where nothing has to change."""
    for i, axis in enumerate(axes, start=2):
        runs = axis.runs(axis.start, axis.stop)
        if any([run.first < 0 or run.step != 1 for run in runs]) or len(runs) != 1:
            x = torch.cat([_read(x, i, run, cval) for run in runs], i)
        elif runs[0].length != axis.n:
            x = x.narrow(i, runs[0].first, runs[0].length)
    return x


def _read(x: torch.Tensor, i: int, run: Run, cval: complex) -> torch.Tensor:
    shape = list(x.shape)
    shape[i] = run.length
    if run.first < 0:
        return x.new_full(shape, cval if x.is_complex() else cval.real)
    if run.step == 0:
        return x.narrow(i, run.first, 1).expand(shape)
    if run.step == 1:
        return x.narrow(i, run.first, run.length)
    return x.narrow(i, run.first - run.length + 1, run.length).flip(i)


def spill(g: torch.Tensor, axes: Sequence[Axis]) -> torch.Tensor:
    """The adjoint of `fill`: what lies on the extension is added to the samples that it repeats."""
    for i, axis in enumerate(axes, start=2):
        runs = axis.runs(axis.start, axis.stop)
        if len(runs) == 1 and runs[0] == (axis.n, 0, 1):
            continue
        shape = list(g.shape)
        shape[i] = axis.n
        x, at = g.new_zeros(shape), 0
        for run in runs:
            piece = g.narrow(i, at, run.length)
            at += run.length
            if run.first < 0 or not run.length:
                continue
            if run.step == 0:
                x.narrow(i, run.first, 1).add_(piece.sum(i, keepdim=True))
            elif run.step == 1:
                x.narrow(i, run.first, run.length).add_(piece)
            else:
                x.narrow(i, run.first - run.length + 1, run.length).add_(piece.flip(i))
        g = x
    return g


class Family:
    """The functions of a family (see `sash.arrays`), on tensors."""

    lib = torch

    @staticmethod
    def fill(x: torch.Tensor, axes: Sequence[Axis], dtype: str, cval: complex) -> torch.Tensor:
        return fill(x.to(getattr(torch, dtype)), axes, cval)

    @staticmethod
    def take(x: torch.Tensor, runs: Sequence[Sequence[Run]]) -> torch.Tensor:
        """The samples that `runs` (per axis of S) describe."""
        for i, row in enumerate(runs, start=2):
            x = torch.cat([_read(x, i, run, 0) for run in row], i) if len(row) != 1 else _read(x, i, row[0], 0)
        return x

    @staticmethod
    def give(tile: torch.Tensor, y: torch.Tensor) -> None:
        if not y.is_floating_point() and tile.is_floating_point():
            tile = tile.round()
        y.copy_(tile)

    @staticmethod
    def zeros(shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
        return like.new_zeros(tuple(shape))

    @staticmethod
    def empty(shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
        return like.new_empty(tuple(shape))

    @staticmethod
    def cast(x: torch.Tensor, dtype: str) -> torch.Tensor:
        return x.to(getattr(torch, dtype))

    @staticmethod
    def rfftn(x: torch.Tensor, lengths: Sequence[int], axes: Sequence[int]) -> torch.Tensor:
        found: torch.Tensor = torch.fft.rfftn(x, list(lengths), list(axes))
        return found

    @staticmethod
    def irfftn(x: torch.Tensor, lengths: Sequence[int], axes: Sequence[int], kept: Sequence[int]) -> torch.Tensor:
        """All of it: on a GPU another call costs more than lines that nobody reads."""
        found: torch.Tensor = torch.fft.irfftn(x, list(lengths), list(axes))
        return found

    @staticmethod
    def steps(x: torch.Tensor) -> tuple[int, ...]:
        """Strides in elements."""
        return tuple(x.stride())

    @staticmethod
    def windows(x: torch.Tensor, shape: Sequence[int], strides: Sequence[int]) -> torch.Tensor:
        return x.as_strided(tuple(shape), tuple(strides))

    @staticmethod
    def add_exactly(total: torch.Tensor, piece: torch.Tensor, rest: torch.Tensor) -> None:
        """total += piece, what rounding loses going into rest (Knuth's two-sum)."""
        new = total + piece
        part = new - total
        lost = (total - (new - part)) + (piece - part)
        lost[~torch.isfinite(lost)] = 0
        rest += lost
        total.copy_(new)


family = Family()
