"""One small network in several variants, alike but for what they do with depth.

Two blocks at full resolution, three at half with growing dilation, one back at full.  A variant with planes shares the plane
map of blocks that look at the same taps: five geometries for seven blocks.
image (N, 3, H, W)   depth (N, H, W) metres, not positive where missing   focal (N,) pixels   scores (N, classes, H, W).
Imports: torch, sash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rgbd.scenes import LABELS
from sash import depth_planes, depth_report
from sash.nn import Conv2_5d

KERNEL = 3


@dataclass(frozen=True)
class Variant:
    """What a network may know of depth."""

    title: str
    channel: bool = False
    """Depth is a fourth channel."""
    planes: int = 0
    """Depth chooses among this many planes of weights; 0: conv2d."""
    widening: float = 1.0
    """Channels relative to the others."""


VARIANTS = {
    "rgb": Variant("conv2d"),
    "rgbd": Variant("conv2d, depth as 4th channel", channel=True),
    "planes": Variant("Conv2_5d", planes=3),
    "wide": Variant("conv2d, 4th channel, weights of Conv2_5d", channel=True, widening=1.73),
    "both": Variant("Conv2_5d, depth as 4th channel too", channel=True, planes=3),
}
COMPARED = ("rgb", "rgbd", "planes")


@dataclass(frozen=True)
class Geometry:
    """Where the taps of a block lie: its input has one pixel for every `spacing` of the image."""

    spacing: int = 1
    stride: int = 1
    dilation: int = 1

    def settings(self) -> dict[str, int]:
        """As convolutions take them; the padding keeps the size, but for the stride."""
        return {"stride": self.stride, "padding": self.dilation, "dilation": self.dilation}

    def picked(self, depth: Tensor) -> Tensor:
        """Depth at the block's input: picked, never averaged, for the mean across an edge is a place where nothing is."""
        return depth[:, :: self.spacing, :: self.spacing]

    def map(self, depth: Tensor, planes: int, focal: Tensor, spacing: float) -> Tensor:
        """Which plane each tap reads."""
        return depth_planes(self.picked(depth), KERNEL, planes=planes, focal=focal, spacing=self.spacing * spacing, **self.settings())

    def report(self, depth: Tensor, planes: int, focal: float, spacing: float) -> Any:
        """How many taps read each plane."""
        return depth_report(self.picked(depth), KERNEL, planes=planes, focal=focal, spacing=self.spacing * spacing, **self.settings())

    def __str__(self) -> str:
        parts = {"every 2nd pixel": self.spacing == 2, "stride 2": self.stride == 2, f"dilation {self.dilation}": self.dilation > 1}
        return ", ".join(part for part, said in parts.items() if said) or "every pixel"


class Block(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, ins: int, outs: int, planes: int, geometry: Geometry) -> None:
        super().__init__()
        self.geometry, self.planes = geometry, planes
        self.conv: nn.Module = nn.Conv2d(ins, outs, KERNEL, bias=False, **geometry.settings())
        if planes:  # each plane starts as the plain convolution
            self.conv = Conv2_5d.from_conv2d(self.conv, planes=planes, spacing=geometry.spacing)
        self.norm = nn.BatchNorm2d(outs)

    def forward(self, x: Tensor, maps: dict[Geometry, Tensor]) -> Tensor:
        y = self.conv(x, maps[self.geometry]) if self.planes else self.conv(x)
        return functional.relu(self.norm(y), inplace=True)


class Segmenter(nn.Module):
    """Scores for each label at each pixel."""

    def __init__(self, variant: str, width: int = 16) -> None:
        super().__init__()
        self.variant = VARIANTS[variant]
        few, planes = round(width * self.variant.widening), self.variant.planes
        many = 2 * few

        def block(ins: int, outs: int, **geometry: int) -> Block:
            return Block(ins, outs, planes, Geometry(**geometry))

        self.fine = nn.ModuleList([block(4 if self.variant.channel else 3, few), block(few, few)])
        self.coarse = nn.ModuleList(
            [block(few, many, stride=2), *(block(many, many, spacing=2, dilation=dilation) for dilation in (1, 2, 4))]
        )
        self.last = block(few + many, few)
        self.head = nn.Conv2d(few, len(LABELS), 1)

    def geometries(self) -> tuple[Geometry, ...]:
        """Of all blocks, each once."""
        return tuple(dict.fromkeys(block.geometry for block in self.modules() if isinstance(block, Block)))

    def forward(self, image: Tensor, depth: Tensor, focal: Tensor, spacing: float = 1) -> Tensor:
        """`focal` is of the image that was calibrated; this one has a pixel for every `spacing` of that one's."""
        planes = self.variant.planes
        maps = {geometry: geometry.map(depth, planes, focal, spacing) for geometry in self.geometries()} if planes else {}
        x = image - 0.5
        if self.variant.channel:
            x = torch.cat([x, depth.nan_to_num(0, 0, 0).clamp(min=0)[:, None] / 3 - 1], dim=1)
        for block in self.fine:
            x = block(x, maps)
        fine = x
        for block in self.coarse:
            x = block(x, maps)
        x = functional.interpolate(x, fine.shape[-2:], mode="bilinear", align_corners=False)
        return self.head(self.last(torch.cat([fine, x], dim=1), maps))


def weights(network: nn.Module) -> int:
    """How many numbers are learnt."""
    return sum(parameter.numel() for parameter in network.parameters())
