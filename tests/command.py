"""The `sash` command as tests call it, in a folder with something to work on.

Imports: typer's runner, nibabel, sash.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from sash.cli import files
from sash.cli.app import app

RNG = np.random.default_rng(20)
PHOTO = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (40, 50), dtype=np.uint8)
VOLUME = RNG.normal(100, 20, (12, 14, 10)).astype(np.float32)
AFFINE = np.array([[2.0, 0, 0, -5], [0, 1.5, 0, -7], [0, 0, 4.0, 3], [0, 0, 0, 1]])


def furnished(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a photograph, a grey picture, a floating array and a volume."""
    for name, array in (("photo.png", PHOTO), ("grey.png", GREY), ("x.npy", VOLUME)):
        files.write(folder / name, files.Content(array, (0, 1)), force=False)
    nibabel.save(nibabel.Nifti1Image(VOLUME, AFFINE), folder / "brain.nii.gz")
    monkeypatch.chdir(folder)
    return folder


def call(*words: object, width: int = 100):
    return CliRunner(env={"COLUMNS": str(width)}).invoke(app, [str(word) for word in words], catch_exceptions=False)


def done(*words: object) -> str:
    result = call(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*words: object) -> str:
    """The one sentence on stderr; nothing is written."""
    before = sorted(os.listdir())
    result = call(*words)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert re.fullmatch(r"sash: .*[^\n]\n", result.stderr), result.stderr
    assert sorted(os.listdir()) == before
    return result.stderr


def read(name: str) -> np.ndarray:
    return files.read(Path(name)).array
