"""PNG and JPEG: photographs, read as people see them, through imageio.

Shapes: (H, W) or (H, W, channel).   Imports: content.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
from PIL import Image

from sash.cli.files.content import Content, FileError

KEPT = ("L", "LA", "RGB", "RGBA", "I", "I;16", "I;16B", "I;16L")
"""Pillow's modes that are plain numbers; others become grey (1 bit: 0 and 255) or RGB (palettes, CMYK)."""


def read(path: Path) -> Content:
    """The first picture of the file, turned upright where its camera says so."""
    with Image.open(path) as picture:
        mode = picture.mode
        deep = [str(tile.args) for tile in picture.tile if "16" in str(tile.args)]
        clear = "transparency" in picture.info
    if deep and not mode.startswith("I"):
        raise FileError(
            f"{path} holds 16 bits per colour channel ({deep[0]}), and its reader (Pillow) would keep 8; convert it to .tif first."
        )
    wanted = None if mode in KEPT else "L" if mode == "1" else "RGBA" if clear and mode == "P" else "RGB"
    array = imageio.imread(path, plugin="pillow", index=0, mode=wanted, rotate=True)
    return Content(np.asarray(array), space=(0, 1))


def refuse(suffix: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> str:
    """PNG holds uint8 in 1 to 4 channels and grey uint16; JPEG holds uint8, grey or RGB."""
    png = suffix == ".png"
    channels = shape[2] if len(shape) == 3 else 1
    told = "PNG holds uint8 (grey uint16 too)" if png else "JPEG holds uint8"
    if dtype != np.uint8 and not (png and dtype == np.uint16 and len(shape) == 2):
        of = " in colour" if dtype == np.uint16 and len(shape) == 3 else ""
        return f"{told}, and the result is {dtype.name}{of}"
    if len(shape) not in (2, 3) or channels not in ((1, 2, 3, 4) if png else (1, 3)):
        most = "1 to 4 channels" if png else "1 or 3 channels"
        return f"{'PNG' if png else 'JPEG'} holds one picture of {most}, and the result has shape {shape}"
    if 0 in shape:
        return f"{'PNG' if png else 'JPEG'} holds at least one pixel, and the result has shape {shape}"
    return ""


def write(path: Path, content: Content) -> None:
    """PNG without loss, JPEG at quality 95."""
    array = content.array
    array = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    options: dict[str, Any] = {} if path.suffix == ".png" else {"quality": 95}
    imageio.imwrite(path, np.ascontiguousarray(array), plugin="pillow", is_batch=False, **options)
