"""The definitions, written as they are spoken: slow, short, and owing nothing to sash.

x (*B, *N)   kernel (*K)   y (*B, *O).   One entry per axis that is slid over wherever a setting has several.
Imports: NumPy only, so that whatever agrees with this file agrees with the words and not with itself.
"""

import math

import numpy as np

BOUNDARIES = ("constant", "nearest", "symmetric", "mirror", "wrap")


# --- geometry ------------------------------------------------------------------------------------


def pads(n, size, stride=1, dilation=1, padding="valid"):
    """(before, after) on one axis of n samples."""
    reach = dilation * (size - 1) + 1
    if padding == "valid":
        return 0, 0
    if padding == "full":
        return reach - 1, reach - 1
    if padding in ("same", "same_lower"):
        out = math.ceil(n / stride)
        total = max((out - 1) * stride + reach - n, 0)
        small, large = total // 2, total - total // 2
        return (small, large) if padding == "same" else (large, small)
    return padding


def output_extent(n, size, stride=1, dilation=1, padding="valid"):
    """How many windows fit on the padded axis: count them."""
    before, after = pads(n, size, stride, dilation, padding)
    reach = dilation * (size - 1) + 1
    return len(range(-before, n + after - reach + 1, stride))


# --- the extension of an array -------------------------------------------------------------------


def source(t, n, boundary):
    """Which sample of an axis of n stands at position t of its extension; -1: the constant."""
    if 0 <= t < n:
        return t
    if boundary == "constant":
        return -1
    if boundary == "nearest":
        return 0 if t < 0 else n - 1
    if boundary == "wrap":
        return t % n
    if boundary == "symmetric":  # c b a | a b c d | d c b
        t %= 2 * n
        return t if t < n else 2 * n - 1 - t
    if boundary == "mirror":  # d c b | a b c d | c b a
        t = t % (2 * n - 2) if n > 1 else 0
        return t if t < n else 2 * n - 2 - t
    raise ValueError(boundary)


def extend(x, axis, start, stop, boundary="constant", cval=0):
    """The samples at positions start .. stop-1 of the infinite extension of x along one axis."""
    index = np.array([source(t, x.shape[axis], boundary) for t in range(start, stop)], dtype=int)
    outside = np.expand_dims(index == -1, [i for i in range(x.ndim) if i != axis % x.ndim])
    if x.shape[axis] == 0:
        shape = list(x.shape)
        shape[axis] = len(index)
        return np.full(shape, cval, dtype=x.dtype)
    return np.where(outside, np.asarray(cval, dtype=x.dtype), np.take(x, np.maximum(index, 0), axis=axis))


# --- the window that slides ----------------------------------------------------------------------


def per_axis(value, count):
    """One setting for every axis, or one each."""
    return list(value) if isinstance(value, (tuple, list)) else [value] * count


def framed(x, axes, sizes, stride, dilation, padding, boundary, cval):
    """x with the axes that are slid over last and extended by the pads; then strides and dilations."""
    x = np.moveaxis(x, axes, range(-len(axes), 0))
    strides, dilations = per_axis(stride, len(axes)), per_axis(dilation, len(axes))
    for i, axis in enumerate(range(-len(axes), 0)):
        named = padding if isinstance(padding, str) else padding[i]
        before, after = pads(x.shape[axis], sizes[i], strides[i], dilations[i], named)
        x = extend(x, axis, -before, x.shape[axis] + after, boundary, cval)
    return x, strides, dilations


def tap(frame, position, sizes, strides, dilations):
    """What every window sees at one position of the kernel: (*B, *O)."""
    cut = [Ellipsis]
    for i, k in enumerate(position):
        n = frame.shape[i - len(position)]
        out = (n - dilations[i] * (sizes[i] - 1) - 1) // strides[i] + 1
        first = k * dilations[i]
        cut.append(slice(first, first + (out - 1) * strides[i] + 1, strides[i]))
    return frame[tuple(cut)]


def correlate(
    x,
    kernel,
    *,
    axes=None,
    stride=1,
    dilation=1,
    padding="valid",
    boundary="constant",
    cval=0,
    work=None,
    size_only=False,
):
    """The sum over all taps of kernel times what lies under it, in the type `work` (object: exact integers).

    `size_only` sums |kernel| * |window| instead: the scale of every bound on rounding.
    """
    kernel = np.asarray(kernel)
    axes = tuple(range(-kernel.ndim, 0)) if axes is None else axes
    if work is None:
        work = np.result_type(x, kernel, np.float64)
    x = np.asarray(x)
    if size_only:
        x, kernel, cval = abs(x), abs(kernel), abs(cval)
    x, kernel = x.astype(work), kernel.astype(work)
    where = [axis % x.ndim for axis in axes]
    frame, strides, dilations = framed(x, axes, kernel.shape, stride, dilation, padding, boundary, cval)
    total = 0
    with np.errstate(invalid="ignore", over="ignore"):
        for position in np.ndindex(kernel.shape):
            total = total + kernel[position] * tap(frame, position, kernel.shape, strides, dilations)
    return np.moveaxis(total, range(-len(axes), 0), where)


def covered(flag, size, **settings):
    """True exactly where the window of an output covers a True: the footprint of a NaN."""
    return correlate(flag.astype(np.int64), np.ones(size, np.int64), work=np.int64, **settings) > 0


def turned(kernel):
    """The kernel turned round."""
    return np.flip(kernel)


# --- Gaussians -----------------------------------------------------------------------------------


def gaussian_kernel(sigma, order=0, truncate=4.0, size=None):
    """The sampled Gaussian of sum 1 on one axis, or its derivative: times He_order(-x/sigma)/sigma^order."""
    if sigma == 0:
        return np.ones(1)
    size = 2 * int(truncate * sigma + 0.5) + 1 if size is None else size
    x = np.arange(size) - (size - 1) / 2
    phi = np.exp(-0.5 * (x / sigma) ** 2)
    phi /= phi.sum()
    hermite = np.polynomial.hermite_e.HermiteE.basis(order)
    return phi * hermite(-x / sigma) / sigma**order


def gaussian_blur(x, sigmas, orders, axes, truncate=4.0, boundary="symmetric", cval=0):
    """Convolution with the outer product of one kernel per axis: dense, all taps at once."""
    kernels = [gaussian_kernel(s, o, truncate) for s, o in zip(sigmas, orders, strict=True)]
    dense = np.ones(())
    for kernel in kernels:
        dense = np.multiply.outer(dense, kernel)
    half = [(len(kernel) // 2, len(kernel) // 2) for kernel in kernels]
    return correlate(x, turned(dense), axes=axes, padding=half, boundary=boundary, cval=cval)


# --- similarity ----------------------------------------------------------------------------------


def score(window, template, weights, metric, data_range):
    """One number for one window: the four definitions."""
    x, t, m = window.ravel(), template.ravel(), weights.ravel()
    n = m.sum()
    if metric == "sad":
        return 1 - (m * abs(x - t)).sum() / (n * data_range)
    if metric == "ssd":
        return 1 - (m * (x - t) ** 2).sum() / (n * data_range**2)
    if metric == "zncc":
        x, t = x - (m * x).sum() / n, t - (m * t).sum() / n
    both = math.sqrt((m * x * x).sum() * (m * t * t).sum())
    return (m * x * t).sum() / both if both != 0 else 0.0


def similarity(image, template, metric="sad", *, stride=1, channel_axis=None, mask=None, data_range=1.0, bank=False):
    """Score every window by itself, in float64, by loops.

    image (*B, *S)   template (*K)   score (*B, *O); a bank (M, *K) gives (*B, M, *O).
    """
    if bank:
        rest = {"stride": stride, "channel_axis": channel_axis, "data_range": data_range}
        masks = [mask if np.ndim(mask) < np.ndim(template) else mask[i] for i in range(len(template))]
        each = [similarity(image, t, metric, mask=m, **rest) for t, m in zip(template, masks, strict=True)]
        return np.stack(each, axis=np.ndim(image) - np.ndim(template[0]))
    image, template = np.asarray(image, np.float64), np.asarray(template, np.float64)
    weights = np.ones(template.shape) if mask is None else np.broadcast_to(np.asarray(mask, np.float64), template.shape)
    if channel_axis is not None:  # channels last in both, where they are part of every window
        axis = channel_axis % template.ndim
        image = np.moveaxis(image, image.ndim - template.ndim + axis, -1)
        template, weights = np.moveaxis(template, axis, -1), np.moveaxis(weights, axis, -1)
    strides = per_axis(stride, template.ndim - (channel_axis is not None))
    lead = image.ndim - template.ndim
    space = range(lead, lead + len(strides))
    outs = [output_extent(image.shape[a], template.shape[i], strides[i]) for i, a in enumerate(space)]
    result = np.full(image.shape[:lead] + tuple(outs), np.nan)
    for batch in np.ndindex(image.shape[:lead]):
        for place in np.ndindex(*outs):
            corner = [p * s for p, s in zip(place, strides, strict=True)]
            cut = tuple(slice(c, c + k) for c, k in zip(corner, template.shape, strict=False))
            result[batch + place] = score(image[batch][cut], template, weights, metric, data_range)
    return result
