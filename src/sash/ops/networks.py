"""Convolutions of networks on tensors.

    x (N, C, *S)   weight (O, C/groups, *K)   y (N, O, *out)       or channels last, as views
One Form per call, made from shapes; it is kept, and while a graph is traced made anew.
Imports: PyTorch, repeats, trilinear, form, layout, tensors.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import Parameter

from sash.arrays.torch_ import TYPES
from sash.errors import ArgumentError, KindError
from sash.machine import by_rates
from sash.ops import repeats
from sash.ops.filters import check_cval
from sash.ops.form import Form, Slid, problem_of
from sash.ops.layout import Settings, check_size, fit, fit_transposed
from sash.ops.tensors import RESULTS, autocasts, gathered
from sash.ops.trilinear import dispatched, goes_native, run, transformed
from sash.tiles import workers

WHOLE = (torch.float32, torch.float64)
"""Types that results keep and arrays have."""


def conv(x: Any, weight: Any, bias: Any, settings: Settings) -> Tensor:
    """`conv`."""
    if lent := arrays(x, weight, bias):
        ready = again(workers(), lent[0].shape, lent[1].shape, x.dtype, settings, False)
        if ready:
            return torch.from_numpy(ready.made(*lent))
    x, weight, bias = settled(*gathered(x=x, weight=weight, bias=bias))
    form, last, _ = _form(x, weight, bias, settings, False)
    if last:
        return run(form, "y", x.movedim(-1, 1), weight.movedim((-1, -2), (0, 1)), (), bias).movedim(1, -1)
    return run(form, "y", x, weight, (), bias)


def conv_transpose(x: Any, weight: Any, bias: Any, settings: Settings) -> Tensor:
    """`conv_transpose`: x's side of the forward operation."""
    if lent := arrays(x, weight, bias):
        ready = again(workers(), lent[0].shape, lent[1].shape, x.dtype, settings, True)
        if ready and ready.takes(lent[1]):
            return torch.from_numpy(ready.made(*lent))
    z, weight, bias = settled(*gathered(x=x, weight=weight, bias=bias))
    form, last, shape = _form(z, weight, bias, settings, True)
    if last:
        return run(form, "x", weight.movedim((-1, -2), (0, 1)), z.movedim(-1, 1), shape, bias).movedim(1, -1)
    return run(form, "x", weight, z, shape, bias)


def arrays(x: Any, weight: Any, bias: Any, *others: Any) -> list[Any] | None:
    """The arrays on the same memory if x, weight and bias, which may be None, are of one of WHOLE, x as arrays lie, and nobody watches."""
    if getattr(x, "dtype", None) not in WHOLE or torch.is_autocast_enabled("cpu") or transformed() or dispatched() or is_compiling():
        return None
    found, grad = list[Any](), torch.is_grad_enabled()
    try:
        for t in (x, weight, bias, *others):
            if t is None and len(found) == 2:  # the bias
                found.append(None)
            elif (type(t) is not Tensor and type(t) is not Parameter) or not t.is_cpu:
                return None
            elif not t.requires_grad:
                found.append(t.numpy())
            elif grad:
                return None
            else:
                found.append(t.detach().numpy())
    except (RuntimeError, TypeError):  # negated lazily, sparse, a batch of cotangents, a type that NumPy has not
        return None
    x, weight, bias = found[:3]
    alike = weight.dtype is x.dtype and (bias is None or bias.dtype is x.dtype)
    return found if alike and x.flags.c_contiguous and x.flags.aligned else None


@by_rates(256)
def again(
    crew: int, x: tuple[int, ...], weight: tuple[int, ...], kind: torch.dtype, settings: Settings, transposed: bool
) -> repeats.Again | None:
    """The convolution of arrays that is all there is to do; None where there may be another way, PyTorch's own among them."""
    form, last, shape = _made(x, weight, None, kind, False, settings, transposed)
    if last:
        return None
    problem = problem_of(form, shape if transposed else x, weight[0], 0, TYPES[kind], TYPES[kind], "torch")
    if goes_native(problem, form, crew):
        return None
    element = np.dtype(TYPES[kind])
    return repeats.again(crew, x, element, weight, element, settings, transposed)


def settled(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """All of the result's type; under autocast of its type, as PyTorch's convolutions are."""
    if autocasts(x) and x.is_floating_point() and x.dtype != torch.float64:
        kind = torch.get_autocast_dtype(x.device.type)
    elif x.dtype == weight.dtype and (bias is None or bias.dtype == x.dtype):
        return x, weight, bias
    else:
        kind = RESULTS[x.dtype, weight.dtype]
    if bias is not None and bias.is_complex() and not kind.is_complex:
        raise KindError(f"bias is {bias.dtype}, but the result is {kind}; use a real bias.")
    if not (kind.is_floating_point or kind.is_complex):
        if bias is not None and (bias.is_floating_point() or bias.is_complex()):
            raise KindError(f"bias is {bias.dtype}, but x and weight are integers and the result exact; use an integer bias, or x.float().")
        return x, weight, bias
    return x.to(kind), weight.to(kind), None if bias is None else bias.to(kind)


def _form(x: Tensor, weight: Tensor, bias: Tensor | None, settings: Settings, transposed: bool) -> tuple[Form, bool, tuple[Any, ...]]:
    """The Form; whether channels stand last; for the transposed operation the shape of its result, channels first."""
    made = _made if is_compiling() else _kept
    exact = not (weight.is_floating_point() or weight.is_complex() or x.is_floating_point() or x.is_complex())
    return made(tuple(x.shape), tuple(weight.shape), None if bias is None else tuple(bias.shape), x.dtype, exact, settings, transposed)


def _made(
    x: tuple[int, ...], weight: tuple[int, ...], bias: tuple[int, ...] | None, kind: torch.dtype, exact: bool, settings: Settings,
    transposed: bool,
) -> tuple[Form, bool, tuple[Any, ...]]:  # fmt: skip
    found = fit_transposed(x, weight, settings) if transposed else fit(x, weight, settings)
    channels = found.inputs if transposed else found.outputs
    if bias is not None and bias != (channels,):
        raise ArgumentError(f"bias has shape {bias} and there are {channels} output channels; give ({channels},).")
    cval = check_cval(settings.cval, exact, kind.is_complex, kind) if settings.boundary == "constant" else 0.0
    axes = tuple([Slid(a.size, a.stride, a.dilation, -a.start, a.stop - a.n) for a in found.axes])
    form = Form(axes, found.groups, False, settings.boundary, cval, "auto", settings.method, settings.accuracy, settings.max_memory)
    shape = (found.batch, channels, *[a.n if transposed else a.out for a in found.axes])
    if not is_compiling():  # it would bound the sizes that a graph is good for
        check_size(shape, 8)
    return form, found.last, shape if transposed else ()


_kept = lru_cache(maxsize=2048, typed=True)(_made)
