"""T(x, w, z) = <z, y> for tensors: one operation with three sides, one rule for its derivatives of any order, one door.

    x (N, C, *S)   w (O, C/G, *K)   z, y (N, O, *out)   gate (N, *K, *out), with w (L, O, C/G, *K)
`wants` is the side asked for, a and b are the other two, in the order x, w, z.  T is linear in each operand, so every
derivative is the same operation again: the cotangent takes the place of the side that was asked for.
Imports: PyTorch, form, adjoint, arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from sash.arrays.torch_ import HALF, TYPES, array, tensor
from sash.arrays.weights import Weights
from sash.errors import KindError, MemoryLimit
from sash.machine import by_rates
from sash.methods import native
from sash.ops.adjoint import reverse, turned, weigh
from sash.ops.arithmetic import carry_out, per_axis
from sash.ops.form import ALONE, Form, decode, problem_of
from sash.planning import choose
from sash.problem import Problem
from sash.race import race
from sash.tiles import workers
from sash.wisdom import recall

SIDES = {"y": ("x", "w"), "x": ("w", "y"), "w": ("x", "y")}
"""The operands of each side, in order; z goes by the name of its place, y."""


def run(
    form: Form, wants: str, a: Tensor, b: Tensor, shape: Sequence[int] = (), bias: Tensor | None = None, gate: Tensor | None = None
) -> Tensor:
    """One side of T; `shape` is that of x or w where one of these is wanted, `bias` (C or O,) is added to x or y.

    The door has three wings: while a graph is traced the operation stands in it; where nobody watches the engine is
    called straight; else the operation is recorded for derivatives.
    """
    if torch.compiler.is_compiling() or a.device.type == "meta":
        return traced(form, wants, a, b, shape, bias, gate)
    if not watched(a, b, bias):
        return respond(form, wants, a, b, shape, bias, gate)
    if any([t is not None and batched(t) for t in (a, b, bias)]):
        return traced(form, wants, a, b, shape, bias, gate)  # batched cotangents: the operation is looped over
    if not all([t is None or type(t) in (Tensor, Parameter) or transformed() for t in (a, b, bias)]):
        return traced(form, wants, a, b, shape, bias, gate)
    found: Tensor = Recorded.apply(a, b, bias, gate, form, wants, tuple(shape))  # type: ignore[no-untyped-call]
    return found


def traced(form: Form, wants: str, a: Tensor, b: Tensor, shape: Sequence[int], bias: Tensor | None, gate: Tensor | None) -> Tensor:
    """The operation as a node of a graph."""
    numbers, words = form.encode()
    if isinstance(form.cval, complex):
        raise KindError(f"cval={form.cval!r} is complex, which a traced graph cannot hold; pad x yourself.")
    found: Tensor = node(a, b, bias, gate, wants, list(shape), numbers, words, float(form.cval))
    return found


def watched(*operands: Tensor | None) -> bool:
    """Whether anyone wants to know how the result came about."""
    grad = torch.is_grad_enabled()
    for t in operands:
        if t is None:
            continue
        if (grad and t.requires_grad) or (type(t) is not Tensor and type(t) is not Parameter) or batched(t):
            return True
    return transformed()


def batched(t: Tensor) -> bool:
    """A batch of cotangents (`is_grads_batched`; a private name, and only here)."""
    return torch._C._functorch.is_legacy_batchedtensor(t)


def transformed() -> bool:
    """Inside torch.func's transforms or forward-mode differentiation (private names too)."""
    return torch._C._functorch.peek_interpreter_stack() is not None or torch.autograd.forward_ad._current_level >= 0


def dispatched() -> bool:
    """Some mode sees every operation of PyTorch's: fake tensors, or a log (a private name too)."""
    return torch._C._len_torch_dispatch_stack() > 0


def respond(
    form: Form, wants: str, a: Tensor, b: Tensor, shape: Sequence[int] = (), bias: Tensor | None = None, gate: Tensor | None = None
) -> Tensor:
    """The engine, on plain tensors."""
    kind = torch.result_type(a, b)
    exact = not kind.is_floating_point and not kind.is_complex
    problem = _problem(form, wants, a, b, shape, gate)
    if not exact and not form.product and gate is None and problem.home != "numpy":
        if form.method == "measure" and not kind.is_complex:
            if native_wins(problem, form, wants, a, b, shape, bias, kind):
                return _native(problem, form, wants, a, b, bias)
            problem = _on_arrays(problem)
        elif goes_native(problem, form, workers()):
            return _native(problem, form, wants, a, b, bias)
    return _engine(problem, form, wants, a, b, shape, bias, gate, kind)


def _engine(
    problem: Problem, form: Form, wants: str, a: Tensor, b: Tensor, shape: Sequence[int], bias: Tensor | None, gate: Tensor | None,
    kind: torch.dtype,
) -> Tensor:  # fmt: skip
    """The engine's own methods: on the CPU on arrays, on a GPU those that are written over functions of the family."""
    exact = not kind.is_floating_point and not kind.is_complex
    kind = torch.int64 if exact else kind
    stored = torch.float32 if kind in HALF else kind
    extents = (problem.batch, problem.outputs, *problem.out) if wants == "y" else tuple(shape)
    device = problem.home == "cuda"
    read: Any = Tensor.detach if device else array
    first, second = read(a), read(b)
    plane, extra = [None if t is None else read(t) for t in (gate, bias)]
    made: Any = a.new_empty(extents, dtype=stored) if device else np.empty(extents, TYPES[stored])
    if wants == "w":
        weigh(problem, first, second, made, form.cval, form.how, plane)
    elif 0 not in extents:
        x, taps = (first, second) if wants == "y" else (second, first)
        kernel = _kernel(form, taps, wants == "x", plane)
        if extra is not None:
            kernel.bias = extra.to(stored) if device else extra.astype(made.dtype, copy=False)
        if wants == "y":
            carry_out(problem, x, kernel, made, form.cval, exact, form.how)
        else:
            reverse(problem, x, kernel, made, exact, form.how)
    return made.to(kind) if device else tensor(made, kind)


def on_device(t: Tensor) -> bool:
    """Whether only PyTorch's own operations reach t's elements."""
    return t.device.type != "cpu"


def _problem(form: Form, wants: str, a: Tensor, b: Tensor, shape: Sequence[int], gate: Tensor | None) -> Problem:
    """The forward problem, whichever side is wanted."""
    x = tuple(shape) if wants == "x" else tuple(a.shape)
    w = tuple(b.shape) if wants == "y" else tuple(a.shape) if wants == "x" else tuple(shape)
    outputs = 1 if form.product else w[0] if gate is None else w[1]
    home = "cuda" if on_device(a) else "numpy" if form.alike else "torch"
    return problem_of(form, x, outputs, 0 if gate is None else w[0], TYPES[a.dtype], TYPES[b.dtype], home)


def _kernel(form: Form, taps: Any, back: bool, gate: Any) -> Weights:
    """w for the engine; `back`: turned round, for the transposed operation."""
    if not form.product:
        return Weights(turned(taps, form.groups, len(form.axes)) if back and gate is None else taps, gate=gate)
    sizes = [a.size for a in form.axes]
    if isinstance(taps, Tensor):
        return Weights(None, (_per_axis([k.flip(0) if back else k for k in torch.split(taps, sizes)]),), spread=True)
    kernels = {i: k[::-1] if back else k for i, k in enumerate(np.split(taps, np.cumsum(sizes)[:-1])) if k.size}
    return Weights(None, (per_axis(kernels, len(sizes)),), spread=True)


def _per_axis(kernels: Sequence[Tensor]) -> Any:
    """As `per_axis`, of tensors; empty ones: none on that axis."""
    one = kernels[0].new_ones(1)
    for k in kernels:
        one = one * k if k.numel() == 1 else one
    longer = next((i for i, k in enumerate(kernels) if k.numel() > 1), 0)
    found = [k if k.numel() > 1 else torch.ones_like(one) for k in kernels]
    found[longer] = found[longer] * one
    return tuple(found)


@by_rates(2048)
def goes_native(problem: Problem, form: Form, crew: int) -> bool:
    """Whether PyTorch's own convolution is the way (the kernel being finite, as nearly all are)."""
    if problem.home == "numpy":
        return False
    return choose(problem._replace(finite=True), form.method, form.max_memory, crew).method == native.NAME


def native_wins(
    problem: Problem, form: Form, wants: str, a: Tensor, b: Tensor, shape: Sequence[int], bias: Tensor | None, kind: torch.dtype
) -> bool:
    """Whether PyTorch's own convolution is faster here than the engine at its best: as remembered, else tried now."""
    side, limit = _side(problem, wants, a.dtype == torch.bfloat16), form.max_memory
    known = recall(side, limit)
    if known is not None:
        return known.method == native.NAME
    predicted = goes_native(problem, form, workers())
    if not contested(problem, form, workers()):
        return predicted
    own = partial(_native, problem, form, wants, a, b, bias)
    engine = partial(_engine, _on_arrays(problem), form, wants, a, b, shape, bias, None, kind)
    try:
        engine()  # which finds its own best method first
    except MemoryLimit:
        return True
    inner = _on_arrays(side)
    best = recall(inner, limit) or recall(inner._replace(finite=False), limit)
    name = best.method if best else choose(inner, "auto", limit, workers()).method
    runs = {native.NAME: own, name: engine} if predicted else {name: engine, native.NAME: own}
    return name == native.NAME or race(side, limit, runs, a.device if on_device(a) else None) == native.NAME


@by_rates(2048)
def contested(problem: Problem, form: Form, crew: int) -> bool:
    """Whether predictions leave open if PyTorch's own convolution or the engine is faster."""
    plan = choose(problem._replace(finite=True), form.method, form.max_memory, crew)
    return bool(plan.rivals) and native.NAME in (plan.method, *plan.rivals)


@lru_cache(maxsize=2048)
def _side(problem: Problem, wants: str, brain: bool) -> Problem:
    """The problem that gives one side of T, by which wisdom knows it; `brain`: of bfloat16, which arrays hold as float32."""
    forward = problem._replace(finite=True)
    side = forward if wants == "y" else forward.adjoint_x() if wants == "x" else forward.adjoint_w()
    return side._replace(finite=True, source="bfloat16" if brain else side.source)


@lru_cache(maxsize=2048)
def _on_arrays(problem: Problem) -> Problem:
    """The problem as the engine meets it on the CPU where PyTorch's own convolution is not among its methods."""
    return problem._replace(home="numpy") if problem.home == "torch" else problem


def _native(problem: Problem, form: Form, wants: str, a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    if wants == "y":
        with torch.no_grad():
            return native.forward(problem, a, b, bias, form.cval)
    a, b, bias = a.detach(), b.detach(), None if bias is None else bias.detach()
    kind = a.dtype
    if kind in HALF and not on_device(a):  # some of its transposed ways sum in half precision
        a, b, bias = a.float(), b.float(), None if bias is None else bias.float()
    made = native.backward_w(problem, a, b, form.cval) if wants == "w" else native.backward_x(problem, a, b, bias)
    return made.to(kind)


def derivatives(
    form: Form, wants: str, a: Tensor, b: Tensor, gate: Tensor | None, cotangent: Tensor, needs: Sequence[bool]
) -> list[Tensor | None]:
    """What the cotangent of one side makes of its operands a and b."""
    names = SIDES[wants]
    sides = {names[0]: a, names[1]: b}
    found: list[Tensor | None] = []
    for name, operand, need in zip(names, (a, b), needs, strict=True):
        if not need:
            found.append(None)
            continue
        others = {side: t.conj() if t.is_complex() else t for side, t in sides.items() if side != name}
        others[wants] = cotangent
        inner = form.linear()
        if wants != "x" and name != "x":  # the true x is read, and what it is extended by
            inner = inner._replace(cval=form.cval)
        if name == "w" and form.product:
            g = _of_products(inner, others["x"], operand, others["y"])
        else:
            first, second = SIDES[name]
            g = run(inner, name, others[first], others[second], () if name == "y" else operand.shape, None, gate)
        found.append(g.real if g.is_complex() and not operand.is_complex() else g)
    return found


def _of_products(form: Form, x: Tensor, w: Tensor, z: Tensor) -> Tensor:
    """w's side where w is one 1-D kernel after the other: for each, x goes through all others, and z weighs the result."""
    pieces = []
    kernels = torch.split(w, [a.size for a in form.axes])
    for i, axis in enumerate(form.axes):
        if not axis.size:
            continue
        rest = tuple([ALONE if j == i else a for j, a in enumerate(form.axes)])
        others = [k for j, k in enumerate(kernels) if j != i and form.axes[j].size]
        through = run(form._replace(axes=rest), "y", x, torch.cat(others)) if others else x
        single = form._replace(axes=tuple([a if j == i else ALONE for j, a in enumerate(form.axes)]), product=False)
        shape = (1, 1, *[axis.size if j == i else 1 for j in range(len(form.axes))])
        pieces.append(run(single, "w", through, z, shape).reshape(-1))
    return torch.cat(pieces)


class Recorded(torch.autograd.Function):
    """The operation where derivatives are recorded: nothing is saved but its operands."""

    @staticmethod
    def forward(a: Tensor, b: Tensor, bias: Tensor | None, gate: Tensor | None, form: Form, wants: str, shape: Any) -> Tensor:
        return respond(form, wants, a, b, shape, bias, gate)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        a, b, bias, gate, ctx.form, ctx.wants, ctx.shape = inputs
        ctx.save_for_backward(a, b, gate)
        ctx.save_for_forward(a, b, gate)
        ctx.ndim = output.ndim

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Any:
        a, b, gate = ctx.saved_tensors
        found = derivatives(ctx.form, ctx.wants, a, b, gate, cotangent, ctx.needs_input_grad[:2])
        return (*found, _over_channels(cotangent) if ctx.needs_input_grad[2] else None, None, None, None, None)

    @staticmethod
    def jvp(ctx: Any, da: Tensor | None, db: Tensor | None, dbias: Tensor | None, *others: Any) -> Any:
        a, b, gate = ctx.saved_tensors
        form, wants = ctx.form, ctx.wants
        parts = []
        for tangent, name in zip((da, db), SIDES[wants], strict=True):
            if tangent is None:
                continue
            inner = form.linear() if name == "x" else form.linear()._replace(cval=form.cval)
            for t in _tangents(form, a if wants == "x" else b, tangent) if name == "w" and form.product else [tangent]:
                first, second = (t, b) if name == SIDES[wants][0] else (a, t)
                parts.append(run(inner, wants, first, second, ctx.shape, None, gate))
        if dbias is not None:
            over = dbias.reshape(-1, *[1] * (ctx.ndim - 2))
            parts.append(over.expand(_result_shape(form, wants, a, b, ctx.shape, gate)))
        return sum(parts[1:], parts[0])

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        tensors, (form, wants, shape) = inputs[:4], inputs[4:]
        results = []
        for i in range(info.batch_size):
            a, b, bias, gate = (t if d is None else t.select(d, i) for t, d in zip(tensors, in_dims[:4], strict=True))
            results.append(run(form, wants, a, b, shape, bias, gate))
        return torch.stack(results), 0


def _tangents(form: Form, w: Tensor, dw: Tensor) -> list[Tensor]:
    """Kernels end to end with one of them replaced by its tangent, for each: a product's tangent is their sum."""
    sizes = [axis.size for axis in form.axes]
    kernels, tangents = torch.split(w, sizes), torch.split(dw, sizes)
    each = [i for i, axis in enumerate(form.axes) if axis.size]
    return [torch.cat([tangents[j] if j == i else k for j, k in enumerate(kernels)]) for i in each]


def _over_channels(t: Tensor) -> Tensor:
    return t.sum([0, *range(2, t.ndim)])


def _result_shape(form: Form, wants: str, a: Tensor, b: Tensor, shape: Sequence[int], gate: Tensor | None) -> list[Any]:
    if wants != "y":
        return list(shape)
    outputs = 1 if form.product else b.shape[0] if gate is None else b.shape[1]
    return [a.shape[0], outputs, *form.out(a.shape[2:])]


@torch.library.custom_op("sash::run", mutates_args=())
def node(
    a: Tensor,
    b: Tensor,
    bias: Tensor | None,
    gate: Tensor | None,
    wants: str,
    shape: list[int],
    numbers: list[int],
    words: str,
    cval: float,
) -> Tensor:
    """`run` as an operation of PyTorch's graphs: what is not a tensor is `Form.encode`d."""
    return respond(decode(numbers, words, cval), wants, a, b, shape, bias, gate)


@node.register_fake
def _(a: Tensor, b: Tensor, bias: Any, gate: Any, wants: str, shape: Any, numbers: Any, words: str, cval: float) -> Tensor:
    form = decode(numbers, words, cval)
    kind = torch.result_type(a, b)
    exact = not kind.is_floating_point and not kind.is_complex
    return a.new_empty(_result_shape(form, wants, a, b, shape, gate), dtype=torch.int64 if exact else kind)


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    a, b, _, gate, ctx.wants, _, numbers, words, cval = inputs
    ctx.form = decode(numbers, words, cval)
    ctx.save_for_backward(a, b, gate)


def _backward(ctx: Any, cotangent: Tensor) -> Any:
    a, b, gate = ctx.saved_tensors
    found = derivatives(ctx.form, ctx.wants, a, b, gate, cotangent, ctx.needs_input_grad[:2])
    return (*found, _over_channels(cotangent) if ctx.needs_input_grad[2] else None, *[None] * 6)


node.register_autograd(_backward, setup_context=_setup)
