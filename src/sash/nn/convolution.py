"""Convolution layers.     x (N, C, *S)   weight (O, C/groups, *K)   bias (O,)       or channels last (see `sash.conv`)"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from sash.errors import ArgumentError
from sash.ops.conv import conv, conv_transpose
from sash.ops.layout import FORMATS, MOST, Settings
from sash.window import ints


def spread(size: Any, ndim: int | None, most: int = MOST) -> tuple[int, ...]:
    """Taps per axis: as given, or one number for `ndim` axes (default: two)."""
    found = ints("kernel_size", size)
    taps = found if isinstance(found, tuple) else (found,) * (2 if ndim is None else ndim)
    if ndim is not None and len(taps) != ndim:
        raise ArgumentError(f"kernel_size={size!r} is for {len(taps)} axes and ndim={ndim}; they must agree.")
    if not 1 <= len(taps) <= most or min(taps) < 1:
        raise ArgumentError(f"kernel_size={size!r} over {len(taps)} axes: 1 to {most} axes of at least one tap each are possible.")
    return taps


def fan_in(weight: Tensor, bias: Tensor | None, count: int) -> None:
    """Fill both as PyTorch's layers are: uniform within 1 / sqrt(count), `count` being the terms of one output.

    Source: He et al. 2015, doi:10.1109/ICCV.2015.123, with a = sqrt(5).
    """
    bound = max(count, 1) ** -0.5
    nn.init.uniform_(weight, -bound, bound)
    if bias is not None:
        nn.init.uniform_(bias, -bound, bound)


class _Layer(nn.Module):
    """What both directions share."""

    def __init__(
        self,
        channels: tuple[int, int],
        outer: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        bias: bool,
        boundary: str,
        data_format: str,
        ndim: int | None,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = channels
        self.kernel_size = spread(kernel_size, ndim)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.boundary, self.data_format = boundary, data_format
        Settings(stride, padding, dilation, groups, boundary, 0.0, data_format).plain()
        for name, count in zip(("in_channels", "out_channels"), channels, strict=True):
            if count < 1 or groups < 1 or count % groups:
                raise ArgumentError(f"groups={groups} must divide {name}={count}.")
        inner = sum(channels) - outer
        shape = (outer, inner // groups, *self.kernel_size)
        if FORMATS[data_format][0]:
            shape = (*self.kernel_size, inner // groups, outer)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(self.out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """New random weights."""
        with torch.no_grad():
            fan_in(self.weight, self.bias, self.in_channels // self.groups * prod(self.kernel_size))

    def extra_repr(self) -> str:
        told = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        for name, usual in (
            ("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1), ("boundary", "constant"), ("data_format", "channels_first"),
            ("output_padding", 0),
        ):  # fmt: skip
            value = getattr(self, name, usual)
            told += "" if value == usual else f", {name}={value!r}"
        return told if self.bias is not None else f"{told}, bias=False"


class Conv(_Layer):
    """Convolution over 1 to 4 axes, with any boundary and any padding on each side.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or one per axis
    stride, padding, dilation, groups, boundary, data_format
        As in `sash.conv`.
    bias : bool, default True
    ndim : int, optional
        Number of spatial axes, where `kernel_size` is one number. Default: 2.
    device, dtype : of the parameters

    Attributes
    ----------
    weight : (O, C/groups, *K), or (*K, C/groups, O) for channels last
    bias : (O,) or None

    Examples
    --------
    >>> import torch, sash
    >>> layer = sash.nn.Conv(4, 4, 3, padding="same", groups=4, boundary="wrap")      # depthwise, on a torus
    >>> layer(torch.ones(2, 4, 8, 8)).shape
    torch.Size([2, 4, 8, 8])
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
        groups: int = 1, bias: bool = True, boundary: str = "constant", data_format: str = "channels_first", ndim: int | None = None,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            (in_channels, out_channels), out_channels, kernel_size, stride, padding, dilation, groups, bias, boundary, data_format,
            ndim, device, dtype,
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, *S) to (N, O, *out)."""
        found: Tensor = conv(
            x, self.weight, self.bias, stride=self.stride, padding=self.padding, dilation=self.dilation, groups=self.groups,
            boundary=self.boundary, data_format=self.data_format,
        )  # fmt: skip
        return found


class ConvTranspose(_Layer):
    """Transposed convolution: the adjoint of `Conv` with the same settings, boundaries included.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, boundary, data_format, ndim, device, dtype
        As `Conv`; stride and padding are those of the forward operation, as in `sash.conv_transpose`.
    output_padding : int or one per axis, default 0
        How much larger than the smallest the result is, where `forward` is given no `output_shape`.

    Attributes
    ----------
    weight : (C, O/groups, *K), or (*K, O/groups, C) for channels last
    bias : (O,) or None

    Examples
    --------
    >>> import torch, sash
    >>> layer = sash.nn.ConvTranspose(8, 3, 3, stride=2, padding="same")
    >>> layer(torch.ones(1, 8, 64, 64), output_shape=(127, 128)).shape
    torch.Size([1, 3, 127, 128])
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
        groups: int = 1, bias: bool = True, boundary: str = "constant", data_format: str = "channels_first", ndim: int | None = None,
        output_padding: Any = 0, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            (in_channels, out_channels), in_channels, kernel_size, stride, padding, dilation, groups, bias, boundary, data_format,
            ndim, device, dtype,
        )  # fmt: skip
        self.output_padding = output_padding

    def reset_parameters(self) -> None:
        """New random weights."""
        with torch.no_grad():  # PyTorch's fan-in of a transposed layer is that of the weight's second axis
            fan_in(self.weight, self.bias, self.out_channels // self.groups * prod(self.kernel_size))

    def forward(self, x: Tensor, output_shape: Any = None) -> Tensor:
        """x (N, C, *S) to (N, O, *output_shape)."""
        found: Tensor = conv_transpose(
            x, self.weight, self.bias, stride=self.stride, padding=self.padding, dilation=self.dilation, groups=self.groups,
            output_shape=output_shape, output_padding=0 if output_shape is not None else self.output_padding, boundary=self.boundary,
            data_format=self.data_format,
        )  # fmt: skip
        return found
