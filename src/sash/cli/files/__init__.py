"""Files in and out: the index of formats, `read`, `allow`, `check` and `write`.

Every format is a module around one library; nothing here knows a byte of any format.  Imports: content, target.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np

from sash.cli.extras import needed
from sash.cli.files.content import Content, FileError, Format
from sash.cli.files.target import permit, replacing
from sash.errors import SashError

__all__ = ["FORMATS", "Content", "FileError", "allow", "check", "read", "write"]

FORMATS = {
    ".png": "raster",
    ".jpg": "raster",
    ".jpeg": "raster",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".npy": "numpy_",
    ".npz": "numpy_",
    ".nii": "nifti",
    ".nii.gz": "nifti",
}
"""Suffix -> module of this folder."""

INSTEAD = (".png", ".tif", ".npy")
"""What to write where a format cannot hold a result: the first of these that can, and the last, which always can."""


def read(path: Path) -> Content:
    """The numbers in a file.

    Raises
    ------
    FileError
        It is missing, empty, a folder, of an unknown kind, damaged, cut short, or holds no numbers.
    MissingLibrary
        The library that reads this kind is not installed.
    """
    if path.is_dir():
        raise FileError(f"{path} is a folder; give the name of a file in it.")
    if not path.exists():
        near = get_close_matches(path.name, [p.name for p in path.parent.glob("*")], n=1) if path.parent.is_dir() else []
        raise FileError(f"{path} does not exist; {f'did you mean {near[0]}?' if near else 'check the name and the folder.'}")
    form = _format(path)
    try:
        if path.stat().st_size == 0:
            raise FileError(f"{path} is empty (0 bytes); get a whole copy of it.")
        content = form.read(path)
    except (SashError, MemoryError):
        raise
    except PermissionError:
        raise FileError(f"{path} is closed to you; ask for the right to read it (chmod +r).") from None
    except Exception as failed:  # every library has errors of its own; Pillow even raises SyntaxError
        said = " ".join(str(failed).split()).rstrip(".") or type(failed).__name__
        raise FileError(f"{path} is damaged, cut short or not what its name says ({said}); get a whole copy of it.") from failed
    if content.array.size == 0:
        raise FileError(f"{path} holds no sample: its shape is {content.array.shape}.")
    return content


def allow(path: Path, *, force: bool) -> None:
    """Refuse a target of an unknown kind, in no folder, or one to be kept; to be called before anything is read."""
    _format(path)
    permit(path, force)


def check(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], *, force: bool, otherwise: str = "") -> None:
    """Refuse now what could not be written later; to be called before any work."""
    allow(path, force=force)
    if why := _format(path).refuse(_suffix(path), dtype, shape):
        others = [s for s in INSTEAD if not _format(Path(s)).refuse(s, dtype, shape)]
        raise FileError(f"{path} cannot be written: {why}; write {' or '.join(others)} instead{otherwise}.")


def write(path: Path, content: Content, *, force: bool) -> None:
    """Write the whole file or leave the target untouched."""
    check(path, content.array.dtype, content.array.shape, force=force)
    with replacing(path, _suffix(path), force) as beside:
        _format(path).write(beside, content)


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return next((s for s in sorted(FORMATS, key=len, reverse=True) if name.endswith(s)), "")


def _format(path: Path) -> Format:
    suffix = _suffix(path)
    if not suffix:
        raise FileError(f"{path} is of no kind that sash reads or writes; known are {', '.join(FORMATS)}.")
    with needed(f"{suffix} files"):
        return cast(Format, import_module(f"{__name__}.{FORMATS[suffix]}"))
