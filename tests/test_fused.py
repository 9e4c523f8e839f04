"""The fused passes: how a block is cut into bands and groups of planes never shows in the result."""

import tracemalloc

import numpy as np
import pytest

import oracle
import sash
from sash import bound as shapes
from sash import planning, running
from sash.axis import BOUNDARIES
from sash.methods import bands, fused
from sash.ops import filters


@pytest.fixture
def cut(monkeypatch):
    """Bands, groups and blocks of other sizes, with nothing kept from before."""

    def change(**sizes):
        for name, size in sizes.items():
            monkeypatch.setattr(bands, name, size)
        for kept in (fused._course, bands.takes, bands.slots, planning.choose):
            kept.cache_clear()

    yield change
    monkeypatch.undo()
    change()


@pytest.mark.parametrize("sizes", [(4, 5, 7), (3, 5, 7), (1, 7, 1), (7, 1, 3)], ids=str)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cuts_do_not_show(boundary, dtype, sizes, cut):
    """Kernels of odd sizes are symmetric: the pairs of samples that share a tap are added first."""
    rng = np.random.default_rng(11)
    x = rng.standard_normal((2, 19, 37, 45)).astype(dtype)
    kernels = [rng.standard_normal(n) for n in sizes]
    if all(n % 2 for n in sizes):
        kernels = [k + k[::-1] for k in kernels]
    settings = {"padding": "same", "boundary": boundary, "cval": 0.7, "method": "separable"}
    whole = sash.separable_filter(x, kernels, **settings)
    dense = np.multiply.outer(np.multiply.outer(*kernels[:2]), kernels[2])
    exact = oracle.correlate(x.astype(float), dense, padding="same", boundary=boundary, cval=0.7)
    np.testing.assert_allclose(whole, exact, rtol=0, atol=200 * np.finfo(dtype).eps * np.abs(dense).sum())
    for band, group, blocks in ((1, 1, 40), (3, 4, 2), (5, 32, 7), (64, 7, 1)):
        cut(BAND=band, ROOMY=1, GROUP=group, BLOCKS=blocks)
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
        cut(BAND=band, ROOMY=1, GROUP=group)
        np.testing.assert_array_equal(sash.correlate(x, kernel, **settings), whole)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(70, 150), (9, 24), (5, 200), (130, 31), (40, 50, 3)], ids=str)
def test_symmetric_kernels_equal_those_that_are_not_known_to_be(shape, dtype):
    """The same taps through both families of kernels, and small integers read as they lie."""
    rng = np.random.default_rng(13)
    x = (rng.standard_normal(shape) * 50).astype(dtype)
    half = rng.random(4)
    k = np.r_[half[::-1], rng.random(1), half]
    nearly = k.copy()
    nearly[0] = np.nextafter(np.float32(nearly[0]), 9)
    y, z = (
        sash.separable_filter(x, [w, w], axes=(0, 1), padding="same", boundary="mirror", method="separable", dtype=float)
        for w in (k, nearly)
    )
    np.testing.assert_allclose(y, z, rtol=0, atol=1e-6 * np.abs(y).max())
    dense = np.multiply.outer(k, k).reshape(9, 9, *[1] * (len(shape) - 2))
    exact = oracle.correlate(x.astype(float), dense, padding="same", boundary="mirror", cval=0)
    np.testing.assert_allclose(y, exact, rtol=0, atol=1e-12 * np.abs(exact).max())


def test_blocks_of_registers_are_as_the_costs_take_them():
    from sash.kernels.cpu import pairs

    assert (len(pairs.ROWS), len(pairs.COLS)) == bands.PAIRED


@pytest.mark.parametrize("add", [0, 1])
@pytest.mark.parametrize(("m", "n"), [(1, 3), (3, 40), (4, 32), (9, 70), (6, 400)])
def test_symmetric_passes_write_once_what_they_should(m, n, add):
    """Rows of two blocks in one array of results, whose other elements stay as they were."""
    from sash.kernels.cpu import pairs, rows

    rng = np.random.default_rng(14)
    half = rng.random(3).astype(np.float32)
    k = np.r_[half[::-1], np.float32(1), half]
    x = rng.random(2 * (m + 6) * (n + 20)).astype(np.float32)
    at, to = np.array([0, (m + 6) * (n + 20)]), np.array([5, 11 + m * (n + 2)])
    y = rng.random(40 + 2 * m * (n + 2)).astype(np.float32)
    for name, offsets, spots in (
        ("column", np.arange(m + 6) * (n + 20), to),
        ("along", np.arange(7), to),
        ("along", 3 * np.arange(7), to),
        ("along", 2 * np.arange(7), to),
    ):
        found, wanted = y.copy(), y.copy()
        told = (offsets, n + 2, m, n, add) if name == "column" else (offsets, n, add)
        getattr(pairs, name)(x, k, found, at, spots, *told)
        getattr(rows, name)(x, k, wanted, at, spots, *told)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-6, err_msg=f"{name}, {offsets[:2]}")
        assert (found != y).any()


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_products_have_the_bits_of_the_general_way(boundary, monkeypatch):
    """Fused passes, of symmetric kernels and of others, of few axes and of all, little integers and rounded results too."""
    rng, bound = np.random.default_rng(BOUNDARIES.index(boundary)), []
    settled = shapes.fused.settled

    def counted(*told):
        bound.append(made := settled(*told))
        return made

    def same_bits(case, call):
        found = call()
        with monkeypatch.context() as patch:
            patch.setattr(filters, "again", lambda *told: None)
            patch.setattr(running, "bind", lambda *told: None)
            assert found.tobytes() == call().tobytes(), case

    monkeypatch.setattr(shapes.fused, "settled", counted)
    for _ in range(40):
        shape = tuple(int(n) for n in rng.integers(24, 70, int(rng.integers(1, 4))))
        axes = tuple(int(a) for a in rng.permutation(len(shape))[: rng.integers(1, len(shape) + 1)])
        kernels = [rng.standard_normal(int(n)).astype(rng.choice(["float32", "float64"])) for n in rng.integers(2, 12, len(axes))]
        if rng.random() < 0.5:
            kernels = [k + k[::-1] if len(k) % 2 else k for k in kernels]
        x = (rng.standard_normal(shape) * 40).astype(rng.choice(["float32", "float64", "uint8", "int16"]))
        told = {"boundary": boundary, "padding": rng.choice(["same", "valid", "full"]).item(), "cval": 1.5 * (boundary == "constant")}
        same_bits((shape, axes), lambda: sash.separable_filter(x, kernels, axes=axes, method="separable", **told))  # noqa: B023
        x = x.astype("float32")
        same_bits((shape, axes), lambda: sash.gaussian_blur(x, 1.3, axes=axes, boundary=boundary))  # noqa: B023
    x = rng.integers(0, 256, (60, 90), np.uint8)
    same_bits("bytes", lambda: sash.gaussian_blur(x, 2.0, boundary=boundary, dtype="uint8"))
    assert len([made for made in bound if made]) > 40


@pytest.mark.parametrize("limit", [None, 3_000_000, 1_500_000])
@pytest.mark.parametrize("threads", [1, 2])
def test_what_passes_take_is_counted(threads, limit):
    """The first call makes tables too, which are there once for all blocks that are alike, and keeps them."""
    x, held = np.random.default_rng(0).standard_normal((300, 300, 48)).astype(np.float32), []
    with sash.threads(threads):
        sash.gaussian_blur(x[:70], 1.0, max_memory=limit)  # loads and compiles
        plan = sash.plan("gaussian_blur", x.shape, sigma=1.0, max_memory=limit)
        for _ in range(2):
            tracemalloc.start()
            try:
                y = sash.gaussian_blur(x, 1.0, max_memory=limit)
                held.append(tracemalloc.get_traced_memory()[1] - y.nbytes)
            finally:
                tracemalloc.stop()
    assert held[0] <= (limit or plan.scratch)
    assert 100_000 < held[1] <= plan.scratch <= (limit or plan.scratch)
