"""`sash blur`: a Gaussian blur from file to file.

Imports: files, options, values, terminal, ops.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import sash
from sash.cli import files, values
from sash.cli.options import Axes, Boundary, Cval, Force, MaxMemory, Method, Source, Target, Threads, limited, settings
from sash.cli.terminal import say, waiting
from sash.errors import ArgumentError
from sash.ops.gaussian import settle_blur_type


def blur(
    source: Source,
    target: Target,
    sigma: Annotated[
        str,
        typer.Option("--sigma", "-s", metavar="S", help="In samples (2), millimetres (2mm), or one per axis (1,2,2)."),
    ],
    order: Annotated[str, typer.Option(metavar="N", help="Derivative of the Gaussian; one, or one per axis.")] = "0",
    truncate: Annotated[float, typer.Option(metavar="T", help="Cut the kernel at T sigmas.")] = 4.0,
    axes: Axes = None,
    boundary: Boundary = "symmetric",
    cval: Cval = "0",
    method: Method = "auto",
    max_memory: MaxMemory = None,
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Blur a photograph, a stack or a volume with a Gaussian.

    Colours and time points are not mixed. Integers come back
    in their own type, rounded; floats stay floats, and so do
    derivatives (--order) and volumes that their header scales.
    NIfTI keeps its header and affine. Every axis of an .npy
    is blurred, unless --axes names some.

    [bold]Examples[/]
      sash blur photo.jpg soft.jpg --sigma 2
      sash blur brain.nii.gz soft.nii.gz --sigma 3mm
      sash blur stack.tif edges.tif -s 1 --order 1,0,0
    """
    files.allow(target, force=force)
    typed = values.lengths("--sigma", sigma)
    orders = values.ints("--order", order)
    chosen = None if axes is None else values.extents("--axes", axes)
    how = settings(method=method, max_memory=max_memory)
    how |= {"order": orders, "truncate": truncate, "boundary": boundary, "cval": values.number("--cval", cval)}
    with waiting(f"reading {source.name}"):
        content = files.read(source)
    x = content.array
    how["axes"] = content.axes(chosen)
    how["sigma"] = in_samples(source, content, how["axes"], typed)
    rounded = x.dtype.kind in "iu" and not np.any(orders)
    how["dtype"] = x.dtype.newbyteorder("=") if rounded else settle_blur_type(x.dtype)
    files.check(target, how["dtype"], x.shape, force=force)
    with waiting(f"blurring {source.name}"), limited(threads):
        result = sash.gaussian_blur(x, **how)
    with waiting(f"writing {target.name}"):
        files.write(target, content.holding(result), force=force)
    say(f"{target}: {values.by(result.shape)} {result.dtype}")


def in_samples(source: Path, content: files.Content, axes: tuple[int, ...], typed: tuple[values.Length, ...]) -> tuple[float, ...]:
    """Sigma in samples along each of `axes`; the file's voxel size turns millimetres into samples."""
    if len(typed) not in (1, len(axes)):
        raise ArgumentError(f"--sigma has {len(typed)} values for the {len(axes)} axes that are blurred {axes}; give one, or one per axis.")
    found = []
    for axis, length in zip(axes, typed * len(axes) if len(typed) == 1 else typed, strict=True):
        step = 1.0
        if length.mm:
            if content.spacing is None:
                raise ArgumentError(f"--sigma is in mm, and {source} gives no voxel size; give it in samples, like --sigma 2.")
            if axis not in content.space:
                raise ArgumentError(f"--sigma is in mm, and axis {axis} of {source} is no axis of space; give it in samples.")
            step = content.spacing[content.space.index(axis)]
            if not step > 0:
                raise ArgumentError(f"--sigma is in mm, and {source} gives {step} mm for axis {axis}; give it in samples, like --sigma 2.")
        found.append(length.number / step)
    return tuple(found)
