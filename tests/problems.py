"""The one seeded generator of random problems: `case(17)` is always the same one, and prints itself.

Every element type, memory layout, boundary and kind of padding turns up; about one in five slides over axes in the
middle, one in eight pads further than the array is long, one in twelve has an empty batch axis.
Imports: NumPy, oracle; of sash the index of methods.
"""

from dataclasses import dataclass

import numpy as np

import oracle
from sash.axis import Axis
from sash.methods import METHODS
from sash.problem import Problem

INTEGERS = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
FLOATS = ("float16", "float32", "float64")
COMPLEX = ("complex64", "complex128")
LAYOUTS = ("C", "F", "sliced", "reversed", "transposed", "read-only", "big-endian")


@dataclass(frozen=True, eq=False)
class Case:
    """One call: `correlate(x, kernel, **settings)`."""

    seed: int
    x: np.ndarray
    kernel: np.ndarray
    layout: str
    settings: dict

    def __repr__(self):
        told = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        arrays = f"x {self.x.dtype} {self.x.shape} {self.layout}, kernel {self.kernel.dtype} {self.kernel.shape}"
        return f"problems.case({self.seed}): {arrays}, {told}"

    @property
    def axes(self):
        """The axes of x that are slid over, in the kernel's order, counted from the front."""
        axes = self.settings["axes"]
        return tuple(a % self.x.ndim for a in (axes if axes is not None else range(-self.kernel.ndim, 0)))

    @property
    def pads(self):
        """(before, after) per slid axis."""
        return [
            oracle.pads(self.x.shape[a], k, s, d, p)
            for a, k, s, d, p in zip(
                self.axes,
                self.kernel.shape,
                oracle.per_axis(self.settings["stride"], self.kernel.ndim),
                oracle.per_axis(self.settings["dilation"], self.kernel.ndim),
                spelt_out(self.settings["padding"], self.kernel.ndim),
                strict=True,
            )
        ]

    def answer(self, **changes):
        """What the definition gives, in at least float64; integers exactly, as Python's."""
        exact = self.x.dtype.kind in "biu" and self.kernel.dtype.kind in "biu"
        settings = {"work": object if exact else None, **self.settings, **changes}
        settings["padding"] = self.pads
        return oracle.correlate(self.x, self.kernel, **settings)

    def footprint(self, flag):
        """Which outputs have a True of `flag` (of the shape of x) under their window."""
        settings = {name: self.settings[name] for name in ("axes", "stride", "dilation", "boundary")}
        return oracle.covered(flag, self.kernel.shape, padding=self.pads, **settings)


def spelt_out(padding, count):
    """A padding as any caller may write it, as one name or pair per axis."""
    if isinstance(padding, (str, int)):
        return [padding if isinstance(padding, str) else (padding, padding)] * count
    if all(isinstance(p, int) for p in padding):
        return [tuple(padding)] * count
    return list(padding)


def pick(rng, *choices):
    """One of the choices (NumPy's own would turn a tuple into an array)."""
    return choices[rng.integers(len(choices))]


def values(rng, shape, dtype, largest=None):
    """Random data that suits a type: noise for floats, a good part of the range for integers."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        top = min(info.max, 2**40) if largest is None else min(info.max, largest)
        return rng.integers(max(info.min, -top), top, shape, dtype=dtype, endpoint=True)
    noise = rng.standard_normal(shape)
    if dtype.kind == "c":
        noise = noise + 1j * rng.standard_normal(shape)
    return np.asarray(noise).astype(dtype)


def laid_out(x, layout):
    """The same values in another memory layout."""
    if layout == "F":
        return np.asfortranarray(x)
    if layout == "sliced":
        wide = np.zeros([2 * n + 1 for n in x.shape], x.dtype)
        wide[tuple(slice(1, None, 2) for _ in x.shape)] = x
        return wide[tuple(slice(1, None, 2) for _ in x.shape)]
    if layout == "reversed":
        return np.flip(np.flip(x).copy())
    if layout == "transposed":
        return x.transpose(1, 0, *range(2, x.ndim)).copy().transpose(1, 0, *range(2, x.ndim)) if x.ndim > 1 else x
    if layout == "read-only":
        x = x.copy()
        x.flags.writeable = False
        return x
    if layout == "big-endian":
        return x.astype(x.dtype.newbyteorder(">"))
    return np.ascontiguousarray(x)


def random_padding(rng, n, size, stride, dilation):
    """One (before, after) pair that leaves room for at least one window; crops and oversize pads among them."""
    reach = dilation * (size - 1) + 1
    kind = rng.random()
    if kind < 0.25 and n > 2:  # crop
        before, after = -int(rng.integers(0, n // 2)), int(rng.integers(-(n // 3), 3))
    elif kind < 0.4:  # further than the array is long
        before, after = int(rng.integers(0, 2 * n + 3)), int(rng.integers(0, 2 * n + 3))
    else:
        before, after = (int(v) for v in rng.integers(0, reach + 1, 2))
    return before, after + max(reach - (n + before + after), 0)


def case(seed, dtypes=None):
    """The random problem of this number; `dtypes` restricts it to pairs (of x, of the kernel)."""
    rng = np.random.default_rng([20260101, seed])
    ndim = int(rng.choice([1, 2, 3, 4], p=[0.25, 0.4, 0.25, 0.1]))
    slid = int(rng.integers(1, min(ndim, 3) + 1))
    longest = {1: 60, 2: 14, 3: 8, 4: 6}[ndim]
    shape = [int(v) for v in rng.integers(1, longest + 1, ndim)]
    if rng.random() < 0.2:
        axes = tuple(int(a) - pick(rng, 0, ndim) for a in rng.permutation(ndim)[:slid])
    else:
        axes = pick(rng, None, tuple(range(ndim - slid, ndim)))
    positions = [a % ndim for a in (axes if axes is not None else range(-slid, 0))]
    rest = [a for a in range(ndim) if a not in positions]
    if rest and rng.random() < 0.15:
        shape[pick(rng, *rest)] = 0
    sizes = [int(rng.integers(1, (12, 5, 4)[slid - 1] + 1)) for _ in range(slid)]
    stride = tuple(int(v) for v in rng.choice([1, 1, 2, 3], slid))
    dilation = tuple(int(v) for v in rng.choice([1, 1, 2, 3], slid))
    padding = pick(rng, "valid", "same", "same_lower", "full", "pairs", "pairs")
    fits = all(shape[a] >= d * (k - 1) + 1 for a, k, d in zip(positions, sizes, dilation, strict=True))
    if padding == "pairs" or (padding == "valid" and not fits):
        padding = tuple(random_padding(rng, shape[a], k, s, d) for a, k, s, d in zip(positions, sizes, stride, dilation, strict=True))
    boundary = pick(rng, *oracle.BOUNDARIES)

    pair = pick(rng, *(dtypes or PAIRS))
    x, kernel = values(rng, shape, pair[0]), values(rng, sizes, pair[1], largest=2**15)
    if rng.random() < 0.25 and kernel.dtype.kind in "fc":  # rank 1, so that the separable way is willing
        kernel = np.ones((), kernel.dtype)
        for size in sizes:
            kernel = np.multiply.outer(kernel, values(rng, size, pair[1]))
    cval = 0
    if boundary == "constant" and rng.random() < 0.4:
        cval = pick(rng, 1, 7) if x.dtype.kind in "iu" else 1 if x.dtype.kind == "b" else pick(rng, 1.5, -2.25)
    layout = pick(rng, *LAYOUTS)
    settings = {
        "axes": axes,
        "stride": stride if len(set(stride)) > 1 else stride[0],
        "dilation": dilation if len(set(dilation)) > 1 else dilation[0],
        "padding": padding,
        "boundary": boundary,
        "cval": cval,
    }
    return Case(seed, laid_out(x, layout), laid_out(kernel, pick(rng, "C", layout)), layout, settings)


PAIRS = (
    *((t, t) for t in INTEGERS if t != "uint64"),
    ("uint8", "int8"),
    ("uint64", "int16"),
    ("bool", "int64"),
    *((t, t) for t in FLOATS * 3),
    *((t, t) for t in COMPLEX),
)
"""Pairs of types that keep their kind: floats and complex numbers keep theirs, integers sum to int64."""


def filtering():
    """Methods that are willing for some filter of arrays; the others want channels, tensors or planes."""
    axis = Axis(64, 3, 2, 1, 0, 64, "zero")
    probe = Problem((axis, axis), rank=1, finite=True)
    return tuple(m.NAME for m in METHODS if not m.refuses(probe))
