"""What is said to the person at the terminal: results on stdout, refusals and waiting on stderr.

Imports: nothing of sash.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from textwrap import fill
from threading import Timer
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

PATIENCE = 2.0
"""Seconds a person waits without a word."""

LINES = 15.0
"""Seconds between two lines of progress in a log."""


def console(*, stderr: bool = False) -> Console:
    """A console for the width and the stream of this very moment; a file or a pipe gets unbroken lines."""
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    made.soft_wrap = not made.is_terminal
    return made


def say(text: str) -> None:
    """A result, wrapped at words to the terminal's width; what is wrapped stands further in than what is not."""
    shown = console()
    for line in text.split("\n"):
        if not shown.soft_wrap and len(line) > shown.width:
            indent = " " * (len(line) - len(line.lstrip()) + 4)
            line = fill(line, shown.width, subsequent_indent=indent, break_on_hyphens=False)
        shown.print(line)


def refuse(text: str) -> None:
    """Why nothing was done, in one sentence."""
    console(stderr=True).print(f"sash: {text}")


def say_json(value: Mapping[str, Any]) -> None:
    """The result for a program: JSON, never wrapped; a NaN is null."""
    print(json.dumps(value, indent=2, allow_nan=False))


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say that `what` goes on, once it has gone on for two seconds: a spinner and a clock, or a line in a log."""
    shown = console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    progress = Progress(*columns, console=shown, transient=True)
    progress.add_task(what, total=None)
    timer = Timer(PATIENCE, progress.start if shown.is_terminal else lambda: shown.print(f"{what} ..."))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if shown.is_terminal:
            progress.stop()


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int, float], None]]:
    """A bar for work in steps: call it with the steps done, all of them, and the seconds to come; in a log, lines now and then."""
    shown = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"), TimeElapsedColumn())
    progress = Progress(*columns, console=shown, transient=True)
    task = progress.add_task(what, total=None, left="")
    due = monotonic() + PATIENCE

    def tell(done: int, total: int, left: float) -> None:
        nonlocal due
        words = f"about {soon(left)} left" if done < total else ""
        progress.update(task, completed=done, total=total, left=words)
        if not shown.is_terminal and monotonic() >= due and words:
            shown.print(f"{what}: {done} of {total}, {words}")
            due = monotonic() + LINES

    if shown.is_terminal:
        progress.start()
    try:
        yield tell
    finally:
        if shown.is_terminal:
            progress.stop()


def soon(seconds: float) -> str:
    """A time to come, as roughly as it is known.

    >>> soon(0.4), soon(42.0), soon(130.0)
    ('1 s', '42 s', '2 min 10 s')
    """
    whole = max(round(seconds), 1)
    return f"{whole} s" if whole < 100 else f"{whole // 60} min {whole % 60} s"
