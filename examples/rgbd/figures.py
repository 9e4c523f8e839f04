"""The two pictures: three variants beside each other on generated scenes, and one network on the real pair.

Imports: metrics, scenes, network, stereo, training (their records); Matplotlib.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from rgbd.metrics import Spread
from rgbd.network import VARIANTS
from rgbd.scenes import LABELS
from rgbd.stereo import Pair
from rgbd.training import Scenes

Array = NDArray[Any]

SHADES = ListedColormap(["#999933", "#88ccee", "#ddcc77", "#cc6677", "#aa4499"])
"""Of the labels: Paul Tol's muted colours, told apart by all eyes."""
TAPS = {"near": "#d55e00", "middle": "#bbbbbb", "far": "#0072b2", "outside": "#000000", "missing": "#ffffff", "padding": "#eeddcc"}


def compared(path: Path, spreads: Sequence[Spread], weights: Mapping[str, int], scenes: Scenes, answers: Mapping[str, Array]) -> None:
    """Mean IoU of each variant with every seed and the standard deviation; below it, scenes with everyone's answer."""
    rows, columns = len(scenes), 3 + len(answers)
    figure = plt.figure(figsize=(2.1 * columns, 2.3 + 1.65 * rows), layout="constrained")
    top, below = figure.subfigures(2, 1, height_ratios=(2.3, 1.65 * rows))
    bars(top.subplots(), spreads, weights)
    axes = below.subplots(rows, columns, squeeze=False)
    for i, line in enumerate(axes):
        image, depth, truth = scenes.image[i].numpy(), scenes.depth[i].numpy(), scenes.labels[i].numpy()
        show(line[0], image.transpose(1, 2, 0), "image")
        show(line[1], np.where(depth > 0, depth, np.nan), "measured depth", cmap="viridis")
        maps = {"truth": truth} | {VARIANTS[variant].title: labels[i] for variant, labels in answers.items()}
        for at, (name, labels) in zip(line[2:], maps.items(), strict=True):
            show(at, labels, fill(name, 28), cmap=SHADES, vmin=0, vmax=len(LABELS) - 1, interpolation="nearest")
    for at in axes[1:].flat:
        at.set_title("")
    below.legend(handles=keys(), loc="outside lower center", ncols=len(LABELS), frameon=False, fontsize=8)
    write(figure, path)


def bars(axes: Axes, spreads: Sequence[Spread], weights: Mapping[str, int]) -> None:
    """One bar a variant; its seeds are dots."""
    for at, spread in enumerate(spreads):
        axes.barh(at, spread.mean, xerr=np.nan_to_num(spread.deviation), color="#88aacc", height=0.6, capsize=4)
        axes.plot(spread.values, [at] * len(spread.values), "o", color="black", markersize=3)
        end = max(*spread.values, spread.mean + float(np.nan_to_num(spread.deviation)))
        axes.annotate(str(spread), (end, at), xytext=(8, 0), textcoords="offset points", va="center", fontsize=8)
    names = [f"{VARIANTS[s.variant].title}\n{weights[s.variant]:,} weights" for s in spreads]
    axes.set_yticks(range(len(spreads)), names, fontsize=8)
    axes.set_xlim(0, 1.25 * max(max(s.values) for s in spreads))
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= 1])
    axes.invert_yaxis()
    axes.set_xlabel("mean IoU on generated scenes that nobody trained on (bar: mean, line: standard deviation, dots: seeds)", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def looked(path: Path, title: str, pair: Pair, labels: Array, shares: Mapping[str, Mapping[str, float]], taps: Array) -> None:
    """The real pair: image, depth, result; which plane the taps of each pixel read, and the shares in every geometry."""
    figure = plt.figure(figsize=(15, 5.2), layout="constrained")
    top, below = figure.subfigures(2, 1, height_ratios=(2.6, 2.6))
    axes = top.subplots(1, 5)
    photo, depth = pair.image.transpose(1, 2, 0), np.where(pair.depth > 0, pair.depth, np.nan)
    show(axes[0], photo, f"image, {pair.spacing} × {pair.spacing} calibrated pixels to one")
    near, far = np.nanmin(depth), np.nanmax(depth)
    show(axes[1], depth, f"depth, {near:.1f} to {far:.1f} m, {pair.missing:.1%} missing (white)", cmap="viridis")
    read = taps @ np.array([to_rgb(TAPS[name]) for name in ("near", "middle", "far", "outside")])
    show(axes[2], read, "planes read by the 3 × 3 taps of each pixel")
    show(axes[3], labels, f"what {title} sees", cmap=SHADES, vmin=0, vmax=len(LABELS) - 1, interpolation="nearest")
    show(axes[4], 0.5 * photo + 0.5 * SHADES(labels)[..., :3], "the same over the image")
    top.legend(handles=keys(), loc="outside lower right", ncols=len(LABELS), frameon=False, fontsize=8)
    stacked(below.subplots(), shares)
    write(figure, path)


def stacked(axes: Axes, shares: Mapping[str, Mapping[str, float]]) -> None:
    """One bar a geometry, cut into the shares of its taps."""
    left = np.zeros(len(shares))
    for name, colour in TAPS.items():
        part = np.array([share[name] for share in shares.values()])
        axes.barh(range(len(shares)), part, left=left, color=colour, label=name, edgecolor="black", linewidth=0.4)
        left += part
    axes.set_yticks(range(len(shares)), list(shares), fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_title("shares of taps, for each geometry of the network", fontsize=9)
    axes.legend(ncols=len(TAPS), loc="upper center", bbox_to_anchor=(0.5, -0.1), frameon=False, fontsize=8)


def show(axes: Axes, picture: Array, title: str, **settings: Any) -> Any:
    """A picture without an axis."""
    axes.set_axis_off()
    axes.set_title(title, fontsize=9)
    return axes.imshow(picture, **settings)


def keys() -> list[Patch]:
    """What each shade is called."""
    return [Patch(color=SHADES(i), label=name) for i, name in enumerate(LABELS)]


def write(figure: Figure, path: Path) -> None:
    """A PNG, whole or not at all."""
    beside = path.with_suffix(".part")
    figure.savefig(beside, format="png", dpi=110)
    plt.close(figure)
    os.replace(beside, path)
