"""`sash plan`: what would be done, how long it would take, and why; nothing is computed.

Imports: ops, options, values, terminal.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

import sash
from sash.axis import BOUNDARIES
from sash.cli import values
from sash.cli.options import Json, MaxMemory, Method, a_list, settings
from sash.cli.terminal import say, say_json
from sash.ops.explain import VERBS
from sash.ops.similarity import METRICS
from sash.running import ACCURACIES


def plan(
    verb: Annotated[str, typer.Argument(metavar="VERB", help=f"{a_list(VERBS)}.")],
    shapes: Annotated[list[str], typer.Argument(metavar="SHAPE...", help="Of the image, then of what slides: 512,512 9,9.")],
    dtype: Annotated[str, typer.Option(metavar="TYPE", help="Type of the elements.")] = "float32",
    stride: Annotated[str | None, typer.Option(metavar="N", help="One, or one per axis.")] = None,
    dilation: Annotated[str | None, typer.Option(metavar="N", help="One, or one per axis.")] = None,
    padding: Annotated[str | None, typer.Option(metavar="PAD", help="same, 1, 1:2, ...")] = None,
    axes: Annotated[str | None, typer.Option(metavar="AXES", help="Axes that the window slides over.")] = None,
    boundary: Annotated[str | None, typer.Option(metavar="NAME", help=f"{a_list(BOUNDARIES)}.")] = None,
    separable: Annotated[bool, typer.Option("--separable", help="The kernel is an outer product.")] = False,
    sigma: Annotated[str | None, typer.Option(metavar="S", help="Of gaussian_blur, in samples.")] = None,
    metric: Annotated[str | None, typer.Option(metavar="NAME", help=f"Of similarity: {a_list(METRICS)}.")] = None,
    channel_axis: Annotated[int | None, typer.Option(metavar="N", help="Of similarity.")] = None,
    accuracy: Annotated[str | None, typer.Option(metavar="NAME", help=f"{a_list(ACCURACIES)}.")] = None,
    method: Method = "auto",
    max_memory: MaxMemory = None,
    as_json: Json = False,
) -> None:
    """Explain which method would be chosen, and why.

    Every method is listed with its predicted time and scratch
    memory, or the reason why it cannot do it. Only shapes are
    needed: nothing is computed.

    [bold]Examples[/]
      sash plan correlate 4096,4096 31,31
      sash plan gaussian_blur 256,256,256 --sigma 2
      sash plan similarity 3,1080,1920 3,64,64 --channel-axis 0
    """
    asked: dict[str, Any] = {"boundary": boundary, "metric": metric, "accuracy": accuracy, "channel_axis": channel_axis}
    asked["separable"] = separable or None
    numbers = {"stride": stride, "dilation": dilation, "axes": axes}
    asked |= {name: values.ints(f"--{name}", text) for name, text in numbers.items() if text is not None}
    if padding is not None:
        asked["padding"] = values.padding(padding)
    if sigma is not None:
        lengths = tuple(length.number for length in values.lengths("--sigma", sigma))
        asked["sigma"] = lengths if len(lengths) > 1 else lengths[0]
    asked = {name: value for name, value in asked.items() if value is not None} | settings(method=method, max_memory=max_memory)
    found = sash.plan(verb, *(values.extents("SHAPE", text) for text in shapes), input_dtype=dtype, **asked)
    if as_json:
        say_json(found.to_dict())
    else:
        say(str(found))
