"""Gaussian blurs and kernels: the dense definition, SciPy and OpenCV where their conventions are the same."""

import cv2
import numpy as np
import pytest
import scipy.ndimage

import oracle
import problems
import sash
import tolerance

SCIPY = {"constant": "constant", "nearest": "nearest", "symmetric": "reflect", "mirror": "mirror", "wrap": "wrap"}


def allowed(x, sigmas, orders, truncate, dtype):
    """Twice the promise for the dense kernel: ours and theirs."""
    dense = np.ones(())
    for sigma, order in zip(sigmas, orders, strict=True):
        dense = np.multiply.outer(dense, oracle.gaussian_kernel(sigma, order, truncate))
    return 2 * tolerance.promise(dense, tolerance.magnitude(x), dtype)


# --- kernels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 5, 7, 21, 31])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 1.7, 5.0])
def test_a_kernel_of_given_size_is_opencvs(size, sigma):
    np.testing.assert_allclose(sash.gaussian_kernel(sigma, size=size), cv2.getGaussianKernel(size, sigma)[:, 0], atol=1e-15)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.5, 7])
def test_a_kernel_is_the_sampled_gaussian_and_its_derivatives(sigma, order):
    for truncate in (2.0, 4.0, 5.5):
        found = sash.gaussian_kernel(sigma, order=order, truncate=truncate)
        exact = oracle.gaussian_kernel(sigma, order, truncate)
        assert found.dtype == np.float64 and found.shape == exact.shape
        np.testing.assert_allclose(found, exact, atol=1e-15 * max(abs(exact).max(), 1) * 8)


def test_a_kernel_sums_to_one_and_is_symmetric():
    for sigma in (0.2, 1, 3.3, 40):
        kernel = sash.gaussian_kernel(sigma)
        assert kernel.sum() == pytest.approx(1, abs=1e-14)
        np.testing.assert_array_equal(kernel, kernel[::-1])
        assert len(kernel) == 2 * int(4.0 * sigma + 0.5) + 1


def test_a_sigma_of_zero_leaves_everything_alone():
    assert sash.gaussian_kernel(0).tolist() == [1.0]
    x = np.random.default_rng(0).standard_normal((7, 8)).astype(np.float32)
    found = sash.gaussian_blur(x, 0)
    np.testing.assert_array_equal(found, x)
    assert not np.shares_memory(found, x)
    mixed = sash.gaussian_blur(x, (0, 1.5))
    for row, line in zip(mixed, x, strict=True):
        bound = allowed(x, (1.5,), (0,), 4.0, np.float32)
        tolerance.check(row, scipy.ndimage.gaussian_filter1d(line.astype(float), 1.5), bound, "sigma 0 on axis 0")


# --- the dense definition ------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", oracle.BOUNDARIES)
def test_three_passes_equal_the_dense_kernel(boundary):
    """What a conv3d with a 3-D Gaussian computes: an impulse of 21^3, and noise of (10, 20, 30)."""
    impulse = np.zeros((21, 21, 21), np.float32)
    impulse[10, 10, 10] = 1
    noise = np.random.default_rng(1).standard_normal((10, 20, 30)).astype(np.float32)
    for x in (impulse, noise):
        found = sash.gaussian_blur(x, 1.5, boundary=boundary)
        assert found.dtype == np.float32
        exact = oracle.gaussian_blur(x, (1.5,) * 3, (0,) * 3, (0, 1, 2), boundary=boundary)
        assert np.max(abs(found - exact)) <= 1e-6


def test_a_constant_beyond_the_edge_is_blurred_in():
    x = np.random.default_rng(2).standard_normal((9, 10))
    for cval in (3.0, -1.25):
        found = sash.gaussian_blur(x, (1, 2), boundary="constant", cval=cval)
        exact = oracle.gaussian_blur(x, (1, 2), (0, 0), (0, 1), boundary="constant", cval=cval)
        tolerance.check(found, exact, allowed(np.array([4.0]), (1, 2), (0, 0), 4.0, np.float64), f"cval {cval}")
        # A derivative along one axis sees no constant along the other: cval enters once, as the definition has it.
        found = sash.gaussian_blur(x, (1, 2), order=(1, 2), boundary="constant", cval=cval)
        exact = oracle.gaussian_blur(x, (1, 2), (1, 2), (0, 1), boundary="constant", cval=cval)
        tolerance.check(found, exact, allowed(np.array([4.0]), (1, 2), (1, 2), 4.0, np.float64), f"cval {cval}, derivatives")


def test_random_blurs_equal_the_definition():
    rng = np.random.default_rng(3)
    for i in range(60):
        ndim = int(rng.integers(1, 4))
        x = problems.laid_out(
            problems.values(
                rng,
                [int(n) for n in rng.integers(1, (60, 20, 10)[ndim - 1], ndim)],
                problems.pick(rng, *problems.FLOATS),
            ),
            problems.pick(rng, *problems.LAYOUTS),
        )
        axes = tuple(int(a) for a in rng.permutation(ndim)[: rng.integers(1, ndim + 1)])
        sigmas = tuple(float(s) for s in rng.uniform(0.3, 2.5, len(axes)))
        orders = tuple(int(o) for o in rng.choice([0, 0, 1, 2], len(axes)))
        truncate, boundary = float(rng.choice([2.0, 4.0])), problems.pick(rng, *oracle.BOUNDARIES)
        settings = {"order": orders, "axes": axes, "truncate": truncate, "boundary": boundary}
        found = sash.gaussian_blur(x, sigmas, **settings)
        exact = oracle.gaussian_blur(x, sigmas, orders, axes, truncate, boundary)
        told = f"blur {i}: x {x.dtype} {x.shape}, sigma {sigmas}, {settings}"
        tolerance.check(found, exact, allowed(x, sigmas, orders, truncate, found.dtype), told)


def test_a_nan_spreads_as_far_as_the_kernel_reaches():
    x = np.zeros((40, 41, 42), np.float32)
    x[20, 20, 20] = np.nan
    found = sash.gaussian_blur(x, 2)
    expected = np.zeros(x.shape, bool)
    expected[12:29, 12:29, 12:29] = True
    np.testing.assert_array_equal(np.isnan(found), expected)
    assert np.all(found[~expected] == 0)


# --- SciPy ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("boundary", oracle.BOUNDARIES)
def test_scipy_gaussian_filter_agrees(boundary, dtype):
    rng = np.random.default_rng(4)
    for shape, sigma, order, truncate, axes in [
        ((100,), 2.0, 0, 4.0, None),
        ((50, 61), 1.5, 0, 4.0, None),
        ((50, 61), (1.0, 3.0), (0, 1), 4.0, None),
        ((50, 61), 1.5, (2, 0), 3.0, None),
        ((50, 61), 2.0, 1, 4.0, None),
        ((20, 21, 22), 1.2, 0, 2.5, None),
        ((20, 21, 22), (1.0, 0.7, 2.0), (0, 3, 0), 4.0, None),
        ((20, 21, 22), 1.5, 0, 4.0, (0, 2)),
        ((20, 21, 22), (1.5, 0.5), (1, 0), 4.0, (2, 0)),
        ((5, 6), 4.0, 0, 4.0, None),  # the kernel is six times as long as the array
        ((1, 30), 2.0, 0, 4.0, None),
    ]:
        x = rng.standard_normal(shape).astype(dtype)
        found = sash.gaussian_blur(x, sigma, order=order, truncate=truncate, axes=axes, boundary=boundary)
        settings = {"order": order, "mode": SCIPY[boundary], "truncate": truncate, "axes": axes}
        theirs = scipy.ndimage.gaussian_filter(x.astype(np.float64), sigma, **settings)
        count = len(axes) if axes is not None else x.ndim
        sigmas, orders = oracle.per_axis(sigma, count), oracle.per_axis(order, count)
        told = f"{shape}, sigma {sigma}, {settings}"
        assert found.dtype == dtype
        tolerance.check(found, theirs, allowed(x, sigmas, orders, truncate, dtype), told)


def test_opencv_agrees():
    x = np.random.default_rng(5).standard_normal((60, 70)).astype(np.float32)
    for size, sigma in ((9, 1.5), (21, 3.0)):
        theirs = cv2.GaussianBlur(x, (size, size), sigma, borderType=cv2.BORDER_REFLECT)
        found = sash.gaussian_blur(x, sigma, size=size, boundary="symmetric")
        bound = 4 * tolerance.promise(np.full((size, size), size**-2.0), tolerance.magnitude(x), np.float32)
        tolerance.check(found, theirs, bound, f"size {size}, sigma {sigma}")


# --- element types -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "result"),
    [
        ("bool", "float32"),
        ("uint8", "float32"),
        ("int8", "float32"),
        ("uint16", "float32"),
        ("int16", "float32"),
        ("int32", "float64"),
        ("uint32", "float64"),
        ("int64", "float64"),
        ("uint64", "float64"),
        ("float16", "float16"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("complex64", "complex64"),
        ("complex128", "complex128"),
    ],
)
def test_types_of_results(dtype, result):
    rng = np.random.default_rng(6)
    x = problems.values(rng, (20, 21), dtype, 60_000)
    found = sash.gaussian_blur(x, 1.5)
    assert found.dtype == result
    exact = oracle.gaussian_blur(x, (1.5, 1.5), (0, 0), (0, 1))
    tolerance.check(found, exact, allowed(x, (1.5, 1.5), (0, 0), 4.0, result), f"{dtype} to {result}")


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32"])
def test_an_integer_result_is_rounded_to_the_nearest(dtype):
    rng = np.random.default_rng(7)
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, (40, 41), dtype, endpoint=True)
    for sigma in (0.7, 2.0):
        found = sash.gaussian_blur(x, sigma, dtype=dtype)
        assert found.dtype == dtype
        exact = oracle.gaussian_blur(x, (sigma,) * 2, (0, 0), (0, 1))
        slack = allowed(x, (sigma,) * 2, (0, 0), 4.0, np.float32 if info.bits <= 16 else np.float64)
        assert np.max(abs(found - exact)) <= 0.5 + slack, dtype


def test_halves_go_to_the_even_neighbour():
    x = np.array([[0, 1], [2, 3], [4, 5]], np.uint8)
    kernel = sash.gaussian_kernel(1e3, size=3)  # all but equal thirds
    assert kernel == pytest.approx([1 / 3] * 3, abs=1e-6)
    flat = np.zeros((1, 9), np.uint8)
    flat[0, ::2] = 1
    assert set(sash.gaussian_blur(flat, 0, dtype=np.uint8).ravel().tolist()) == {0, 1}
    assert sash.gaussian_blur(x, 0, dtype=np.uint8).tolist() == x.tolist()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_an_integer_blur_cannot_leave_the_range_of_its_input(dtype):
    """OpenCV #9863: a flat white picture must not darken, nor wrap to black."""
    info = np.iinfo(dtype)
    for level in (info.max, info.min, info.max - 1):
        x = np.full((64, 65), level, dtype)
        for sigma in (0.5, 1, 3.7, 11):
            assert np.all(sash.gaussian_blur(x, sigma, dtype=dtype) == level), (dtype, level, sigma)
    x = np.where(np.add.outer(np.arange(64), np.arange(65)) % 7 < 3, info.max, info.min).astype(dtype)
    found = sash.gaussian_blur(x, 0.4, dtype=dtype).astype(np.float64)
    exact = oracle.gaussian_blur(x, (0.4,) * 2, (0, 0), (0, 1))
    assert np.max(abs(found - exact)) <= 0.5 + allowed(x, (0.4,) * 2, (0, 0), 4.0, np.float32)


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sigma": -1}, ("sigma=-1",)),
        ({"sigma": (1, -2)}, ("-2",)),
        ({"sigma": (1, 2, 3)}, ("3", "2")),
        ({"sigma": float("nan")}, ("nan",)),
        ({"sigma": float("inf")}, ("inf",)),
        ({"sigma": "two"}, ("two",)),
        ({"sigma": 1, "order": -1}, ("order=-1",)),
        ({"sigma": 1, "order": 1.5}, ("1.5",)),
        ({"sigma": 1, "truncate": -1}, ("truncate=-1",)),
        ({"sigma": 1, "truncate": float("nan")}, ("nan",)),
        ({"sigma": 1, "size": 0}, ("size=0",)),
        ({"sigma": 1, "size": 2.5}, ("2.5",)),
        ({"sigma": 1, "axes": (0, 2)}, ("2",)),
        ({"sigma": 1, "axes": (0, 0)}, ("0",)),
        ({"sigma": 1, "boundary": "reflect"}, ("symmetric", "mirror")),
    ],
)
def test_bad_blurs_are_refused(settings, words):
    with pytest.raises(sash.SashError) as caught:
        sash.gaussian_blur(np.ones((8, 9)), **settings)
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert text.endswith(".") and "\n" not in text
