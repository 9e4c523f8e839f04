"""Filters on tensors: the same verbs, in PyTorch's terms, so that graphs can be traced and derivatives taken.

    x (any axes)   kernel (one axis per slid axis)   y (x's axes, the slid ones resized)
On the CPU, where nobody watches, a tensor is an array and goes the arrays' way: no copy, the same bits.
Imports: PyTorch, trilinear, form, filters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sash.arrays import torch_
from sash.errors import ArgumentError, KindError
from sash.ops.filters import Settings, lower, settle_axes, settle_types
from sash.ops.form import ALONE, FAR, Form, Slid
from sash.ops.trilinear import on_device, run, watched
from sash.window import Window


def _result_types() -> dict[tuple[torch.dtype, torch.dtype], torch.dtype]:
    """Types of results, by those of x and of the kernel: as arrays have it; bfloat16 keeps its type."""
    named = {kind: np.dtype(name) for kind, name in torch_.TYPES.items()}
    found = {(x, k): torch_.BACK[settle_types(named[x], named[k], None).result] for x in named for k in named}
    for k in named:
        found[torch.bfloat16, k] = torch.complex64 if k.is_complex else torch.bfloat16
    return found


RESULTS = _result_types()
"""(A table, because graphs that are traced know nothing of NumPy's types.)"""


OPTIONAL = ("bias", "mask")
"""Operands that there need not be."""


def gathered(**operands: Any) -> list[Any]:
    """All operands (None stays where there may be none) as tensors on the device of those that are; refuses two devices."""
    device: Any = None
    for name, v in operands.items():
        if not isinstance(v, Tensor):
            if v is None and name not in OPTIONAL:
                raise KindError(f"{name} is None; give a tensor or an array.")
            continue
        if v.dtype not in torch_.TYPES or v.layout is not torch.strided:
            torch_.check(name, v)
        if device is None:
            device, first = v.device, name
        elif v.device != device:
            raise ArgumentError(f"{first} is on {device} and {name} on {v.device}; move one with .to(...).")
    return [v if v is None or isinstance(v, Tensor) else torch.as_tensor(np.asarray(v), device=device) for v in operands.values()]


def plain(*operands: Tensor | None) -> bool:
    """These can go the arrays' way: on the CPU, and nobody watches."""
    return not torch.compiler.is_compiling() and not watched(*operands) and all([t is None or t.device.type == "cpu" for t in operands])


def through_arrays(verb: Callable[..., Any], x: Tensor, *operands: Tensor, dtype: Any = None, **settings: Any) -> Tensor:
    """The verb on the tensors' own memory; bfloat16 in, bfloat16 out."""
    if dtype is None:
        result = torch.from_numpy(verb(torch_.array(x), *[torch_.array(t) for t in operands], **settings))
        return result.to(torch.bfloat16) if x.dtype == torch.bfloat16 and result.dtype == torch.float32 else result
    wanted, settings["dtype"] = settle_dtype(dtype)
    result = torch_.tensor(verb(torch_.array(x), *[torch_.array(t) for t in operands], **settings))
    return result if wanted is None else result.to(wanted)


def settle_dtype(dtype: Any) -> tuple[torch.dtype | None, Any]:
    """An element type as PyTorch's and as NumPy's."""
    if dtype is None:
        return None, None
    if isinstance(dtype, torch.dtype):
        if dtype not in torch_.TYPES:
            raise KindError(f"dtype={dtype} is no type that sash computes with.")
        return dtype, np.dtype(torch_.TYPES[dtype])
    asked = np.dtype(dtype)
    return torch_.BACK[asked], asked


def uncast(x: Tensor) -> Tensor:
    """x as autocast leaves it to filters: half precision is widened, since sums of many taps need it."""
    return x.float() if autocasts(x) and x.dtype in torch_.HALF else x


def autocasts(x: Tensor) -> bool:
    """Whether autocast is on where x is."""
    return x.device.type in ("cpu", "cuda") and torch.is_autocast_enabled(x.device.type)


def filtered(x: Tensor, kernels: Sequence[Tensor], settings: Settings, product: bool) -> Tensor:
    """Slide `kernels[0]`, or the product of one 1-D kernel per slid axis, over x."""
    settings.check()
    if not x.ndim and not product and not kernels[0].ndim:  # a scalar is one sample with nothing to slide over
        return filtered(x[None], kernels, settings, product)[0]
    x = uncast(x)
    sizes = [k.shape[0] for k in kernels] if product else list(kernels[0].shape)
    kind = kernels[0].dtype
    for k in kernels[1:]:
        kind = torch.promote_types(kind, k.dtype)
    if not torch.compiler.is_compiling():
        types = (np.dtype(torch_.TYPES[x.dtype]), np.dtype(torch_.TYPES[kind]))
        lower(tuple(x.shape), types[0], False, tuple(sizes), types[1], int(product), *settings._replace(dtype=None).plain())
    wanted, _ = settle_dtype(settings.dtype)
    result = RESULTS[x.dtype, kind]
    if wanted is not None and not (wanted.is_floating_point or wanted.is_complex):
        raise KindError(f"dtype={wanted} must be proved to hold the results, which takes arrays that are not traced; cast afterwards.")
    if wanted is not None:
        result = torch.promote_types(result, wanted) if wanted.is_complex or not result.is_complex else result
        result = wanted if not result.is_complex else result
    narrow = result in torch_.HALF
    if result.is_floating_point or result.is_complex:
        x = x.to(torch.float32 if narrow and on_device(x) else result)
        kernels = [k.to(result if result.is_complex and k.is_complex() else _beside(result)) for k in kernels]
    axes = settle_axes(settings.axes, x.ndim, len(sizes))
    window = Window(tuple(sizes), stride=settings.stride, dilation=settings.dilation, padding=settings.padding)
    pads = window.pads([x.shape[a] for a in axes])
    steps = [(_at(window.stride, i), _at(window.dilation, i)) for i in range(len(axes))]
    slid = {a: Slid(k, min(s, FAR), d if k > 1 else 1, *p) for a, k, (s, d), p in zip(axes, sizes, steps, pads, strict=True)}
    form = Form(
        tuple([slid.get(a, ALONE) for a in range(x.ndim)]), 1, product, settings.boundary, settings.cval, settings.separable,
        settings.method, settings.accuracy, settings.max_memory, True,
    )  # fmt: skip
    if product:
        w = torch.cat([k for _, k in sorted(zip(axes, kernels, strict=True), key=lambda pair: pair[0])])
    else:
        order = sorted(range(len(axes)), key=axes.__getitem__)
        spread = [slid[a].size if a in slid else 1 for a in range(x.ndim)]
        w = kernels[0].permute(order).reshape(1, 1, *spread)
    y: Tensor = run(form, "y", x[None, None], w)[0, 0]
    return y.to(wanted or result) if wanted or narrow else y


def _beside(kind: torch.dtype) -> torch.dtype:
    """The type of real kernels: they keep their digits beside half precision."""
    return kind.to_real() if kind.is_complex else torch.float32 if kind in torch_.HALF else kind


def _at(value: Any, i: int) -> Any:
    return value[i] if isinstance(value, tuple) else value


def correlate(x: Any, kernel: Any, settings: Settings, turned: bool, verb: Callable[..., Any]) -> Tensor:
    """`correlate` and `convolve`."""
    x, kernel = gathered(x=x, kernel=kernel)
    if plain(x, kernel):
        return through_arrays(verb, x, kernel, **settings._asdict())
    if 0 in kernel.shape:
        raise ArgumentError(f"kernel has shape {tuple(kernel.shape)}: it has no taps; every axis needs at least one.")
    if turned:
        kernel = kernel.flip(list(range(kernel.ndim)))
    return filtered(x, [kernel], settings, product=False)


def separable_filter(x: Any, kernels: Sequence[Any], settings: Settings, verb: Callable[..., Any]) -> Tensor:
    """`separable_filter`; what pads with a constant, or is complex, goes as one dense kernel where kernels are learnt."""
    named = gathered(x=x, **{f"kernels[{i}]": k for i, k in enumerate(kernels)})
    x, kernels = named[0], named[1:]
    if plain(x, *kernels):
        told = settings._asdict()
        del told["separable"]
        return through_arrays(lambda x, *kernels, **told: verb(x, kernels, **told), x, *kernels, **told)
    learnt = any([k.requires_grad for k in kernels])
    whole = not any([k.is_floating_point() or k.is_complex() for k in kernels])
    if any([k.is_complex() for k in kernels]) or (learnt and settings.cval != 0) or whole:
        kernels = [k.float() if k.dtype in torch_.HALF else k for k in kernels]  # products need more digits
        dense = kernels[0].long() if whole else kernels[0]
        for k in kernels[1:]:
            dense = dense[..., None] * k
        return filtered(x, [dense], settings, product=False)
    return filtered(x, kernels, settings, product=True)


def gaussian_blur(x: Any, sigma: Any, settled: Any, settings: Settings, verb: Callable[..., Any], told: dict[str, Any]) -> Tensor:
    """`gaussian_blur`; `settled` holds (sigma, order, taps) per axis, where a sigma that is a tensor may be learnt."""
    learnt = isinstance(sigma, Tensor)
    x, sigma = gathered(x=x, sigma=sigma) if learnt else (*gathered(x=x), sigma)
    if plain(x, sigma if learnt else None):
        values = sigma.tolist() if learnt else sigma
        return through_arrays(lambda a, **others: verb(a, values, **others), x, **told)
    sigmas = sigma.expand(len(settled)) if learnt and sigma.ndim < 2 else [s for s, _, _ in settled]
    if not (x.is_floating_point() or x.is_complex()):
        x = x.to(torch.float32 if x.dtype.itemsize <= 2 else torch.float64)
    kernels = [
        gaussian_taps(sigmas[i], order, taps, x.device).flip(0) if taps > 1 else x.new_ones(1, dtype=torch.float64)
        for i, (_, order, taps) in enumerate(settled)
    ]
    if settings.cval != 0 and learnt and sigma.requires_grad:
        return separable_filter(x, kernels, settings, verb)
    return filtered(x, kernels, settings, product=True)


def gaussian_taps(sigma: Any, order: int, taps: int, device: Any) -> Tensor:
    """Samples of a Gaussian of sum 1, or of its derivative, in float64; `sigma` may be a tensor that is learnt."""
    s = sigma.to(torch.float64) if isinstance(sigma, Tensor) else torch.tensor(float(sigma), dtype=torch.float64, device=device)
    t = torch.arange(taps, dtype=torch.float64, device=device) - (taps - 1) / 2
    phi = torch.exp(-0.5 / (s * s) * (t * t - 0.25 * (1 - taps % 2)))  # an even size has no sample at 0
    phi = phi / phi.sum()
    before, q = torch.zeros_like(t), torch.ones_like(t)
    for n in range(order):  # q_{n+1} = -(t q_n + n q_{n-1}) / sigma^2
        before, q = q, -(t * q + n * before) / (s * s)
    return phi * q


def windows(x: Tensor, sizes: Any, axes: tuple[int, ...], stride: Any, dilation: Any) -> Tensor:
    """Every window, as a view."""
    window = Window(sizes, stride=stride, dilation=dilation)
    slid = window.over([x.shape[a] for a in axes], "zero", axes)
    for a, axis in zip(axes, slid, strict=True):
        x = x.unfold(a, axis.reach, axis.stride if axis.stride < 1 << 31 else min(axis.stride, max(axis.n, 1)))
    for i, axis in enumerate(slid, start=x.ndim - len(slid)):
        x = x[(slice(None),) * i + (slice(None, None, axis.dilation if axis.size > 1 else 1),)]
    return x
