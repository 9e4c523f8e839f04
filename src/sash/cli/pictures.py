"""The demo's pictures.

volume (x, y, z)   photograph (H, W) or (H, W, 3)   score (H', W').   Imports: files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from sash.cli import files

Array = NDArray[Any]
RIGHT, WRONG = "#2ca02c", "#e4572e"


def brain(path: Path, before: Array, after: Array) -> None:
    """Three cuts through the volume, before and after the blur."""
    nx, ny, nz = before.shape
    widths = (ny, nx, nx)
    figure, axes = _sheet(2, 3, (9, 6.4), widths, "black")
    for row, (volume, name) in enumerate(((before, "MNI152 T1"), (after, "sash.gaussian_blur(brain, sigma=2)"))):
        cuts = (volume[nx // 2 - 8], volume[:, ny // 2], volume[:, 10:-10, nz // 2 - 5])
        for axis, cut in zip(axes[row], cuts, strict=True):
            axis.imshow(cut.T, origin="lower", cmap="gray", vmin=0, vmax=float(before.max()), interpolation="nearest")
        axes[row][0].set_title(name, loc="left", fontsize=11, color="white")
    _save(path, figure)


def strided(path: Path, photo: Array, kernel: Array, response: Array) -> None:
    """The photograph with the kernel in its corner, and the response at its own, smaller size."""
    figure, axes = _sheet(1, 2, (9, 4.85))
    left, right = axes[0]
    left.imshow(photo, cmap="gray")
    left.set_title(f"retina, {photo.shape[0]} × {photo.shape[1]}, and the kernel, enlarged", loc="left", fontsize=11)
    inset = left.inset_axes((0.02, 0.02, 0.2, 0.2))
    inset.imshow(kernel, cmap="gray")
    inset.set_xticks([])
    inset.set_yticks([])
    most = float(np.percentile(response, 99.5))
    right.imshow(response, cmap="magma", vmin=0, vmax=most)
    right.set_title(f"sash.correlate(eye, kernel, stride=4): {response.shape[0]} × {response.shape[1]}", loc="left", fontsize=11)
    _save(path, figure)


def matched(path: Path, photo: Array, template: Array, place: tuple[slice, slice], scores: dict[str, Array]) -> None:
    """The photograph with the best place of each metric, the template, and the maps of its scores."""
    figure, axes = _sheet(1, 1 + len(scores), (4.2 * (1 + len(scores)), 4.6))
    shown = axes[0][0]
    shown.imshow(photo)
    shown.set_title("the photograph, and the template that is sought", loc="left", fontsize=11)
    inset = shown.inset_axes((0.7, 0.7, 0.29, 0.29))
    inset.imshow(template)
    inset.set_xticks([])
    inset.set_yticks([])
    height, width = template.shape[:2]
    true = tuple(s.start for s in place)
    for axis, (metric, score) in zip(axes[0][1:], scores.items(), strict=True):
        at = tuple(int(i) for i in np.unravel_index(np.nanargmax(score), score.shape))
        colour = RIGHT if at == true else WRONG
        axis.imshow(score, cmap="magma", extent=(-0.5, score.shape[1] - 0.5, score.shape[0] - 0.5, -0.5))
        axis.plot(at[1], at[0], "o", ms=14, mfc="none", mec=colour, mew=2)
        axis.set_title(f'metric="{metric}": best {score[at]:.2f}, {"right" if at == true else "wrong"}', loc="left", fontsize=11)
        shown.add_patch(Rectangle((at[1], at[0]), width, height, fill=False, ec=colour, lw=2))
        shown.annotate(metric, (at[1], at[0]), color="white", backgroundcolor=colour, fontsize=9, va="bottom")
    _save(path, figure)


def _sheet(
    rows: int, columns: int, inches: tuple[float, float], widths: tuple[int, ...] | None = None, colour: str = "white"
) -> tuple[Figure, list[list[Axes]]]:
    figure = Figure(figsize=inches, dpi=110, layout="constrained", facecolor=colour)
    axes = figure.subplots(rows, columns, squeeze=False, width_ratios=widths)
    for axis in axes.flat:
        axis.set_axis_off()
    return figure, [list(row) for row in axes]


def _save(path: Path, figure: Figure) -> None:
    """Through the same door as every file: whole, or as it was."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())[..., :3]
    files.write(path, files.Content(np.ascontiguousarray(picture), (0, 1)), force=True)
