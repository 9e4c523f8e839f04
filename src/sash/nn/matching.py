"""Template similarity as a layer.     x (N, C, *S)   weight (O, C, *K), a bank of templates   score (N, O, *out)"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sash.errors import ArgumentError, unknown
from sash.nn.convolution import spread
from sash.ops.similarity import METRICS, similarity


class Similarity(nn.Module):
    """How alike each window of x and each template of a bank are; the bank is learnt.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of x and of each template; number of templates.
    kernel_size : int or one per axis
    metric : {"zncc", "ncc", "ssd", "sad"}, default "zncc"
        As in `sash.similarity`. The gradient of "sad" is a subgradient: that of |x - t| is 0 where x = t.
    stride : default 1;  padding : default "valid"
    data_range : optional
        R of "sad" and "ssd".
    ndim : int, optional
        Number of spatial axes, where `kernel_size` is one number. Default: 2.

    Attributes
    ----------
    weight : (O, C, *K), starts as uniform noise in [0, 1)

    Examples
    --------
    >>> import torch, sash
    >>> eyes = torch.rand(5, 3, 7, 7)
    >>> layer = sash.nn.Similarity.from_templates(eyes, metric="ncc")
    >>> layer(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 5, 26, 26])
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, *, metric: str = "zncc", stride: Any = 1, padding: Any = "valid",
        data_range: float | None = None, ndim: int | None = None, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if metric not in METRICS:
            raise unknown("metric", metric, METRICS)
        if in_channels < 1 or out_channels < 1:
            raise ArgumentError(f"in_channels={in_channels} and out_channels={out_channels} must be at least 1.")
        self.metric, self.stride, self.padding, self.data_range = metric, stride, padding, data_range
        shape = (out_channels, in_channels, *spread(kernel_size, ndim, 8))
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """New random templates."""
        nn.init.uniform_(self.weight)

    @classmethod
    def from_templates(cls, bank: Any, **settings: Any) -> Similarity:
        """A layer that starts with these templates, (O, C, *K)."""
        bank = torch.as_tensor(bank)
        if bank.ndim < 3:
            raise ArgumentError(f"bank has shape {tuple(bank.shape)}; give (templates, channels, *extents).")
        made = cls(bank.shape[1], bank.shape[0], tuple(bank.shape[2:]), device=bank.device, dtype=bank.dtype, **settings)
        with torch.no_grad():
            made.weight.copy_(bank)
        return made

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, *S) to scores (N, O, *out)."""
        found: Tensor = similarity(
            x, self.weight, metric=self.metric, stride=self.stride, padding=self.padding, channel_axis=0, data_range=self.data_range,
            bank=True,
        )  # fmt: skip
        return found

    def extra_repr(self) -> str:
        out, channels, *sizes = self.weight.shape
        told = f"{channels}, {out}, kernel_size={tuple(sizes)}, metric={self.metric!r}"
        for name, usual in (("stride", 1), ("padding", "valid"), ("data_range", None)):
            told += "" if getattr(self, name) == usual else f", {name}={getattr(self, name)!r}"
        return told
