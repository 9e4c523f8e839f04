"""TIFF: pictures and stacks of any numeric type, with the names of their axes, through tifffile.

Imports: content.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from sash.cli.files.content import Content, FileError

SPACE = "XYZQI"
"""Axes a window slides over: width, height, depth, and a stack's pages where the file does not say what they are."""


class Complaints(logging.Handler):
    """Collects what tifffile logs: it reads what it can of a damaged stack and only logs the rest."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def read(path: Path) -> Content:
    """The first series of the file; channels (S, C), time (T) and other named axes are no space."""
    complaints = Complaints()
    logger = logging.getLogger("tifffile")
    logger.addHandler(complaints)
    said, logger.propagate = logger.propagate, False
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            array, axes = series.asarray(), series.axes
    finally:
        logger.removeHandler(complaints)
        logger.propagate = said
    if complaints.said:
        raise FileError(f"{path} is damaged or cut short ({complaints.said[0]}); get a whole copy of it.")
    return Content(np.asarray(array), tuple(i for i, a in enumerate(axes) if a in SPACE), header=axes)


def refuse(suffix: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> str:
    """TIFF holds every numeric type, but no empty array and no single number."""
    if 0 in shape or not shape:
        return f"TIFF holds at least one row of pixels, and the result has shape {shape}"
    return ""


def write(path: Path, content: Content) -> None:
    """With the axes it was read with, where their number is still the same."""
    array, axes = content.array, content.header
    metadata = {"axes": axes} if isinstance(axes, str) and len(axes) == array.ndim else None
    colour = array.dtype.kind in "ui" and (metadata is None or str(axes).endswith("S"))
    photometric = "rgb" if colour and array.ndim >= 3 and array.shape[-1] in (3, 4) else "minisblack"
    tifffile.imwrite(path, array, photometric=photometric, metadata=metadata or {})
