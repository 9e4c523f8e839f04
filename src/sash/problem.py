"""What is to be done, in shapes, types and flags: hashable, no array in it, and cut into smaller ones by one rule.

    x (N, C, *S)    w (O, C/G, *K)    y (N, O, *out)        reduce: sum of w*x | |x-w| | (x-w)^2

Axes that the window leaves alone are ordinary axes of one tap (`Axis.idle`), wherever they stand, so nothing is ever
transposed.  `Problem.part(box)` is the one rule behind tiles, threads and memory limits.  Imports: axis, accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import NamedTuple

from sash.accuracy import EXACT_BITS
from sash.axis import Axis, Phase, Run

Box = tuple[tuple[int, int], ...]
"""Half-open ranges of the output: one of the batch, then one per axis."""

REDUCTIONS = ("product", "absolute", "squared")


class Problem(NamedTuple):
    """`dtype` is computed in; `source` and `result` are the types of x and y in memory."""

    axes: tuple[Axis, ...]
    batch: int = 1
    inputs: int = 1
    outputs: int = 1
    groups: int = 1
    reduce: str = "product"
    dtype: str = "float32"
    source: str = "float32"
    result: str = "float32"
    bits: int = 0
    """Integer problems: no result is larger than 2**bits in size. 0: floating point."""
    rank: int = 0
    """The kernel is known to be a sum of this many outer products of 1-D kernels. 0: not known to be any."""
    finite: bool = False
    """The kernel is known to hold no NaN and no infinity."""
    straight: bool = True
    """x is of type `dtype` with a contiguous last axis: tiles can be read in place."""
    elementwise: bool = False
    """Each output is promised to within its own sum of |w * x|."""
    planes: int = 0
    """Gated: w is (L, O, C/G, *K) for that many L, and a third operand tells which of them each tap of each output reads."""
    home: str = "numpy"
    """Where the arrays live: "numpy", "torch" (PyTorch, on the CPU) or "cuda" (PyTorch, on a GPU)."""
    mirrored: bool = False
    """The 1-D kernels of all products are the same turned round, each about a tap in its middle."""
    bytewise: bool = False
    """x and w are uint8 and every difference weighs 1."""
    woven: bool = False
    """A class of the outputs of a transposed problem: results of a row stand apart in memory."""

    @property
    def taps(self) -> int:
        """Terms per output."""
        return prod([a.size for a in self.axes]) * self.inputs // self.groups

    @property
    def out(self) -> tuple[int, ...]:
        return tuple([a.out for a in self.axes])

    @property
    def results(self) -> int:
        """Number of output elements."""
        return self.batch * self.outputs * prod(self.out)

    @property
    def samples(self) -> int:
        """Number of input elements."""
        return self.batch * self.inputs * prod([a.n for a in self.axes])

    @property
    def whole(self) -> Box:
        return ((0, self.batch), *((0, n) for n in self.out))

    @property
    def active(self) -> tuple[int, ...]:
        """The axes that the window slides over."""
        return tuple([i for i, a in enumerate(self.axes) if not a.idle])

    @property
    def itemsize(self) -> int:
        return 4 if self.dtype == "float32" else 8

    @property
    def upsampled(self) -> bool:
        """A transposed operation: methods get it phase by phase (see `phases`)."""
        return any([a.upsample > 1 for a in self.axes])

    def phases(self) -> list[tuple[tuple[Phase, ...], Problem | None]]:
        """The ordinary problems, one per class of outputs, that an upsampled one consists of (None: all are zero)."""
        return _phases(self)

    def adjoint_x(self) -> Problem:
        """The problem that takes the outputs' weights z and the kernel turned round, (C, O/G, *K), to the frame of x."""
        axes = tuple([a.adjoint() for a in self.axes])
        return self._replace(axes=axes, inputs=self.outputs, outputs=self.inputs, source=self.result, result=self.source, straight=False)

    def adjoint_w(self) -> Problem:
        """The problem that takes x as (C/G, G N, *S) and the outputs' weights as a kernel (O, N, *out) to w as (C/G, O, *K)."""
        axes = tuple([a.adjoint_w() for a in self.axes])
        each = self.inputs // self.groups
        return self._replace(
            axes=axes,
            batch=each,
            inputs=self.groups * self.batch,
            rank=0,
            finite=False,
            straight=False,
            result=self.source,
            planes=0,
            mirrored=False,
        )

    def whole_numbers(self, bits: int) -> Problem:
        """The same on integers whose results and partial sums have at most `bits` bits: in the fastest exact type."""
        fastest = next((t for t in ("float32", "float64") if bits <= EXACT_BITS[t]), "int64")
        return self._replace(dtype=fastest, bits=max(bits, 1))

    def part(self, box: Box) -> tuple[tuple[tuple[Run, ...], ...], Problem]:
        """What the block `box` of the output reads, per axis, and the smaller problem that makes it from that."""
        return _part(self, box)

    def grid(self, tile: tuple[int, ...], box: Box | None = None) -> list[Box]:
        """The output, or the block `box` of it, cut into blocks of at most `tile`, as even as they can be."""
        boxes: list[Box] = [()]
        for (o, p), step in zip(box or self.whole, tile, strict=True):
            count = -(-(p - o) // max(step, 1))
            cuts = [o + (p - o) * i // count for i in range(count + 1)] if count else []
            boxes = [(*head, cut) for head in boxes for cut in zip(cuts, cuts[1:], strict=False)]
        return boxes

    def count(self, tile: tuple[int, ...]) -> int:
        """How many blocks `grid(tile)` has."""
        return prod([-(-n // max(t, 1)) for n, t in zip((self.batch, *self.out), tile, strict=True)])

    def tile(self, samples: float, box: Box | None = None, length: int = 16) -> tuple[int, ...]:
        """A block of the output (or of `box`) that reads about `samples` samples or fewer.

        It is `length` times as long in the last axis, whose samples are neighbours in memory, as in the others.
        """
        block = [max(p - o, 1) for o, p in box or self.whole]
        while self.reads(block) > samples and max(block) > 1:
            last = len(block) - 1
            i = max(range(len(block)), key=lambda k: block[k] if k < last else block[k] / length)
            if block[i] == 1:
                i = last
            block[i] = -(-block[i] // 2)
        return tuple(block)

    def reads(self, block: Sequence[int]) -> int:
        """Samples that a block of this shape (batch, then axes) reads, all input channels."""
        spans = [(o - 1) * a.stride + a.reach for o, a in zip(block[1:], self.axes, strict=True)]
        return block[0] * self.inputs * prod(spans)

    def frame(self, strip: int = 1) -> tuple[Box | None, list[Box]]:
        """The block whose windows read samples only (None: no such block), and blocks that make up the rest.

        Blocks at the ends of the last axis are at least `strip` long.
        """
        inner, edges = list(self.whole), list[Box]()
        for i, axis in enumerate(self.axes, start=1):
            o, p = axis.inside()
            low, high = inner[i]
            if i == len(self.axes):
                o, p = (max(o, strip) if o > low else o), (min(p, high - strip) if p < high else p)
            if p <= o:
                return None, [self.whole]
            if o > low:
                edges.append((*inner[:i], (low, o), *inner[i + 1 :]))
            if p < high:
                edges.append((*inner[:i], (p, high), *inner[i + 1 :]))
            inner[i] = (o, p)
        return tuple(inner), edges


@lru_cache(maxsize=1024)
def _phases(problem: Problem) -> list[tuple[tuple[Phase, ...], Problem | None]]:
    found: list[tuple[tuple[Phase, ...], Problem | None]] = []
    for phases in product(*[a.phases() for a in problem.axes]):
        axes = tuple([p.axis for p in phases if p.axis is not None])
        found.append((phases, problem._replace(axes=axes, woven=phases[-1].step > 1) if len(axes) == len(phases) else None))
    return found


@lru_cache(maxsize=4096)
def _part(problem: Problem, box: Box) -> tuple[tuple[tuple[Run, ...], ...], Problem]:
    parts = [axis.part(o, p) for axis, (o, p) in zip(problem.axes, box[1:], strict=True)]
    smaller = problem._replace(axes=tuple([axis for _, axis in parts]), batch=box[0][1] - box[0][0])
    return tuple([runs for runs, _ in parts]), smaller
