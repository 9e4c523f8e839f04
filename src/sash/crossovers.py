"""Which method wins where: every willing method timed over input size x kernel size, beside the planner's choice.

Grids are rows of cells: grid[i][j] belongs to inputs[i] and kernels[j].   Imports: trials, timings, plots (to draw).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sash.errors import ArgumentError, SashError, unknown
from sash.methods import names
from sash.timings import IMPOSSIBLE, LARGE, MEASURED, MISSING, UNABLE, Grid, Progress, Timings, available_memory, description
from sash.trials import Shape, Trial, naming, settle_kind, shapes, trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOISE = 1.05
"""Ratios of times below this are no disagreement: two runs of one method differ as much."""
KINDS = (".png", ".svg", ".json", ".csv")
"""What a map can be saved as."""


@dataclass(frozen=True)
class Crossover:
    """Which method wins over input size x kernel size: the times, the planner's choice, and where the two disagree.

    `times[method][i][j]` are seconds for `inputs[i]` and `kernels[j]`, or None; `states[method][i][j]` says why;
    `chosen[i][j]` is the planner's choice, `winner[i][j]` the fastest that was measured, `regret[i][j]` how many times
    longer the choice takes. `plot()` draws it, `save(path)` writes PNG, SVG, JSON or CSV; `str()` is a table.

    Examples
    --------
    >>> import sash
    >>> found = sash.crossover("correlate", [16], [3], ndim=2, methods=["direct", "fft"], budget=0.05)
    >>> found.winner in ((("direct",),), (("fft",),)), found.complete
    (True, True)
    """

    verb: str
    input_dtype: str
    settings: Mapping[str, Any]
    inputs: tuple[Shape, ...]
    kernels: tuple[Shape, ...]
    methods: tuple[str, ...]
    times: Mapping[str, Grid]
    predicted: Mapping[str, Grid]
    states: Mapping[str, Grid]
    chosen: Grid
    machine: Mapping[str, Any]
    complete: bool

    @property
    def winner(self) -> Grid:
        """The fastest method of each cell; None where nothing was measured."""
        return self._grid(lambda i, j: min(took, key=took.__getitem__) if (took := self._took(i, j)) else None)

    @property
    def regret(self) -> Grid:
        """The planner's choice's time over the winner's: 1.0 where it is the winner; None where it was not measured."""

        def one(i: int, j: int) -> float | None:
            took, chosen = self._took(i, j), self.chosen[i][j]
            return took[chosen] / min(took.values()) if chosen in took else None

        return self._grid(one)

    def state(self, i: int, j: int) -> str:
        """What became of a cell: "measured" if any method was, else what kept all of them from it."""
        found = [self.states[m][i][j] for m in self.methods]
        return next((s for s in (MEASURED, MISSING, LARGE, IMPOSSIBLE) if s in found), UNABLE)

    @property
    def disagreements(self) -> tuple[tuple[int, int, float], ...]:
        """(i, j, regret) of each cell where the choice takes over 5 % longer than the winner, the worst first."""
        cells = [(i, j, r) for i, row in enumerate(self.regret) for j, r in enumerate(row) if r is not None and r > NOISE]
        return tuple(sorted(cells, key=lambda cell: -cell[2]))

    def plot(self) -> Figure:
        """A matplotlib figure: a panel of time per method, and one of the winner with the planner's choice outlined.

        Needs matplotlib: ``pip install "sash[plot]"``.
        """
        from sash.plots import draw

        return draw(self)

    def save(self, path: str | Path) -> None:
        """Write the map as its ending says, .png, .svg, .json or .csv; whole, or not at all."""
        path = Path(path)
        kind = path.suffix.lower()
        if kind not in KINDS:
            raise unknown("ending of a map", path.suffix, KINDS)
        with _replacing(path) as beside:
            if kind == ".json":
                import json

                beside.write_text(json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
            elif kind == ".csv":
                beside.write_text(self._csv(), encoding="utf-8", newline="")
            else:
                self.plot().savefig(beside, format=kind[1:])

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain numbers, text, lists and dicts; `Crossover.from_dict` makes the record again."""
        found = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        return found | {"winner": _plain(self.winner), "regret": _plain(self.regret)}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Crossover:
        """The record that `to_dict` wrote."""
        missing = [f.name for f in fields(cls) if f.name not in found]
        if missing:
            raise ArgumentError(f"This is no map of a crossover: it lacks {', '.join(missing)}.")
        return cls(**{f.name: _frozen(f.name, found[f.name]) for f in fields(cls)})

    def __str__(self) -> str:
        """The winner of each cell, and the planner's choice with its regret where it is another."""
        (wide, columns), (tall, rows) = naming(self.inputs, "n"), naming(self.kernels, "f")
        winner, regret = self.winner, self.regret

        def cell(i: int, j: int) -> str:
            if winner[i][j] is None:
                return self.state(i, j)
            behind = regret[i][j]
            return f"{winner[i][j]} ({self.chosen[i][j]} {behind:.2g}x)" if behind and behind > NOISE else str(winner[i][j])

        table = [[f"{tall} \\ {wide}", *columns]]
        table += [[rows[j], *(cell(i, j) for i in range(len(columns)))] for j in range(len(rows))]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  " + "  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip() for row in table]
        return "\n".join([self.title, *lines, self.summary])

    @property
    def title(self) -> str:
        """What was measured, in a line."""
        told = [f"{name}={value}" for name, value in self.settings.items() if (name, value) != ("separable", False)]
        return f"{self.verb}: {naming(self.inputs, 'n')[0]} with {naming(self.kernels, 'f')[0]}, {', '.join([self.input_dtype, *told])}"

    @property
    def summary(self) -> str:
        """How often the planner chose the winner, and how wrong it was at worst."""
        known = sum(r is not None for row in self.regret for r in row)
        behind = self.disagreements
        worst = f"; at worst {behind[0][2]:.2g} times the winner's time" if behind else ""
        stopped = "" if self.complete else "; stopped before the end"
        return f"the planner chose the fastest in {known - len(behind)} of {known} cells{worst}{stopped}"

    def _took(self, i: int, j: int) -> dict[str, float]:
        return {m: t for m in self.methods if (t := self.times[m][i][j]) is not None}

    def _grid(self, one: Callable[[int, int], Any]) -> Grid:
        return tuple(tuple(one(i, j) for j in range(len(self.kernels))) for i in range(len(self.inputs)))

    def _csv(self) -> str:
        """One line per cell and method."""
        import csv
        from io import StringIO

        text = StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(("input", "kernel", "method", "state", "seconds", "predicted", "chosen", "winner"))
        winner = self.winner
        for i, x in enumerate(self.inputs):
            for j, kernel in enumerate(self.kernels):
                for m in self.methods:
                    numbers = (self.states[m][i][j], self.times[m][i][j], self.predicted[m][i][j])
                    lines.writerow(
                        (
                            "x".join(map(str, x)),
                            "x".join(map(str, kernel)),
                            m,
                            *numbers,
                            int(m == self.chosen[i][j]),
                            int(m == winner[i][j]),
                        )
                    )
        return text.getvalue()


def crossover(
    verb: str,
    inputs: Sequence[Any],
    kernels: Sequence[Any],
    *,
    ndim: int | None = None,
    channels: Any = None,
    input_dtype: Any = "float32",
    methods: Sequence[str] | None = None,
    budget: float = 0.5,
    memory: int | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Crossover:
    """Measure which method wins over input size x kernel size, beside what the planner would choose.

    Parameters
    ----------
    verb : str
        Any that `plan` knows: "correlate", "similarity", "conv", ...
    inputs, kernels : sequences of int or of shapes
        Shapes are as `plan` takes them: ``(n, n, 5)`` with ``(f, f, 5)``. An int means that extent on every slid axis,
        with `channels` beside them where the verb has channels. For "gaussian_blur" a kernel is the `size` on each axis,
        with the sigma whose radius that is; for "separable_filter" the sizes of the 1-D kernels.
    ndim : int, optional
        Number of slid axes of what is given as an int. Default: that of `axes` or of the shapes beside, else 2.
    channels : int or (of the input, of the result), default 1
        For ints: conv's channels; similarity's; for filters, images that are filtered alike.
    input_dtype : default "float32"
        Element type of the random arrays; one of PyTorch's (``torch.float32``) measures tensors on the CPU.
    methods : sequence of str, optional
        The methods to measure. Default: all that can.
    budget : float, default 0.5
        Seconds per cell, shared by its methods. A method runs at least once, and is skipped ("slow") where it is
        predicted to take 20 times as long as the best.
    memory : int, optional
        Bytes that arrays, result and scratch may take together; what needs more is not run ("too large"). Default: four
        fifths of what the machine has free.
    progress : callable, optional
        Called as ``progress(done, total, left)`` after every cell, `left` being an estimate of the seconds to come.
    **settings
        The verb's own keyword arguments. ``separable=False`` is the default for "correlate" and "convolve".

    Returns
    -------
    Crossover
        Ctrl-C ends it early: the cells that are done are kept, and `complete` is False.

    Raises
    ------
    ArgumentError, KindError
        An unknown verb, method or setting, sizes that are none, or a call that the verb refuses for all sizes; all before
        anything is measured.

    Examples
    --------
    >>> import sash
    >>> found = sash.crossover("correlate", [16, 32], [3, 5], stride=2, budget=0.01)
    >>> found.inputs, found.complete
    (((16, 16), (32, 32)), True)
    >>> all(seconds > 0 for row in found.times["direct"] for seconds in row)
    True
    """
    if "method" in settings:
        raise ArgumentError("crossover() measures every method; say methods=('fft', ...) instead of method= to have fewer.")
    for name in methods or ():
        if name not in names():
            raise unknown("method", name, names())
    if not isinstance(budget, (int, float)) or not budget > 0:
        raise ArgumentError(f"budget={budget!r} must be a number of seconds above 0.")
    if memory is not None and (isinstance(memory, bool) or not hasattr(memory, "__index__") or memory < 1):
        raise ArgumentError(f"memory={memory!r} must be a whole number of bytes above 0 (an int), or None for what the machine has.")
    if verb in ("correlate", "convolve"):
        settings = {"separable": False} | settings
    told = {name: _frozen(name, value) for name, value in settings.items()}
    extents = shapes(verb, inputs, kernels, ndim, channels, told)
    kind = settle_kind(input_dtype)
    room = available_memory() * 4 // 5 if memory is None else memory
    cells = _planned(verb, *extents, kind, told)
    timings = Timings(cells, room, tuple(methods or names()))
    complete = timings.fill(float(budget), progress or (lambda done, total, left: None))
    able = timings.able()
    times, predicted, states = ({m: _frozen(m, grid[m]) for m in able} for grid in (timings.times, timings.predicted, timings.states))
    chosen = tuple(tuple(cell and cell.plan.method for cell in row) for row in cells)
    name = getattr(kind, "name", str(kind))
    return Crossover(verb, name, told, *extents, able, times, predicted, states, chosen, description(), complete)


def _planned(
    verb: str, inputs: tuple[Shape, ...], kernels: tuple[Shape, ...], kind: Any, settings: dict[str, Any]
) -> list[list[Trial | None]]:
    """A trial per cell, None where the verb refuses it; the first refusal is raised where it refuses all."""
    refusals: list[SashError] = []

    def one(x: Shape, kernel: Shape) -> Trial | None:
        try:
            return trial(verb, x, kernel, kind, settings)
        except SashError as refusal:
            refusals.append(refusal)
            return None

    found = [[one(x, kernel) for kernel in kernels] for x in inputs]
    if len(refusals) == len(inputs) * len(kernels):
        raise refusals[0]
    return found


def _frozen(name: str, value: Any) -> Any:
    """A value that JSON can hold, with tuples for lists."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(name, v) for v in value)
    if isinstance(value, Mapping):
        return {str(k): _frozen(name, v) for k, v in value.items()}
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return _frozen(name, value.item())
    raise ArgumentError(f"{name}={type(value).__name__} cannot be kept in a map; give numbers, text or tuples of them.")


def _plain(value: Any) -> Any:
    """The same with lists for tuples, as JSON has it."""
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, Mapping) else value


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A new name beside `path`, which takes its place if the block ends well and is gone if not."""
    import os
    from uuid import uuid4

    target = path.resolve()
    beside = target.with_name(f".sash-{uuid4().hex[:12]}{target.suffix}")
    try:
        yield beside
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
