"""One axis of a sliding window, in integers: where the window goes and what it reads beyond the ends.

The window slides over positions [start, stop) of the axis' infinite extension (start = -before, stop = n + after).
A boundary is a list of runs: `Axis.runs` is its only description; tiles, padded copies, index maps and the
adjoint's fold all come from it.  Imports: errors.
"""

from __future__ import annotations

from functools import lru_cache
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

    (A named tuple: plans are looked up by it, and a tuple's hash takes a tenth of a dataclass's.)
    """

    n: int
    size: int
    stride: int
    dilation: int
    start: int
    stop: int
    boundary: str

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
        return self.size == 1 and self.stride == 1 and self.start == 0 and self.stop == self.n

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
            i = min(max(a, 0), self.n)
            j = max(min(max(b, 0), self.n), i)
            return (Run(j - i, i, 1),), self.moved(j - i, a - i, b - i)
        i, j = max(a, 0), min(b, self.n)
        one_end = (a < 0) != (b > self.n) and self.boundary != "wrap"
        if one_end and max(-a, b - self.n) < j - i:  # the block holds all that its boundary turns back to
            return (Run(j - i, i, 1),), self.moved(j - i, a - i, b - i)
        return self.runs(a, b), self.moved(b - a, 0, b - a)

    def moved(self, n: int, start: int, stop: int) -> Axis:
        """The same window over [start, stop) of `n` samples."""
        return Axis(n, self.size, self.stride, self.dilation, start, stop, self.boundary)

    def inside(self) -> tuple[int, int]:
        """The outputs [o, p) whose windows read samples only (o == p where there are none)."""
        o = max(0, -(self.start // self.stride))
        p = min(self.out, (self.n - self.start - self.reach) // self.stride + 1)
        return (o, p) if p > o else (0, 0)


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
