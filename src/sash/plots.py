"""Pictures of a crossover: a panel of time per method on one colour scale, and a panel of the winner.

Inputs go to the right, kernels up, both on logarithmic axes where sizes grow.   Imports: trials, timings, errors; matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log2, prod
from typing import TYPE_CHECKING, Any, Protocol

from sash.errors import MissingLibrary
from sash.methods import names
from sash.timings import IMPOSSIBLE, LARGE, MEASURED, MISSING, SLOW, UNABLE, Grid
from sash.trials import Shape, naming

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


COLOURS = (
    "#4477aa", "#777777", "#66ccee", "#ee6677", "#8844bb", "#ccbb44", "#228833", "#a0522d", "#e69f00", "#44aa99", "#882255", "#99aa00",
)  # fmt: skip
"""One per method, by its place in the index, so that a method has one colour in all maps (mostly Paul Tol's bright scheme)."""
HATCHES = {SLOW: "////", UNABLE: "....", LARGE: "xxxx", IMPOSSIBLE: "", MISSING: "\\\\"}
"""What covers a cell that has no time."""
WORDS = {
    SLOW: "predicted far slower, not run",
    UNABLE: "the method cannot",
    LARGE: "too large for memory",
    IMPOSSIBLE: "kernel larger than input",
    MISSING: "not reached",
}
PALE = "#e9e9e9"
OUTLINE = "#ff3b30"
ACROSS = 3
"""Panels beside each other."""


class Drawable(Protocol):
    """What is read of a map."""

    @property
    def title(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def inputs(self) -> tuple[Shape, ...]: ...
    @property
    def kernels(self) -> tuple[Shape, ...]: ...
    @property
    def methods(self) -> tuple[str, ...]: ...
    @property
    def times(self) -> Mapping[str, Grid]: ...
    @property
    def states(self) -> Mapping[str, Grid]: ...
    @property
    def chosen(self) -> Grid: ...
    @property
    def winner(self) -> Grid: ...
    @property
    def machine(self) -> Mapping[str, Any]: ...
    @property
    def disagreements(self) -> tuple[tuple[int, int, float], ...]: ...
    def state(self, i: int, j: int) -> str: ...


def ready() -> None:
    """Refuse where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as missing:
        raise MissingLibrary(f'Pictures of a crossover need {missing.name}: pip install "sash[plot]"') from None


def draw(found: Drawable) -> Figure:
    """The figure of a map."""
    ready()
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    seconds = [t for grid in found.times.values() for row in grid for t in row if t is not None]
    low, high = (min(seconds), max(seconds)) if seconds else (1e-3, 1.0)
    scale = LogNorm(low, high if high > low else 2 * low)
    colours = ScalarMappable(scale, colormaps["viridis"])
    columns = 2 if len(found.methods) == 4 else min(len(found.methods), ACROSS)
    rows = -(-len(found.methods) // columns)
    figure = Figure(figsize=(3.1 * columns + 6.2, max(2.7 * rows, 4.8) + 0.9), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    sides: Any = figure.subfigures(1, 2, width_ratios=(3.1 * columns + 0.6, 5.6))
    left, right = sides
    panels = list(left.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[len(found.methods) :]:
        axes.set_axis_off()
    plane = Plane(found)
    for at, method in enumerate(found.methods):
        _time(panels[at], plane, method, colours)
        if at % columns:
            panels[at].set_yticklabels([])
        else:
            panels[at].set_ylabel(f"kernel {plane.tall}", fontsize=8)
        if at + columns < len(found.methods):
            panels[at].set_xticklabels([])
        else:
            panels[at].set_xlabel(f"input {plane.wide}", fontsize=8)
    bar = left.colorbar(colours, ax=panels, location="bottom", shrink=0.7, aspect=40, pad=0.02)
    bar.set_label("least time measured, seconds", fontsize=9)
    winner = right.subplots()
    _winner(winner, plane)
    figure.suptitle(found.title, fontsize=12)
    machine = found.machine
    told = f"{machine.get('processor', '')}, {machine.get('threads', '?')} threads, {machine.get('date', '')}"
    figure.supxlabel(f"{found.summary}  ·  {told}", fontsize=8, color="#555555")
    _legend(right, plane)
    return figure


class Plane:
    """Where the cells of a map lie: edges on the axis of inputs and on that of kernels."""

    def __init__(self, found: Drawable) -> None:
        self.found = found
        (self.wide, self.columns), (self.tall, self.rows) = naming(found.inputs, "n"), naming(found.kernels, "f")
        self.x, self.y = places(found.inputs), places(found.kernels)
        self.left, self.low = edges(self.x), edges(self.y)

    def box(self, i: int, j: int, inset: float = 0.0, **style: Any) -> Any:
        """The rectangle of a cell, drawn in by a share of its sides."""
        from matplotlib.patches import Rectangle

        width, height = self.left[i + 1] - self.left[i], self.low[j + 1] - self.low[j]
        corner = self.left[i] + inset * width, self.low[j] + inset * height
        return Rectangle(corner, width * (1 - 2 * inset), height * (1 - 2 * inset), **style)

    def frame(self, axes: Axes, size: float) -> None:
        """Limits, and the sizes as ticks."""
        axes.set_xlim(self.left[0], self.left[-1])
        axes.set_ylim(self.low[0], self.low[-1])
        axes.set_xticks(self.x, self.columns, fontsize=size, rotation=45 if max(map(len, self.columns)) > 5 else 0)
        axes.set_yticks(self.y, self.rows, fontsize=size)
        axes.tick_params(length=2)
        axes.set_facecolor("white")


def places(shapes: tuple[Shape, ...]) -> list[float]:
    """Where sizes stand: by their logarithm if they grow, else side by side.

    >>> places(((8, 8), (16, 16), (64, 64))), places(((9,), (3,)))
    ([3.0, 4.0, 6.0], [0.0, 1.0])
    """
    whole = [log2(prod(s)) for s in shapes]
    if any([b - a < 0.1 for a, b in zip(whole, whole[1:], strict=False)]):
        return [float(i) for i in range(len(shapes))]
    moving = max(sum(len({s[a] for s in shapes}) > 1 for a in range(len(shapes[0]))), 1)
    return [(at - whole[0]) / moving + log2(shapes[0][0]) if len(shapes) > 1 else 0.0 for at in whole]


def edges(at: list[float]) -> list[float]:
    """Borders halfway between places, and as far out at both ends.

    >>> edges([0.0, 1.0, 3.0])
    [-0.5, 0.5, 2.0, 4.0]
    """
    if len(at) == 1:
        return [at[0] - 0.5, at[0] + 0.5]
    middle = [(a + b) / 2 for a, b in zip(at, at[1:], strict=False)]
    return [2 * at[0] - middle[0], *middle, 2 * at[-1] - middle[-1]]


def colour(method: str) -> str:
    """A method's own."""
    return COLOURS[names().index(method) % len(COLOURS)] if method in names() else "#bbbbbb"


def _cells(plane: Plane) -> list[tuple[int, int]]:
    return [(i, j) for i in range(len(plane.columns)) for j in range(len(plane.rows))]


def _time(axes: Axes, plane: Plane, method: str, colours: Any) -> None:
    """The times of one method; red boxes where the planner chooses it."""
    found = plane.found
    for i, j in _cells(plane):
        seconds, state = found.times[method][i][j], found.states[method][i][j]
        if seconds is None:
            axes.add_patch(plane.box(i, j, fc=PALE if state != IMPOSSIBLE else "white", ec="#aaaaaa", lw=0, hatch=HATCHES[state] or None))
        else:
            axes.add_patch(plane.box(i, j, fc=colours.to_rgba(seconds), lw=0))
    for i, j in _cells(plane):
        if found.chosen[i][j] == method:
            axes.add_patch(plane.box(i, j, 0.05, fill=False, ec=OUTLINE, lw=1.6))
    plane.frame(axes, 7)
    axes.set_title(method, fontsize=10, color=colour(method), weight="bold", pad=3)


def _winner(axes: Axes, plane: Plane) -> None:
    """The fastest method of each cell, the planner's choice around it, and how much is lost where they differ."""
    found = plane.found
    winner, worse = found.winner, {(i, j): regret for i, j, regret in found.disagreements}
    size = max(min(9.0, 60 / max(len(plane.columns), len(plane.rows))), 4.5)
    for i, j in _cells(plane):
        best, state = winner[i][j], found.state(i, j)
        middle = (plane.left[i] + plane.left[i + 1]) / 2, (plane.low[j] + plane.low[j + 1]) / 2
        if best is None:
            hatch = HATCHES[state] if state not in (IMPOSSIBLE, LARGE) else ""
            axes.add_patch(plane.box(i, j, fc="white" if state == IMPOSSIBLE else PALE, ec="#aaaaaa", lw=0, hatch=hatch or None))
            if state == LARGE:
                axes.annotate("too\nlarge", middle, ha="center", va="center", fontsize=size, color="#555555")
        else:
            axes.add_patch(plane.box(i, j, fc=colour(best), alpha=0.55, ec="white", lw=1))
    for i, j in _cells(plane):
        chosen = found.chosen[i][j]
        if chosen is not None and found.state(i, j) not in (IMPOSSIBLE, LARGE):
            axes.add_patch(plane.box(i, j, 0.06, fill=False, ec=colour(chosen), lw=2.4))
        if (i, j) in worse:
            a, b = plane.box(i, j, 0.14).get_bbox().get_points()
            axes.plot([a[0], b[0]], [a[1], b[1]], color="#222222", lw=1)
            axes.plot([a[0], b[0]], [b[1], a[1]], color="#222222", lw=1)
            middle = (a[0] + b[0]) / 2, (a[1] + b[1]) / 2
            plate = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "#222222", "lw": 0.6}
            axes.annotate(f"{worse[i, j]:.2g}x", middle, ha="center", va="center", fontsize=size, bbox=plate)
    plane.frame(axes, 8)
    axes.set_xlabel(f"input {plane.wide}")
    axes.set_ylabel(f"kernel {plane.tall}")
    axes.set_title("the winner, outlined by the planner's choice", fontsize=10, weight="bold", pad=3)


def _legend(figure: Any, plane: Plane) -> None:
    """The methods that win or are chosen, the marks, and the hatches that occur."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    found = plane.found
    shown = {m for grid in (found.winner, found.chosen) for row in grid for m in row}
    handles: list[Any] = [Patch(fc=colour(m), alpha=0.7, label=m) for m in names() if m in shown]
    handles.append(Patch(fill=False, ec=OUTLINE, lw=1.6, label="planner's choice (left)"))
    if found.disagreements:
        handles.append(Line2D([], [], color="#222222", marker="x", ls="", label="another is faster: choice / winner"))
    states = {s for grid in found.states.values() for row in grid for s in row} - {MEASURED}
    for state, words in WORDS.items():
        if state in states:
            handles.append(Patch(fc="white" if state == IMPOSSIBLE else PALE, ec="#aaaaaa", hatch=HATCHES[state] or None, label=words))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
