"""What is said to the person at the terminal: results on stdout, refusals and waiting on stderr.

Imports: nothing of sash.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from textwrap import fill
from threading import Timer
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

PATIENCE = 2.0
"""Seconds a person waits without a word."""


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
