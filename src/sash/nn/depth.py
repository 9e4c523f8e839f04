"""The 2.5-D convolution layer.     x (N, C, H, W)   depth (N, H, W)   weight (L, O, C/groups, h, w)   bias (O,)"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sash.errors import ArgumentError
from sash.nn.convolution import fan_in, spread
from sash.ops.depth import conv2_5d
from sash.ops.planes import Settings, geometry


class Conv2_5d(nn.Module):
    """2.5-D convolution of an RGB-D image: a tap's depth beside the centre's chooses its plane of weights.

    All planes start equal, with the fan-in of one: until depth has taught them otherwise the layer is a plain
    convolution of what lies in its bins.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or (h, w), odd
    planes : int, default 3
        L; odd for ``missing="center"``. On floors and other slants 3 leave many taps outside all bins, where they read
        nothing: `sash.depth_report` tells how many (see `sash.depth_planes`).
    focal : number, optional
        Focal length in pixels of the calibrated image; may be given to `forward` instead, one per image.
    spacing : default 1
        Pixels of that image per step of x (4 behind a downsampling by 4).
    stride, padding, dilation, groups, missing
        As in `sash.conv2_5d`.
    bias : bool, default True
    device, dtype : of the parameters

    Attributes
    ----------
    weight : (L, O, C/groups, h, w), plane 0 the nearest
    bias : (O,) or None

    Examples
    --------
    >>> import torch, sash
    >>> layer = sash.nn.Conv2_5d(3, 32, 5, padding=2, focal=500.0)
    >>> layer(torch.rand(2, 3, 64, 64), 1 + torch.rand(2, 64, 64)).shape
    torch.Size([2, 32, 64, 64])

    Source: Xing, Wang, Chen & Zeng 2019, doi:10.1109/ICIP.2019.8803757.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, *, planes: int = 3, focal: Any = None, spacing: float = 1.0,
        stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True, missing: str = "center",
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, spread(kernel_size, 2, 2)
        self.planes, self.focal, self.spacing, self.missing = planes, focal, spacing, missing
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        for name, count in (("in_channels", in_channels), ("out_channels", out_channels)):
            if count < 1 or groups < 1 or count % groups:
                raise ArgumentError(f"groups={groups} must divide {name}={count}.")
        large = (1, 1 << 20, 1 << 20)
        geometry(large, self.kernel_size, planes, Settings(focal, spacing, stride, padding, dilation, missing))
        shape = (planes, out_channels, in_channels // groups, *self.kernel_size)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """New random weights, equal in all planes."""
        with torch.no_grad():
            fan_in(self.weight[0], self.bias, self.weight[0, 0].numel())
            self.weight[1:] = self.weight[0]

    @classmethod
    def from_conv2d(
        cls, layer: nn.Module, *, planes: int = 3, focal: Any = None, spacing: float = 1.0, missing: str = "center"
    ) -> Conv2_5d:
        """A 2-D layer (`torch.nn.Conv2d`, or `Conv` over two axes) with its weight in every plane.

        >>> import torch, sash
        >>> plain = torch.nn.Conv2d(3, 8, 3, padding=1)
        >>> layer = sash.nn.Conv2_5d.from_conv2d(plain, focal=500.0)
        >>> image, wall = torch.rand(1, 3, 8, 8), torch.full((1, 8, 8), 2.0)
        >>> torch.allclose(layer(image, wall), plain(image), atol=1e-6)
        True
        """
        weight: Any = layer.weight
        mode = getattr(layer, "padding_mode", "zeros")
        if mode != "zeros" or getattr(layer, "boundary", "constant") != "constant":
            raise ArgumentError(
                f"the layer pads by {getattr(layer, 'boundary', mode)!r}, and 2.5-D convolution reads nothing outside the image."
            )
        if (
            weight.ndim != 4
            or getattr(layer, "transposed", False)
            or getattr(layer, "data_format", "channels_first") in ("channels_last", "NHWC")
        ):
            raise ArgumentError(
                f"{type(layer).__name__} is no 2-D convolution with a weight (O, C/groups, h, w); its weight has shape {tuple(weight.shape)}."
            )
        padding: Any = layer.padding
        if isinstance(padding, tuple) and all(isinstance(p, int) for p in padding):
            padding = tuple((p, p) for p in padding)
        made = cls(
            layer.in_channels, layer.out_channels, tuple(weight.shape[2:]), planes=planes, focal=focal, spacing=spacing,  # type: ignore[arg-type]
            stride=layer.stride, padding=padding, dilation=layer.dilation, groups=layer.groups, bias=layer.bias is not None,  # type: ignore[arg-type]
            missing=missing, device=weight.device, dtype=weight.dtype,
        )  # fmt: skip
        with torch.no_grad():
            made.weight[:] = weight
            if made.bias is not None:
                made.bias.copy_(layer.bias)  # type: ignore[arg-type]
        return made

    def forward(self, x: Tensor, depth: Tensor, focal: Any = None) -> Tensor:
        """x (N, C, H, W) and depth (N, H, W), or planes from `sash.depth_planes`, to (N, O, OH, OW)."""
        found: Tensor = conv2_5d(
            x, depth, self.weight, self.bias, focal=self.focal if focal is None else focal, spacing=self.spacing, stride=self.stride,
            padding=self.padding, dilation=self.dilation, groups=self.groups, missing=self.missing,
        )  # fmt: skip
        return found

    def extra_repr(self) -> str:
        told = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, planes={self.planes}"
        usual = {"focal": None, "spacing": 1.0, "stride": 1, "padding": 0, "dilation": 1, "groups": 1, "missing": "center"}
        for name, value in usual.items():
            told += "" if getattr(self, name) == value else f", {name}={getattr(self, name)!r}"
        return told if self.bias is not None else f"{told}, bias=False"
