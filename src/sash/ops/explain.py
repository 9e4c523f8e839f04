"""Plans for people: which method a verb would use on arrays of these shapes, what every other would cost, and why.

Shapes only: the same lowering as the verbs, without the arrays.   Imports: filters, gaussian, similarity, planning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from typing import Any

import numpy as np

from sash.arrays.numpy_ import readable, settle_dtype
from sash.errors import ArgumentError, KindError, unknown
from sash.ops import conv as conv_
from sash.ops import correlate as filters_
from sash.ops import depth as depth_
from sash.ops import gaussian as gaussian_
from sash.ops import layout, planes
from sash.ops import similarity as similarity_
from sash.ops.adjoint import beside, frame_size
from sash.ops.blocks import planned
from sash.ops.filters import Settings, lower, settle_axes
from sash.ops.integers import type_range
from sash.planning import choose
from sash.plans import Plan
from sash.problem import Problem
from sash.running import check_settings
from sash.tiles import workers
from sash.window import ints
from sash.wisdom import told


def plan(verb: str, *shapes: Any, input_dtype: Any = "float32", **settings: Any) -> Plan:
    """Plan a verb from shapes alone; ``print(plan)`` explains the choice.

    Parameters
    ----------
    verb : str
        "correlate", "convolve", "separable_filter", "gaussian_blur", "similarity", "conv", "conv_transpose" or "conv2_5d".
    *shapes : tuples of int
        Shapes of the verb's arrays, in its order: x and kernel; x and the 1-D kernels' sizes for "separable_filter";
        x for "gaussian_blur" (with ``sigma=``); image and template; x and weight for the convolutions.
    input_dtype : default "float32"
        Element type of all arrays; one of PyTorch's (``torch.float32``) plans for tensors on the CPU.
    **settings
        The verb's own keyword arguments. With ``method="measure"`` the plan tells what was measured, or what the first
        call will try. What depends on values is told: ``separable=True`` means that the kernel is
        one outer product (otherwise it is taken to be none); integers are taken to fill their type.

    Returns
    -------
    Plan
        `method`, `seconds`, `scratch` (bytes), `candidates`, `to_dict()`; `str(plan)` is the explanation.

    Raises
    ------
    ArgumentError, KindError
        An unknown verb or setting, and all that the verb itself would refuse.

    Examples
    --------
    >>> import sash
    >>> sash.plan("correlate", (7, 7), (3, 3), stride=2).method
    'direct'
    >>> sorted(c.name for c in sash.plan("gaussian_blur", (256, 256, 256), sigma=2).candidates)
    ['bytes', 'direct', 'fft', 'gated', 'gather', 'gemm', 'indirect', 'native', 'polyphase', 'separable', 'shift_add']
    """
    if not isinstance(verb, str) or verb not in VERBS:
        raise unknown("verb", verb, VERBS)
    function, count, lowered = VERBS[verb]
    allowed = [p.name for p in signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY or p.name == "sigma"]
    for name in settings:
        if name not in allowed:
            raise unknown(f"setting of {verb}", name, allowed)
    if len(shapes) != count:
        raise ArgumentError(f"plan({verb!r}) takes {count} shape{'s' if count > 1 else ''}, got {len(shapes)}.")
    for shape in shapes:
        if hasattr(shape, "shape"):
            raise KindError(f"plan({verb!r}) takes shapes, got an array; give its .shape, {tuple(shape.shape)}.")
    extents = [(s,) if isinstance(s := ints("shape", shape), int) else s for shape in shapes]
    kind, home = _settle_family(input_dtype)
    problem, held = lowered(kind, *extents, **settings), 0
    if verb == "conv_transpose":  # what its boundary folds back is held beside
        held, problem = frame_size(problem) * problem.itemsize, problem.adjoint_x()
    if verb.startswith("conv") and verb != "convolve":
        problem = problem._replace(home=home, source="bfloat16" if str(input_dtype) == "torch.bfloat16" else problem.source)
    method, limit = settings.get("method", "auto"), settings.get("max_memory")
    if verb == "similarity" and problem.reduce == "product":
        found = planned(problem, method, limit, settings.get("metric") in ("ncc", "zncc"))
    else:
        with beside(held, limit) as left:
            found = choose(problem, method, left, workers())
        found = told(found, left) if method == "measure" else found
    candidates = tuple([replace(c, scratch=c.scratch + held) if c.cost else c for c in found.candidates]) if held else found.candidates
    return Plan(f"{verb}: {found.title}", found.problem, found.method, found.reason, candidates)


def _settle_family(input_dtype: Any) -> tuple[np.dtype[Any], str]:
    """The element type, and where such arrays live."""
    if type(input_dtype).__module__ == "torch":
        from sash.arrays.torch_ import TYPES

        return np.dtype(TYPES[input_dtype]), "torch"
    return settle_dtype("input_dtype", input_dtype), "numpy"


def _filter(kind: np.dtype[Any], x: tuple[int, ...], sizes: tuple[int, ...], rank: int = 0, **settings: Any) -> Problem:
    told = Settings(**settings)
    rank = rank or int(told.separable is True)
    low = lower(x or (() if sizes else (1,)), kind, True, sizes, kind, rank, *told.plain())
    problem = low.problem._replace(finite=True)
    if low.types.exact:
        least, most = type_range(kind)
        size = max(abs(least), most)
        problem = problem.whole_numbers((problem.taps * size * size).bit_length())
    if low.types.result.kind == "c":
        part = f"float{low.types.result.itemsize * 4}"
        problem = problem._replace(result=part, source=part, straight=False)
        problem = problem._replace(batch=2) if rank else problem._replace(inputs=2, outputs=2)
    return problem


def _separable(kind: np.dtype[Any], x: tuple[int, ...], sizes: tuple[int, ...], **settings: Any) -> Problem:
    return _filter(kind, x, sizes, rank=1, **settings)


def _blur(
    kind: np.dtype[Any], x: tuple[int, ...], *, sigma: Any = None, order: Any = 0, truncate: float = 4.0, size: Any = None, **settings: Any
) -> Problem:
    if sigma is None:
        raise ArgumentError("plan('gaussian_blur') needs sigma=, the standard deviation in samples.")
    where = settle_axes(settings.pop("axes", None), len(x), None)
    sizes = gaussian_.blur_sizes(sigma, order, truncate, size, len(where))
    compute = gaussian_.settle_blur_type(kind)
    result = settle_dtype("dtype", settings.pop("dtype", None) or compute)
    rounded = result if result.kind in "iu" else None
    if rounded:
        gaussian_.check_range(kind, result, order, settings.get("cval", 0.0))
        result = compute
    told = Settings(where, padding="same", dtype=result, **{"boundary": "symmetric", **settings})
    low = lower(x or (1,), kind, True, sizes, compute, 1, *told.plain())
    even = all([o % 2 == 0 for o in (order if isinstance(order, (tuple, list)) else (order,))])
    return low.problem._replace(mirrored=even, result=rounded.name if rounded else low.problem.result)


def _similarity(
    kind: np.dtype[Any], image: tuple[int, ...], template: tuple[int, ...], *, metric: str = "sad", stride: Any = 1, padding: Any = "valid",
    channel_axis: int | None = None, bank: bool = False, method: str = "auto", accuracy: str = "normwise", max_memory: int | None = None,
    **others: Any,
) -> Problem:  # fmt: skip
    check_settings(method, accuracy, max_memory)
    if metric not in similarity_.METRICS:
        raise unknown("metric", metric, similarity_.METRICS)
    match = similarity_.settle(image, kind, template, kind, metric, stride, padding, channel_axis, bank)
    whole = others.get("mask") is None
    problem, expanded = similarity_.chosen(match.problem, accuracy, metric, kind, kind, *type_range(kind), whole, False, method)
    return problem._replace(reduce="product") if expanded else problem


def _conv(kind: np.dtype[Any], x: tuple[int, ...], weight: tuple[int, ...], **settings: Any) -> Problem:
    return _known(layout.settle(x, kind, weight, kind, layout.Settings(**settings).plain()), kind)


def _conv_transpose(kind: np.dtype[Any], x: tuple[int, ...], weight: tuple[int, ...], **settings: Any) -> Problem:
    return _known(layout.settle_transposed(x, kind, weight, kind, layout.Settings(**settings).plain()), kind)


def _known(lay: layout.Layout, kind: np.dtype[Any]) -> Problem:
    """The problem, as if its values were finite, and integers filled their type."""
    problem = lay.problem._replace(finite=True)
    if lay.types.exact:
        least, most = type_range(kind)
        size = max(abs(least), most)
        problem = problem.whole_numbers((problem.taps * size * size).bit_length())
    return problem._replace(straight=readable(kind, problem.dtype))


def _conv2_5d(
    kind: np.dtype[Any], x: tuple[int, ...], weight: tuple[int, ...], *, focal: Any = None, spacing: float = 1.0, stride: Any = 1,
    padding: Any = 0, dilation: Any = 1, groups: int = 1, missing: str = "center", accuracy: str = "normwise", **others: Any,
) -> Problem:  # fmt: skip
    axes = planes.check(x, weight, groups, planes.Settings(focal, spacing, stride, padding, dilation, missing), False)
    compute = "float64" if kind.itemsize == 8 else "float32"
    return Problem(
        axes, x[0], x[1], weight[1], groups, dtype=compute, source=kind.name, result=compute, finite=True,
        elementwise=accuracy == "elementwise", planes=weight[0],
    )  # fmt: skip


VERBS: dict[str, tuple[Callable[..., Any], int, Callable[..., Problem]]] = {
    "correlate": (filters_.correlate, 2, _filter),
    "convolve": (filters_.convolve, 2, _filter),
    "separable_filter": (filters_.separable_filter, 2, _separable),
    "gaussian_blur": (gaussian_.gaussian_blur, 1, _blur),
    "similarity": (similarity_.similarity, 2, _similarity),
    "conv": (conv_.conv, 2, _conv),
    "conv_transpose": (conv_.conv_transpose, 2, _conv_transpose),
    "conv2_5d": (depth_.conv2_5d, 2, _conv2_5d),
}
"""Verbs that are planned: the function, how many shapes it takes, and how they become a Problem."""
