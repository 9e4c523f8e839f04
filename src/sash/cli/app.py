"""The list of commands, and the one place where a refusal becomes a sentence and an exit code.

Imports: the commands.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sash import __version__
from sash.cli.blur import blur
from sash.cli.calibrate import calibrate
from sash.cli.correlate import correlate
from sash.cli.crossover import crossover
from sash.cli.demo import demo
from sash.cli.match import match
from sash.cli.plan import plan
from sash.cli.shape import shape
from sash.cli.terminal import refuse, say
from sash.errors import SashError

COMMANDS = (demo, blur, correlate, match, shape, plan, crossover, calibrate)
"""A new command is one file and one name here; its docstring is its help."""

REFUSED = 2
"""Exit code of a call that cannot be done."""


class Commands(TyperGroup):
    """Says a refusal of sash in its own words, without a traceback; a bug of ours keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (SashError, MemoryError) as refused:
            refuse(str(refused) or "there is not enough memory for this.")
            raise typer.Exit(REFUSED) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def version(wanted: bool) -> None:
    """Say it and end."""
    if wanted:
        say(f"sash {__version__}")
        raise typer.Exit


@app.callback()
def sash(
    shown: Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Everything that slides a window over an array.

    sash finds the fastest way that gives the right answer
    for your problem on your machine, and tells you why.

    [bold]Start here[/]
      sash demo
      sash blur brain.nii.gz soft.nii.gz --sigma 2mm
      sash match photo.png face.png --out found.png
      sash shape 224,224 --size 3 --stride 2 --padding same
      sash plan correlate 4096,4096 31,31
    """


for command in COMMANDS:
    app.command()(command)
