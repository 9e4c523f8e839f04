"""Real pictures and a real brain, where pip has put them: in the wheels of scikit-image and nilearn.

Neither package is imported: only its folder is looked up.  Imports: files, extras.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sash.cli import files
from sash.cli.extras import cure


def brain() -> NDArray[np.uint8]:
    """The MNI152 (2009a) T1 template, (x, y, z) = (197, 233, 189) voxels of 1 mm.

    Copyright 1993-2009 Louis Collins, McConnell Brain Imaging Centre, McGill University; doi:10.1016/j.neuroimage.2010.07.033.
    """
    return _shipped("nilearn", "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")


def retina() -> NDArray[np.uint8]:
    """A fundus photograph, (H, W, channel) = (1411, 1411, 3)."""
    return _shipped("skimage", "data/retina.jpg")


def astronaut() -> NDArray[np.uint8]:
    """Eileen Collins, NASA, public domain; (H, W, channel) = (512, 512, 3)."""
    return _shipped("skimage", "data/astronaut.png")


def _shipped(package: str, path: str) -> NDArray[np.uint8]:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise cure(package, "The pictures of the demo")
    return files.read(Path(spec.submodule_search_locations[0], path)).array
