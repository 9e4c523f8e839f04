"""`sash match`: where a template occurs in a picture or a volume.

Imports: files, options, values, terminal, drawing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

import sash
from sash.cli import drawing, files, values
from sash.cli.options import Force, Json, MaxMemory, Method, Stride, Threads, a_list, limited, settings
from sash.cli.terminal import say, say_json, waiting
from sash.errors import ArgumentError
from sash.ops.similarity import METRICS


def match(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Where to look.")],
    template: Annotated[Path, typer.Argument(metavar="TEMPLATE", help="What to look for; not larger than IMAGE.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE.png", help="Draw the place on the image.")] = None,
    metric: Annotated[str, typer.Option(metavar="NAME", help=f"{a_list(METRICS)}; 1 is a perfect match.")] = "zncc",
    stride: Stride = "1",
    data_range: Annotated[
        float | None,
        typer.Option(metavar="R", help="Range of the values for sad and ssd. Default: the type's; 1 for floats."),
    ] = None,
    method: Method = "auto",
    max_memory: MaxMemory = None,
    threads: Threads = None,
    as_json: Json = False,
    force: Force = False,
) -> None:
    """Find where a template occurs, and how well it fits.

    Position is that of the template's first pixel: row, then
    column (all axes of a volume). zncc does not mind a change
    of brightness or contrast; sad and ssd do. Windows with a
    NaN in them are never the best.

    [bold]Examples[/]
      sash match photo.png face.png
      sash match photo.png face.png --out found.png
      sash match scan.npy part.npy --metric sad --json
    """
    if out is not None:
        files.allow(out, force=force)
    steps = values.ints("--stride", stride)
    how = settings(method=method, max_memory=max_memory) | {"metric": metric, "stride": steps, "data_range": data_range}
    with waiting(f"reading {image.name} and {template.name}"):
        where, what = opaque(image, files.read(image)), opaque(template, files.read(template))
    x, t = where.array, what.array
    space = min(where.space, what.space, key=len)  # of a picture, where only the other is an .npy
    how["channel_axis"] = channels(f"{image} has shape {x.shape} and {template} has shape {t.shape}", x, t, space)
    if out is not None:
        files.check(out, np.dtype(np.uint8), drawing.drawable(x.shape, space), force=force)
    with waiting(f"looking for {template.name}"), limited(threads):
        scores = sash.similarity(x, t, **how)
    position, score = best(scores, steps)
    size = tuple(t.shape[a] for a in space)
    if out is not None:
        files.write(out, files.Content(drawing.boxed(x, position, size), space), force=force)
    if as_json:
        say_json({"position": position, "score": score, "size": size, "metric": metric})
    else:
        say(f"best match at {', '.join(map(str, position))}  ({metric} {score:.4f}, size {values.by(size)})")
        if out is not None:
            say(f"{out}: the image with the place marked")


def best(scores: NDArray[Any], stride: int | tuple[int, ...]) -> tuple[tuple[int, ...], float]:
    """Where the highest score that is a number lies, in samples of the image."""
    if not np.isfinite(scores).any():
        raise ArgumentError(f"None of the {scores.size} scores is a number: every window, or the template, holds a NaN or an infinity.")
    at = np.unravel_index(np.argmax(np.where(np.isfinite(scores), scores, -np.inf)), scores.shape)
    steps = stride if isinstance(stride, tuple) else (stride,) * scores.ndim
    return tuple(int(i) * s for i, s in zip(at, steps, strict=True)), float(scores[at])


def opaque(path: Path, content: files.Content) -> files.Content:
    """A picture without its alpha channel, which must not say anything."""
    x = content.array
    if x.dtype.kind != "u" or content.space != (0, 1) or x.shape[2:] not in ((2,), (4,)):
        return content
    if (x[..., -1] != np.iinfo(x.dtype).max).any():
        raise ArgumentError(f"{path} is transparent in places, which a template cannot be matched with; save it without transparency.")
    solid = x[..., :-1] if x.shape[2] == 4 else x[..., 0]
    return content.holding(np.ascontiguousarray(solid))


def channels(shapes: str, x: NDArray[Any], t: NDArray[Any], space: tuple[int, ...]) -> int | None:
    """The channel axis that image and template share; refuses colour against grey."""
    if x.ndim != t.ndim:
        raise ArgumentError(f"{shapes}; both must have the same axes (both grey, or both in colour).")
    outside = [a for a in range(t.ndim) if a not in space]
    if any(x.shape[a] != t.shape[a] for a in outside):
        raise ArgumentError(f"{shapes}; their channels must agree (both grey, or both in colour).")
    if len(outside) > 1:
        raise ArgumentError(f"{shapes}; axes {outside} are not space, and one of channels is the most there can be.")
    return outside[0] if outside else None
