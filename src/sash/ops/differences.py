"""Sums of absolute differences on tensors, and their subgradient: that of |x - t| is its sign, and 0 where x = t.

    x (N, C, *S)   t, m (O, C, *K)   y (N, O, *out)
    sum   y = sum m |x - t|              along x, t   y = sum s v,  v like x or t
    x     sum_o s g, g like y            t            sum_(n, out) s g              with s = m sign(x - t), for t -s
The four are linear in v or g and each other's transposes, so derivatives of any order are among them; x and t stand by.
Imports: PyTorch, trilinear (its door), running.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sash.accuracy import CHUNK
from sash.arrays.torch_ import array, fill, spill, tensor
from sash.arrays.weights import Weights
from sash.axis import Axis
from sash.ops.form import Slid
from sash.ops.trilinear import transformed, watched
from sash.problem import Problem
from sash.running import run as execute

TRANSPOSED = {"x": "along x", "t": "along t", "along x": "x", "along t": "t"}


def differ(x: Tensor, t: Tensor, m: Tensor | None, v: Tensor | None, wants: str, slid: Sequence[Slid]) -> Tensor:
    """One of the five sums."""
    numbers = [n for axis in slid for n in axis]
    if torch.compiler.is_compiling():
        found: Tensor = node(x, t, m, v, wants, numbers)
        return found
    if not watched(x, t, v):
        return respond(x, t, m, v, wants, numbers)
    if not transformed() and not all([o is None or type(o) in (Tensor, torch.nn.Parameter) for o in (x, t, v)]):
        return node(x, t, m, v, wants, numbers)  # type: ignore[no-any-return]
    recorded: Tensor = Recorded.apply(x, t, m, v, wants, numbers)  # type: ignore[no-untyped-call]
    return recorded


def respond(x: Tensor, t: Tensor, m: Tensor | None, v: Tensor | None, wants: str, numbers: Sequence[int]) -> Tensor:
    """The sums, on plain tensors: on the CPU the first by the engine, all else tap by tap."""
    x, t = x.detach(), t.detach()
    axes = _axes(x.shape[2:], numbers)
    if wants == "sum" and x.device.type == "cpu":
        kind = "float64" if x.dtype == torch.float64 else "float32"
        problem = Problem(
            axes, x.shape[0], x.shape[1], t.shape[0], reduce="absolute", dtype=kind, source=str(array(x).dtype), result=kind,
            finite=True, straight=False,
        )  # fmt: skip
        found = np.empty((x.shape[0], t.shape[0], *problem.out), kind)
        execute(problem, array(x), Weights(array(t), mask=None if m is None else array(m)), found)
        return tensor(found, x.dtype)
    frame = fill(x, axes, 0)
    y = _like(x, t, wants, axes)
    if wants == "x":
        y = torch.zeros_like(frame)
    total = torch.zeros_like(y)
    beside = None if v is None else fill(v.detach(), axes, 0) if wants == "along x" else v.detach()
    for number, (o, k, see) in enumerate(_taps(t, axes), start=1):
        if number % CHUNK[True] == 0:  # a running sum's error grows with its length
            total += y
            y.zero_()
        s = see(frame) - _at(t, o, k)
        s = s.abs_() if wants == "sum" else s.sign_()
        if m is not None:
            s *= _at(m, o, k)
        if wants == "sum":
            y[:, o] += s.sum(1)
            continue
        assert beside is not None
        if wants == "along x":
            y[:, o] += s.mul_(see(beside)).sum(1)
        elif wants == "along t":
            y[:, o] -= s.mul_(_at(beside, o, k)).sum(1)
        elif wants == "x":
            see(y).add_(s.mul_(beside[:, o : o + 1]))
        else:
            _at(y, o, k)[...] = -s.mul_(beside[:, o : o + 1]).sum([0, *range(2, s.ndim)]).reshape(1, -1, *[1] * len(axes))
    y += total
    return spill(y, axes) if wants == "x" else y


def _axes(extents: Sequence[int], numbers: Sequence[int]) -> tuple[Axis, ...]:
    rows = [numbers[i : i + 5] for i in range(0, len(numbers), 5)]
    return tuple([Axis(n, k, s, d, -a, n + b, "zero") for n, (k, s, d, a, b) in zip(extents, rows, strict=True)])


def _like(x: Tensor, t: Tensor, wants: str, axes: Sequence[Axis]) -> Tensor:
    if wants == "t":
        return torch.zeros_like(t)
    return x.new_zeros((x.shape[0], t.shape[0], *[a.out for a in axes])) if wants != "x" else x


def _taps(t: Tensor, axes: Sequence[Axis]) -> Iterator[tuple[int, tuple[int, ...], Any]]:
    """Each template and tap, and what of a frame that tap sees."""
    for o in range(t.shape[0]):
        for k in product(*[range(a.size) for a in axes]):
            cut = [slice(i * a.dilation, i * a.dilation + (a.out - 1) * a.stride + 1, a.stride) for i, a in zip(k, axes, strict=True)]
            yield o, k, lambda frame, cut=cut: frame[(slice(None), slice(None), *cut)]


def _at(t: Tensor, o: int, k: tuple[int, ...]) -> Tensor:
    """Tap k of template o, a view: (1, C, 1, ...)."""
    for i, at in enumerate((o, *k)):
        t = t.narrow(i if i == 0 else i + 1, at, 1)
    return t


def _derivatives(
    x: Tensor, t: Tensor, m: Tensor | None, wants: str, numbers: Sequence[int], g: Tensor, needs: Sequence[bool]
) -> list[Tensor | None]:
    """What a cotangent makes of x, t and v."""
    slid = [Slid(*numbers[i : i + 5]) for i in range(0, len(numbers), 5)]
    if wants == "sum":
        return [differ(x, t, m, g, name, slid) if need else None for name, need in zip("xt", needs, strict=False)] + [None]
    return [
        torch.zeros_like(x) if needs[0] else None,
        torch.zeros_like(t) if needs[1] else None,
        differ(x, t, m, g, TRANSPOSED[wants], slid) if needs[2] else None,
    ]


class Recorded(torch.autograd.Function):
    """The sums where derivatives are recorded."""

    @staticmethod
    def forward(x: Tensor, t: Tensor, m: Tensor | None, v: Tensor | None, wants: str, numbers: Any) -> Tensor:
        return respond(x, t, m, v, wants, numbers)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, t, m, v, ctx.wants, ctx.numbers = inputs
        ctx.save_for_backward(x, t, m)
        ctx.save_for_forward(x, t, m)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, t, m = ctx.saved_tensors
        needs = [ctx.needs_input_grad[i] for i in (0, 1, 3)]
        gx, gt, gv = _derivatives(x, t, m, ctx.wants, ctx.numbers, g, needs)
        return gx, gt, None, gv, None, None

    @staticmethod
    def jvp(ctx: Any, dx: Tensor | None, dt: Tensor | None, dm: Any, dv: Tensor | None, *others: Any) -> Any:
        x, t, m = ctx.saved_tensors
        slid = [Slid(*ctx.numbers[i : i + 5]) for i in range(0, len(ctx.numbers), 5)]
        if ctx.wants != "sum":
            return differ(x, t, m, dv, ctx.wants, slid)
        parts = [differ(x, t, m, d, f"along {name}", slid) for d, name in ((dx, "x"), (dt, "t")) if d is not None]
        return sum(parts[1:], parts[0])

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        slid = [Slid(*inputs[5][i : i + 5]) for i in range(0, len(inputs[5]), 5)]
        each = []
        for i in range(info.batch_size):
            x, t, m, v = (o if d is None else o.select(d, i) for o, d in zip(inputs[:4], in_dims[:4], strict=True))
            each.append(differ(x, t, m, v, inputs[4], slid))
        return torch.stack(each), 0


@torch.library.custom_op("sash::differ", mutates_args=())
def node(x: Tensor, t: Tensor, m: Tensor | None, v: Tensor | None, wants: str, numbers: list[int]) -> Tensor:
    """`differ` as an operation of PyTorch's graphs."""
    return respond(x, t, m, v, wants, numbers)


@node.register_fake
def _(x: Tensor, t: Tensor, m: Any, v: Any, wants: str, numbers: Any) -> Tensor:
    if wants in ("x", "t"):
        return torch.empty_like(x if wants == "x" else t, memory_format=torch.contiguous_format)
    return x.new_empty((x.shape[0], t.shape[0], *[a.out for a in _axes(x.shape[2:], numbers)]))


def _backward(ctx: Any, g: Tensor) -> Any:
    return Recorded.backward(ctx, g)


node.register_autograd(_backward, setup_context=Recorded.setup_context)
