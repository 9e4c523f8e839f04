"""`windows`: every window as a view, never a copy."""

import numpy as np
import pytest

import oracle
import problems
import sash


def test_against_numpys_own_view():
    x = np.arange(7 * 8 * 9).reshape(7, 8, 9)
    view = sash.windows(x, (3, 4))
    expected = np.lib.stride_tricks.sliding_window_view(x, (3, 4), axis=(1, 2))
    assert view.shape == expected.shape == (7, 6, 6, 3, 4)
    np.testing.assert_array_equal(view, expected)


@pytest.mark.parametrize("layout", problems.LAYOUTS)
def test_every_window_is_the_slice_it_says(layout):
    rng = np.random.default_rng(0)
    for _ in range(40):
        ndim = int(rng.integers(1, 5))
        shape = [int(n) for n in rng.integers(4, 10, ndim)]
        x = problems.laid_out(rng.integers(0, 1000, shape), layout)
        axes = tuple(int(a) for a in rng.permutation(ndim)[: rng.integers(1, ndim + 1)])
        size, stride, dilation = ([int(v) for v in rng.integers(1, 4, len(axes))] for _ in range(3))
        dilation = [1 if (k - 1) * d + 1 > shape[a] else d for a, k, d in zip(axes, size, dilation, strict=True)]
        view = sash.windows(x, tuple(size), axes=axes, stride=tuple(stride), dilation=tuple(dilation))
        outs = list(shape)
        for a, k, s, d in zip(axes, size, stride, dilation, strict=True):
            outs[a] = oracle.output_extent(shape[a], k, s, d)
        assert view.shape == (*outs, *size), (shape, axes, size, stride, dilation)
        for place in np.ndindex(*outs):
            for tap in np.ndindex(*size):
                at = list(place)
                for a, k, s, d in zip(axes, tap, stride, dilation, strict=True):
                    at[a] = place[a] * s + k * d
                assert view[place + tap] == x[tuple(at)]
            if rng.random() < 0.9:
                break
        assert np.shares_memory(view, x)


def test_it_is_a_view_that_cannot_be_written_through():
    x = np.zeros((5, 6))
    view = sash.windows(x, 3, axes=1, stride=2)
    assert view.shape == (5, 2, 3)
    assert np.shares_memory(view, x)
    assert not view.flags.writeable
    x[0, 2] = 7
    assert view[0, 0, 2] == 7 == view[0, 1, 0]


def test_a_correlation_is_a_tensordot_of_it():
    rng = np.random.default_rng(1)
    x, k = rng.integers(-9, 9, (20, 21)), rng.integers(-9, 9, (3, 5))
    rows = np.tensordot(sash.windows(x, k.shape, stride=2, dilation=(2, 1)), k, 2)
    np.testing.assert_array_equal(rows, sash.correlate(x, k, stride=2, dilation=(2, 1)))


@pytest.mark.parametrize(
    ("size", "settings", "words"),
    [
        (9, {}, ("9", "8")),
        (3, {"dilation": 4}, ("9", "8")),
        (3, {"stride": 0}, ("stride=0",)),
        (3, {"axes": 2}, ("2",)),
        ((3, 3, 3), {}, ("3", "2")),
        (0, {}, ("size=0",)),
        (2.5, {}, ("2.5",)),
    ],
)
def test_bad_windows_are_refused(size, settings, words):
    with pytest.raises(sash.SashError) as caught:
        sash.windows(np.zeros((8, 6)), size, **settings)
    assert all(word in str(caught.value) for word in words), caught.value
