"""`sash calibrate`: measure this machine, and keep what it was found to do.

Imports: calibration, machine, terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated
from warnings import catch_warnings, simplefilter

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from sash import calibration
from sash import machine as machines
from sash.cli.files import FileError
from sash.cli.terminal import console, say
from sash.plans import duration

CHANGED = 8
"""Rates that are listed: those that changed most."""


def calibrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure and show, but keep nothing.")] = False,
) -> None:
    """Measure this machine, so that plans are made for it.

    Times each method on small problems and keeps what they
    take here in your cache folder; from then on sash plans
    with it. Until then it plans with rates that came with the
    package, measured on another machine. Takes half a minute.

    [bold]Examples[/]
      sash calibrate
      sash calibrate --dry-run
    """
    with catch_warnings():
        simplefilter("ignore")  # a broken file is told of by saying how to replace it
        before = machines.machine()
    with bar("measuring this machine") as progress:
        found = calibration.measured(progress=progress)
    say(f"{found.name}, {found.cores} core{'s' if found.cores > 1 else ''}")
    rows = calibration.summary(before, found)
    say(f"\nThe rates that changed most, of {len(rows)}:\n")
    wide = max(len(name) for name, _, _ in rows[:CHANGED])
    say(f"  {'a unit of':<{wide}} {'before':>9} {'now':>9} {'times':>6}")
    for name, old, new in rows[:CHANGED]:
        say(f"  {name:<{wide}} {unit(old):>9} {unit(new):>9} {new / old:>6.2g}")
    path = machines.calibration_file()
    if dry_run:
        say(f"\nNothing was kept; without --dry-run it would be in {path}")
        return
    try:
        calibration.keep(found, path)
    except OSError as failed:
        raise FileError(f"{path} cannot be written ({failed.strerror or failed.__class__.__name__}).") from None
    machines.forget()
    say(f"\nKept in {path}")


def unit(seconds: float) -> str:
    """Seconds of one unit of work, for people.

    >>> unit(3.61e-11), unit(5.65e-05)
    ('0.0361 ns', '56.5 us')
    """
    return f"{seconds * 1e9:.3g} ns" if seconds < 1e-6 else duration(seconds)


@contextmanager
def bar(what: str) -> Iterator[Callable[[float], None]]:
    """A bar that fills; a line in a log."""
    shown = console(stderr=True)
    if not shown.is_terminal:
        shown.print(f"{what} ...")
        yield lambda part: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn())
    with Progress(*columns, console=shown, transient=True, refresh_per_second=4) as progress:
        task = progress.add_task(what, total=1.0)
        yield lambda part: progress.update(task, completed=part)
