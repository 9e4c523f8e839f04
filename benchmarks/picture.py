"""The picture of a suite: for each cell a bar for every peer, its time divided by sash's, on a logarithmic scale.

References, which are no contenders, are outlined only.

Imports: trial (its records), report, peers; Matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

from benchmarks.peers import PEERS
from benchmarks.report import digits
from benchmarks.trial import Outcome

BAR = 0.2
"""Inches for each bar, and for the gap between cells."""
ROOM = 12
"""Times the longest bar: the end of the scale, so that names find room behind the bars."""


def draw(path: Path, suite: str, outcomes: Sequence[Outcome], caption: str) -> None:
    """Write a PNG."""
    shown = [(o, ratios) for o in outcomes if (ratios := {**o.ratios(), **o.references()})]
    shades = dict(zip(PEERS, plt.get_cmap("tab10").colors, strict=False))
    figure, axes = plt.subplots(figsize=(8.5, BAR * sum(len(ratios) + 1 for _, ratios in shown) + 1.2), layout="constrained")
    at, ticks = 0, []
    for o, ratios in shown:
        bars = sorted(((ratio, e) for e in o.entries if (ratio := ratios.get(e.name))), key=lambda bar: bar[0])
        ticks.append(at + (len(bars) - 1) / 2)
        for ratio, e in bars:
            look = {"facecolor": "none", "edgecolor": shades[e.peer]} if e.reference else {"color": shades[e.peer]}
            axes.barh(at, ratio - 1, left=1, height=0.85, **look)
            text = f"{digits(ratio)}  {e.name}{' (not counted)' * e.reference}"
            axes.annotate(text, (max(ratio, 1), at), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7)
            at += 1
        at += 1
    reach = [ratio for _, ratios in shown for ratio in ratios.values()]
    axes.set_xscale("log")
    axes.set_xlim(min(*reach, 1) / 1.3, max(*reach, 1) * ROOM)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(ticks, [o.name for o, _ in shown], fontsize=8)
    axes.set_ylim(at - 1, -1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("time / sash's time: right of the line sash is faster")
    axes.set_title(f"{suite}\n{caption}", fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)
