"""Every bad argument gets one sentence: the fact, both numbers, the way out."""

import numpy as np
import pytest

import problems
import sash
from sash import errors

X = np.ones((7, 8))
K = np.ones((3, 3))


class Lazy:
    """Looks like an array, is none."""

    shape = (3, 3)


BAD = {
    "kernel larger than the input": (lambda: sash.correlate(X, np.ones((9, 3))), ("9", "7")),
    "kernel larger than the padded input": (lambda: sash.correlate(X, np.ones((12, 3)), padding=2), ("12", "11")),
    "dilated kernel larger": (lambda: sash.correlate(X, K, dilation=4), ("9", "7")),
    "a crop that leaves too little": (lambda: sash.correlate(X, K, padding=-3), ("3", "1")),
    "more kernel axes than array axes": (lambda: sash.correlate(X, np.ones((2, 2, 2))), ("3", "2")),
    "axes for another kernel": (lambda: sash.correlate(X, K, axes=(0,)), ("1", "2")),
    "axes out of range": (lambda: sash.correlate(X, K, axes=(0, 2)), ("2",)),
    "axes out of range from the end": (lambda: sash.correlate(X, K, axes=(0, -3)), ("-3", "2")),
    "axes twice": (lambda: sash.correlate(X, K, axes=(0, -2)), ("(0, -2)",)),
    "axes of words": (lambda: sash.correlate(X, K, axes=("y", "x")), ("axes",)),
    "stride 0": (lambda: sash.correlate(X, K, stride=0), ("stride=0", "1")),
    "stride 0 on one axis": (lambda: sash.correlate(X, K, stride=(1, 0)), ("(1, 0)", "1")),
    "fractional stride": (lambda: sash.correlate(X, K, stride=1.5), ("1.5", "int")),
    "strides for three axes": (lambda: sash.correlate(X, K, stride=(1, 1, 1)), ("3", "2")),
    "negative dilation": (lambda: sash.correlate(X, K, dilation=-1), ("dilation=-1", "1")),
    "unknown padding": (lambda: sash.correlate(X, K, padding="sam"), ("'sam'", "'same'")),
    "padding for three axes": (lambda: sash.correlate(X, K, padding=((1, 1),) * 3), ("3", "2")),
    "padding of floats": (lambda: sash.correlate(X, K, padding=0.5), ("0.5",)),
    "reflect": (lambda: sash.correlate(X, K, boundary="reflect"), ("symmetric", "mirror")),
    "unknown boundary": (lambda: sash.correlate(X, K, boundary="nearset"), ("'nearset'", "'nearest'")),
    "boundary of another kind": (lambda: sash.correlate(X, K, boundary=3), ("boundary=3",)),
    "complex cval of a real array": (lambda: sash.correlate(X, K, padding=1, cval=1j), ("cval", "1j")),
    "cval of words": (lambda: sash.correlate(X, K, padding=1, cval="zero"), ("cval", "zero")),
    "fractional cval of integers": (
        lambda: sash.correlate(X.astype(int), K.astype(int), padding=1, cval=0.5),
        ("cval", "0.5"),
    ),
    "nan cval of integers": (
        lambda: sash.correlate(X.astype(int), K.astype(int), padding=1, cval=np.nan),
        ("cval", "nan"),
    ),
    "unknown method": (lambda: sash.correlate(X, K, method="ftt"), ("'ftt'", "'fft'")),
    "method of another kind": (lambda: sash.correlate(X, K, method=None), ("method=None",)),
    "unknown accuracy": (lambda: sash.correlate(X, K, accuracy="elmentwise"), ("'elmentwise'", "'elementwise'")),
    "max_memory of zero": (lambda: sash.correlate(X, K, max_memory=0), ("max_memory=0",)),
    "negative max_memory": (lambda: sash.correlate(X, K, max_memory=-5), ("max_memory=-5",)),
    "max_memory in words": (lambda: sash.correlate(X, K, max_memory="50 MB"), ("'50 MB'", "bytes")),
    "max_memory nan": (lambda: sash.correlate(X, K, max_memory=float("nan")), ("nan",)),
    "separable of another kind": (lambda: sash.correlate(X, K, separable="maybe"), ("'maybe'",)),
    "object arrays": (lambda: sash.correlate(np.array([[1, None]], object), [[1]]), ("object",)),
    "object kernels": (lambda: sash.correlate(X, np.array([[1, None]], object)), ("object",)),
    "string arrays": (lambda: sash.correlate(np.array([["a", "b"]]), [[1]]), ("x", "U1")),
    "dates": (lambda: sash.correlate(np.array([["2020-01-01"]], "M8[D]"), [[1]]), ("datetime64",)),
    "records": (lambda: sash.correlate(np.zeros((3, 3), [("a", int)]), K), ("x",)),
    "long doubles": (lambda: sash.correlate(X.astype(np.longdouble), K), ("x",)),
    "ragged lists": (lambda: sash.correlate([[1, 2], [3]], [[1]]), ("x",)),
    "ragged kernels": (lambda: sash.correlate(X, [[1, 2], [3]]), ("kernel",)),
    "nothing": (lambda: sash.correlate(None, K), ("x",)),
    "what is no array": (lambda: sash.correlate(Lazy(), K), ("x",)),
    "a kernel without taps": (lambda: sash.correlate(X, np.ones((3, 0))), ("0",)),
    "an axis without samples": (lambda: sash.correlate(np.ones((0, 8)), K, padding="same", boundary="nearest"), ("0",)),
    "unknown dtype": (lambda: sash.correlate(X, K, dtype="float31"), ("float31",)),
    "dtype of objects": (lambda: sash.correlate(X, K, dtype=object), ("object",)),
    "real dtype of a complex result": (lambda: sash.correlate(X * 1j, K, dtype=float), ("complex128", "float64")),
    "integer dtype of a real result": (lambda: sash.correlate(X, K, dtype=np.int32), ("int32", "float64")),
    "convolve, too": (lambda: sash.convolve(X, np.ones((9, 3))), ("9", "7")),
    "unknown verb": (lambda: sash.plan("correlat", (9, 9), (3, 3)), ("'correlat'", "'correlate'")),
    "plan of too few shapes": (lambda: sash.plan("correlate", (9, 9)), ("shape",)),
    "plan of a negative extent": (lambda: sash.plan("correlate", (9, -9), (3, 3)), ("-9",)),
    "plan of an unknown type": (lambda: sash.plan("correlate", (9, 9), (3, 3), input_dtype="float31"), ("float31",)),
    "plan of an unknown setting": (
        lambda: sash.plan("correlate", (9, 9), (3, 3), strides=2),
        ("'strides'", "'stride'"),
    ),
    "plan of a large kernel": (lambda: sash.plan("correlate", (9, 9), (3, 10)), ("10", "9")),
}


@pytest.mark.parametrize("name", BAD)
def test_one_sentence_with_both_numbers(name):
    call, words = BAD[name]
    with pytest.raises(sash.SashError) as caught:
        call()
    text = str(caught.value)
    assert isinstance(caught.value, (ValueError, TypeError)), type(caught.value)
    for word in words:
        assert word in text, text
    assert "\n" not in text and text.rstrip()[-1] in ".)", text
    assert len(text) < 400, text


@pytest.mark.parametrize("method", problems.filtering())
def test_arguments_are_checked_before_any_method_sees_them(method):
    """A wrong option is not accepted because a shortcut ran first: not even where there is nothing to do."""
    for settings in (
        {"boundary": "reflect"},
        {"accuracy": "good"},
        {"max_memory": 0},
        {"stride": 0},
        {"padding": "sam"},
    ):
        for x in (X, np.ones((0, 7, 8))):
            with pytest.raises(sash.SashError):
                sash.correlate(x, K, method=method, **settings)
    with pytest.raises(sash.SashError):
        sash.correlate(np.ones((0, 7, 8)), K, method="ftt")


def test_names_of_another_case_are_suggested():
    with pytest.raises(sash.SashError, match="did you mean 'fft'"):
        sash.correlate(X, K, method="FFT")
    with pytest.raises(sash.SashError, match="did you mean 'same'"):
        sash.correlate(X, K, padding="SAME")


def test_every_error_is_ours_and_the_built_in_that_fits():
    for name, found in vars(errors).items():
        if isinstance(found, type) and issubclass(found, Exception) and found is not errors.SashError:
            assert issubclass(found, errors.SashError), name
            assert len(found.__mro__) > len(errors.SashError.__mro__) + 1, f"{name} is no built-in error as well"


def test_positional_settings_are_refused():
    with pytest.raises(TypeError):
        sash.correlate(X, K, (0, 1))
    with pytest.raises(TypeError):
        sash.gaussian_blur(X, 1, 0)


def test_nothing_is_changed_when_a_call_is_refused():
    x, k = X.copy(), K.copy()
    for call, _ in BAD.values():
        with pytest.raises(sash.SashError):
            call()
    assert np.array_equal(x, X) and np.array_equal(k, K)
