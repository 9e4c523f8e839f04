"""The GPU's ways: methods over functions of the family, on a GPU where there is one and on CPU tensors everywhere.

What a GPU runs is PyTorch's operations alone, so the same code is held to the arrays' results without one.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import sash  # noqa: E402
from sash import methods  # noqa: E402
from sash.ops import networks, tensors, trilinear  # noqa: E402

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))]
WILLING = [m.NAME for m in methods.METHODS if m.NAME in ("native", "gemm", "fft", "polyphase", "shift_add")]


@pytest.fixture(params=DEVICES)
def device(request, monkeypatch):
    """Where tensors go; on the CPU the engine is told that they are on a GPU."""
    if request.param == "cpu":
        monkeypatch.setattr(trilinear, "on_device", lambda t: True)
        monkeypatch.setattr(tensors, "plain", lambda *operands: False)
        monkeypatch.setattr(networks, "arrays", lambda *operands: None)
    return request.param


def on(device, *arrays):
    return [torch.tensor(a, device=device) for a in arrays]


@pytest.mark.parametrize("method", WILLING)
@pytest.mark.parametrize("seed", range(6))
def test_convolutions_and_their_gradients(device, method, seed):
    rng = np.random.default_rng([5, seed])
    ndim, groups = int(rng.integers(1, 4)), int(rng.choice([1, 2]))
    stride = 2 if method == "polyphase" else int(rng.integers(1, 3))
    boundary = str(rng.choice(["constant", "nearest", "symmetric", "mirror", "wrap"]))
    x, w = rng.standard_normal((2, 2 * groups, *[7] * ndim)), rng.standard_normal((3 * groups, 2, *[3] * ndim))
    bias = rng.standard_normal(3 * groups)
    told = {"stride": stride, "padding": "same", "groups": groups, "boundary": boundary}
    tx, tw, tb = on(device, x, w, bias)
    y = sash.conv(tx, tw, tb, method=method, **told)
    expected = sash.conv(x, w, bias, **told)
    np.testing.assert_allclose(y.cpu(), expected, atol=1e-10)
    z = rng.standard_normal(expected.shape)
    back = sash.conv_transpose(*on(device, z, w), output_shape=7, **told)
    np.testing.assert_allclose(back.cpu(), sash.conv_transpose(z, w, output_shape=7, **told), atol=1e-10)
    tx.requires_grad_(), tw.requires_grad_()
    gx, gw = torch.autograd.grad(sash.conv(tx, tw, method=method, **told), (tx, tw), *on(device, z))
    np.testing.assert_allclose(gx.cpu(), back.cpu(), atol=1e-10)
    assert float((gw.cpu().numpy() * w).sum()) == pytest.approx(
        float((expected - bias.reshape(-1, *[1] * ndim)).ravel() @ z.ravel()), abs=1e-8
    )


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128", "uint8"])
@pytest.mark.parametrize("boundary", ["constant", "mirror", "wrap"])
def test_filters(device, dtype, boundary):
    rng = np.random.default_rng(8)
    x = rng.integers(0, 200, (3, 9, 8)).astype(dtype)
    k = rng.integers(0, 9, (3, 2)).astype(dtype)
    if "complex" in dtype:
        x, k = x * (1 + 2j), k * (2 - 1j)
    told = {"stride": (1, 2), "padding": ((1, 2), (0, 3)), "boundary": boundary, "cval": 2 if boundary == "constant" else 0}
    for kernel in (k, k.real.copy()):
        kernel = kernel.astype(dtype) if dtype == "uint8" else kernel
        y = sash.correlate(*on(device, x, kernel), **told)
        expected = sash.correlate(x, kernel, **told)
        assert str(y.dtype).removeprefix("torch.") == str(expected.dtype)
        np.testing.assert_allclose(y.cpu(), expected, rtol=1e-5)


def test_blurs_are_passes(device):
    x = np.random.default_rng(1).standard_normal((2, 20, 21))
    y = sash.gaussian_blur(*on(device, x), 1.5, axes=(1, 2), method="separable")
    np.testing.assert_allclose(y.cpu(), sash.gaussian_blur(x, 1.5, axes=(1, 2)), atol=1e-12)


def test_transforms_keep_nan_local(device):
    x = np.random.default_rng(2).standard_normal((40, 41))
    x[20, 20], x[3, 4] = np.nan, np.inf
    k = np.random.default_rng(3).standard_normal((5, 5))
    y = sash.correlate(*on(device, x, k), method="fft")
    np.testing.assert_allclose(y.cpu(), sash.correlate(x, k, method="direct"), atol=1e-10)


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
def test_similarity(device, metric):
    rng = np.random.default_rng(4)
    image, template = rng.random((3, 12, 13)), rng.random((3, 4, 5))
    y = sash.similarity(*on(device, image, template), metric=metric, channel_axis=0, stride=2)
    np.testing.assert_allclose(y.cpu(), sash.similarity(image, template, metric=metric, channel_axis=0, stride=2), atol=1e-8)


@pytest.mark.parametrize("missing", ["center", "drop"])
def test_planes_are_gathered(device, missing):
    rng = np.random.default_rng(6)
    x, w, b = rng.standard_normal((2, 4, 8, 9)), rng.standard_normal((3, 6, 2, 3, 5)), rng.standard_normal(6)
    depth = 1 + 0.03 * rng.random((2, 8, 9))
    depth[0, 3, 3], depth[1, 0, 0] = 0, np.nan
    told = {"focal": 90.0, "padding": (1, 2), "stride": (2, 1), "groups": 2, "missing": missing}
    tx, tw, tb, td = on(device, x, w, b, depth)
    tx.requires_grad_(), tw.requires_grad_()
    y = sash.conv2_5d(tx, td, tw, tb, method="gather", **told)
    np.testing.assert_allclose(y.detach().cpu(), sash.conv2_5d(x, depth, w, b, **told), atol=1e-10)
    z = rng.standard_normal(y.shape)
    gx, gw = torch.autograd.grad(y, (tx, tw), *on(device, z))
    inner = float(((y.detach().cpu().numpy() - b.reshape(-1, 1, 1)) * z).sum())
    assert float((gx.detach().cpu().numpy() * x).sum()) == pytest.approx(inner)
    assert float((gw.detach().cpu().numpy() * w).sum()) == pytest.approx(inner)
    from sash.ops import planes as depths
    from sash.ops.bins import binned

    settings = depths.Settings(90.0, 1.0, (2, 1), (1, 2), 1, missing)
    axes = depths.geometry(depth.shape, (3, 5), 3, settings)
    planes = binned(td, tuple(depth.shape), axes, 3, depths.ratios(90.0, 2, settings), missing)
    np.testing.assert_array_equal(planes.cpu(), sash.depth_planes(depth, (3, 5), **{k: v for k, v in told.items() if k != "groups"}))


def test_limits_make_blocks(device):
    x, w = np.random.default_rng(7).standard_normal((1, 2, 60, 61)), np.random.default_rng(8).standard_normal((3, 2, 5, 5))
    for method in ("fft", "gemm"):
        y = sash.conv(*on(device, x, w), padding="same", method=method, boundary="wrap", max_memory=400_000)
        np.testing.assert_allclose(y.cpu(), sash.conv(x, w, padding="same", boundary="wrap"), atol=1e-10)


def test_kernels_of_the_cpu_say_so(device):
    with pytest.raises(sash.SashError, match="run on the CPU"):
        sash.conv(*on(device, np.ones((1, 2, 4, 4)), np.ones((2, 2, 3, 3))), method="direct")
