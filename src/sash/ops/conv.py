"""Convolution of networks and its transpose.

    x (N, C, *S)   weight (O, C/groups, *K)   y (N, O, *out)       or channels last: x (N, *S, C), weight (*K, C/groups, O)
Both verbs make one Problem of the forward operation; the transposed one is its adjoint (see `adjoint`), so the two
cannot disagree.   Imports: adjoint, arithmetic, layout, repeats.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sash.arrays import tensors
from sash.arrays.numpy_ import asarray, gathered
from sash.arrays.weights import Weights
from sash.ops.adjoint import reverse, turned
from sash.ops.arithmetic import How, carry_out
from sash.ops.layout import Settings, first, first_weight, settle, settle_bias, settle_transposed, straight
from sash.ops.repeats import again
from sash.tiles import workers


def conv(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    boundary: str = "constant",
    cval: Any = 0.0,
    data_format: str = "channels_first",
    method: str = "auto",
    accuracy: str = "normwise",
    max_memory: int | None = None,
) -> Any:
    """Convolution as networks have it (a correlation, summed over channels), with 1 to 4 spatial axes.

    ``y[n, o, j] = bias[o] + sum_{c, t} weight[o, c, t] * x[n, c, j * stride + t * dilation - before]``, c running over
    the channels of o's group.

    Parameters
    ----------
    x : array, (N, C, *S); channels last (N, *S, C)
        Bool, integers, floats or complex numbers; any memory layout.
    weight : array, (O, C/groups, *K); channels last (*K, C/groups, O)
        Not turned round.
    bias : array, (O,), optional
    stride, dilation : int or one per spatial axis, default 1
        Steps between outputs, and between taps, in samples.
    padding : default 0
        An int, one `(before, after)` pair, one pair per axis (negative: crop), "valid", "same" (extent
        ``ceil(n / stride)`` with any stride, the odd sample at the end), "same_lower", or "full". See `sash.Window`.
    groups : int, default 1
        Channels are cut into so many groups that do not see each other; C for a depthwise convolution, whose output
        channels are ordered ``c * multiplier + m``.
    boundary : default "constant"
        What padding reads: "constant" (`cval`, default 0), "nearest", "symmetric", "mirror" or "wrap".
    data_format : default "channels_first"
        "channels_first" or "channels_last", or spelled out: "NCL", "NCHW", "NCDHW", "NLC", "NHWC", "NDHWC".
    method, accuracy, max_memory
        As in `correlate`.

    Returns
    -------
    array
        (N, O, *out) or (N, *out, O); floats keep their type (float16 sums in float32), integers give exact int64.

    Raises
    ------
    ArgumentError, KindError, OverflowRisk, MemoryLimit
        Anything that does not fit, before any work.

    Examples
    --------
    >>> import numpy as np, sash
    >>> x, w = np.zeros((1, 7, 24, 24, 3), np.float32), np.zeros((5, 3, 3, 3, 64), np.float32)
    >>> sash.conv(x, w, stride=(2, 1, 1), padding="same", data_format="NDHWC").shape
    (1, 4, 24, 24, 64)

    Source: Dumoulin & Visin 2016, arXiv:1603.07285.
    """
    settings = Settings(stride, padding, dilation, groups, boundary, cval, data_format, method, accuracy, max_memory).plain()
    if tensors(x, weight, bias):
        from sash.ops import networks

        return networks.conv(x, weight, bias, settings)
    x, weight = asarray("x", x), asarray("weight", weight)
    x = gathered(x) if max_memory is None else x
    if x.flags.c_contiguous and x.flags.aligned:
        ready = again(workers(), x.shape, x.dtype, weight.shape, weight.dtype, settings, False)
        if ready is not None:
            return ready.made(x, weight, bias)
    lay = settle(x.shape, x.dtype, weight.shape, weight.dtype, settings)
    x4, w4 = first(x, lay), first_weight(weight, lay)
    problem = straight(lay.problem, x4)
    kernel = Weights(w4, bias=settle_bias(bias, lay))
    y = np.empty(lay.shape, lay.stored)
    if y.size:
        how = How(method=settings.method, max_memory=settings.max_memory)
        carry_out(problem, x4, kernel, first(y, lay), lay.cval, lay.types.exact, how)
    with np.errstate(over="ignore"):
        return y.astype(lay.types.result, copy=False)


def conv_transpose(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    output_shape: Any = None,
    output_padding: Any = 0,
    boundary: str = "constant",
    data_format: str = "channels_first",
    method: str = "auto",
    accuracy: str = "normwise",
    max_memory: int | None = None,
) -> Any:
    """Transposed convolution: exactly the adjoint of `conv` with the same settings, boundaries included.

    ``<conv(a, weight), x> = <a, conv_transpose(x, weight)>`` for every a of the result's shape.

    Parameters
    ----------
    x : array, (N, C, *S); channels last (N, *S, C)
    weight : array, (C, O/groups, *K); channels last (*K, O/groups, C)
        That of the forward operation, whose outputs are the C channels here.
    bias : array, (O,), optional
        Added to the result.
    stride, padding, dilation, groups, boundary, data_format
        Those of the *forward* operation, as in `conv`.
    output_shape : int or one per spatial axis, optional
        The result's spatial extents. With stride s, s extents per axis have the same forward output, so one must be
        chosen; default: ``n * stride`` for "same", else the smallest plus `output_padding`.
    output_padding : int or one per axis, default 0
        How much more than the smallest, as PyTorch has it: less than the stride or the dilation.
    method, accuracy, max_memory
        As in `correlate`.

    Returns
    -------
    array
        (N, O, *out) or (N, *out, O); element types as in `conv`.

    Raises
    ------
    ArgumentError
        An impossible `output_shape` (the error lists the possible extents), and all that does not fit.
    KindError, OverflowRisk, MemoryLimit
        As `conv`.

    Examples
    --------
    >>> import numpy as np, sash
    >>> x, w = np.ones((1, 1, 64)), np.ones((1, 1, 3))
    >>> sash.conv_transpose(x, w, stride=2, padding="same").shape
    (1, 1, 128)
    >>> sash.conv_transpose(x, w, stride=2, padding="same", output_shape=127).shape
    (1, 1, 127)
    >>> sash.conv_transpose(x, w, stride=2, padding="same", output_shape=129)
    Traceback (most recent call last):
        ...
    sash.errors.ArgumentError: output_shape=129 is impossible: with stride 2, 3 taps and padding 'same', 64 samples come from 127 or 128, not 129.

    Source: Dumoulin & Visin 2016, arXiv:1603.07285, section 4.
    """
    settings = Settings(
        stride, padding, dilation, groups, boundary, 0.0, data_format, method, accuracy, max_memory, output_shape, output_padding
    ).plain()
    if tensors(x, weight, bias):
        from sash.ops import networks

        return networks.conv_transpose(x, weight, bias, settings)
    x, weight = asarray("x", x), asarray("weight", weight)
    x = gathered(x) if max_memory is None else x
    if x.flags.c_contiguous and x.flags.aligned:
        ready = again(workers(), x.shape, x.dtype, weight.shape, weight.dtype, settings, True)
        if ready is not None and ready.takes(weight):
            return ready.made(x, weight, bias)
    lay = settle_transposed(x.shape, x.dtype, weight.shape, weight.dtype, settings)
    x4, w4 = first(x, lay), first_weight(weight, lay)
    problem = straight(lay.problem, x4)
    kernel = Weights(turned(w4, problem.groups, len(problem.axes)), bias=settle_bias(bias, lay))
    y = np.empty(lay.shape, lay.stored)
    if y.size:
        reverse(problem, x4, kernel, first(y, lay), lay.types.exact, How(method=settings.method, max_memory=settings.max_memory))
    with np.errstate(over="ignore"):
        return y.astype(lay.types.result, copy=False)
