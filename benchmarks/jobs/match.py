"""How alike a template and every window of an image or a volume are, by absolute or squared differences or by correlation.

image (*N), or with channels first or last   template (*K), the same   mask (*K)   score (*O)       Imports: truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from benchmarks.truth import Array, Truth, positions, rounding

SCORE = 1e-4
"""Allowed in a normalised correlation of noise that fills its range."""
LONGEST, SHARE = 4e9, 3e8
"""Terms past which slow ways do the first outputs only, and about how many terms those have."""


@dataclass(frozen=True, slots=True)
class Match:
    """`sash.similarity`."""

    kind: ClassVar[str] = "match"
    image: tuple[int, ...]
    template: tuple[int, ...]
    channels: int = 3
    """0: a plain image, or a volume, without an axis for them."""
    channel_axis: int = -1
    metric: str = "sad"
    dtype: str = "float32"
    stride: int = 1
    masked: bool = False

    def given(self) -> tuple[Any, ...]:
        """Image, a piece of it with noise, and the mask or None."""
        rng = np.random.default_rng(sum(self.image) + sum(self.template))
        shape = self.laid(self.image)
        where = self.laid(tuple(slice(n // 3, n // 3 + k) for n, k in zip(self.image, self.template, strict=True)), slice(None))
        if self.dtype == "uint8":
            image = rng.integers(0, 256, shape, np.uint8)
            template = image[where] ^ rng.integers(0, 16, image[where].shape, np.uint8)
        else:
            image = rng.random(shape, np.dtype(self.dtype).type)
            template = image[where] * np.dtype(self.dtype).type(0.9)
        mask = rng.random(self.template, np.float32) < 0.7 if self.masked else None
        return image, np.ascontiguousarray(template), None if mask is None else mask.astype(np.float32)

    def ours(self, *given: Any) -> Callable[[], Array]:
        import sash

        image, template, mask = given
        axis = self.channel_axis if self.channels else None
        return lambda: sash.similarity(image, template, metric=self.metric, stride=self.stride, channel_axis=axis, mask=mask)

    def truth(self, *given: Any, per_channel: bool = False) -> Truth:
        """By the definition, at sampled positions. `per_channel`: each channel loses its own mean, as OpenCV has it."""
        image, template, mask = given
        at = positions(self.out)
        values = np.array(list(self._scores(image, template, mask, at, per_channel)))
        allowed = rounding("float32", template.size, 1.0, 1.0) if self.metric in ("sad", "ssd") else SCORE
        return Truth(self.out, values, allowed, at)

    def _scores(self, image: Array, template: Array, mask: Array | None, at: tuple[Array, ...], per_channel: bool) -> Iterator[float]:
        t = self.last(template).astype(np.float64)
        m = np.ones(self.template) if mask is None else mask.astype(np.float64)
        m = np.broadcast_to(m[..., None], t.shape)
        span = 255.0 if self.dtype == "uint8" else 1.0
        over = tuple(range(len(self.template))) if per_channel else None
        pixels = self.last(image)
        for place in zip(*[axis * self.stride for axis in at], strict=True):
            x = pixels[tuple(slice(i, i + k) for i, k in zip(place, self.template, strict=True))].astype(np.float64)
            if self.metric in ("sad", "ssd"):
                power = 1 if self.metric == "sad" else 2
                yield 1 - (m * np.abs(x - t) ** power).sum() / (m.sum() * span**power)
                continue
            u = t
            if self.metric == "zncc":
                x, u = (a - (m * a).sum(over) / m.sum(over) for a in (x, t))
            yield (m * x * u).sum() / np.sqrt((m * x * x).sum() * (m * u * u).sum())

    def work(self) -> float:
        return float(prod(self.out) * prod(self.template) * max(self.channels, 1))

    @property
    def first(self) -> int:
        """How many outputs along the first axis the slow ways do: all, or a share."""
        work = self.work()
        return self.out[0] if work < LONGEST else max(1, int(self.out[0] * SHARE / work))

    def done(self, count: int) -> dict[str, Any]:
        """What a way says that does so many of them."""
        whole, what = self.out[0], "rows" if len(self.out) == 2 else "slices"
        return {"part": count / whole, "note": "" if count == whole else f"{count} of {whole} {what}, scaled"}

    @property
    def out(self) -> tuple[int, ...]:
        return tuple((n - k) // self.stride + 1 for n, k in zip(self.image, self.template, strict=True))

    def laid(self, plane: tuple[Any, ...], channels: Any = None) -> tuple[Any, ...]:
        """Things for the axes that are slid over, and one for the channels where they are."""
        if not self.channels:
            return plane
        extra = self.channels if channels is None else channels
        return (extra, *plane) if self.channel_axis == 0 else (*plane, extra)

    def last(self, image: Array) -> Array:
        """A view as (*N, C)."""
        return np.moveaxis(image, self.channel_axis, -1) if self.channels else image[..., None]
