"""One sentence, with both numbers, for every call of `conv2_5d`, `depth_planes` and `depth_report` that cannot be meant."""

import numpy as np
import pytest

import sash
from sash import methods

X, Z, W = np.ones((2, 4, 8, 9)), np.ones((2, 8, 9)), np.ones((3, 6, 4, 3, 3))
GATE = np.zeros((2, 3, 3, 6, 7), np.int8)


def conv(x=X, depth=Z, weight=W, bias=None, focal=10.0, **settings):
    return sash.conv2_5d(x, depth, weight, bias, focal=focal, **settings)


BAD = {
    "depth of another width": (lambda: conv(depth=np.ones((2, 8, 8))), ("(2, 8, 8)", "9")),
    "depth of another batch": (lambda: conv(depth=np.ones((3, 8, 9))), ("3", "2")),
    "depth with channels": (lambda: conv(depth=np.ones((2, 3, 8, 9))), ("(2, 3, 8, 9)",)),
    "depth of two axes": (lambda: conv(depth=np.ones((8, 9))), ("(8, 9)",)),
    "complex depth": (lambda: conv(depth=Z * 1j), ("depth", "complex128")),
    "depth of words": (lambda: conv(depth=Z.astype(str)), ("depth",)),
    "all depth missing": (lambda: conv(depth=Z * 0), ("depth", "missing")),
    "all depth NaN": (lambda: conv(depth=Z * np.nan), ("depth", "missing")),
    "no focal length": (lambda: sash.conv2_5d(X, Z, W), ("focal",)),
    "focal 0": (lambda: conv(focal=0), ("focal=0",)),
    "focal NaN": (lambda: conv(focal=np.nan), ("focal=nan",)),
    "focal below zero": (lambda: conv(focal=-3.0), ("focal=-3.0",)),
    "focal infinite": (lambda: conv(focal=np.inf), ("focal=inf",)),
    "focal lengths of three images": (lambda: conv(focal=[1.0, 2.0, 3.0]), ("3", "2")),
    "focal of words": (lambda: conv(focal="long"), ("focal=",)),
    "spacing 0": (lambda: conv(spacing=0), ("spacing=0",)),
    "spacing NaN": (lambda: conv(spacing=np.nan), ("spacing=nan",)),
    "even kernels": (lambda: conv(weight=np.ones((3, 6, 4, 3, 2))), ("2", "odd")),
    "even planes, missing in the centre": (lambda: conv(weight=np.ones((2, 6, 4, 3, 3))), ("2", "center", "drop")),
    "an unknown way with missing depth": (lambda: conv(missing="centre"), ("'centre'", "'center'")),
    "weights of four axes": (lambda: conv(weight=np.ones((6, 4, 3, 3))), ("4", "5")),
    "weights without planes": (lambda: conv(weight=np.ones((0, 6, 4, 3, 3))), ("0",)),
    "x of three axes": (lambda: conv(x=np.ones((4, 8, 9))), ("3", "(N, C, H, W)")),
    "channels that disagree": (lambda: conv(weight=np.ones((3, 6, 3, 3, 3))), ("3", "4")),
    "channels of groups that disagree": (lambda: conv(groups=2), ("8", "4")),
    "groups that do not divide": (lambda: conv(weight=np.ones((3, 5, 2, 3, 3)), groups=2), ("groups=2", "5")),
    "groups of zero": (lambda: conv(groups=0), ("groups=0",)),
    "a bias of another size": (lambda: conv(bias=np.ones(5)), ("5", "6")),
    "a window too large": (lambda: conv(weight=np.ones((3, 6, 4, 9, 3))), ("9", "8")),
    "stride 0": (lambda: conv(stride=0), ("stride=0", "1")),
    "strides of three axes": (lambda: conv(stride=(1, 1, 1)), ("3", "2")),
    "unknown padding": (lambda: conv(padding="sam"), ("'sam'", "'same'")),
    "an unknown method": (lambda: conv(method="ftt"), ("'ftt'", "'fft'")),
    "an unknown accuracy": (lambda: conv(accuracy="good"), ("'good'",)),
    "no memory": (lambda: conv(max_memory=0), ("max_memory=0",)),
    "a plane map of another size": (lambda: sash.conv2_5d(X, GATE[..., 1:], W), ("6", "7")),
    "a plane map of another kernel": (lambda: sash.conv2_5d(X, GATE[:, 1:], W), ("2", "3")),
    "a plane map beyond the planes": (lambda: sash.conv2_5d(X, GATE + np.int8(3), W), ("3",)),
    "a plane map below -1": (lambda: sash.conv2_5d(X, GATE - np.int8(2), W), ("-2",)),
    "int8 depth that is no plane map": (lambda: sash.conv2_5d(X, Z.astype(np.int8), W), ("int8",)),
    "planes of an even kernel": (lambda: sash.depth_planes(Z, 2, focal=10.0), ("2", "odd")),
    "planes of two kernels": (lambda: sash.depth_planes(Z, (3, 3, 3), focal=10.0), ("3", "two")),
    "no planes": (lambda: sash.depth_planes(Z, 3, planes=0, focal=10.0), ("planes=0", "1")),
    "more planes than int8 holds": (lambda: sash.depth_planes(Z, 3, planes=129, focal=10.0), ("129", "12")),
    "even planes": (lambda: sash.depth_planes(Z, 3, planes=4, focal=10.0), ("4", "center", "drop")),
    "planes without a focal length": (lambda: sash.depth_planes(Z, 3, focal=0.0), ("focal=0",)),
    "planes of missing depth": (lambda: sash.depth_planes(Z - 1, 3, focal=10.0), ("depth", "missing")),
    "a report of an even kernel": (lambda: sash.depth_report(Z, 2, focal=10.0), ("2", "odd")),
    "a report of too large a kernel": (lambda: sash.depth_report(Z, 9, focal=10.0), ("9", "8")),
    "integers and fractions": (lambda: conv(x=X.astype(object)), ("x",)),
    "a plan of four axes": (lambda: sash.plan("conv2_5d", X.shape, (6, 4, 3, 3)), ("4", "5")),
    "a plan of disagreeing channels": (lambda: sash.plan("conv2_5d", X.shape, (3, 6, 3, 3, 3)), ("3", "4")),
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
    with pytest.raises(TypeError):
        sash.conv2_5d(X, Z, W, None, 10.0)
    with pytest.raises(TypeError):
        sash.depth_planes(Z, 3, 3, focal=10.0)


def test_methods_that_cannot_say_so_in_one_sentence():
    plan = sash.plan("conv2_5d", X.shape, W.shape, padding=1)
    assert "conv2_5d" in str(plan) and plan.method in methods.names()
    refused = [c for c in plan.candidates if c.refusal and c.name != "gather"]  # which is the GPU's way to do it
    assert sum("place to place" in c.refusal for c in refused) > 3, [c.refusal for c in refused]
    for candidate in refused:
        with pytest.raises(sash.SashError, match=candidate.name):
            conv(method=candidate.name)


def test_any_depth_is_enough():
    depth = Z * np.nan
    depth[0, 0, 0] = 2.0
    assert conv(depth=depth).shape == (2, 6, 6, 7)
    assert conv(depth=depth[:, None]).shape == (2, 6, 6, 7)


def test_no_images_give_no_answers():
    assert conv(x=X[:0], depth=Z[:0]).shape == (0, 6, 6, 7)
    assert sash.depth_planes(Z[:0], 3, focal=10.0).shape == (0, 3, 3, 6, 7)
