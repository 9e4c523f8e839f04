"""Integers are summed exactly, whatever the method; what might not fit is refused with its bound."""

import numpy as np
import pytest

import oracle
import problems
import sash

METHODS = problems.filtering()


@pytest.mark.parametrize("method", METHODS)
def test_uint8_sums_do_not_wrap(method):
    found = sash.correlate(np.full((3, 4), 200, np.uint8), np.ones((3, 3), np.uint8), stride=2, method=method)
    assert found.tolist() == [[1800]]
    assert found.dtype == np.int64


@pytest.mark.parametrize("method", METHODS)
def test_integers_beyond_53_bits_are_exact_or_the_method_refuses(method):
    rng = np.random.default_rng(4)
    x = rng.integers(-(2**58), 2**58, (12, 13))
    k = np.array([[1, -2], [3, 1]])
    try:
        found = sash.correlate(x, k, method=method)
    except sash.SashError as refusal:
        assert method not in ("direct", "shift_add"), refusal
        return
    assert found.tolist() == oracle.correlate(x, k, work=object).tolist()


@pytest.mark.parametrize(
    ("x", "k"),
    [
        (np.full((4, 4), 2**62), np.ones((3, 3), np.int64)),
        (np.full(9, np.iinfo(np.int64).min), np.array([-1])),
        (np.full(9, 2**64 - 1, np.uint64), np.array([1], np.int8)),
        (np.array([1, 1]), np.full(2, 2**62)),
    ],
)
def test_what_int64_might_not_hold_is_refused_with_the_bound(x, k):
    bound = max(abs(int(v)) for v in x.ravel()) * sum(abs(int(v)) for v in k.ravel())
    for method in ("auto", *METHODS):
        with pytest.raises(sash.SashError) as caught:
            sash.correlate(x, k, method=method)
        if method == "auto":
            assert isinstance(caught.value, (OverflowError, ValueError))
            assert "int64" in str(caught.value)
            assert str(bound) in str(caught.value).replace(",", "") or "2**" in str(caught.value), caught.value


def test_the_constant_beyond_the_edge_counts_in_the_bound():
    x, k = np.array([1, 2, 3], np.uint8), np.array([1, 1, 1])
    for cval in (2**25 + 1, 2**53 + 1):  # no float32, no float64, and beyond the range of uint8
        found = sash.correlate(x, k, padding=2, cval=cval)
        assert found.tolist() == [2 * cval + 1, cval + 3, 6, cval + 5, 2 * cval + 3]
    with pytest.raises(sash.SashError, match=str(2**62)):
        sash.correlate(x, k, padding=2, cval=2**62)
    with pytest.raises(sash.SashError):
        sash.correlate(x, k, padding=2, cval=300, dtype=np.uint8)


def test_uint64_that_fits_is_exact():
    x = np.array([2**62, 2**62 - 1, 5], np.uint64)
    assert sash.correlate(x, np.array([1], np.uint64)).tolist() == [2**62, 2**62 - 1, 5]
    assert sash.correlate(x, np.array([-1], np.int64)).tolist() == [-(2**62), -(2**62) + 1, -5]


def test_an_integer_dtype_is_honoured_where_the_bound_proves_it():
    x, k = np.full((5, 5), 200, np.uint8), np.ones((3, 3), np.uint8)
    for dtype in (np.uint16, np.int16, "int32", np.int64):
        found = sash.correlate(x, k, dtype=dtype)
        assert found.dtype == np.dtype(dtype)
        assert np.all(found == 1800)
    white = np.full((5, 5), 255, np.uint8)
    with pytest.raises(sash.SashError) as caught:
        sash.correlate(white, k, dtype=np.uint8)
    assert "2295" in str(caught.value).replace(",", "") and "[0, 255]" in str(caught.value), caught.value
    for dtype in (np.uint8, np.uint16, np.int64):  # the data prove it where the type does not
        found = sash.correlate((x // 10).astype(dtype), k, dtype=np.uint8)
        assert found.dtype == np.uint8 and np.all(found == 180)
    with pytest.raises(sash.SashError):
        sash.correlate(x, -k.astype(np.int8), dtype=np.uint16)


def test_a_float_dtype_is_honoured():
    x, k = np.full((5, 5), 200, np.uint8), np.ones((3, 3), np.uint8)
    for dtype in (np.float32, np.float64):
        found = sash.correlate(x, k, dtype=dtype)
        assert found.dtype == dtype
        assert np.all(found == 1800)
    found = sash.correlate(x.astype(np.float32), k.astype(np.float32), dtype=np.float64)
    assert found.dtype == np.float64
