"""One axis of a sliding window, in integers: where the window goes and what it reads beyond the ends.

The window slides over positions [start, stop) of the axis' infinite extension (start = -before, stop = n + after).
A boundary is a list of runs: `Axis.runs` is its only description; tiles, padded copies, index maps and the
adjoint's fold all come from it.  Imports: nothing of sash.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import NamedTuple

BOUNDARIES = ("constant", "nearest", "symmetric", "mirror", "wrap")
"""Public boundary names; inside, "zero" is "constant" with a cval of 0, whose padding costs nothing."""


class Run(NamedTuple):
    """`length` positions that read x[first], x[first + step], ...; step is 1, -1 or 0; first < 0: they read cval."""

    length: int
    first: int
    step: int


class Axis(NamedTuple):
    """`size` taps, `dilation` apart, at every `stride`-th position of [start, stop) of an axis of `n` samples.

    With `upsample`, the samples stand that many positions apart and what lies between is zero, as it is outside (the
    boundary must be "zero"): the transposed operation.  No kernel sees that; `phases` makes ordinary axes of it.
    (A named tuple: plans are looked up by it, and a tuple's hash takes a tenth of a dataclass's.)
    """

    n: int
    size: int
    stride: int
    dilation: int
    start: int
    stop: int
    boundary: str
    upsample: int = 1

    @property
    def reach(self) -> int:
        """Samples from the first tap to the last, both included."""
        return (self.size - 1) * self.dilation + 1

    @property
    def out(self) -> int:
        """Number of positions of the window."""
        return (self.stop - self.start - self.reach) // self.stride + 1

    @property
    def idle(self) -> bool:
        """The window neither slides nor reaches here: every sample is its own output."""
        return self.size == 1 and self.stride == 1 and self.start == 0 and self.stop == self.n and self.upsample == 1

    @property
    def plain(self) -> bool:
        """Every position that is read is a sample."""
        return self.start >= 0 and self.stop <= self.n

    def runs(self, a: int, b: int) -> tuple[Run, ...]:
        """The extension on [a, b), as few runs as possible.

        >>> Axis(4, 3, 1, 1, -2, 4, "symmetric").runs(-2, 4)
        (Run(length=2, first=1, step=-1), Run(length=4, first=0, step=1))
        """
        return _runs(self.n, self.boundary, a, b)

    def part(self, o: int, p: int) -> tuple[tuple[Run, ...], Axis]:
        """What outputs [o, p) read, and the smaller axis that makes them from it."""
        if o == 0 and p == self.out:
            return (Run(self.n, 0, 1),), self
        a = self.start + o * self.stride
        b = self.start + (p - 1) * self.stride + self.reach if p > o else a
        if self.boundary in ("zero", "constant"):
            u = self.upsample
            i = min(max(-(-a // u), 0), self.n)
            j = max(min(max((b - 1) // u + 1, 0), self.n), i)
            return (Run(j - i, i, 1),), self.moved(j - i, a - i * u, b - i * u)
        i, j = max(a, 0), min(b, self.n)
        one_end = (a < 0) != (b > self.n) and self.boundary != "wrap"
        if one_end and max(-a, b - self.n) < j - i:  # the block holds all that its boundary turns back to
            return (Run(j - i, i, 1),), self.moved(j - i, a - i, b - i)
        return self.runs(a, b), self.moved(b - a, 0, b - a)

    def moved(self, n: int, start: int, stop: int) -> Axis:
        """The same window over [start, stop) of `n` samples."""
        return Axis(n, self.size, self.stride, self.dilation, start, stop, self.boundary, self.upsample)

    def inside(self) -> tuple[int, int]:
        """The outputs [o, p) whose windows read samples only (o == p where there are none)."""
        o = max(0, -(self.start // self.stride))
        p = min(self.out, (self.n - self.start - self.reach) // self.stride + 1)
        return (o, p) if p > o else (0, 0)

    def phases(self) -> tuple[Phase, ...]:
        """The outputs by classes, each an ordinary axis over every so-manieth tap.

        Output o of class c stands at start + (c + o k) stride; its taps that meet samples are those at multiples of
        `upsample`, every upsample/gcd(dilation, upsample)-th.

        >>> [(p.first, p.tap, p.axis.size) for p in Axis(3, 3, 1, 1, -2, 6, "zero", 2).phases()]
        [(0, 0, 2), (1, 1, 1)]
        """
        u = self.upsample
        if u == 1:
            return (Phase(0, 1, 0, 1, self),)
        classes, every = u // gcd(self.stride, u), u // gcd(self.dilation, u)
        found = []
        for first in range(min(classes, self.out)):
            a, count = self.start + first * self.stride, -(-(self.out - first) // classes)
            tap = next((t for t in range(min(every, self.size)) if (a + t * self.dilation) % u == 0), -1)
            if tap < 0:
                found.append(Phase(first, classes, 0, every, None))
                continue
            axis = Axis(self.n, -(-(self.size - tap) // every), classes * self.stride // u, every * self.dilation // u, 0, 0, "zero")
            start = (a + tap * self.dilation) // u
            found.append(Phase(first, classes, tap, every, axis._replace(start=start, stop=start + (count - 1) * axis.stride + axis.reach)))
        return tuple(found)

    @property
    def frame(self) -> tuple[int, int]:
        """The positions that samples and their extension stand on: what the adjoint makes before it is folded back."""
        if self.boundary in ("zero", "constant"):
            return 0, self.n
        return min(self.start, 0), max(self.stop, self.n)

    def adjoint(self) -> Axis:
        """Where the kernel, turned round, slides over this axis' outputs to give the frame.

        Stride and upsampling change places: <y, z> = <x, fold(frame)> for the outputs' weights z.
        """
        a, b = self.frame
        start = -(self.reach - 1) - self.start + a * self.upsample
        stop = start + (b - a - 1) * self.upsample + self.reach
        return Axis(self.out, self.size, self.upsample, self.dilation, start, stop, "zero", self.stride)

    def adjoint_w(self) -> Axis:
        """Where the outputs' weights, as a kernel, slide over this axis to give the kernel's: stride and dilation
        change places."""
        stop = self.start + (self.out - 1) * self.stride + self.reach
        return Axis(self.n, self.out, self.dilation, self.stride, self.start, stop, self.boundary, self.upsample)

    def folds(self) -> tuple[tuple[int, Run], ...]:
        """(place in the frame, run) of each run of the frame that lies outside the samples and reads some."""
        a, b = self.frame
        found, at = [], 0
        for run in (*self.runs(a, 0), Run(self.n, -1, 0), *self.runs(self.n, b)):
            if run.first >= 0 and run.length:
                found.append((at, run))
            at += run.length
        return tuple(found)


class Phase(NamedTuple):
    """One class of the outputs of an upsampled axis: those at first, first + step, ..., made from the taps at tap,
    tap + every, ... by an ordinary axis (None: no tap meets a sample, all are zero)."""

    first: int
    step: int
    tap: int
    every: int
    axis: Axis | None


@lru_cache(maxsize=4096)
def _runs(n: int, boundary: str, a: int, b: int) -> tuple[Run, ...]:
    found: list[Run] = []
    t = a
    while t < b:
        run = _run_at(n, boundary, t, b)
        found.append(run)
        t += run.length
    return tuple(found)


def _run_at(n: int, boundary: str, t: int, b: int) -> Run:
    """The longest run that starts at position t, cut to b."""
    if 0 <= t < n:
        return Run(min(n, b) - t, t, 1)
    if boundary in ("zero", "constant"):
        return Run((min(b, 0) if t < 0 < n else b) - t, -1, 0)
    if boundary == "nearest" or (boundary == "mirror" and n == 1):
        return Run((min(b, 0) if t < 0 else b) - t, 0 if t < 0 else n - 1, 0)
    if boundary == "wrap":
        r = t % n
        return Run(min(n - r, b - t), r, 1)
    period = n if boundary == "symmetric" else n - 1  # mirror: the turning sample belongs to both legs
    q, r = divmod(t, period)
    length = min(period - r, b - t)
    return Run(length, r, 1) if q % 2 == 0 else Run(length, n - 1 - r, -1)
