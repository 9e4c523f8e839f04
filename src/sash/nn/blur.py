"""Gaussian blur as a layer.     x (N, C, *S), blurred along S"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sash.errors import ArgumentError, KindError
from sash.ops.filters import check_boundary
from sash.ops.gaussian import blur_sizes, gaussian_blur
from sash.window import ints


class GaussianBlur(nn.Module):
    """Gaussian blur with a fixed standard deviation, or one that is learnt.

    Parameters
    ----------
    sigma : number, or one per blurred axis
        In samples.
    learnable : bool, default False
        Whether sigma is a parameter. Its logarithm is learnt, so that it stays above 0; the number of taps stays
        what `size`, or the first sigma, makes it.
    axes : optional
        Axes to blur. Default: all behind the first two, (N, C).
    size : int or one per axis, optional
        Taps, odd. Default: ``2 * int(truncate * sigma + 0.5) + 1``; for a sigma that may grow give more.
    order, truncate, boundary
        As in `sash.gaussian_blur`.

    Attributes
    ----------
    sigma : (1,) or one per axis
    log_sigma : parameter, where learnable

    Examples
    --------
    >>> import torch, sash
    >>> layer = sash.nn.GaussianBlur(1.5, learnable=True)
    >>> y = layer(torch.rand(1, 3, 16, 16))
    >>> y.mean().backward()
    >>> layer.log_sigma.grad.shape
    torch.Size([1])
    """

    def __init__(
        self, sigma: Any, *, learnable: bool = False, axes: Any = None, size: Any = None, order: Any = 0, truncate: float = 4.0,
        boundary: str = "symmetric", device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        try:
            values = np.atleast_1d(np.asarray(sigma, np.float64)).tolist()
        except (TypeError, ValueError):
            raise KindError(f"sigma={sigma!r} must be a number, or one per axis (in samples).") from None
        check_boundary(boundary)
        count = max([len(v) for v in (values, order, size) if hasattr(v, "__len__")])
        taps = blur_sizes(values if len(values) > 1 else values[0], order, truncate, size, count)
        self.learnable, self.order, self.truncate, self.boundary = learnable, order, truncate, boundary
        self.axes = axes if axes is None else ints("axes", axes)
        self.size = size if size is not None or not learnable else (taps if len(set(taps)) > 1 else taps[0])
        self.fixed = tuple(values) if len(values) > 1 else values[0]
        if learnable:
            if min(values) <= 0:
                raise ArgumentError(f"sigma={sigma!r} must be above 0 to be learnt; its logarithm is the parameter.")
            self.log_sigma = nn.Parameter(torch.tensor(values, device=device, dtype=dtype).log())

    @property
    def sigma(self) -> Tensor:
        """The standard deviations in use."""
        if self.learnable:
            return self.log_sigma.exp()
        return torch.tensor(self.fixed).reshape(-1)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, *S) to the same shape."""
        axes = tuple(range(2, x.ndim)) if self.axes is None else self.axes
        sigma: Any = self.fixed
        if self.learnable:
            sigma = self.sigma if len(self.log_sigma) > 1 else self.sigma[0]
        found: Tensor = gaussian_blur(x, sigma, axes=axes, size=self.size, order=self.order, truncate=self.truncate, boundary=self.boundary)
        return found

    def extra_repr(self) -> str:
        told = f"sigma={self.sigma.tolist() if self.learnable else self.fixed}, learnable={self.learnable}"
        for name, usual in (("axes", None), ("size", None), ("order", 0), ("truncate", 4.0), ("boundary", "symmetric")):
            told += "" if getattr(self, name) == usual else f", {name}={getattr(self, name)!r}"
        return told
