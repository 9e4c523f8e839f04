"""`sash correlate`: slide any kernel over a file.

Imports: files, options, values, terminal, window, ops.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

import sash
from sash.cli import files, values
from sash.cli.options import (
    Axes,
    Boundary,
    Cval,
    Dilation,
    Force,
    MaxMemory,
    Method,
    Padding,
    Source,
    Stride,
    Target,
    Threads,
    limited,
    settings,
)
from sash.cli.terminal import say, waiting
from sash.ops.filters import settle_types


def correlate(
    source: Source,
    kernel: Annotated[str, typer.Argument(metavar="KERNEL", help=r"A file, or numbers: '\[\[1,0,-1]]'.")],
    target: Target,
    convolve: Annotated[bool, typer.Option("--convolve", help="Turn the kernel round (convolution).")] = False,
    clip: Annotated[
        bool,
        typer.Option("--clip", help="Round and clip into IN's own type, so that a photograph stays one."),
    ] = False,
    stride: Stride = "1",
    dilation: Dilation = "1",
    padding: Padding = "valid",
    axes: Axes = None,
    boundary: Boundary = "constant",
    cval: Cval = "0",
    method: Method = "auto",
    max_memory: MaxMemory = None,
    threads: Threads = None,
    force: Force = False,
) -> None:
    r"""Slide a kernel over a photograph, a stack or a volume.

    The kernel goes over the axes of space if it has as many
    axes as they are, else over all. Integers with integers
    give exact int64, which .npy and .tif hold; --clip makes
    it a picture again. NIfTI keeps its place in the scanner.

    [bold]Examples[/]
      sash correlate photo.png '\[\[1,0,-1]]' dx.npy
      sash correlate brain.nii.gz k.npy out.nii.gz --stride 2
      sash correlate photo.jpg '\[\[.1,.8,.1]]' soft.jpg --clip
    """
    files.allow(target, force=force)
    how = settings(method=method, max_memory=max_memory)
    how |= {"stride": values.ints("--stride", stride), "dilation": values.ints("--dilation", dilation)}
    how |= {"padding": values.padding(padding), "boundary": boundary, "cval": values.number("--cval", cval)}
    chosen = None if axes is None else values.extents("--axes", axes)
    with waiting(f"reading {source.name}"):
        content = files.read(source)
        k = values.numbers("KERNEL", kernel) if kernel.lstrip().startswith(("[", "(")) else files.read(Path(kernel)).array
    x = content.array
    over = content.axes(chosen)
    over = over if chosen is not None or k.ndim == len(over) else tuple(range(x.ndim))
    verb = sash.convolve if convolve else sash.correlate
    window = sash.Window(k.shape, **{name: how[name] for name in ("stride", "dilation", "padding")})
    extents = window.output_shape([x.shape[a] for a in over])
    shape = tuple(extents[over.index(a)] if a in over else n for a, n in enumerate(x.shape))
    dtype = x.dtype if clip else settle_types(x.dtype, k.dtype, None).result
    files.check(target, dtype, shape, force=force, otherwise="" if clip else ", or add --clip")
    with waiting(f"sliding over {source.name}"), limited(threads):
        result = verb(x, k, axes=over, **how)
        result = clipped(result, x.dtype) if clip else result
    with waiting(f"writing {target.name}"):
        files.write(target, moved(content, result, over, window), force=force)
    say(f"{target}: {values.by(result.shape)} {result.dtype}")


def clipped(result: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The nearest value that `dtype` holds."""
    if dtype.kind not in "iu":
        return result.astype(dtype, copy=False)
    held = np.iinfo(dtype)
    nearest: NDArray[Any] = np.clip(np.rint(result), held.min, held.max)
    return nearest.astype(dtype)


def moved(content: files.Content, result: NDArray[Any], axes: tuple[int, ...], window: sash.Window) -> files.Content:
    """The result where it lies in space: sample 0 at the centre of the first window, then a stride apart."""
    shift = getattr(content.header, "sampled", None)
    if shift is None:
        return content.holding(result)
    n = content.array.ndim
    first, step = [0.0] * n, [1] * n
    for a, placed in zip(axes, window.over([content.array.shape[a] for a in axes]), strict=True):
        first[a], step[a] = placed.start + (placed.reach - 1) / 2, placed.stride
    return content.holding(result, shift(tuple(first), tuple(step)))
