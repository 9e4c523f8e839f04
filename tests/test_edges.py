"""Edges of what arrays and settings can be: empty axes, steps that are never taken, scalars, half precision, small integers."""

import math

import numpy as np
import pytest

import oracle
import problems
import sash
import tolerance

METHODS = ("auto", *problems.filtering())
FAR = (2**40, 2**63, 2**70)


def willing(call):
    """The answer, or None where the method refuses in words."""
    try:
        return call()
    except sash.SashError as refusal:
        assert "method=" in str(refusal), refusal
        return None


def both(verb, *arrays, watched=False, **settings):
    """Of arrays, and where there is PyTorch of tensors (that are learnt: `watched`)."""
    yield verb(*arrays, **settings)
    try:
        import torch
    except ImportError:
        return
    given = [torch.from_numpy(a.astype(a.dtype.newbyteorder("="), order="K")) if isinstance(a, np.ndarray) else a for a in arrays]
    yield verb(*given, **settings).numpy()
    if watched:
        learnt = [t.requires_grad_() if isinstance(t, torch.Tensor) and (t.is_floating_point() or t.is_complex()) else t for t in given]
        yield verb(*learnt, **settings).detach().numpy()


# --- empty axes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int64", "uint64", "float16", "float32", "complex64"])
def test_an_axis_without_samples_reads_the_constant(dtype):
    x, kernel = np.zeros((3, 0), dtype), np.array([2, 3, 5], dtype)
    for cval in (0, 6):
        want = [[cval * (2 + 3 + 5)] * 3] * 3
        for found in both(sash.correlate, x, kernel, watched=True, padding=((2, 3),), cval=cval):
            assert found.tolist() == want
        for found in both(sash.separable_filter, x, [np.array([1], dtype), kernel], padding=((0, 0), (2, 3)), cval=cval):
            assert found.tolist() == want
        w = np.stack([kernel, kernel])[:, None, None]
        for found in both(sash.conv, x[None, None], w, watched=True, padding=((0, 0), (2, 3)), cval=cval):
            assert found.tolist() == [[want, want]]


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float32", "complex64"])
@pytest.mark.parametrize("stride", [1, 2, 7])
def test_an_axis_without_samples_and_pads_stays_empty(dtype, stride):
    x, one = np.zeros((3, 0), dtype), np.array([2], dtype)
    out = -(-3 // stride), 0
    for found in both(sash.correlate, x, one[None], watched=True, stride=stride, padding="same"):
        assert found.shape == out
    for found in both(sash.conv, x[None, None], one.reshape(1, 1, 1, 1), watched=True, stride=stride, padding="same"):
        assert found.shape == (1, 1, *out)
    for found in both(sash.gaussian_blur, x, sigma=(1.0, 0.0), boundary="constant", watched=True):
        assert found.shape == (3, 0)


def test_gradients_of_empty_axes_are_empty():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, k = torch.zeros(3, 0, requires_grad=True), torch.tensor([2.0, 3, 5], requires_grad=True)
    sash.correlate(x, k, padding=((2, 3),), cval=6.0).sum().backward()
    assert x.grad.shape == (3, 0) and k.grad.tolist() == [54.0] * 3


# --- steps that are never taken ------------------------------------------------------------------


@pytest.mark.parametrize("far", FAR)
def test_steps_of_any_length_that_are_never_taken(far):
    rng = np.random.default_rng(1)
    x, k, row = rng.standard_normal((4, 5)), rng.standard_normal((2, 3)), rng.standard_normal((1, 3))
    for method in METHODS:
        for arrays, settings, plain in (
            ((x, k), {"stride": far}, {"stride": 9}),
            ((x, row), {"dilation": (far, 1)}, {}),
            ((x, row), {"dilation": (far, 1), "stride": (1, far), "padding": "same"}, {"stride": (1, 9), "padding": "same"}),
        ):
            for verb in (sash.correlate, lambda x, w, **told: sash.conv(x[None, None], w[None, None], **told)[0, 0]):
                want = verb(*arrays, **plain)
                found = willing(lambda: list(both(verb, *arrays, watched=True, method=method, **settings)))  # noqa: B023
                for one in found or ():
                    np.testing.assert_allclose(one, want, atol=1e-12)


@pytest.mark.parametrize("far", FAR)
def test_steps_of_any_length_in_the_other_verbs(far):
    rng = np.random.default_rng(2)
    x, z = rng.standard_normal((1, 2, 4, 5)), rng.standard_normal((1, 3, 1, 1))
    w = rng.standard_normal((3, 2, 4, 4))
    for found in both(sash.conv_transpose, z, w, watched=True, stride=far, output_shape=(4, 5)):
        np.testing.assert_allclose(found, sash.conv_transpose(z, w, stride=9, output_shape=(4, 5)))
    planes, narrow = rng.standard_normal((3, 3, 2, 1, 3)), {"dilation": (far, 1), "stride": (far, 1)}
    depth = 1 + 0.01 * rng.random((1, 4, 5))
    near = {"focal": 90.0, "spacing": math.sqrt(far), "stride": (9, 1)}  # unequal dilations enter by their geometric mean
    for found in both(sash.conv2_5d, x, depth, planes, watched=True, focal=90.0, **narrow):
        np.testing.assert_allclose(found, sash.conv2_5d(x, depth, planes, **near))
    for found in both(sash.depth_planes, depth, (1, 3), focal=90.0, **narrow):
        np.testing.assert_array_equal(found, sash.depth_planes(depth, (1, 3), **near))
    for plane in (x[0, 0], np.asfortranarray(x[0, 0])):
        for found in both(sash.windows, plane, (2, 1), stride=(far, 2), dilation=(1, far)):
            np.testing.assert_array_equal(found, sash.windows(plane, (2, 1), stride=(9, 2)))
    for metric in ("sad", "ssd", "ncc", "zncc"):
        for found in both(sash.similarity, x[0, 0], x[0, 1, :2, :3].copy(), watched=True, metric=metric, stride=far):
            np.testing.assert_allclose(found, sash.similarity(x[0, 0], x[0, 1, :2, :3].copy(), metric=metric, stride=9), atol=1e-12)


def test_dilations_of_single_taps_enter_the_bins():
    """A window of one row: its dilation is no step, and still part of the geometric mean."""
    depth = 1 + 0.02 * np.random.default_rng(3).random((1, 6, 7))
    want = oracle_planes(depth, dilation=(4, 1))
    for found in both(sash.depth_planes, depth, (1, 3), focal=90.0, dilation=(4, 1)):
        np.testing.assert_array_equal(found, want)


def oracle_planes(depth, **settings):
    import oracle_networks

    return oracle_networks.depth_planes(depth, (1, 3), focal=90.0, **settings)


# --- crops ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("boundary", oracle.BOUNDARIES)
def test_a_crop_beside_a_boundary_that_reads_it(boundary, method):
    rng = np.random.default_rng(6)
    for shape, axis in (((30,), 0), ((7, 15), 0), ((15, 7), 1), ((9, 7, 7), 1)):
        x, kernel = rng.standard_normal(shape), rng.standard_normal(4)
        for pads in ((-1, 2), (-2, 3), (2, -1), (3, -2), (-3, 4), (4, -3), (-1, -1)):
            told = {"axes": (axis,), "padding": (pads,), "boundary": boundary}
            found = willing(lambda: sash.separable_filter(x, [kernel], method=method, **told))  # noqa: B023
            want = oracle.correlate(x, kernel, **told)
            assert found is None or np.allclose(found, want), (shape, pads)


# --- scalars -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "uint8"])
def test_scalars_slide_over_scalars(dtype):
    for found in both(sash.correlate, np.array(5, dtype), np.array(3, dtype), watched=True):
        assert found.shape == () and found == 15


# --- half precision ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_kernels_beside_half_precision_are_not_rounded_to_it(method):
    """Summed in float32, rounded once: taps that are wider stay so, and products of taps are made wider."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((9, 14)).astype(np.float16)
    dense = rng.standard_normal((3, 4)).astype(np.float32)
    pair = [rng.standard_normal(n).astype(np.float16) for n in (4, 3)]
    single = [pair[0], pair[1][:1]]
    for verb, kernel, whole in (
        (sash.correlate, dense, dense),
        (sash.separable_filter, pair, np.multiply.outer(*[k.astype(np.float64) for k in pair])),
        (sash.separable_filter, single, np.multiply.outer(*[k.astype(np.float64) for k in single])),
    ):
        exact = oracle.correlate(x, whole, work=np.float64)
        bound = 4 * tolerance.eps("float16") * math.sqrt(whole.size) * abs(whole).sum() * abs(x).max()
        found = willing(lambda: list(both(verb, x, kernel, watched=True, method=method)))  # noqa: B023
        for one in found or ():
            tolerance.check(one, exact, bound, f"{method}, {verb.__name__}, {whole.shape}")
    blurred = oracle.gaussian_blur(x, (1.2, 0.7), (0, 1), (0, 1))
    bound = 4 * tolerance.eps("float16") * 9 * 3 * abs(x).max()
    found = willing(lambda: list(both(sash.gaussian_blur, x, (1.2, 0.7), watched=True, order=(0, 1), method=method)))
    for one in found or ():
        tolerance.check(one, blurred, bound, f"{method}, gaussian_blur")


def test_gradients_of_half_precision_are_of_its_type():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for kind in (torch.float16, torch.bfloat16):
        x, k = torch.randn(7, 8).to(kind).requires_grad_(), torch.randn(3, 3).to(kind).requires_grad_()
        y = sash.correlate(x, k)
        assert y.dtype == kind
        y.sum().backward()
        assert x.grad.dtype == k.grad.dtype == kind
        torch.testing.assert_close(k.grad[0, 0].float(), x.detach().float()[:5, :6].sum(), atol=0.1, rtol=0.01)
        (again,) = torch.autograd.grad(sash.gaussian_blur(x, 1).sum(), x)
        assert again.dtype == kind


# --- small integers ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32"])
def test_small_integers_keep_their_rows_beside_a_constant(dtype, method):
    x = problems.values(np.random.default_rng(5), (5, 35), dtype, 100)
    for axes in (0, 1, (0, 1)):
        want = sash.gaussian_blur(x.astype(np.float64), 0.7, axes=axes, boundary="constant")
        found = willing(lambda: sash.gaussian_blur(x, 0.7, axes=axes, boundary="constant", method=method))  # noqa: B023
        assert found is None or np.allclose(found, want, atol=1e-3), axes
