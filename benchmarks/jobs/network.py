"""Convolution as networks have it, summed over channels, and its transpose; zeros outside.

x (N, C, *S)   weight (O, C/groups, *K), transposed (C, O/groups, *K)   y (N, O, *out)       Imports: truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from benchmarks.truth import Array, Truth, positions, rounding

PAIRS = 64
"""Of an output and an input, past which nobody would filter plane by plane."""


@dataclass(frozen=True, slots=True)
class Network:
    """`sash.conv`, or `sash.conv_transpose`, padded so that an odd kernel without a stride keeps the extent."""

    kind: ClassVar[str] = "network"
    inputs: int
    outputs: int
    shape: tuple[int, ...]
    size: int
    """Taps along every axis."""
    batch: int = 1
    stride: int = 1
    groups: int = 1
    transposed: bool = False
    tensors: bool = False
    """PyTorch's are handed to sash, instead of arrays."""

    def given(self) -> tuple[Any, ...]:
        """x and the weights."""
        rng = np.random.default_rng(self.inputs + self.outputs + sum(self.shape))
        ends = (self.inputs, self.outputs // self.groups) if self.transposed else (self.outputs, self.inputs // self.groups)
        x = rng.standard_normal((self.batch, self.inputs, *self.shape), np.float32)
        return x, rng.standard_normal((*ends, *self.sizes), np.float32)

    def ours(self, *given: Any) -> Callable[[], Array]:
        import sash

        verb = sash.conv_transpose if self.transposed else sash.conv
        x, weight = as_tensors(given) if self.tensors else given
        settings: dict[str, Any] = {"stride": self.stride, "padding": self.padding, "groups": self.groups}
        return lambda: verb(x, weight, **settings)

    def truth(self, *given: Any) -> Truth:
        """By the definition, at sampled positions: tap by tap, all channels of the group at once."""
        x, weight = given
        per_in, per_out = self.inputs // self.groups, self.outputs // self.groups
        at = positions((self.batch, self.outputs, *self.out))
        n, o, *places = at
        channels = o[:, None] // per_out * per_in + np.arange(per_in)
        values = np.zeros(len(n))
        for tap in np.ndindex(*self.sizes):
            inside, read = np.ones(len(n), bool), []
            for j, t, extent in zip(places, tap, self.shape, strict=True):
                i = j + self.padding - t if self.transposed else j * self.stride + t - self.padding
                if self.transposed:
                    inside &= i % self.stride == 0
                    i = i // self.stride
                inside &= (i >= 0) & (i < extent)
                read.append(np.clip(i, 0, extent - 1)[:, None])
            ends = (channels, o[:, None] % per_out) if self.transposed else (o[:, None], np.arange(per_in))
            seen = x[n[:, None], channels, *read].astype(np.float64)
            values += inside * (seen * weight[*ends, *tap]).sum(1)
        grouped = weight.reshape(self.groups, -1, *weight.shape[1:2], prod(self.sizes))
        mass = float(np.abs(grouped).sum((1, 3) if self.transposed else (2, 3)).max())
        return Truth((self.batch, self.outputs, *self.out), values, rounding("float32", self.taps, mass, float(np.max(np.abs(x)))), at)

    def work(self) -> float:
        """Of every read with every weight that it meets; what falls on padding is counted too."""
        ends = self.shape if self.transposed else self.out
        return float(self.batch * prod(ends) * self.inputs * self.outputs // self.groups * prod(self.sizes))

    def summed(self, x: Array, filtered: Callable[[Array, int, int], Array]) -> Array:
        """For peers that know no channels: each output from the planes that it reads, one after the other, then the stride.

        `filtered` is given a plane, the output, and the plane's place in the group; it keeps the extent.
        """
        per_in, per_out = self.inputs // self.groups, self.outputs // self.groups
        every = (slice(None, None, self.stride),) * len(self.shape)
        y = np.zeros((self.batch, self.outputs, *self.out), x.dtype)
        for n, o, c in np.ndindex(self.batch, self.outputs, per_in):
            y[n, o] += filtered(x[n, o // per_out * per_in + c], o, c)[every]
        return y

    @property
    def few(self) -> bool:
        """Whether `summed` is something that anyone would do."""
        return not self.transposed and self.size % 2 == 1 and self.outputs * self.inputs // self.groups <= PAIRS

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.size,) * len(self.shape)

    @property
    def padding(self) -> int:
        """On each side."""
        return (self.size - 1) // 2

    @property
    def taps(self) -> int:
        """Terms of an output, at most."""
        return self.inputs // self.groups * prod(self.sizes)

    @property
    def out(self) -> tuple[int, ...]:
        more = self.size - 2 * self.padding
        if self.transposed:
            return tuple((n - 1) * self.stride + more for n in self.shape)
        return tuple((n - more) // self.stride + 1 for n in self.shape)


def as_tensors(arrays: tuple[Array, ...]) -> tuple[Any, ...]:
    """PyTorch's tensors on the same memory."""
    import torch

    return tuple(torch.from_numpy(a) for a in arrays)
