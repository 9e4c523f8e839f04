"""`sash crossover`: which method wins over input size x kernel size, measured here, and drawn.

Imports: crossovers, plots, options, values, terminal.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import sash
from sash.cli import values
from sash.cli.files import FileError
from sash.cli.files.target import permit
from sash.cli.options import Json, a_list
from sash.cli.terminal import counting, say, say_json
from sash.crossovers import KINDS, Crossover
from sash.errors import ArgumentError, unknown
from sash.ops.explain import VERBS
from sash.ops.similarity import METRICS
from sash.plots import ready

STOPPED = 130
"""Exit code of a map that Ctrl-C ended; what was measured is written."""

INPUTS, KERNELS = (64, 128, 256, 512, 1024), (3, 5, 9, 17, 33, 65)
"""What is measured where nothing is said."""

CLASSIC: dict[str, dict[str, Any]] = {
    "2d-stride1": {"inputs": [(n, n) for n in (*INPUTS, 2048)], "kernels": [(f, f) for f in KERNELS]},
    "5deep-stride2": {"inputs": [(n, n, 5) for n in INPUTS], "kernels": [(f, f, 5) for f in KERNELS], "stride": 2},
    "10deep-stride5": {"inputs": [(n, n, 10) for n in INPUTS], "kernels": [(f, f, 10) for f in KERNELS], "stride": 5},
}
"""The three maps of the well-known comparison, by the names of their files."""


def crossover(
    verb: Annotated[str, typer.Argument(metavar="VERB", help=f"{a_list(VERBS)}.")] = "correlate",
    inputs: Annotated[str | None, typer.Option(metavar="SIZES", help="64,128,256, or shapes: 64x64x5,128x128x5.")] = None,
    kernels: Annotated[str | None, typer.Option(metavar="SIZES", help="3,7,15, or shapes: 3x3x5,7x7x5.")] = None,
    ndim: Annotated[int | None, typer.Option(min=1, metavar="N", help="Slid axes of sizes that are one number.")] = None,
    channels: Annotated[str | None, typer.Option(metavar="N", help="Channels, or those in and out: 16,32.")] = None,
    dtype: Annotated[str, typer.Option(metavar="TYPE", help="Type of the elements.")] = "float32",
    stride: Annotated[str | None, typer.Option(metavar="N", help="One, or one per axis.")] = None,
    dilation: Annotated[str | None, typer.Option(metavar="N", help="One, or one per axis.")] = None,
    padding: Annotated[str | None, typer.Option(metavar="PAD", help="same, 1, 1:2, ...")] = None,
    axes: Annotated[str | None, typer.Option(metavar="AXES", help="Axes that the window slides over.")] = None,
    separable: Annotated[bool, typer.Option("--separable", help="Kernels that are outer products.")] = False,
    metric: Annotated[str | None, typer.Option(metavar="NAME", help=f"Of similarity: {a_list(METRICS)}.")] = None,
    methods: Annotated[str | None, typer.Option(metavar="NAMES", help="Only these: direct,fft.")] = None,
    budget: Annotated[float, typer.Option(metavar="SECONDS", help="Time for each cell.")] = 0.5,
    memory: Annotated[str | None, typer.Option(metavar="SIZE", help="Cells that need more are left out.")] = None,
    classic: Annotated[bool, typer.Option("--classic", help="Three maps; --out is a folder.")] = False,
    out: Annotated[list[Path] | None, typer.Option("--out", "-o", metavar="OUT", help=f"{a_list(KINDS)}; may be repeated.")] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace OUT if it exists.")] = False,
    as_json: Json = False,
) -> None:
    """Measure which method wins at which size, and draw it.

    Every willing method is timed for every input size and
    kernel size, beside what the planner would choose. Cells
    that do not fit into memory are left out and drawn so.
    Ctrl-C keeps what is measured (exit code 130).

    With --classic and --out DIR: the correlations of 2-D at
    stride 1, n x n x 5 with f x f x 5 at stride 2, and
    n x n x 10 with f x f x 10 at stride 5; under 3 minutes.

    [bold]Examples[/]
      sash crossover correlate --inputs 64,128 --kernels 3,9
      sash crossover --inputs 32x32x5,64x64x5 --kernels 3x3x5
    """
    targets = out or []
    limit = None if memory is None else values.size_in_bytes("--memory", memory)
    common: dict[str, Any] = {"input_dtype": dtype, "budget": budget, "memory": limit}
    if methods is not None:
        common["methods"] = [name.strip() for name in methods.split(",")]
    numbers = {"stride": stride, "dilation": dilation, "axes": axes}
    asked: dict[str, Any] = {name: values.ints(f"--{name}", text) for name, text in numbers.items() if text is not None}
    asked |= {name: value for name, value in (("metric", metric), ("separable", separable or None)) if value is not None}
    if padding is not None:
        asked["padding"] = values.padding(padding)
    shape: dict[str, Any] = {"ndim": ndim, "channels": None if channels is None else values.ints("--channels", channels)}
    if not classic:
        sizes: dict[str, Any] = {"inputs": _sizes("--inputs", inputs, INPUTS), "kernels": _sizes("--kernels", kernels, KERNELS)}
        jobs = {"": partial(sash.crossover, verb, **sizes, **shape, **asked, **common)}
        files = {"": targets}
    else:
        told = {
            "--inputs": inputs,
            "--kernels": kernels,
            "--ndim": ndim,
            "--channels": channels,
            "--metric": metric,
            "--separable": separable,
        }
        told |= {f"--{name}": text for name, text in numbers.items()} | {"--padding": padding}
        if verb != "correlate" or any(told.values()):
            extra = next((name for name, value in told.items() if value), f"VERB={verb}")
            raise ArgumentError(f"--classic says the sizes and settings of its maps; leave {extra} away.")
        if len(targets) != 1:
            raise ArgumentError(f"--classic needs one folder, like --out maps; got {len(targets)}.")
        jobs = {name: partial(sash.crossover, "correlate", **given, **common) for name, given in CLASSIC.items()}
        files = {name: [targets[0] / f"{name}{kind}" for kind in KINDS] for name in jobs}
        _folder(targets[0])
    for paths in files.values():
        _allow(paths, force)
    _measure(jobs, files, as_json)


def _measure(jobs: dict[str, Any], files: dict[str, list[Path]], as_json: bool) -> None:
    """Measure the maps one after the other, writing each as soon as it is done."""
    maps: dict[str, Crossover] = {}
    for name, job in jobs.items():
        with counting(f"measuring {name}".rstrip()) as progress:
            found: Crossover = job(progress=progress)
        maps[name] = found
        if not as_json:
            say(f"{found}\n")
        for path in files[name]:
            _save(found, path)
            if not as_json:
                say(f"{path}: written")
        if not found.complete:
            break
    if as_json:
        told = {name: found.to_dict() for name, found in maps.items()}
        say_json(told.get("", told))
    if not found.complete:
        if not as_json:
            say("Stopped by Ctrl-C: what was measured until then is kept.")
        raise typer.Exit(STOPPED)


def _sizes(option: str, text: str | None, default: tuple[int, ...]) -> list[Any]:
    """Numbers between commas, or shapes like 64x64x5 between them."""
    return list(default) if text is None else [values.ints(option, word) for word in text.split(",")]


def _folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as failed:
        raise FileError(f"--out {path} cannot be a folder ({failed.strerror}); choose another.") from None


def _allow(paths: list[Path], force: bool) -> None:
    """Refuse before minutes of measuring what could not be written after them."""
    for path in paths:
        if path.suffix.lower() not in KINDS:
            raise unknown("ending of --out", path.suffix, KINDS)
        permit(path, force)
        if path.suffix.lower() in KINDS[:2]:
            ready()


def _save(found: Crossover, path: Path) -> None:
    try:
        found.save(path)
    except OSError as failed:
        raise FileError(f"{path} could not be written ({failed.strerror or failed}) and is as it was; choose another folder.") from None
