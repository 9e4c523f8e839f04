"""NIfTI volumes: numbers with a place in the scanner, through nibabel.

Shapes: (X, Y, Z) or (X, Y, Z, time, ...).   Imports: content.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from sash.cli.files.content import Content, FileError

MILLIMETRES = {"mm": 1.0, "micron": 1e-3, "meter": 1e3, "unknown": 1.0}
"""What the header's unit of length is worth; one that is not given is taken for mm, as viewers do."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a volume lies, and what else its header says."""

    kind: type[Any]
    header: Any
    affine: NDArray[np.float64]

    def sampled(self, first: tuple[float, ...], step: tuple[int, ...]) -> Place:
        """The place of a result whose sample 0 lies at `first` and whose samples lie `step` apart."""
        move = np.eye(4)
        n = min(3, len(first))
        move[range(n), range(n)] = step[:n]
        move[:n, 3] = first[:n]
        return Place(self.kind, self.header, self.affine @ move)


def read(path: Path) -> Content:
    """The volume in its own type; in float32 (float64 from 32 bits on) where the header scales it."""
    image: Any = nibabel.load(path)
    stored = image.get_data_dtype()
    if stored.kind not in "iufc":
        raise FileError(f"{path} holds elements of type {stored}, and a window slides over numbers; convert it first.")
    if (image.dataobj.slope, image.dataobj.inter) == (1.0, 0.0):
        array = np.asanyarray(image.dataobj)
    else:
        array = image.get_fdata(dtype=np.float32 if stored.itemsize <= 2 else np.float64, caching="unchanged")
    space = tuple(range(min(3, array.ndim)))
    unit = MILLIMETRES.get(image.header.get_xyzt_units()[0], 1.0)
    spacing = tuple(float(zoom) * unit for zoom in image.header.get_zooms()[: len(space)])
    return Content(array, space, spacing, Place(type(image), image.header, image.affine))


def refuse(suffix: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> str:
    """NIfTI holds integers, float32, float64 and complex numbers in up to 7 axes."""
    if dtype.kind == "b" or dtype == np.float16:
        return f"NIfTI holds integers, float32, float64 and complex numbers, and the result is {dtype.name}"
    if not 1 <= len(shape) <= 7 or 0 in shape:
        return f"NIfTI holds 1 to 7 axes with at least one sample each, and the result has shape {shape}"
    return ""


def write(path: Path, content: Content) -> None:
    """Unscaled, with the header and affine it was read with; an array from elsewhere gets the identity."""
    place = content.header
    if not isinstance(place, Place):
        place = Place(nibabel.Nifti1Image, None, np.eye(4))
    array = content.array.astype(content.array.dtype.newbyteorder("="), copy=False)
    image = place.kind(array, place.affine, place.header, dtype=array.dtype)
    nibabel.save(image, path)
