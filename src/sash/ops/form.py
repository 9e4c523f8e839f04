"""What slides how, without the arrays: everything but shapes and element types that a linear verb is.

    x (N, C, *S)   w (O, C/G, *K), or one 1-D kernel per axis, end to end   y (N, O, *out)
A Form and the operands' shapes make a Problem.  It travels through PyTorch's graphs as ints and one word list, since
text cannot be traced where sizes are symbols.   Imports: problem, filters.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from sash.axis import Axis
from sash.methods import CHOICES
from sash.ops.arithmetic import How
from sash.ops.filters import settle_types, stepped
from sash.problem import Problem


class Slid(NamedTuple):
    """One axis: taps, steps and pads; an axis that no kernel slides over has no taps."""

    size: int
    stride: int
    dilation: int
    before: int
    after: int


ALONE = Slid(0, 1, 1, 0, 0)
FAR = 1 << 62
"""No array is so long: a longer step is never taken, and might not fit the graphs' ints."""


class Form(NamedTuple):
    axes: tuple[Slid, ...]
    groups: int = 1
    product: bool = False
    """w holds one 1-D kernel after the other, of `size` taps each; else it is dense."""
    boundary: str = "constant"
    cval: complex = 0.0
    separable: bool | str = False
    method: str = "auto"
    accuracy: str = "normwise"
    max_memory: int | None = None
    alike: bool = False
    """Filters: tensors on the CPU get the bits that arrays get, so PyTorch's own convolution is none of the methods."""

    @property
    def how(self) -> How:
        return How(self.separable, self.method, self.max_memory)

    def linear(self) -> Form:
        """The same for what multiplies nothing constant: gradients, which read 0 where x reads `cval`.

        A method that was named is one for the forward problem: others may do better on this one.
        """
        return self._replace(cval=0.0, method=self.method if self.method in CHOICES else "auto")

    def encode(self) -> tuple[list[int], str]:
        limit = -1 if self.max_memory is None else self.max_memory
        return (
            [self.groups, limit, *[v for axis in self.axes for v in axis]],
            f"{int(self.product)} {self.boundary} {self.separable} {self.method} {self.accuracy} {int(self.alike)}",
        )

    def out(self, extents: Sequence[Any]) -> list[Any]:
        """Extents of y; ints or symbols."""
        found = []
        for n, a in zip(extents, self.axes, strict=True):
            found.append((n + a.before + a.after - ((a.size or 1) - 1) * a.dilation - 1) // a.stride + 1)
        return found


def decode(numbers: Sequence[int], words: str, cval: float) -> Form:
    """The Form that `encode` made these of."""
    product, boundary, separable, method, accuracy, alike = words.split()
    groups, limit, *rest = numbers
    axes = tuple([Slid(*rest[i : i + 5]) for i in range(0, len(rest), 5)])
    told = {"True": True, "False": False}.get(separable, separable)
    return Form(axes, groups, product == "1", boundary, cval, told, method, accuracy, None if limit < 0 else limit, alike == "1")


@lru_cache(maxsize=4096, typed=True)
def problem_of(form: Form, x: tuple[int, ...], outputs: int, planes: int, kind: str, weight: str, home: str) -> Problem:
    """The forward Problem on x (N, C, *S) of element type `kind`; `outputs` channels of y."""
    zero = "zero" if form.boundary == "constant" and form.cval == 0 else form.boundary
    axes = []
    for n, a in zip(x[2:], form.axes, strict=True):
        boundary = zero if a.before or a.after or a.size > 1 else "zero"
        axis = Axis(n, a.size or 1, a.stride, a.dilation, -a.before, n + a.after, boundary)
        axes.append(stepped(axis))
    types = settle_types(np.dtype(kind), np.dtype(weight), None)
    stored = "float32" if types.result == np.float16 else types.result.name
    return Problem(
        tuple(axes), x[0], x[1], outputs, form.groups, dtype=types.compute, source=kind, result=stored,
        rank=int(form.product), finite=types.exact or form.product, elementwise=form.accuracy == "elementwise", planes=planes, home=home,
    )  # fmt: skip
