"""The transforms of each family, in which lines of zeros and lines that nobody reads are left out: the full ones."""

import numpy as np
import pytest

from sash.arrays import numpy_

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from sash.arrays import torch_  # noqa: E402

FAMILIES = {"arrays": (numpy_, np.asarray), "tensors": (torch_.family, torch.from_numpy)}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("seed", range(30))
def test_what_is_left_out_is_not_missed(name, seed):
    family, made = FAMILIES[name]
    rng = np.random.default_rng(seed)
    ndim = int(rng.integers(1, 4))
    axes = [int(a) for a in rng.permutation(ndim) + 2]
    shape = tuple(int(n) for n in rng.integers(1, 12, ndim))
    lengths = [shape[a - 2] + int(rng.integers(0, 9)) for a in axes]
    x = rng.standard_normal((2, 3, *shape))
    found = family.rfftn(made(x), lengths, axes)
    np.testing.assert_allclose(np.asarray(found), np.fft.rfftn(x, lengths, axes), atol=1e-12)
    kept = [int(rng.integers(1, n + 1)) for n in lengths]
    back = np.asarray(family.irfftn(found, lengths, axes, kept))
    wanted = np.fft.irfftn(np.fft.rfftn(x, lengths, axes), lengths, axes)
    some = (slice(None), slice(None), *[slice(0, kept[axes.index(a)]) for a in range(2, ndim + 2)])
    np.testing.assert_allclose(back[some], wanted[some], atol=1e-12)
