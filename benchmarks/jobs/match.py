"""How alike a template and every window of an image are, by absolute or squared differences or by correlation.

image (C, H, W) or (H, W, C)   template the same with (h, w)   mask (h, w)   score (OH, OW)       Imports: truth.
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


@dataclass(frozen=True, slots=True)
class Match:
    """`sash.similarity`."""

    kind: ClassVar[str] = "match"
    image: tuple[int, int]
    template: tuple[int, int]
    channels: int = 3
    """0: a plain image without an axis for them."""
    channel_axis: int = -1
    metric: str = "sad"
    dtype: str = "float32"
    stride: int = 1
    masked: bool = False

    def given(self) -> tuple[Any, ...]:
        """Image, a piece of it with noise, and the mask or None."""
        rng = np.random.default_rng(sum(self.image) + sum(self.template))
        shape = self.laid(self.image)
        (h, w), (kh, kw) = self.image, self.template
        where = self.laid((slice(h // 3, h // 3 + kh), slice(w // 3, w // 3 + kw)), slice(None))
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
        over = (0, 1) if per_channel else None
        pixels = self.last(image)
        for i, j in zip(at[0] * self.stride, at[1] * self.stride, strict=True):
            x = pixels[i : i + self.template[0], j : j + self.template[1]].astype(np.float64)
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
    def out(self) -> tuple[int, ...]:
        return tuple((n - k) // self.stride + 1 for n, k in zip(self.image, self.template, strict=True))

    def laid(self, plane: tuple[Any, Any], channels: Any = None) -> tuple[Any, ...]:
        """Two things for the axes of the plane, and one for the channels where they are."""
        if not self.channels:
            return plane
        extra = self.channels if channels is None else channels
        return (extra, *plane) if self.channel_axis == 0 else (*plane, extra)

    def last(self, image: Array) -> Array:
        """A view as (H, W, C)."""
        return np.moveaxis(image, self.channel_axis, -1) if self.channels else image[..., None]
