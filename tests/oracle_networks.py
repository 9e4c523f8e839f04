"""The definitions of the network verbs, written as they are spoken: slow, short, and owing nothing to sash.

x (N, C, *S)   weight (O, C/G, *K)   y, z (N, O, *out)   depth (N, H, W)   planes (N, kh, kw, OH, OW), -1: reads nothing.
Channels stand first; `channels_first` and `channels_last` are the two moves to and from the other layout.
Imports: NumPy and `oracle` only, so that whatever agrees with this file agrees with the words and not with itself.
"""

import math

import numpy as np

import oracle


def spelt_out(padding, count):
    """A padding as any caller may write it, as one name or (before, after) pair per axis."""
    if isinstance(padding, (str, int)):
        return [padding if isinstance(padding, str) else (padding, padding)] * count
    if all(isinstance(p, int) for p in padding):
        return [tuple(padding)] * count
    return [tuple(p) for p in padding] * (count if len(padding) == 1 else 1)


def channels_first(a, weight=False):
    """(N, *S, C) as (N, C, *S); a weight (*K, C/G, O) as (O, C/G, *K)."""
    return np.moveaxis(a, (-1, -2), (0, 1)) if weight else np.moveaxis(a, -1, 1)


def channels_last(a, weight=False):
    """The way back."""
    return np.moveaxis(a, (0, 1), (-1, -2)) if weight else np.moveaxis(a, 1, -1)


def seen_at(n, m, k, stride, dilation, before, boundary):
    """Which sample of an axis of n each of m windows sees under tap k; -1: the constant."""
    return np.array([oracle.source(j * stride + k * dilation - before, n, boundary) for j in range(m)], dtype=int)


class Slide:
    """How a window slides over extents: outputs per axis, and the samples that all of them see under one tap."""

    def __init__(self, extents, sizes, stride, dilation, padding, boundary, outs=None):
        count = len(extents)
        self.extents, self.boundary = extents, boundary
        self.strides, self.dilations = oracle.per_axis(stride, count), oracle.per_axis(dilation, count)
        named = spelt_out(padding, count)
        each = list(zip(extents, sizes, self.strides, self.dilations, named, strict=True))
        self.befores = [oracle.pads(*one)[0] for one in each]
        self.outs = [oracle.output_extent(*one) for one in each] if outs is None else list(outs)

    def under(self, tap):
        """An index per axis, and where none of them stands on the constant."""
        found = [
            seen_at(n, m, k, s, d, b, self.boundary)
            for n, m, k, s, d, b in zip(self.extents, self.outs, tap, self.strides, self.dilations, self.befores, strict=True)
        ]
        inside = np.ones(self.outs, dtype=bool)
        for i, index in enumerate(found):
            inside &= np.expand_dims(index >= 0, [a for a in range(len(found)) if a != i])
        return found, inside


# --- convolution and its adjoint -----------------------------------------------------------------


def settled(x, weight, work, size_only):
    if work is None:
        work = np.result_type(x, weight, np.float64)
    x, weight = np.asarray(x), np.asarray(weight)
    if size_only:
        x, weight, work = abs(x.astype(np.result_type(x, np.float64))), abs(weight.astype(np.result_type(weight, np.float64))), np.float64
    return x.astype(work), weight.astype(work), work


def with_bias(y, bias, work, size_only):
    if bias is None:
        return y
    bias = np.asarray(bias)
    return y + (abs(bias) if size_only else bias).astype(work).reshape(-1, *[1] * (y.ndim - 2))


def conv(
    x,
    weight,
    bias=None,
    *,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    boundary="constant",
    cval=0,
    work=None,
    size_only=False,
):
    """y[n, o, j] = bias[o] + the sum over taps t and channels c of o's group of weight[o, c, t] * x[n, c, j * stride + t * dilation - before].

    In the type `work` (object: exact integers); `size_only` sums sizes: the scale of every bound on rounding.
    """
    x, weight, work = settled(x, weight, work, size_only)
    (n, c), (o, each), sizes = x.shape[:2], weight.shape[:2], weight.shape[2:]
    slide = Slide(x.shape[2:], sizes, stride, dilation, padding, boundary)
    constant = np.asarray(abs(cval) if size_only else cval).astype(work)
    y = np.zeros((n, o, *slide.outs), work)
    with np.errstate(invalid="ignore", over="ignore"):
        for tap in np.ndindex(*sizes):
            index, inside = slide.under(tap)
            seen = np.broadcast_to(constant, (n, c, *slide.outs))
            if 0 not in x.shape[2:]:
                seen = np.where(inside, x[np.ix_(range(n), range(c), *[np.maximum(i, 0) for i in index])], constant)
            for g in range(groups):
                mine, theirs = slice(g * o // groups, (g + 1) * o // groups), slice(g * each, (g + 1) * each)
                y[:, mine] += np.einsum("oc,nc...->no...", weight[(mine, slice(None), *tap)], seen[:, theirs])
        return with_bias(y, bias, work, size_only)


def transposed_extents(outs, sizes, stride=1, dilation=1, padding=0, output_padding=0):
    """The extents that conv_transpose gives when none are asked for."""
    count, found = len(outs), []
    settings = [oracle.per_axis(value, count) for value in (stride, dilation, output_padding)]
    for m, k, s, d, more, named in zip(outs, sizes, *settings, spelt_out(padding, count), strict=True):
        reach = d * (k - 1) + 1
        if named in ("same", "same_lower"):
            found.append(m * s)
        else:
            found.append((m - 1) * s + reach - sum(oracle.pads(0, k, s, d, named)) + more)
    return tuple(found)


def conv_transpose(
    z,
    weight,
    bias=None,
    *,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    output_shape=None,
    output_padding=0,
    boundary="constant",
    work=None,
    size_only=False,
):
    """Every tap of every window gives its weight times z back to the sample that it would have read.

    z (N, O, *out) and weight (O, C/G, *K) are those of the forward operation; the result is (N, C, *S).
    """
    z, weight, work = settled(z, weight, work, size_only)
    (n, o), (_, each), sizes = z.shape[:2], weight.shape[:2], weight.shape[2:]
    count = len(sizes)
    if output_shape is None:
        extents = transposed_extents(z.shape[2:], sizes, stride, dilation, padding, output_padding)
    else:
        extents = tuple(oracle.per_axis(output_shape, count))
    slide = Slide(extents, sizes, stride, dilation, padding, boundary, outs=z.shape[2:])
    x = np.zeros((n, each * groups, *extents), work)
    with np.errstate(invalid="ignore", over="ignore"):
        for tap in np.ndindex(*sizes):
            index, inside = slide.under(tap)
            where = tuple(i[inside] for i in np.meshgrid(*index, indexing="ij"))
            for g in range(groups):
                mine, theirs = slice(g * o // groups, (g + 1) * o // groups), slice(g * each, (g + 1) * each)
                given = np.einsum("oc,no...->nc...", weight[(mine, slice(None), *tap)], z[:, mine])
                np.add.at(x[:, theirs], (slice(None), slice(None), *where), given[:, :, inside])
        return with_bias(x, bias, work, size_only)


# --- 2.5-D convolution ---------------------------------------------------------------------------


def gone(depth):
    """No depth was measured here."""
    return not (math.isfinite(depth) and depth > 0)


def bin_of(depth, center, ratio, planes):
    """Which of the half-open bins around the centre's depth holds a depth; -1: none."""
    edges = [center * (1 + (m - planes / 2) * ratio) for m in range(planes + 1)]
    for l in range(planes):
        if edges[l] <= depth < edges[l + 1]:
            return l
    return -1


def taps_of(depth, size, *, planes=3, focal, spacing=1.0, stride=1, padding=0, dilation=1):
    """What each tap of each output meets: its plane, "outside", "missing" or "padding". (N, kh, kw, OH, OW) of objects."""
    depth = np.asarray(depth).astype(np.float64)
    depth = depth[:, 0] if depth.ndim == 4 else depth
    kh, kw = oracle.per_axis(size, 2)
    dh, dw = oracle.per_axis(dilation, 2)
    focal = np.broadcast_to(np.asarray(focal, np.float64).reshape(-1), depth.shape[:1])
    slide = Slide(depth.shape[1:], (kh, kw), stride, dilation, padding, "constant")
    met = np.full((depth.shape[0], kh, kw, *slide.outs), None, dtype=object)
    (rows, columns), _ = slide.under((kh // 2, kw // 2))
    for n in range(depth.shape[0]):
        ratio = spacing * math.sqrt(dh * dw) / focal[n] if dh != dw else spacing * dh / focal[n]
        for a, b in np.ndindex(kh, kw):
            (i, j), _ = slide.under((a, b))
            for p, q in np.ndindex(*slide.outs):
                center = -1.0 if rows[p] < 0 or columns[q] < 0 else depth[n, rows[p], columns[q]]
                if i[p] < 0 or j[q] < 0:
                    found = "padding"
                elif gone(depth[n, i[p], j[q]]) or gone(center):
                    found = "missing"
                else:
                    l = bin_of(depth[n, i[p], j[q]], center, ratio, planes)
                    found = "outside" if l < 0 else l
                met[n, a, b, p, q] = found
    return met


def depth_planes(depth, size, *, planes=3, missing="center", **settings):
    """The plane that each tap reads; -1: none."""
    middle = planes // 2 if missing == "center" else -1
    plane = {"padding": -1, "outside": -1, "missing": middle}
    met = taps_of(depth, size, planes=planes, **settings)
    return np.array([plane.get(m, m) for m in met.ravel()], dtype=np.int8).reshape(met.shape)


def depth_shares(depth, size, *, planes=3, **settings):
    """Shares of all taps: one per plane, then outside, missing and padding."""
    met = taps_of(depth, size, planes=planes, **settings).ravel().tolist()
    return [met.count(kind) / len(met) for kind in (*range(planes), "outside", "missing", "padding")]


def conv2_5d(
    x,
    plane_map,
    weight,
    bias=None,
    *,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    work=None,
    size_only=False,
):
    """y[n, o, i, j] = bias[o] + the sum over taps and channels of weight[plane of the tap, o, c, tap] * x[n, c, tap]."""
    x, weight, work = settled(x, weight, work, size_only)
    (n, c), (planes, o, each, *sizes) = x.shape[:2], weight.shape
    slide = Slide(x.shape[2:], sizes, stride, dilation, padding, "constant")
    y = np.zeros((n, o, *slide.outs), work)
    with np.errstate(invalid="ignore", over="ignore"):
        for a, b in np.ndindex(*sizes):
            (i, j), inside = slide.under((a, b))
            seen = np.where(inside, x[np.ix_(range(n), range(c), np.maximum(i, 0), np.maximum(j, 0))], 0)
            for l in range(planes):
                reads = (plane_map[:, a, b] == l)[:, None]
                for g in range(groups):
                    mine, theirs = slice(g * o // groups, (g + 1) * o // groups), slice(g * each, (g + 1) * each)
                    term = np.einsum("oc,nchw->nohw", weight[l, mine, :, a, b], np.where(reads, seen[:, theirs], 0))
                    y[:, mine] += np.where(reads, term, 0)
        return with_bias(y, bias, work, size_only)
