"""`separate` and `separable_filter`: sums of outer products, their error, and what they compute."""

import functools

import numpy as np
import pytest

import oracle
import sash
import tolerance
from sash.ops import separation


def outer(*vectors):
    return functools.reduce(np.multiply.outer, vectors)


def rebuilt(separation):
    """The kernel that the terms stand for, from the public record alone."""
    return sum(outer(*(np.asarray(v, np.result_type(v, np.float64)) for v in term)) for term in separation.terms)


@pytest.mark.parametrize("shape", [(5, 7), (4, 4), (3, 5, 7), (1, 6), (9,), (2, 3, 2, 3)])
def test_an_outer_product_is_found_to_be_one(shape):
    rng = np.random.default_rng(0)
    kernel = outer(*(rng.standard_normal(n) for n in shape))
    found = sash.separate(kernel)
    assert found.rank == 1 == len(found.terms)
    assert [len(v) for v in found.terms[0]] == list(shape)
    np.testing.assert_allclose(rebuilt(found), kernel, atol=1e-14 * abs(kernel).sum())


@pytest.mark.parametrize("rank", [2, 3])
def test_a_sum_of_outer_products_is_found(rank):
    rng = np.random.default_rng(1)
    kernel = sum(outer(rng.standard_normal(9), rng.standard_normal(11)) for _ in range(rank))
    found = sash.separate(kernel)
    assert found.rank == rank
    np.testing.assert_allclose(rebuilt(found), kernel, atol=1e-13 * abs(kernel).sum())


def test_known_kernels():
    sobel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    assert sash.separate(sobel).rank == 1
    assert sash.separate(np.ones((5, 5))).rank == 1
    assert sash.separate(np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])).rank == 2  # Laplacian: a + b
    gaussian = outer(*[sash.gaussian_kernel(1.5)] * 3)
    assert sash.separate(gaussian).rank == 1
    assert sash.separate(np.random.default_rng(2).standard_normal((7, 5))).rank == 5


def test_the_error_is_what_is_left_out():
    rng = np.random.default_rng(3)
    kernel = rng.standard_normal((8, 8)) @ np.diag(10.0 ** -np.arange(8)) @ rng.standard_normal((8, 8))
    errors = []
    for tol in (1e-1, 1e-3, 1e-5):
        found = sash.separate(kernel, tol=tol)
        left = np.abs(rebuilt(found) - kernel).sum()
        share = left / np.abs(kernel).sum()
        assert share == pytest.approx(found.error, rel=1e-6, abs=1e-13) and share <= tol, f"tol {tol}: says {found.error}, leaves {share}"
        errors.append((found.rank, found.error))
    assert [rank for rank, _ in errors] == sorted({rank for rank, _ in errors})
    assert [error for _, error in errors] == sorted((error for _, error in errors), reverse=True)


def test_zero_and_single_kernels():
    assert np.all(rebuilt(sash.separate(np.zeros((3, 4)))) == 0)
    assert rebuilt(sash.separate(np.array([[5.0]]))) == pytest.approx(5.0, rel=1e-15)
    assert rebuilt(sash.separate(np.array([[5]]))).tolist() == [[5]]


def test_integer_kernels_come_back_as_integers():
    for kernel in ([[1, 2, 1], [2, 4, 2], [1, 2, 1]], [[-6, 4], [9, -6]], [[0, 0], [0, -7]]):
        found = sash.separate(kernel)
        assert all(v.dtype.kind == "i" for v in found.terms[0])
        assert outer(*found.terms[0]).tolist() == kernel
        assert found.error == 0


def test_bad_kernels_are_refused():
    for bad in (np.ones((0, 3)), np.array([["a"]]), np.array([[None]]), np.array([[np.nan, 1.0]])):
        with pytest.raises(sash.SashError):
            sash.separate(bad)
    with pytest.raises(sash.SashError, match="tol"):
        sash.separate(np.ones((3, 3)), tol=-1)


@pytest.mark.parametrize("boundary", oracle.BOUNDARIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64])
def test_separable_filter_is_the_dense_kernel(boundary, dtype):
    rng = np.random.default_rng(4)
    x = rng.standard_normal((9, 14, 15)).astype(dtype)
    for kernels, axes, settings in [
        ((5, 4), None, {"padding": "same"}),
        ((5, 4), (0, 2), {"padding": "full", "stride": (2, 1)}),
        ((3, 2, 5), None, {"padding": ((1, 1), (0, 2), (2, -1)), "dilation": (1, 2, 1)}),
        ((3, 4), (2, 0), {"padding": ((1, 20), (17, 3)), "stride": 3}),
        ((7,), (1,), {"padding": "same_lower"}),
    ]:
        vectors = [rng.standard_normal(n).astype(dtype) for n in kernels]
        cval = 1.5 if boundary == "constant" else 0
        found = sash.separable_filter(x, vectors, axes=axes, boundary=boundary, cval=cval, **settings)
        dense = outer(*vectors)
        exact = oracle.correlate(x, dense, axes=axes, boundary=boundary, cval=cval, **settings)
        assert found.dtype == dtype
        scale = max(tolerance.magnitude(x), 1.5)
        tolerance.check(found, exact, tolerance.promise(dense, scale, dtype), f"{kernels}, {axes}, {settings}, {boundary}")


def test_integers_stay_exact():
    rng = np.random.default_rng(5)
    x = rng.integers(-(2**31), 2**31, (20, 21))
    vectors = [rng.integers(-99, 99, 5), rng.integers(-99, 99, 4)]
    found = sash.separable_filter(x, vectors, padding="same", boundary="wrap")
    assert found.dtype == np.int64
    exact = oracle.correlate(x, outer(*vectors), padding="same", boundary="wrap", work=object)
    assert found.tolist() == exact.tolist()


def test_separable_auto_does_not_change_the_answer():
    """A kernel that is nearly, but not quite, an outer product keeps the promise either way."""
    rng = np.random.default_rng(6)
    x = rng.standard_normal((80, 81)).astype(np.float32)
    for wobble in (0.0, 1e-9, 1e-7, 1e-5, 1e-2):
        kernel = outer(rng.standard_normal(15), rng.standard_normal(15)) + wobble * rng.standard_normal((15, 15))
        kernel = kernel.astype(np.float32)
        exact = oracle.correlate(x, kernel)
        bound = tolerance.promise(kernel, tolerance.magnitude(x), np.float32)
        for separable in ("auto", True, False):
            try:
                found = sash.correlate(x, kernel, separable=separable)
            except sash.SashError as refusal:
                assert separable is True and "separa" in str(refusal)
                continue
            tolerance.check(found, exact, bound, f"wobble {wobble}, separable={separable}")


def test_bad_kernels_of_separable_filter_are_refused():
    x = np.ones((8, 9))
    for kernels, words in (
        ([np.ones(3)] * 3, ("3", "2")),
        ([np.ones((3, 3))] * 2, ("kernels[0]", "(3, 3)")),
        ([np.ones(3), np.ones(11)], ("11", "9")),
        ([np.ones(3), np.ones(0)], ("0",)),
        ([], ("kernels",)),
    ):
        with pytest.raises(sash.SashError) as caught:
            sash.separable_filter(x, kernels)
        assert all(word in str(caught.value) for word in words), caught.value


def test_large_kernels_of_few_terms_are_found_and_others_given_up_early(monkeypatch):
    rng = np.random.default_rng(3)
    few = sum(np.multiply.outer(*rng.standard_normal((2, 255))) for _ in range(3))
    assert len(separation.factors(few, "float64", False, 16)) == 3
    looked, left = [], separation._left_by
    monkeypatch.setattr(separation, "_left_by", lambda part, *told: looked.append(part.size) or left(part, *told))
    assert separation.factors(rng.standard_normal((255, 255)), "float64", False, 16) is None
    assert looked == [32 * 32]


def test_a_kernel_that_comes_again_is_not_taken_apart_again(monkeypatch):
    """It is known by its values: the same ones in another array, and not an array that was written to meanwhile."""
    rng = np.random.default_rng(5)
    x, kernel = rng.standard_normal((300, 310)), np.multiply.outer(*rng.standard_normal((2, 15)))
    monkeypatch.setattr(separation, "KEPT", kernel.nbytes)
    first = sash.correlate(x, kernel)
    looked = []
    monkeypatch.setattr(separation, "_lowest", lambda *told, lowest=separation._lowest: looked.append(1) or lowest(*told))
    assert sash.correlate(x, kernel.copy()).tobytes() == first.tobytes() and not looked
    kernel[3] *= -1
    np.testing.assert_allclose(sash.correlate(x, kernel), sash.correlate(x, kernel, separable=False), atol=1e-11)
    assert looked
    monkeypatch.setattr(separation, "KEPT", kernel.nbytes - 1)
    assert sash.correlate(x, kernel).shape == first.shape and len(looked) == 2
