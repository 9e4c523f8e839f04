"""Random problems for `regret`: one to three axes, 10³ to 10⁸ elements, 3 to 10⁴ taps, strides 1 to 5, four types.

x (*N)   kernel (*K), or of convolutions x (1, C, *N)   kernel (O, C/G, *K)       Imports: NumPy, sash's verbs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

import sash
from sash.window import Window

TYPES = ("float32", "float64", "uint8", "int16")
LEAST = 1e3
"""Elements."""
TAPS = (3.0, 1e4)


@dataclass(frozen=True, slots=True)
class Draw:
    """One problem."""

    number: int
    shape: tuple[int, ...]
    size: tuple[int, ...]
    dtype: str
    stride: int
    padding: str
    rank: int
    """1: the kernel is given as 1-D kernels; 0: it is dense."""
    memory: float | None
    """The limit, as a part of what the plan without one takes."""
    channels: tuple[int, int, int] = (1, 1, 1)
    """Inputs, outputs and groups; more than one: a convolution of networks."""

    @property
    def single(self) -> bool:
        return self.channels == (1, 1, 1)

    @property
    def title(self) -> str:
        kind = "product" if self.rank else "taps"
        text = f"{'x'.join(map(str, self.shape))} {self.dtype}, {'x'.join(map(str, self.size))} {kind}"
        inputs, outputs, groups = self.channels
        if not self.single:
            text += f", {inputs} -> {outputs} channels" + (f" in {groups} groups" if groups > 1 else "")
        return text + (f", stride {self.stride}" if self.stride > 1 else "") + f", {self.padding}"

    def parts(self) -> list[Any]:
        """1-D kernels."""
        rng = np.random.default_rng(self.number + 1)
        return [self._values(rng, (n,)) for n in self.size]

    def kernel(self) -> Any:
        """Dense."""
        if self.rank:
            return reduce(np.multiply.outer, self.parts())
        inputs, outputs, groups = self.channels
        around = () if self.single else (outputs, inputs // groups)
        return self._values(np.random.default_rng(self.number + 1), (*around, *self.size))

    def given(self) -> tuple[Any, Callable[[str, int | None], Any]]:
        """x, and the call: of a method, within a limit."""
        rng = np.random.default_rng(self.number)
        kind = np.dtype(self.dtype)
        shape = self.shape if self.single else (1, self.channels[0], *self.shape)
        if kind.kind == "f":
            x = rng.standard_normal(shape, kind.type)
        else:
            x = rng.integers(np.iinfo(kind).min, np.iinfo(kind).max + 1, shape, kind)
        how: dict[str, Any] = {"stride": self.stride, "padding": self.padding}
        if self.rank:
            parts = self.parts()
            return x, lambda method, limit: sash.separable_filter(x, parts, method=method, max_memory=limit, **how)
        kernel = self.kernel()
        if not self.single:
            how["groups"] = self.channels[2]
            return x, lambda method, limit: sash.conv(x, kernel, method=method, max_memory=limit, **how)
        return x, lambda method, limit: sash.correlate(x, kernel, separable=False, method=method, max_memory=limit, **how)

    def _values(self, rng: Any, shape: tuple[int, ...]) -> Any:
        if self.dtype.startswith("float"):
            return rng.standard_normal(shape, np.dtype(self.dtype).type)
        return rng.integers(-8, 9, shape, np.int8)


def draws(seed: int, largest: float = 1e8) -> Iterator[Draw]:
    """Without end; sizes are even on a logarithmic scale, every fourth kernel is a product, every third has a limit, and every
    fourth problem has channels, which the elements and the taps are shared among."""
    rng = np.random.default_rng(seed)
    number = 0
    while True:
        axes = int(rng.integers(1, 4))
        channels = _channels(rng) if rng.random() < 0.25 else (1, 1, 1)
        elements, taps = np.exp(rng.uniform(np.log(LEAST), np.log(largest))), np.exp(rng.uniform(*np.log(TAPS)))
        elements, taps = elements / channels[0], max(taps * channels[2] / channels[0], TAPS[0])
        shape = _shared(rng, elements, axes)
        size = _shared(rng, taps, axes)
        stride = int(rng.choice((1, 1, 1, 2, 3, 4, 5)))
        padding = str(rng.choice(("valid", "same")))
        draw = Draw(
            number,
            shape,
            size,
            str(rng.choice(TYPES)),
            stride,
            padding,
            int(rng.random() < 0.25 and channels == (1, 1, 1)),
            float(rng.uniform(0.1, 1)) if rng.random() < 0.33 else None,
            channels,
        )
        number += 1
        if all(k <= n for k, n in zip(size, shape, strict=True)) and np.prod(size) >= TAPS[0]:
            assert all(n > 0 for n in Window(size, stride=stride, padding=padding).output_shape(shape))
            yield draw


def _channels(rng: Any) -> tuple[int, int, int]:
    """Inputs, outputs and groups: 1 to 64 of each, in one group, some, or as many as there are channels."""
    inputs, outputs = (int(n) for n in np.exp(rng.uniform(0, np.log(64), 2)).round())
    groups = int(rng.choice((1, 1, 1, 2, 4, inputs)))
    if groups == inputs:
        return max(inputs, 2), max(inputs, 2), max(inputs, 2)
    return -(-inputs // groups) * groups, max(-(-outputs // groups) * groups, 2), groups


def _shared(rng: Any, total: float, axes: int) -> tuple[int, ...]:
    """About `total`, as a product of `axes` numbers that are alike within a factor or two."""
    uneven = np.exp(rng.normal(0, 0.35, axes))
    uneven /= np.prod(uneven) ** (1 / axes)
    return tuple(int(max(round(n), 1)) for n in total ** (1 / axes) * uneven)
