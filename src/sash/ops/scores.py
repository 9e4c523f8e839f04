"""Similarity on tensors, in PyTorch's terms: scores are made of sums over windows, which carry the derivatives.

    image (*B, *S)   template (*K) or a bank (T, *K)   x (N, C, *S)   t, m (O, C, *K)   score (*B, [T,] *out)
Where derivatives are recorded only image, template and mask are kept; the sums are made again when they are asked for.
Imports: PyTorch, trilinear, differences, tensors, similarity's settlement.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sash.arrays import torch_
from sash.errors import ArgumentError
from sash.ops.differences import differ
from sash.ops.form import FAR, Form, Slid
from sash.ops.tensors import gathered, plain, through_arrays, uncast
from sash.ops.trilinear import run, transformed
from sash.window import Window

NOISE = 64 * float(np.finfo(np.float64).eps)
"""Variance below this share of the mean square is rounding: the side has none (as for arrays)."""


class Told(NamedTuple):
    """The settings of `similarity` that scores depend on."""

    metric: str
    stride: Any
    padding: Any
    channel_axis: int | None
    data_range: float | None
    bank: bool
    method: str
    accuracy: str
    max_memory: int | None


def similarity(image: Any, template: Any, mask: Any, told: Told, verb: Callable[..., Any], check: Callable[..., Any]) -> Tensor:
    """`similarity`; `check` refuses what does not fit, by shapes and types."""
    image, template, mask = gathered(image=image, template=template, mask=mask)
    if plain(image, template, mask):
        beside = None if mask is None else torch_.array(mask)
        return through_arrays(verb, image, template, mask=beside, **told._asdict())
    image = uncast(image)
    if not torch.compiler.is_compiling():
        kinds = [np.dtype(torch_.TYPES[t.dtype]) for t in (image, template)]
        check(
            tuple(image.shape),
            kinds[0],
            tuple(template.shape),
            kinds[1],
            told.metric,
            told.stride,
            told.padding,
            told.channel_axis,
            told.bank,
        )
    recorded = torch.is_grad_enabled() and (image.requires_grad or template.requires_grad)
    if torch.compiler.is_compiling() or transformed() or not recorded:
        return composed(image, template, mask, told)
    found: Tensor = Scored.apply(image, template, mask, told, verb)  # type: ignore[no-untyped-call]
    return found


class Scored(torch.autograd.Function):
    """Scores that keep nothing but what they were made of."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, template: Tensor, mask: Tensor | None, told: Told, verb: Any) -> Tensor:
        ctx.save_for_backward(image, template, mask)
        ctx.told = told
        if image.device.type == "cpu":
            beside = None if mask is None else torch_.array(mask)
            return through_arrays(verb, image, template, mask=beside, **told._asdict())
        return composed(image, template, mask, told)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        image, template, mask = ctx.saved_tensors
        again = torch.is_grad_enabled()  # derivatives of derivatives: the operands stay what they were
        with torch.enable_grad():
            if not again:
                image, template = image.detach().requires_grad_(), template.detach().requires_grad_()
            needed = [t for t, need in zip((image, template), ctx.needs_input_grad, strict=False) if need]
            found = iter(torch.autograd.grad(composed(image, template, mask, ctx.told), needed, g, create_graph=again))
        return (*[next(found) if need else None for need in ctx.needs_input_grad[:2]], None, None, None)


def composed(image: Tensor, template: Tensor, mask: Tensor | None, told: Told) -> Tensor:
    """The score, made of sums."""
    count = template.ndim - int(told.bank)
    lead = image.ndim - count
    batch = image.shape[:lead]
    bank = template if told.bank else template[None]
    result = image.dtype if image.is_floating_point() else torch.promote_types(image.dtype, template.dtype)
    if not result.is_floating_point:
        result = torch.float32 if result.itemsize <= 2 else torch.float64
    span = told.data_range
    if span is None:
        span = (
            1.0
            if image.is_floating_point() or image.dtype == torch.bool
            else float(torch.iinfo(image.dtype).max - torch.iinfo(image.dtype).min)
        )
    weights = None if mask is None else _spread(mask, bank, told)
    if told.channel_axis is None:
        x, t, m = image[(..., None, *[slice(None)] * count)], bank[:, None], None if weights is None else weights[:, None]
    else:
        c = told.channel_axis % count
        x, t = image.movedim(lead + c, lead), bank.movedim(1 + c, 1)
        m = None if weights is None else weights.movedim(1 + c, 1)
    x = x.reshape(prod(batch), *x.shape[lead:])
    if x.ndim == 2:  # nothing to slide over: one window
        x, t, m = x[..., None], t[..., None], None if m is None else m[..., None]
        alone = True
    else:
        alone = False
    sizes = tuple(t.shape[2:])
    window = Window(sizes, stride=1 if alone else told.stride, padding=told.padding if not alone else "valid")
    pads = window.pads(list(x.shape[2:]))
    steps = window.stride if isinstance(window.stride, tuple) else (window.stride,) * len(sizes)
    slid = tuple([Slid(k, min(s, FAR), 1, *p) for k, s, p in zip(sizes, steps, pads, strict=True)])
    score = _score(x, t, m, span, slid, told)
    shape = (*batch, *([t.shape[0]] if told.bank else []), *([] if alone else score.shape[2:]))
    return score.reshape(shape).to(result)


def _spread(mask: Tensor, bank: Tensor, told: Told) -> Tensor:
    """Weights of the bank's shape."""
    one = tuple(bank.shape[1:])
    if told.channel_axis is not None and mask.ndim == len(one) - 1:
        mask = mask.unsqueeze(told.channel_axis % len(one))
        if mask.shape != one:
            mask = mask.expand(one)
    if tuple(mask.shape) not in (one, tuple(bank.shape)):
        raise ArgumentError(f"mask has shape {tuple(mask.shape)} and a template {one}; a mask weighs each of its elements.")
    return mask.expand(bank.shape)


def _score(x: Tensor, t: Tensor, m: Tensor | None, span: float, slid: tuple[Slid, ...], told: Told) -> Tensor:
    shape = (1, -1, *[1] * (t.ndim - 2))
    inner = list(range(1, t.ndim))
    if told.metric == "sad":
        kind = torch.float64 if x.dtype == torch.float64 else torch.float32
        n = (torch.ones_like(t, dtype=kind) if m is None else m.to(kind)).sum(inner).reshape(shape)
        return 1 - differ(x.to(kind), t.to(kind), None if m is None else m.to(kind), None, "sum", slid) / (n * span)
    x, t = x.double(), t.double()
    w = torch.ones_like(t) if m is None else m.double()
    n = w.sum(inner).reshape(shape)
    form = Form(slid, method=told.method, accuracy=told.accuracy, max_memory=told.max_memory)
    level = torch.zeros((), dtype=x.dtype, device=x.device)
    if told.metric != "ncc" and all([a.before <= 0 and a.after <= 0 for a in slid]):  # no difference can feel it
        level = x.detach().mean()
    x, t = x - level, t - level
    xx, xt, tt = run(form, "y", x * x, w), run(form, "y", x, w * t), (w * t * t).sum(inner).reshape(shape)
    if told.metric == "ssd":
        return 1 - (xx - 2 * xt + tt).clamp(min=0) / (n * span * span)
    if told.metric == "zncc":
        sx, st = run(form, "y", x, w), (w * t).sum(inner).reshape(shape)
        xt = xt - sx * st / n
        flat_x, flat_t = NOISE * xx, NOISE * tt
        xx, tt = xx - sx * sx / n, tt - st * st / n
    else:
        flat_x, flat_t = torch.zeros_like(xx), torch.zeros_like(tt)
    some = (xx > flat_x) & (tt > flat_t)
    scale = torch.where(some, xx, 1).sqrt() * torch.where(some, tt, 1).sqrt()
    return torch.where(some, xt / scale, 0)
