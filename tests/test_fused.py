"""The fused passes: how a block is cut into bands and groups of planes never shows in the result."""

import numpy as np
import pytest

import oracle
import sash
from sash import planning
from sash.axis import BOUNDARIES
from sash.methods import fused


@pytest.fixture
def cut(monkeypatch):
    """Bands, groups and blocks of other sizes, with nothing kept from before."""

    def change(**sizes):
        for name, size in sizes.items():
            monkeypatch.setattr(fused, name, size)
        for kept in (fused._course, fused.takes, fused.slots, planning.choose):
            kept.cache_clear()

    yield change
    monkeypatch.undo()
    change()


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cuts_do_not_show(boundary, dtype, cut):
    rng = np.random.default_rng(11)
    x = rng.standard_normal((2, 19, 37, 45)).astype(dtype)
    kernels = [rng.standard_normal(n) for n in (4, 5, 7)]
    settings = {"padding": "same", "boundary": boundary, "cval": 0.7, "method": "separable"}
    whole = sash.separable_filter(x, kernels, **settings)
    dense = np.multiply.outer(np.multiply.outer(*kernels[:2]), kernels[2])
    exact = oracle.correlate(x.astype(float), dense, padding="same", boundary=boundary, cval=0.7)
    np.testing.assert_allclose(whole, exact, rtol=0, atol=200 * np.finfo(dtype).eps * np.abs(dense).sum())
    for band, group, blocks in ((1, 1, 40), (3, 4, 2), (5, 32, 7), (64, 7, 1)):
        cut(BAND=band, GROUP=group, BLOCKS=blocks)
        np.testing.assert_array_equal(sash.separable_filter(x, kernels, **settings), whole, err_msg=f"{(band, group, blocks)=}")


def test_sums_of_products_accumulate_over_the_same_cuts(cut):
    """Two terms: the second is added to what the first wrote, once, whatever overlaps."""
    rng = np.random.default_rng(12)
    x = rng.standard_normal((13, 26, 30)).astype(np.float32)
    kernel = sum(np.multiply.outer(np.multiply.outer(*rng.standard_normal((2, 3))), rng.standard_normal(5)) for _ in range(2))
    settings = {"padding": "same", "boundary": "constant", "cval": -2.0, "separable": True, "method": "separable"}
    whole = sash.correlate(x, kernel, **settings)
    np.testing.assert_allclose(whole, sash.correlate(x, kernel, **settings | {"method": "direct", "separable": False}), rtol=0, atol=1e-4)
    for band, group in ((2, 5), (7, 3)):
        cut(BAND=band, GROUP=group)
        np.testing.assert_array_equal(sash.correlate(x, kernel, **settings), whole)
