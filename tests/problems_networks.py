"""Seeded random problems of the network verbs: `conv_case(17)` is always the same one, and prints itself.

One to four spatial axes, every boundary, padding and element type, groups, crops, oversize pads, both layouts of
channels, empty batches; `transposed_case` asks for its extents in each of the three ways; `depth_case` has missing depth.
Imports: NumPy, oracle, oracle_networks, problems, tolerance.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

import oracle
import oracle_networks
import problems
import tolerance
from problems import pick, values
from sash import accuracy

FIRST = {1: ("channels_first", "NCL"), 2: ("channels_first", "NCHW"), 3: ("channels_first", "NCDHW"), 4: ("channels_first",)}
LAST = {1: ("channels_last", "NLC"), 2: ("channels_last", "NHWC"), 3: ("channels_last", "NDHWC"), 4: ("channels_last",)}
PAIRS = (
    *(("float32", "float32"),) * 4,
    *(("float64", "float64"),) * 2,
    ("float16", "float16"),
    ("complex64", "complex64"),
    ("complex128", "complex128"),
    ("uint8", "int8"),
    ("int16", "int16"),
    ("int64", "int32"),
    ("bool", "int64"),
)
REALS = (("float32", "float32"), ("float64", "float64"))


@dataclass(frozen=True, eq=False)
class Case:
    """One call of `sash.<verb>(x, weight, bias, **settings)`."""

    seed: int
    verb: str
    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray | None
    settings: dict

    def __repr__(self):
        told = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        arrays = f"x {self.x.dtype} {self.x.shape}, weight {self.weight.dtype} {self.weight.shape}, bias {self.bias is not None}"
        return f"problems_networks.{self.verb} case {self.seed}: {arrays}, {told}"

    @property
    def last(self):
        return self.settings["data_format"] in [name for names in LAST.values() for name in names]

    @property
    def exact(self):
        return self.x.dtype.kind in "biu" and self.weight.dtype.kind in "biu"

    def answer(self, **changes):
        """What the definition gives, in at least float64; integers exactly, as Python's."""
        settings = {"work": object if self.exact else None, **self.settings, **changes}
        del settings["data_format"]
        x, weight = self.x, self.weight
        if self.last:
            x, weight = oracle_networks.channels_first(x), oracle_networks.channels_first(weight, weight=True)
        found = getattr(oracle_networks, self.verb)(x, weight, self.bias, **settings)
        return oracle_networks.channels_last(found) if self.last else found

    @cached_property
    def exactly(self):
        return self.answer()

    def bound(self, dtype):
        """The default promise: one number for each output channel, a bias being one tap more."""
        weight = oracle_networks.channels_first(self.weight, weight=True) if self.last else self.weight
        sizes = abs(weight.astype(np.result_type(weight, np.float64)))
        largest = max(tolerance.magnitude(self.x), abs(self.settings.get("cval", 0)))
        bias = 0 if self.bias is None else abs(self.bias.astype(np.result_type(self.bias, np.float64)))
        if self.verb == "conv":
            taps, per_channel = sizes[0].size, sizes.reshape(len(sizes), -1).sum(1)
        else:  # the boundary folds several terms back to one sample: the scale is that of the sum of all sizes
            groups = self.settings["groups"]
            taps = sizes[:, 0].size // groups
            per_channel = np.stack(
                [sizes[g * len(sizes) // groups :][: len(sizes) // groups].sum((0, *range(2, sizes.ndim))) for g in range(groups)]
            )
            per_channel = per_channel.ravel()
            if self.settings["boundary"] != "constant":
                ones = np.ones(np.asarray(self.x).shape)
                folded = replace(self, x=ones, weight=abs(self.weight).astype(float), bias=None).answer(work=np.float64)
                folded = oracle_networks.channels_first(folded) if self.last else folded
                most = np.max(folded, axis=(0, *range(2, folded.ndim)), initial=0)
                taps = taps * max(1, int(np.ceil(np.max(most / np.maximum(per_channel, 1e-30), initial=1))))
                per_channel = np.maximum(per_channel, most)
        bound = accuracy.NORMWISE * tolerance.eps(dtype) * np.sqrt(taps + 1) * (per_channel * largest + bias)
        return bound if self.last else bound.reshape(-1, *[1] * (self.x.ndim - 2))

    def check(self, found, told=""):
        tolerance.check(found, self.exactly, self.bound(found.dtype), f"{told} on {self}")


def arrays(rng, shapes, pair):
    """x, weight and (in two thirds of all problems) bias of these shapes, in any memory layout."""
    x, weight = values(rng, shapes[0], pair[0], 2**20), values(rng, shapes[1], pair[1], 2**15)
    bias = values(rng, shapes[2], "int64" if x.dtype.kind in "biu" else pair[0], 2**20) if rng.random() < 0.65 else None
    layout = pick(rng, *problems.LAYOUTS)
    return problems.laid_out(x, layout), problems.laid_out(weight, pick(rng, "C", layout)), bias


def geometry(rng):
    """Extents, sizes, stride, dilation, padding: with room for at least one window."""
    axes = int(rng.choice([1, 2, 3, 4], p=[0.25, 0.45, 0.2, 0.1]))
    extents = [int(v) for v in rng.integers(1, {1: 40, 2: 11, 3: 6, 4: 4}[axes] + 1, axes)]
    sizes = [int(v) for v in rng.integers(1, {1: 9, 2: 4, 3: 3, 4: 2}[axes] + 1, axes)]
    stride = tuple(int(v) for v in rng.choice([1, 1, 2, 3], axes))
    dilation = tuple(int(v) for v in rng.choice([1, 1, 2, 3], axes))
    padding = pick(rng, "valid", "same", "same_lower", "full", 0, 2, "pair", "pairs", "pairs", "pairs")
    reach = [d * (k - 1) + 1 for k, d in zip(sizes, dilation, strict=True)]
    if padding in ("valid", 0, 2):
        room = 4 if padding == 2 else 0
        extents = [max(n, r - room) for n, r in zip(extents, reach, strict=True)]
    if padding == "pairs":
        each = zip(extents, sizes, stride, dilation, strict=True)
        padding = tuple(problems.random_padding(rng, *one) for one in each)
    if padding == "pair":
        padding = (int(rng.integers(0, 3)), int(rng.integers(0, 4)))
        extents = [max(n, r - sum(padding)) for n, r in zip(extents, reach, strict=True)]
    extents = [max(n, 1) for n in extents]
    if len(set(stride)) == 1 and rng.random() < 0.5:
        stride = stride[0]
    if len(set(dilation)) == 1 and rng.random() < 0.5:
        dilation = dilation[0]
    return tuple(extents), tuple(sizes), {"stride": stride, "padding": padding, "dilation": dilation}


def conv_case(seed, dtypes=None):
    """A random convolution; `dtypes` restricts the pairs (of x, of the weight)."""
    rng = np.random.default_rng([20260201, seed])
    extents, sizes, settings = geometry(rng)
    groups = int(rng.choice([1, 1, 1, 2, 3]))
    each, many = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    batch = int(rng.choice([0, 1, 2, 3], p=[0.05, 0.45, 0.3, 0.2]))
    pair = pick(rng, *(dtypes or PAIRS))
    boundary = pick(rng, "constant", *oracle.BOUNDARIES)
    last = rng.random() < 0.3
    shapes = [(batch, groups * each, *extents), (groups * many, each, *sizes), (groups * many,)]
    if last:
        shapes[:2] = [(batch, *extents, groups * each), (*sizes, each, groups * many)]
    cval = 0
    if boundary == "constant" and rng.random() < 0.35:
        cval = pick(rng, 1, 7) if pair[0][0] in "biu" else pick(rng, 1.5, -2.25)
    settings |= {"groups": groups, "boundary": boundary, "cval": cval, "data_format": pick(rng, *(LAST if last else FIRST)[len(extents)])}
    return Case(seed, "conv", *arrays(rng, shapes, pair), settings)


def transposed_case(seed, dtypes=None):
    """A random transposed convolution: its extents asked for, or the smallest, or with an output padding."""
    rng = np.random.default_rng([20260202, seed])
    forward = conv_case(seed, dtypes)
    (n, c, *extents), (o, _, *sizes) = forward.x.shape, forward.weight.shape
    if forward.last:
        (n, *extents, c), (*sizes, _, o) = forward.x.shape, forward.weight.shape
    settings = {name: value for name, value in forward.settings.items() if name != "cval"}
    told = {name: settings[name] for name in ("stride", "dilation", "padding")}
    outs = oracle_networks.Slide(tuple(extents), sizes, told["stride"], told["dilation"], told["padding"], "constant").outs
    more = 0
    if rng.random() < 0.4 and told["padding"] not in ("same", "same_lower"):
        stride, dilation = (oracle.per_axis(told[name], len(sizes)) for name in ("stride", "dilation"))
        more = tuple(int(rng.integers(0, max(s, d))) for s, d in zip(stride, dilation, strict=True))
    default = oracle_networks.transposed_extents(outs, sizes, output_padding=more, **told)
    if rng.random() < 0.5 or min(default) < 1:
        settings |= {"output_shape": extents[0] if len(set(extents)) == 1 and rng.random() < 0.5 else tuple(extents)}
    else:
        settings |= {"output_padding": more}
    shape = (n, *outs, o) if forward.last else (n, o, *outs)
    pair = forward.x.dtype.newbyteorder("="), forward.weight.dtype.newbyteorder("=")
    z = problems.laid_out(values(rng, shape, pair[0], 2**20), pick(rng, *problems.LAYOUTS))
    bias = None
    if rng.random() < 0.5:
        bias = values(rng, c, "int64" if pair[0].kind in "biu" else pair[0], 2**20)
    return Case(seed, "conv_transpose", z, forward.weight, bias, settings)


# --- depth ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class DepthCase:
    """One call of `sash.conv2_5d(x, depth, weight, bias, **settings, **optics)`."""

    seed: int
    x: np.ndarray
    depth: np.ndarray
    weight: np.ndarray
    bias: np.ndarray | None
    settings: dict
    optics: dict

    def __repr__(self):
        told = ", ".join(f"{name}={value!r}" for name, value in {**self.settings, **self.optics}.items())
        shapes = f"x {self.x.dtype} {self.x.shape}, depth {self.depth.dtype} {self.depth.shape}, weight {self.weight.shape}"
        return f"problems_networks.depth_case({self.seed}): {shapes}, bias {self.bias is not None}, {told}"

    @property
    def size(self):
        return self.weight.shape[3:]

    @property
    def sliding(self):
        """What depth_planes takes besides depth and size."""
        found = {name: value for name, value in self.settings.items() if name != "groups"}
        return {**found, **self.optics, "planes": len(self.weight)}

    @cached_property
    def plane_map(self):
        return oracle_networks.depth_planes(self.depth, self.size, **self.sliding)

    def answer(self, **changes):
        return oracle_networks.conv2_5d(self.x, self.plane_map, self.weight, self.bias, **{**self.settings, **changes})

    @cached_property
    def exactly(self):
        return self.answer()

    def bound(self, dtype):
        sizes = abs(self.weight.astype(np.float64)).max(0)  # each tap reads one plane
        bias = 0 if self.bias is None else abs(self.bias.astype(np.float64))
        per_channel = sizes.reshape(len(sizes), -1).sum(1) * tolerance.magnitude(self.x) + bias
        return (accuracy.NORMWISE * tolerance.eps(dtype) * np.sqrt(sizes[0].size + 1) * per_channel)[:, None, None]

    def check(self, found, told=""):
        tolerance.check(found, self.exactly, self.bound(found.dtype), f"{told} on {self}")


def scene(rng, batch, height, width, holes=0.1):
    """Depth of a few slanted patches, in metres, with holes of every kind."""
    depth = np.empty((batch, height, width))
    i, j = np.mgrid[:height, :width]
    for n in range(batch):
        depth[n] = 2 + 0.08 * rng.standard_normal() * i + 0.08 * rng.standard_normal() * j + 0.02 * rng.standard_normal((height, width))
        depth[n, rng.integers(0, height) :] += rng.uniform(0, 1)
    depth = np.maximum(depth, 0.3)
    missing = rng.random(depth.shape) < holes
    depth[missing] = rng.choice([0.0, -1.0, np.nan, np.inf, -np.inf], int(missing.sum()))
    return depth


def depth_case(seed, dtypes=("float32", "float64", "float16")):
    """A random 2.5-D convolution; the focal length is such that all planes, and outside, turn up."""
    rng = np.random.default_rng([20260203, seed])
    height, width, batch = int(rng.integers(1, 12)), int(rng.integers(1, 12)), int(rng.choice([1, 2, 3]))
    size = (int(rng.choice([1, 3, 5])), int(rng.choice([1, 3, 3])))
    stride, dilation = (tuple(int(v) for v in rng.choice(found, 2)) for found in ([1, 1, 2, 3], [1, 1, 2]))
    padding = pick(rng, "valid", "same", "same_lower", "full", 1, "pairs", "pairs")
    reach = [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
    if padding == "pairs":
        each = zip((height, width), size, stride, dilation, strict=True)
        padding = tuple(problems.random_padding(rng, *one) for one in each)
    if padding in ("valid", 1):
        room = 0 if padding == "valid" else 2
        height, width = max(height, reach[0] - room), max(width, reach[1] - room)
    missing, planes = pick(rng, ("center", 1), ("center", 3), ("center", 5), ("drop", 2), ("drop", 3), ("drop", 4))
    groups, each, many = int(rng.choice([1, 1, 2])), int(rng.integers(1, 5)), int(rng.integers(1, 5))
    dtype = pick(rng, *dtypes)
    x = problems.laid_out(values(rng, (batch, groups * each, height, width), dtype), pick(rng, *problems.LAYOUTS))
    depth = scene(rng, batch, height, width, pick(rng, 0, 0.1, 0.4))
    depth.flat[0] = 2.0  # all missing is refused
    depth = depth.astype(pick(rng, "float32", "float64", "float64"))
    depth = depth[:, None] if rng.random() < 0.5 else depth
    weight = values(rng, (planes, groups * many, each, *size), dtype)
    bias = values(rng, groups * many, dtype) if rng.random() < 0.6 else None
    focal = float(rng.uniform(4, 40)) if rng.random() < 0.6 else rng.uniform(4, 40, batch)
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return DepthCase(seed, x, depth, weight, bias, settings, {"focal": focal, "spacing": pick(rng, 1.0, 2.0), "missing": missing})
