"""`sash shape`: what extents go in and come out, without any array.

Imports: window, options, values, terminal.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from sash.cli import values
from sash.cli.options import Dilation, Json, Padding, Stride
from sash.cli.terminal import console, say_json
from sash.window import Window


def shape(
    extents: Annotated[str, typer.Argument(metavar="SHAPE", help="Extents of the axes: 224,224.")],
    size: Annotated[str, typer.Option(metavar="N", help="Taps of the window; one, or one per axis.")],
    stride: Stride = "1",
    dilation: Dilation = "1",
    padding: Padding = "valid",
    as_json: Json = False,
) -> None:
    """Show the extents of a sliding window, forward and back.

    Forward: the output extent and the pads (before, after).
    Back: every input extent that gives this output; several,
    because a stride forgets the remainder. Transposed: every
    extent that a transposed convolution can make of SHAPE;
    choose one by output_shape=.

    [bold]Examples[/]
      sash shape 224,224 --size 7 --stride 2 --padding same
      sash shape 64 --size 3 --stride 2 --padding 0:1 --json
    """
    n = values.extents("SHAPE", extents)
    window = Window(
        values.ints("--size", size),
        stride=values.ints("--stride", stride),
        dilation=values.ints("--dilation", dilation),
        padding=values.padding(padding),
    )
    found = geometry(window, n)
    if as_json:
        say_json({name: _plain(value) for name, value in found.items()})
        return
    table = Table("axis", "input", "pads", "output", "back", "transposed", box=None, pad_edge=False, header_style="bold")
    for axis, (extent, pads, m, back, made) in enumerate(zip(*found.values(), strict=True)):
        table.add_row(str(axis), str(extent), f"{pads[0]}, {pads[1]}", str(m), _span(back), _span(made))
    console().print(table)


def geometry(window: Window, n: tuple[int, ...]) -> dict[str, tuple[Any, ...]]:
    """Per axis: the input, its pads, the output, all inputs with that output, all transposed outputs of the input."""
    m = window.output_shape(n)
    return {
        "input": n,
        "pads": window.pads(n),
        "output": m,
        "input_shapes": window.input_shapes(m),
        "transposed": window.input_shapes(n),
    }


def _span(extents: range) -> str:
    """A range as people write it: `127 to 128`, with the last one in it."""
    if not extents:
        return "none"
    return str(extents[0]) if len(extents) == 1 else f"{extents[0]} to {extents[-1]}"


def _plain(values: tuple[Any, ...]) -> list[Any]:
    return [list(v) if isinstance(v, (range, tuple)) else v for v in values]
