"""NPY and NPZ: arrays of numbers of any shape; never a pickle.

Imports: content.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sash.cli.files.content import Content, FileError


def read(path: Path) -> Content:
    """The array of an NPY file, or the single array of an NPZ file; every axis is space."""
    found = np.load(path, allow_pickle=False)
    if isinstance(found, np.lib.npyio.NpzFile):
        with found as archive:
            if len(archive.files) != 1:
                names = ", ".join(archive.files) or "none"
                raise FileError(f"{path} holds {len(archive.files)} arrays ({names}); save the one you mean as .npy.")
            array = archive[archive.files[0]]
    else:
        array = found
    if array.dtype.kind not in "biufc":
        raise FileError(f"{path} holds elements of type {array.dtype}, and a window slides over numbers; convert it first.")
    return Content(array, tuple(range(array.ndim)))


def refuse(suffix: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> str:
    """Anything fits."""
    return ""


def write(path: Path, content: Content) -> None:
    """NPZ compressed, its one array named `result`."""
    if path.suffix == ".npz":
        np.savez_compressed(path, result=content.array)
    else:
        np.save(path, content.array, allow_pickle=False)
