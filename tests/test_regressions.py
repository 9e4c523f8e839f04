"""Calls that once gave a wrong answer or a raw error, each with what it must give."""

import importlib

import numpy as np
import pytest

import sash

SQUARE = np.ones((30, 30))
BYTES = np.ones((9, 9), np.uint8)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        # Kernels of one tap multiplied in their own narrow type.
        (lambda: sash.separable_filter(np.ones(2, np.int8)[:, None], [np.array([100], np.int8)] * 2), [[10000], [10000]]),
        (lambda: sash.separable_filter(np.ones((2, 2), np.int8), [np.array([100], np.int8), np.array([100, 100], np.int8)]), [[20000]] * 2),
        (lambda: sash.separable_filter(np.ones((3, 3), int), [np.array([1], "u8"), np.array([1, 2], "i8")]), [[3, 3]] * 3),
        # Constants beyond the edge: complex beside real samples, and larger than floats hold.
        (lambda: sash.correlate([1.0, 2.0], [1 + 0j], padding=1, cval=1j), [1j, 1, 2, 1j]),
        (lambda: sash.correlate([1, 2], [0], padding=1, cval=10**60), [0, 0, 0, 0]),
        (
            lambda: sash.correlate(np.array([1], "u8"), np.array([1], "u8"), padding=1, cval=2**64 - 1, dtype="u8"),
            [2**64 - 1, 1, 2**64 - 1],
        ),
        (lambda: sash.correlate([1, 2], [1], padding=1, cval=np.array(1.0)), [1, 1, 2, 1]),
        # Steps that are never taken may be of any length.
        (lambda: sash.correlate(np.ones((3, 4)), [[1.0, 2]], stride=2**62), [[3]]),
        (lambda: sash.correlate([1, 2], [1], dilation=2**70), [1, 2]),
        # Kernels of an even size and hardly any width.
        (lambda: sash.gaussian_kernel(0.01, size=2), [0.5, 0.5]),
        (lambda: sash.gaussian_kernel(0, size=2), [0.5, 0.5]),
        (lambda: sash.correlate(5, 3), 15),
        # Rows of a band that the inner kernel did not reach.
        (lambda: sash.correlate(np.full((5, 5), 2**50), np.ones((2, 2), int), method="direct"), np.full((4, 4), 2**52)),
    ],
)
def test_the_answer_is_right(call, expected):
    np.testing.assert_array_equal(call(), np.array(expected))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: sash.correlate(5, [1, 2, 3], padding="full"), "has 1 axes and x has 0"),
        (lambda: sash.similarity(5.0, 5.0), "template is a scalar"),
        (lambda: sash.correlate(np.ma.array([1.0, 2], mask=[0, 1]), [1.0]), "masked array"),
        (lambda: sash.correlate([1, 2], [1], method=["fft"]), "method="),
        (lambda: sash.correlate([1, 2], [1], separable=[]), "separable="),
        (lambda: sash.correlate([1, 2], [1], stride=True), "stride=True"),
        (lambda: sash.correlate([1, 2], [1], padding=1, cval="1"), "cval='1'"),
        (lambda: sash.correlate([1.0, 2], [1], dtype=np.longdouble), "dtype="),
        (lambda: sash.correlate([1, 2], [1], padding=2**62), "more than any memory"),
        (lambda: sash.correlate([1, 2], [1], padding=1, cval=10**400), "might not fit"),
        (lambda: sash.correlate(np.ones((5, 7, 8)), np.ones((9, 3))), "axis 1, which has 7"),
        (lambda: sash.plan("correlate", (3,), (3,), input_dtype=object), "input_dtype="),
        (lambda: sash.plan(["correlate"], (3,), (3,)), "verb="),
        (lambda: sash.gaussian_blur(BYTES, 1, dtype="uint8", boundary="constant", cval=float("nan")), "cval=nan"),
        (lambda: sash.gaussian_blur(SQUARE, "2"), "sigma='2'"),
        (lambda: sash.gaussian_blur(SQUARE, 1e300), "taps"),
        (lambda: sash.gaussian_kernel([]), "sigma is empty"),
        (lambda: sash.separable_filter(SQUARE, None), "kernels=None"),
        (lambda: sash.separate(SQUARE, tol="a"), "tol='a'"),
        (lambda: sash.similarity(SQUARE, SQUARE, channel_axis=1.5), "channel_axis=1.5"),
        (lambda: sash.windows([1, 2], (2, 2)), "the window has 2 axes"),
        (lambda: sash.threads(True).__enter__(), "threads(True)"),
    ],
)
def test_the_error_is_a_sentence(call, says):
    with pytest.raises(sash.SashError, match=says.replace("(", r"\(").replace(")", r"\)").replace("[", r"\[")) as caught:
        call()
    assert isinstance(caught.value, (ValueError, TypeError))
    assert str(caught.value).endswith((".", ").", "?"))


@pytest.mark.parametrize(
    ("verb", "shapes", "settings"),
    [
        ("gaussian_blur", [(30, 30)], {"sigma": 1, "input_dtype": "uint8", "dtype": "uint8"}),
        ("gaussian_blur", [()], {"sigma": 1}),
        ("correlate", [(0, 30), (2,)], {}),
        ("correlate", [(), ()], {}),
        ("similarity", [(0, 30, 30), (2, 2)], {}),
    ],
)
def test_what_a_verb_takes_can_be_planned(verb, shapes, settings):
    assert sash.plan(verb, *shapes, **settings).method in {c.name for c in sash.plan(verb, *shapes, **settings).candidates}


def test_plan_stays_the_verb_whatever_is_imported_after_it():
    sash.correlate([1, 2], [1])
    for name in ("plans", "planning", "window", "ops.windows"):
        importlib.import_module(f"sash.{name}")
    assert callable(sash.plan) and sash.plan("correlate", (9,), (3,)).method and callable(sash.windows)


def test_the_number_of_threads_does_not_change_the_method():
    """Complex problems of this shape went through fft on one thread and direct sums on two."""
    rng = np.random.default_rng(3)
    x, kernel = (rng.standard_normal((*s, 2)).astype("f4").view("c8")[..., 0] for s in ((64, 338), (49, 29)))
    made = []
    for n in (1, 2, 3):
        with sash.threads(n):
            made.append(sash.correlate(x, kernel, separable=False))
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[0], made[2])


@pytest.mark.parametrize("metric", ["ncc", "zncc"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("bright", [1e8, 1e10, 1e12, -3.4e38])
def test_one_bright_pixel_does_not_hide_a_match_elsewhere(metric, masked, bright):
    rng = np.random.default_rng(4)
    image = rng.random((100, 100), np.float32)
    template = image[60:72, 50:65].copy()
    image[10, 10] = bright
    score = sash.similarity(image, template, metric=metric, mask=rng.random(template.shape) + 0.1 if masked else None)
    assert score[60, 50] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("method", ["direct", "gemm", "shift_add", "fft"])
def test_an_infinity_stays_one_in_long_sums(method):
    x = np.ones(6000)
    x[3000] = np.inf
    y = sash.correlate(x, np.ones(2500), method=method)
    assert np.isposinf(y[501:3001]).all() and np.isfinite(y[:501]).all() and np.isfinite(y[3001:]).all()


def test_an_outer_product_in_floating_point_is_one_term():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((600, 600))
    k = sash.gaussian_kernel((3, 3))
    x[300, 300] = np.inf
    assert np.isposinf(sash.correlate(x, k, method="separable")[288:290, 288:290]).all()


def test_taps_beyond_float32_do_not_become_infinite():
    assert sash.correlate(np.full(3, 1e-10, np.float32), np.array([9e45]))[0] == pytest.approx(9e35)


def test_a_spectrum_that_overflows_is_scaled():
    kernel = np.tile([1e308, -1e308], 8)
    np.testing.assert_allclose(sash.correlate(np.full(50, 1e-5), kernel, method="fft"), 0, atol=1e290)


def test_the_memory_that_an_error_asks_for_is_enough():
    image, template = np.random.default_rng(6).random((300, 300), np.float32), np.ones((40, 40), np.float32)
    template[0] = 0
    with pytest.raises(sash.SashError, match="least that would do") as caught:
        sash.similarity(image, template, metric="zncc", max_memory=50_000)
    assert sash.similarity(image, template, metric="zncc", max_memory=caught.value.least).shape == (261, 261)


def test_tables_of_little_arrays_are_kept_for_little_tiles_only():
    """A few samples padded to millions would leave a table of as many offsets behind."""
    from sash.arrays import numpy_
    from sash.axis import Axis

    x = np.arange(5, dtype=np.float32).reshape(1, 1, 5)
    for pad, kept in ((100_000, 0), (1, 1)):
        numpy_._places.cache_clear()
        tile = numpy_.fill(x, (Axis(5, 3, 1, 1, -pad, 5 + pad, "wrap"),), "float32", 0)
        np.testing.assert_array_equal(tile[0, 0], np.arange(-pad, 5 + pad) % 5)
        assert numpy_._places.cache_info().currsize == kept
