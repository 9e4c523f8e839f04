"""What a file holds: numbers, and what they mean in space; and the ways reading or writing it can fail.

Imports: errors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sash.errors import SashError


class FileError(SashError, ValueError):
    """A file cannot be read, or must not be written; nothing on the disk has changed."""


@dataclass(frozen=True, slots=True)
class Content:
    """An array as it was read, with the axes that are space."""

    array: NDArray[Any]
    space: tuple[int, ...]
    """The axes that a window slides over: colour channels and time are not among them."""
    spacing: tuple[float, ...] | None = None
    """Millimetres per sample along each of `space`; None where the format does not say."""
    header: object = None
    """What the same format wants back when a result is written."""

    def holding(self, array: NDArray[Any], header: object = None) -> Content:
        """The same place in space with other numbers; `header` is the new one where the place has changed."""
        return replace(self, array=array, header=header or self.header)

    def axes(self, chosen: tuple[int, ...] | None) -> tuple[int, ...]:
        """The chosen axes counted from 0, or all of space.

        >>> Content(np.zeros((2, 3, 4)), (0, 1)).axes((-1, 0))
        (2, 0)
        """
        if chosen is None:
            return self.space
        n = self.array.ndim
        found = tuple(a % n for a in chosen if -n <= a < n)
        if len(set(found)) < len(chosen):
            raise FileError(f"--axes={','.join(map(str, chosen))} must be different axes of {self.array.shape}, from {-n} to {n - 1}.")
        return found


class Format(Protocol):
    """A module of this folder: three functions around one library."""

    def read(self, path: Path, /) -> Content: ...

    def refuse(self, suffix: str, dtype: np.dtype[Any], shape: tuple[int, ...], /) -> str:
        """Why a file of this suffix cannot hold such an array: "" when it can, else "PNG holds ..." ."""

    def write(self, path: Path, content: Content, /) -> None: ...
