"""Answers of `conv` and `conv_transpose` known by heart, element types, plans, and one sentence for every bad argument."""

import numpy as np
import pytest

import sash
from sash import methods

METHODS = methods.names()
X, W = np.ones((2, 4, 8, 9)), np.ones((6, 4, 3, 3))
Z = np.ones((2, 6, 8, 9))
LINE = np.ones((1, 1, 64))


# --- known values --------------------------------------------------------------------------------


@pytest.mark.parametrize("extent", [24, 224])
def test_strided_volumes_with_channels_last(extent):
    """The literal sizes are planned; the small ones computed."""
    for weight, stride, frames in (((1, 3, 3, 3, 64), (1, 1, 1), 7), ((5, 3, 3, 3, 64), (2, 1, 1), 4)):
        settings = {"stride": stride, "padding": "same", "data_format": "NDHWC"}
        shape = (1, 7, extent, extent, 3)
        plan = sash.plan("conv", shape, weight, **settings)
        assert plan.problem.out == (frames, extent, extent) and plan.problem.outputs == 64
        if extent == 24:
            found = sash.conv(np.ones(shape, np.float32), np.ones(weight, np.float32), **settings)
            assert found.shape == (1, frames, extent, extent, 64)
            taps = np.array([3, 4, 5, 5, 5, 4, 3])[::2] if stride[0] == 2 else np.ones(7)
            np.testing.assert_array_equal(found[0, :, 5, 5, 11], 27 * taps)


@pytest.mark.parametrize("method", METHODS)
def test_uint8_sums_do_not_wrap(method):
    x, w = np.full((1, 1, 3, 3), 200, np.uint8), np.ones((1, 1, 3, 3), np.uint8)
    try:
        found = sash.conv(x, w, method=method)
        back = sash.conv_transpose(np.full((1, 1, 3, 3), 200, np.uint8), w, padding=1, method=method)
    except sash.SashError as refusal:
        assert method in str(refusal)
        return
    assert found.dtype == back.dtype == np.int64
    assert found.tolist() == [[[[1800]]]]
    assert back[0, 0].tolist() == [[800, 1200, 800], [1200, 1800, 1200], [800, 1200, 800]]


def test_a_transposed_line():
    x, w = np.array([[[1, 2, 3]]]), np.array([[[1, 10, 100]]])
    assert sash.conv_transpose(x, w).ravel().tolist() == [1, 12, 123, 230, 300]
    assert sash.conv_transpose(x, w, stride=2).ravel().tolist() == [1, 10, 102, 20, 203, 30, 300]
    assert sash.conv_transpose(x, w, stride=2, output_padding=1).ravel().tolist() == [1, 10, 102, 20, 203, 30, 300, 0]
    assert sash.conv_transpose(x, w, stride=2, padding="same").ravel().tolist() == [1, 10, 102, 20, 203, 30]
    assert sash.conv_transpose(x, w, stride=2, padding="same", output_shape=5).ravel().tolist() == [10, 102, 20, 203, 30]
    assert sash.conv_transpose(x, w, padding=1, boundary="nearest").ravel().tolist() == [1 + 12, 123, 230 + 300]
    assert sash.conv_transpose(x, w, padding=1, boundary="wrap").ravel().tolist() == [12 + 300, 123, 230 + 1]
    assert sash.conv_transpose(x, w, padding=1, boundary="mirror").ravel().tolist() == [12, 123 + 1 + 300, 230]
    assert sash.conv_transpose(x, w, [7]).ravel().tolist() == [8, 19, 130, 237, 307]


def test_a_small_image_with_a_bias():
    x, w = np.arange(9.0).reshape(1, 1, 3, 3), np.array([[[[1.0, 0], [0, -1]]], [[[0, 0], [0, 2]]]])
    assert sash.conv(x, w, [0.5, 1]).tolist() == [[[[-3.5, -3.5], [-3.5, -3.5]], [[9, 11], [15, 17]]]]
    assert sash.conv(x, w[:1], padding=(1, 0), cval=5.0)[0, 0].tolist() == [[5, 4, 3], [2, -4, -4], [-1, -4, -4]]


def test_even_windows_pad_at_the_end_or_the_start():
    x, w = np.arange(1.0, 5)[None, None], np.ones((1, 1, 2))
    assert sash.conv(x, w, padding="same").ravel().tolist() == [3, 5, 7, 4]
    assert sash.conv(x, w, padding="same_lower").ravel().tolist() == [1, 3, 5, 7]
    assert sash.conv_transpose(x, w, padding="same").ravel().tolist() == [1, 3, 5, 7]
    assert sash.conv_transpose(x, w, padding="same_lower").ravel().tolist() == [3, 5, 7, 4]


def test_extents_of_transposed_convolutions():
    assert sash.conv_transpose(LINE, np.ones((1, 1, 3)), stride=2, padding="same").shape == (1, 1, 128)
    for n in (127, 128):
        assert sash.conv_transpose(LINE, np.ones((1, 1, 3)), stride=2, padding="same", output_shape=n).shape == (1, 1, n)
    for output_shape, wanted in (((15, 18), (15, 18)), (None, (15, 17))):
        found = sash.conv_transpose(np.ones((1, 6, 8, 9)), W, stride=2, padding=1, output_shape=output_shape)
        assert found.shape == (1, 4, *wanted)
    assert sash.conv_transpose(Z, W, padding=((1, 1), (0, 1))).shape == (2, 4, 8, 10)


@pytest.mark.parametrize(
    ("x", "weight", "result"),
    [
        ("float32", "float64", "float32"),
        ("float16", "float16", "float16"),
        ("float16", "float32", "float16"),
        ("float64", "float32", "float64"),
        ("float32", "complex64", "complex64"),
        ("complex64", "float32", "complex64"),
        ("complex128", "complex128", "complex128"),
        ("uint8", "uint8", "int64"),
        ("bool", "bool", "int64"),
        ("uint8", "float32", "float32"),
        ("int64", "float32", "float64"),
        ("float32", "int8", "float32"),
    ],
)
@pytest.mark.parametrize("verb", [sash.conv, sash.conv_transpose])
def test_types_of_results(verb, x, weight, result):
    found = verb(np.ones((1, 2, 5, 6), x), np.ones((2, 2, 3, 3), weight), padding=1)
    assert found.dtype == result
    assert found[0, 0, 2, 2] == 18
    assert verb(np.ones((0, 2, 5, 6), x), np.ones((2, 2, 3, 3), weight), padding=1).dtype == result


def test_half_precision_sums_in_single():
    """2048 + 1 + 1 ... is 2048 in float16, however many ones there are."""
    x = np.ones((1, 513, 3), np.float16)
    x[:, 0] = 2048
    found = sash.conv(x, np.ones((1, 513, 1), np.float16))
    assert found.dtype == np.float16 and found.ravel().tolist() == [2560] * 3
    assert sash.conv_transpose(x, np.ones((513, 1, 1), np.float16)).ravel().tolist() == [2560] * 3


def test_lists_are_taken_where_numpy_would():
    assert sash.conv([[[1, 2, 3]]], [[[1, 1]]], [1]).tolist() == [[[4, 6]]]
    assert sash.conv_transpose([[[1, 2, 3]]], [[[1, 1]]]).tolist() == [[[1, 3, 5, 3]]]


def test_plans_tell_the_verb_and_the_method():
    for verb, x, w in (("conv", (2, 16, 40, 40), (8, 16, 3, 3)), ("conv_transpose", (2, 8, 40, 40), (8, 16, 3, 3))):
        plan = sash.plan(verb, x, w, stride=2, padding=1)
        assert verb in str(plan) and plan.method in methods.names() and plan.seconds > 0
        assert {c.name for c in plan.candidates} == set(methods.names())
        assert all(c.refusal or c.cost for c in plan.candidates)
        found = getattr(sash, verb)(np.ones(x, np.float32), np.ones(w, np.float32), stride=2, padding=1, method=plan.method)
        assert np.isfinite(found).all()
        for method in methods.names():
            if next(c for c in plan.candidates if c.name == method).refusal:
                with pytest.raises(sash.SashError, match=method):
                    sash.plan(verb, x, w, stride=2, padding=1, method=method)


# --- errors --------------------------------------------------------------------------------------

BAD = {
    "channels and groups that disagree": (lambda: sash.conv(X, np.ones((6, 3, 3, 3))), ("3", "4")),
    "channels of groups that disagree": (lambda: sash.conv(X, W, groups=2), ("8", "4")),
    "groups that do not divide": (lambda: sash.conv(X, np.ones((5, 2, 3, 3)), groups=2), ("groups=2", "5")),
    "groups of zero": (lambda: sash.conv(X, W, groups=0), ("groups=0", "1")),
    "groups of words": (lambda: sash.conv(X, W, groups="two"), ("groups='two'",)),
    "groups true": (lambda: sash.conv(X, W, groups=True), ("groups=True",)),
    "groups for each axis": (lambda: sash.conv(X, W, groups=(1, 1)), ("groups=(1, 1)",)),
    "transposed channels": (lambda: sash.conv_transpose(X, W), ("6", "4")),
    "transposed groups": (lambda: sash.conv_transpose(Z, W, groups=4), ("groups=4", "6")),
    "a window too large": (lambda: sash.conv(X, np.ones((6, 4, 9, 3))), ("9", "8")),
    "a dilated window too large": (lambda: sash.conv(X, W, dilation=5, padding=1), ("11", "10")),
    "a crop that leaves too little": (lambda: sash.conv(X, W, padding=-3), ("3", "2")),
    "reflect": (lambda: sash.conv(X, W, boundary="reflect"), ("symmetric", "mirror")),
    "reflect, transposed": (lambda: sash.conv_transpose(Z, W, boundary="reflect"), ("symmetric", "mirror")),
    "zeros": (lambda: sash.conv(X, W, boundary="zeros"), ("zeros", "constant")),
    "an unknown format": (lambda: sash.conv(X, W, data_format="NWHC"), ("'NWHC'", "'NHWC'")),
    "a format of other axes": (lambda: sash.conv(X, W, data_format="NCDHW"), ("4", "5", "NCDHW")),
    "a format of another kind": (lambda: sash.conv(X, W, data_format=1), ("data_format=1",)),
    "no batch axis": (lambda: sash.conv(np.ones((8, 9)), np.ones((3, 3))), ("2",)),
    "five spatial axes": (lambda: sash.conv(np.ones((1,) * 7), np.ones((1,) * 7)), ("7", "4")),
    "weights of other axes": (lambda: sash.conv(X, np.ones((6, 4, 3))), ("3", "4")),
    "weights without taps": (lambda: sash.conv(X, np.ones((6, 4, 3, 0))), ("0",)),
    "a bias of another size": (lambda: sash.conv(X, W, np.ones(5)), ("5", "6")),
    "a bias of more axes": (lambda: sash.conv(X, W, np.ones((6, 1))), ("(6, 1)", "6")),
    "a complex bias": (lambda: sash.conv(X, W, np.ones(6) * 1j), ("complex128", "float64")),
    "a fractional bias of integers": (lambda: sash.conv(X.astype(int), W.astype(int), np.ones(6) / 2), ("float64",)),
    "a transposed bias of the forward size": (lambda: sash.conv_transpose(Z, W, np.ones(6)), ("6", "4")),
    "stride 0": (lambda: sash.conv(X, W, stride=0), ("stride=0", "1")),
    "strides of three axes": (lambda: sash.conv(X, W, stride=(1, 1, 1)), ("3", "2")),
    "fractional dilation": (lambda: sash.conv(X, W, dilation=1.5), ("1.5",)),
    "pads of three axes": (lambda: sash.conv(X, W, padding=((1, 1),) * 3), ("3", "2")),
    "three pads": (lambda: sash.conv(X, W, padding=(1, 1, 1)), ("(1, 1, 1)",)),
    "unknown padding": (lambda: sash.conv(X, W, padding="sam"), ("'sam'", "'same'")),
    "a complex cval": (lambda: sash.conv(X, W, padding=1, cval=1j), ("1j",)),
    "a fractional cval of integers": (lambda: sash.conv(X.astype(int), W.astype(int), padding=1, cval=0.5), ("0.5",)),
    "a NaN cval of integers": (lambda: sash.conv(X.astype(int), W.astype(int), padding=1, cval=np.nan), ("nan",)),
    "an unknown method": (lambda: sash.conv(X, W, method="ftt"), ("'ftt'", "'fft'")),
    "an unknown accuracy": (lambda: sash.conv(X, W, accuracy="good"), ("'good'",)),
    "no memory": (lambda: sash.conv(X, W, max_memory=0), ("max_memory=0",)),
    "memory of one byte": (lambda: sash.conv(X, W, max_memory=1, method="fft"), ("max_memory=1",)),
    "objects": (lambda: sash.conv(X.astype(object), W), ("x", "object")),
    "text as weights": (lambda: sash.conv(X, W.astype(str)), ("weight",)),
    "nothing": (lambda: sash.conv(None, W), ("x",)),
    "no samples to extend": (lambda: sash.conv(np.ones((1, 4, 0, 9)), W, padding=1, boundary="nearest", dilation=1), ("0",)),
    "an impossible extent": (
        lambda: sash.conv_transpose(LINE, np.ones((1, 1, 3)), stride=2, padding="same", output_shape=129),
        ("127", "128", "129", "64"),
    ),
    "impossible extents": (lambda: sash.conv_transpose(Z, W, stride=2, output_shape=(17, 22)), ("17 or 18", "19 or 20", "22")),
    "extents of three axes": (lambda: sash.conv_transpose(Z, W, output_shape=(10, 11, 1)), ("3", "2")),
    "fractional extents": (lambda: sash.conv_transpose(Z, W, output_shape=10.0), ("10.0",)),
    "output padding of the stride": (lambda: sash.conv_transpose(Z, W, stride=2, output_padding=2), ("2",)),
    "output padding below zero": (lambda: sash.conv_transpose(Z, W, stride=2, output_padding=-1), ("-1",)),
    "output padding and shape": (lambda: sash.conv_transpose(Z, W, stride=2, output_padding=1, output_shape=(18, 20)), ("1", "(18, 20)")),
    "output padding and same": (lambda: sash.conv_transpose(Z, W, stride=2, output_padding=1, padding="same"), ("same",)),
    "output padding of three axes": (lambda: sash.conv_transpose(Z, W, stride=2, output_padding=(1, 1, 1)), ("3", "2")),
    "pads that leave nothing": (lambda: sash.conv_transpose(Z, W, padding=6), ("6",)),
    "a plan of one shape": (lambda: sash.plan("conv", X.shape), ("conv", "2", "1")),
    "a plan of disagreeing channels": (lambda: sash.plan("conv", X.shape, (6, 3, 3, 3)), ("3", "4")),
    "a plan of an unknown setting": (lambda: sash.plan("conv", X.shape, W.shape, strides=2), ("'strides'", "'stride'")),
    "a plan of an impossible extent": (
        lambda: sash.plan("conv_transpose", (1, 1, 64), (1, 1, 3), stride=2, padding="same", output_shape=129),
        ("127", "128", "129"),
    ),
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


def test_settings_are_keyword_only():
    for verb in (sash.conv, sash.conv_transpose):
        with pytest.raises(TypeError):
            verb(Z, W, None, 2)


def test_an_exact_sum_that_might_not_fit_is_refused():
    x = np.full((1, 2, 4), 2**62)
    for verb in (sash.conv, sash.conv_transpose):
        with pytest.raises(sash.SashError, match="int64"):
            verb(x, np.full((2, 2, 2), 3))
    with pytest.raises(sash.SashError, match="int64"):
        sash.conv(np.full((1, 1, 2), 2**62), np.ones((1, 1, 1), int), [2**62])
