"""Options that several commands share: one name, one meaning, one help text.

Names that can be chosen are read from the library's indexes.  Imports: axis, window, methods.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from sash import methods, threads
from sash.axis import BOUNDARIES
from sash.cli import values
from sash.window import PADDINGS


def a_list(names: Iterable[str]) -> str:
    return ", ".join(names)


METHODS = (*methods.CHOICES, *methods.names())

Source = Annotated[Path, typer.Argument(metavar="IN", help="PNG, JPEG, TIFF, NPY, NPZ or NIfTI.")]
Target = Annotated[Path, typer.Argument(metavar="OUT", help="Its ending says what is written.")]
Axes = Annotated[
    str | None,
    typer.Option(metavar="AXES", help="Axes that the window slides over, like 0,1. Default: those that are space."),
]
Stride = Annotated[str, typer.Option(metavar="N", help="Steps between window positions; one, or one per axis.")]
Dilation = Annotated[str, typer.Option(metavar="N", help="Steps between the taps of one window.")]
Padding = Annotated[
    str,
    typer.Option(metavar="PAD", help=f"{a_list(PADDINGS)}, or 1, or 1:2 (before:after); one, or one per axis."),
]
Boundary = Annotated[
    str,
    typer.Option(metavar="NAME", help=f"What lies beyond the edge: {a_list(BOUNDARIES)}."),
]
Cval = Annotated[str, typer.Option(metavar="X", help="The value beyond the edge for constant.")]
Method = Annotated[
    str,
    typer.Option(metavar="NAME", help=f"How: {a_list(METHODS)}."),
]
MaxMemory = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Most scratch memory beyond IN and OUT, like 500MB or 64MiB."),
]
Threads = Annotated[int | None, typer.Option(min=1, metavar="N", help="Most threads. Default: all cores.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace OUT if it exists.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def settings(*, method: str, max_memory: str | None) -> dict[str, Any]:
    """The settings that every array verb takes, as the library wants them."""
    limit = None if max_memory is None else values.size_in_bytes("--max-memory", max_memory)
    return {"method": method, "max_memory": limit}


def limited(count: int | None) -> AbstractContextManager[Any]:
    """At most `count` threads; None: as many as the library would take."""
    return nullcontext() if count is None else threads(count)
