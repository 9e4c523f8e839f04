"""2.5-D convolution: each tap reads the plane of weights that its depth, beside the centre's, falls into; forward, or with gradients.

x (1, C, H, W)   depth (1, H, W)   weight (L, O, C, k, k)   planes (T, OH, OW), -1: reads nothing   y, g (1, O, OH, OW)
With the centre's depth z, plane l takes the depths in [z (1 + (l - L/2) / focal), z (1 + (l + 1 - L/2) / focal)).
Imports: truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from benchmarks.jobs.network import as_tensors
from benchmarks.truth import Array, Together, Truth, positions, rounding

PLANES = 3
MISSING = 0.02
"""The share of pixels without depth."""


@dataclass(frozen=True, slots=True)
class Depth:
    """`sash.conv2_5d` of a room, padded as to keep the extent where there is no stride."""

    kind: ClassVar[str] = "depth"
    inputs: int
    outputs: int
    shape: tuple[int, int]
    size: int = 3
    stride: int = 1
    tensors: bool = False
    backward: bool = False
    """The derivatives by x and by the weights too; tensors only."""

    def given(self) -> tuple[Any, ...]:
        """x, depth, the weights, and the gradient that comes from above."""
        rng = np.random.default_rng(self.inputs + sum(self.shape))
        x = rng.standard_normal((1, self.inputs, *self.shape), np.float32)
        weight = rng.standard_normal((PLANES, self.outputs, self.inputs, self.size, self.size), np.float32)
        return x, self.room(rng), weight, rng.standard_normal((1, self.outputs, *self.out), np.float32)

    def room(self, rng: Any) -> Array:
        """Depth of two slanted walls with boxes before them, in metres; some of it missing."""
        h, w = self.shape
        i, j = np.mgrid[:h, :w] / np.array([h, w])[:, None, None]
        near = 0.25 + 0.35 * np.minimum(j, 1 - 0.6 * j) + 0.15 * i  # planes are linear in 1 / depth
        for top, left in rng.uniform(0, 0.75, (6, 2)):
            near[int(top * h) : int((top + 0.2) * h), int(left * w) : int((left + 0.2) * w)] += rng.uniform(0.1, 0.5)
        depth = (1 / near).astype(np.float32)
        depth[rng.random(self.shape) < MISSING] = 0
        return np.asarray(depth[None])

    def ours(self, *given: Any) -> Callable[[], Any]:
        import sash

        settings: dict[str, Any] = {"focal": self.focal, "stride": self.stride, "padding": self.padding}
        if not self.tensors:
            x, depth, weight, _ = given
            return lambda: sash.conv2_5d(x, depth, weight, **settings)
        x, depth, weight, above = as_tensors(given)
        return self.derived(lambda a, w: sash.conv2_5d(a, depth, w, **settings), x, weight, above)

    def derived(self, run: Callable[[Any, Any], Any], x: Any, weight: Any, above: Any) -> Callable[[], Any]:
        """The call on tensors: its result alone, or with its derivatives."""
        if not self.backward:
            return lambda: run(x, weight)
        import torch

        x, weight = (t.detach().requires_grad_() for t in (x, weight))

        def both() -> Any:
            with torch.enable_grad():
                y = run(x, weight)
                return y.detach(), *torch.autograd.grad(y, (x, weight), above)

        return both

    def truth(self, *given: Any) -> Truth | Together:
        x, depth, weight, above = given
        return self.right(self.planes(depth[0]), x, weight, above)

    def flat(self, *given: Any) -> Truth | Together:
        """The truth of a plain convolution with the middle plane."""
        x, _, weight, above = given
        middle = np.zeros((self.size**2, *self.out), np.int8)
        return self.right(middle, x, weight[PLANES // 2][None], above)

    def planes(self, depth: Array) -> Array:
        """From the definition; a tap without depth, or below a centre without it, reads the middle plane."""
        at, inside = self.reads()
        z = depth.astype(np.float64)[at[0], at[1]]
        centre = z[self.size**2 // 2]
        edges = [centre * (1 + (m - PLANES / 2) / self.focal) for m in range(PLANES + 1)]
        plane = np.full(z.shape, -1, np.int8)
        for l in range(PLANES):
            plane[(edges[l] <= z) & (z < edges[l + 1])] = l
        plane[(z <= 0) | (centre <= 0)] = PLANES // 2
        plane[~inside] = -1
        return plane

    def reads(self) -> tuple[Array, Array]:
        """Row and column (2, T, OH, OW) that each tap reads, cut at the border, and whether it lies inside."""
        steps = [np.arange(n) * self.stride - self.padding for n in self.out]
        taps = np.indices((self.size, self.size)).reshape(2, -1)
        at = np.stack(np.broadcast_arrays(*[t[:, None, None] + s for t, s in zip(taps, np.ix_(*steps), strict=True)]))
        extent = np.array(self.shape)[:, None, None, None]
        return np.clip(at, 0, extent - 1), np.asarray(((at >= 0) & (at < extent)).all(0))

    def right(self, planes: Array, x: Array, weight: Array, above: Array) -> Truth | Together:
        """y, and the derivatives if they are asked for, at sampled positions."""
        x, w, g = x[0].astype(np.float64), weight.reshape(*weight.shape[:3], -1).astype(np.float64), above[0].astype(np.float64)
        (rows, columns), inside = self.reads()
        heavy = np.abs(w).max(0)
        read = np.where(inside & (planes >= 0), planes, -1)

        at = positions((1, self.outputs, *self.out))
        o, i, j = at[1:]
        values = np.zeros(len(o))
        for t in range(w.shape[-1]):
            p = read[t, i, j]
            values += (p >= 0) * (w[p, o, :, t] * x[:, rows[t, i, j], columns[t, i, j]].T).sum(1)
        most = float(heavy.sum((1, 2)).max()) * float(np.abs(x).max())
        y = Truth((1, self.outputs, *self.out), values, rounding("float32", self.inputs * w.shape[-1], 1.0, most), at)
        return Together((y, self.by_x(read, w, g), self.by_weight(read, x, g, weight.shape))) if self.backward else y

    def by_x(self, read: Array, w: Array, g: Array) -> Truth:
        """What each output gives back to the samples that it read."""
        at = positions((1, self.inputs, *self.shape))
        c, rows, columns = at[1:]
        values = np.zeros(len(c))
        for t, (u, v) in enumerate(np.ndindex(self.size, self.size)):
            places = [a + self.padding - b for a, b in ((rows, u), (columns, v))]
            met = [(p % self.stride == 0) & (p >= 0) & (p // self.stride < n) for p, n in zip(places, self.out, strict=True)]
            i, j = (np.clip(p // self.stride, 0, n - 1) for p, n in zip(places, self.out, strict=True))
            p = read[t, i, j]
            values += (met[0] & met[1] & (p >= 0)) * (w[p, :, c, t] * g[:, i, j].T).sum(1)
        most = float(np.abs(w).max(0).sum((0, 2)).max()) * float(np.abs(g).max())
        return Truth((1, self.inputs, *self.shape), values, rounding("float32", self.outputs * w.shape[-1], 1.0, most), at)

    def by_weight(self, read: Array, x: Array, g: Array, shape: tuple[int, ...]) -> Truth:
        """The sum over the outputs whose tap read this plane. A plain convolution has one plane, and its weights no axis for it."""
        shape = shape if shape[0] > 1 else shape[1:]
        at = positions(shape)
        l, o, c, u, v = at if len(shape) == 5 else (np.zeros_like(at[0]), *at)
        (rows, columns), _ = self.reads()
        each = zip(l, o, c, u * self.size + v, strict=True)
        values = np.array([np.sum((read[t] == l) * g[o] * x[c][rows[t], columns[t]]) for l, o, c, t in each])
        most = float(np.abs(g).sum((1, 2)).max()) * float(np.abs(x).max())
        return Truth(shape, values, rounding("float32", 1, 1.0, most), at)  # not the root of so many terms: it would pass anything

    def work(self) -> float:
        """Of one plain convolution; its two derivatives take as many each."""
        once = prod(self.out) * self.inputs * self.outputs * self.size**2
        return float(once * (3 if self.backward else 1))

    @property
    def focal(self) -> float:
        """Pixels: that of a camera which sees 62 degrees across."""
        return 0.82 * self.shape[1]

    @property
    def padding(self) -> int:
        return (self.size - 1) // 2

    @property
    def out(self) -> tuple[int, ...]:
        return tuple((n - 1) // self.stride + 1 for n in self.shape)
