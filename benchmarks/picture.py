"""The picture of a suite: for each cell a bar for every peer, its time divided by sash's, on a logarithmic scale.

Imports: trial (its records); Matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

from benchmarks.trial import Outcome

BAR = 0.2
"""Inches for each bar, and for the gap between cells."""


def draw(path: Path, suite: str, outcomes: Sequence[Outcome], caption: str) -> None:
    """Write a PNG."""
    shown = [o for o in outcomes if o.ratios()]
    names = list(dict.fromkeys(name for o in shown for name in o.ratios()))
    shades = plt.get_cmap("tab20" if len(names) > 10 else "tab10").colors
    colour = {name: shades[i % len(shades)] for i, name in enumerate(names)}
    bars = sum(len(o.ratios()) + 1 for o in shown)
    figure, axes = plt.subplots(figsize=(8.5, BAR * bars + 1.6), layout="constrained")
    at, ticks = 0.0, []
    for o in shown:
        ratios = sorted(o.ratios().items(), key=lambda item: item[1])
        ticks.append(at + (len(ratios) - 1) / 2)
        for name, ratio in ratios:
            axes.barh(at, ratio - 1, left=1, color=colour[name], height=0.85)
            place = {"xytext": (3 if ratio >= 1 else -3, 0), "ha": "left" if ratio >= 1 else "right"}
            axes.annotate(
                f"{ratio:.2g}" if ratio < 100 else f"{ratio:.0f}", (ratio, at), textcoords="offset points", va="center", fontsize=7, **place
            )
            at += 1
        at += 1
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(ticks, [o.name for o in shown], fontsize=8)
    axes.set_ylim(at - 1, -1)
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.set_xlabel("time / sash's time: right of the line sash is faster")
    axes.set_title(f"{suite}\n{caption}", fontsize=9)
    axes.legend([plt.Rectangle((0, 0), 1, 1, color=c) for c in colour.values()], list(colour), fontsize=7, loc="best")
    figure.savefig(path, dpi=110)
    plt.close(figure)
