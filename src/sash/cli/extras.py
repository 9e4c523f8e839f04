"""Which extra brings a library that is not here.

Imports: errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sash.errors import MissingLibrary

EXTRAS = {
    "typer": "cli",
    "rich": "cli",
    "imageio": "cli",
    "PIL": "cli",
    "tifffile": "cli",
    "nibabel": "nifti",
    "matplotlib": "demo",
    "skimage": "demo",
    "nilearn": "demo",
}
"""Library -> the extra of sash that installs it."""


def cure(library: str, what: str) -> MissingLibrary:
    """The error for a library that is not installed.

    >>> print(cure("nibabel", ".nii files"))
    .nii files need nibabel: pip install "sash[nifti]"
    """
    return MissingLibrary(f'{what} need {library}: pip install "sash[{EXTRAS[library]}]"')


@contextmanager
def needed(what: str) -> Iterator[None]:
    """Say the cure where a library of an extra is missing; one that is there but broken raises its own error."""
    try:
        yield
    except ModuleNotFoundError as missing:
        if missing.name not in EXTRAS:
            raise
        raise cure(missing.name, what) from None
