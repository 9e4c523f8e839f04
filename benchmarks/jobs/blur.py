"""Gaussian blur of an image, a volume or a line, cut at 4 sigma, the borders mirrored about their edge, or zeros outside.

x (*S)   y like x, or of type `result`       Imports: truth, SciPy for the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from benchmarks.truth import Array, Truth, rounding

NDIMAGE = {"symmetric": "reflect", "mirror": "mirror", "constant": "constant"}
"""Boundaries in SciPy's words."""


@dataclass(frozen=True, slots=True)
class Blur:
    """`sash.gaussian_blur`."""

    kind: ClassVar[str] = "blur"
    shape: tuple[int, ...]
    sigma: float
    dtype: str = "float32"
    result: str = ""
    """The result's type where it is not x's own."""
    axes: tuple[int, ...] = ()
    """Axes to blur; all of them where none is named."""
    size: int = 0
    """Taps, instead of a cut at 4 sigma."""
    boundary: str = "symmetric"
    """In sash's words; peers know "symmetric", "mirror" (about the last sample, not behind it) and "constant" (zeros)."""

    def given(self) -> tuple[Any, ...]:
        rng = np.random.default_rng(sum(self.shape))
        kind = np.dtype(self.dtype)
        if kind.kind == "f":
            return (rng.standard_normal(self.shape, kind.type),)
        return (rng.integers(0, np.iinfo(kind).max + 1, self.shape, kind),)

    def ours(self, *given: Any) -> Callable[[], Array]:
        import sash

        (x,) = given
        settings: dict[str, Any] = {"axes": self.blurred, "size": self.size or None, "dtype": self.result or None}
        settings["boundary"] = self.boundary
        return lambda: sash.gaussian_blur(x, self.sigma, **settings)

    def truth(self, *given: Any) -> Truth:
        from scipy import ndimage

        (x,) = given
        settings: dict[str, Any] = {"axes": self.blurred, "radius": self.radius, "mode": NDIMAGE[self.boundary]}
        values = ndimage.gaussian_filter(x, self.sigma, output=np.float64, **settings)
        return Truth(x.shape, values, self.allowed(x))

    def allowed(self, x: Array) -> float:
        """The error that passes: one level where the result is rounded to integers."""
        return 1.0 if self.whole else rounding(self.kept, self.taps, 1.0, float(np.max(np.abs(x))))

    def work(self) -> float:
        return float(prod(self.shape) * (2 * self.radius + 1) * len(self.blurred))

    @property
    def blurred(self) -> tuple[int, ...]:
        return self.axes or tuple(range(len(self.shape)))

    @property
    def radius(self) -> int:
        return self.size // 2 if self.size else int(4 * self.sigma + 0.5)

    @property
    def taps(self) -> int:
        """Of the dense kernel."""
        return int((2 * self.radius + 1) ** len(self.blurred))

    @property
    def kept(self) -> str:
        """The type of the result: small integers are blurred to float32."""
        return self.result or (self.dtype if np.dtype(self.dtype).kind == "f" else "float32")

    @property
    def whole(self) -> bool:
        """Whether the result is rounded to integers."""
        return np.dtype(self.kept).kind in "iu"

    def weights(self) -> Array:
        """The 1-D kernel in float64, for peers that want one."""
        at = np.arange(-self.radius, self.radius + 1)
        taps = np.exp(-0.5 * (at / self.sigma) ** 2)
        return np.asarray(taps / taps.sum())
