"""Long sums of equal terms: 0.1 has no binary form, so every addition of a running sum rounds the same way.

Results and both gradients of the network verbs, by every method that is willing, are held to the promise against float64.
"""

import numpy as np
import pytest

import sash
from sash import accuracy, methods
from sash.ops import adjoint

TENTH = float(np.float32(0.1))
FACTOR = {"normwise": accuracy.NORMWISE, "elementwise": accuracy.ELEMENTWISE}


def tenths(*shape):
    return np.full(shape, 0.1, np.float32)


def off(found, terms, promise="normwise"):
    """The largest error of sums of so many equal terms, as a share of what is promised."""
    exact = terms * TENTH**2
    bound = FACTOR[promise] * float(np.finfo(np.float32).eps) * exact * (terms**0.5 if promise == "normwise" else 1)
    return float(np.abs(np.asarray(found, np.float64) - exact).max()) / bound


def drawn(planes, *shape):
    """A plane map in which every plane turns up."""
    return np.random.default_rng(0).integers(0, planes, shape).astype(np.int8)


@pytest.mark.parametrize("promise", FACTOR)
@pytest.mark.parametrize("channels", [512, 2000, 6000])
@pytest.mark.parametrize("method", methods.names())
def test_channels(method, channels, promise):
    for verb, x, w in (
        (sash.conv, tenths(1, channels, 3, 4), tenths(5, channels, 3, 3)),
        (sash.conv_transpose, tenths(1, channels, 5, 5), tenths(channels, 5, 3, 3)),
    ):
        if method == "shift_add":
            x, w = x[:, :600], w[:600] if verb is sash.conv_transpose else w[:, :600]
        try:
            y = verb(x, w, method=method, accuracy=promise)
        except sash.SashError:
            continue
        inner = y if verb is sash.conv else y[:, :, 2:-2, 2:-2]
        assert off(inner, 9 * x.shape[1], promise) <= 1, verb.__name__


@pytest.mark.parametrize("promise", FACTOR)
@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("channels", [64, 512, 6000])
def test_planes(channels, planes, promise):
    gate = drawn(planes, 1, 3, 3, 5, 4)
    y = sash.conv2_5d(tenths(1, channels, 7, 6), gate, tenths(planes, 5, channels, 3, 3), accuracy=promise)
    assert off(y, 9 * channels, promise) <= 1


def test_planes_of_groups_and_of_wide_windows():
    x, gate = tenths(2, 4096, 7, 6), drawn(3, 2, 3, 3, 5, 4)
    assert off(sash.conv2_5d(x, gate, tenths(3, 6, 2048, 3, 3), groups=2), 9 * 2048) <= 1
    for size in (61, 101):  # a running sum over taps, one channel each
        gate = drawn(3, 1, size, size, 2, 3)
        assert off(sash.conv2_5d(tenths(1, 1, size + 1, size + 2), gate, tenths(3, 4, 1, size, size)), size * size) <= 1


@pytest.fixture(params=["gated", "gather"])
def home(request, monkeypatch):
    """Tensors on the CPU; for the GPU's method the engine is told that they are on one."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    if request.param == "gather":
        from sash.ops import tensors, trilinear

        monkeypatch.setattr(trilinear, "on_device", lambda t: True)
        monkeypatch.setattr(tensors, "plain", lambda *operands: False)
    return request.param


@pytest.mark.parametrize("promise", FACTOR)
@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("channels", [512, 6000])
def test_planes_of_tensors_and_the_image_s_gradient(home, channels, planes, promise):
    import torch

    gate = torch.from_numpy(drawn(planes, 1, 3, 3, 5, 4))
    x, w = torch.from_numpy(tenths(1, channels, 7, 6)), torch.from_numpy(tenths(planes, 3, channels, 3, 3))
    y = sash.conv2_5d(x, gate, w, method=home, accuracy=promise)
    assert off(y, 9 * channels, promise) <= 1
    x, w = torch.from_numpy(tenths(1, 3, 7, 6)).requires_grad_(), torch.from_numpy(tenths(planes, channels, 3, 3, 3))
    y = sash.conv2_5d(x, gate, w, method=home, accuracy=promise)
    y.backward(torch.full_like(y, 0.1))
    assert off(x.grad[:, :, 2:5, 2:4], 9 * channels, promise) <= 1


@pytest.mark.parametrize("promise", FACTOR)
@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("shape", [(1, 100, 100), (3, 480, 640)])
def test_the_gradient_of_planes(home, shape, planes, promise):
    """Sums over all positions of all images; every tap reads the first plane."""
    import torch

    n, h, w = shape
    x, weight = torch.from_numpy(tenths(n, 2, h + 2, w + 2)), torch.from_numpy(tenths(planes, 3, 2, 3, 3)).requires_grad_()
    y = sash.conv2_5d(x, torch.zeros((n, 3, 3, h, w), dtype=torch.int8), weight, method=home, accuracy=promise)
    y.backward(torch.full_like(y, 0.1))
    assert off(weight.grad[0], n * h * w, promise) <= 1
    assert not weight.grad[1:].any()


@pytest.mark.parametrize("promise", FACTOR)
@pytest.mark.parametrize("shape", [(1, 100, 100), (2, 480, 640)])
@pytest.mark.parametrize("method", ["laid", *methods.names()])
def test_the_gradient_of_a_weight(monkeypatch, method, shape, promise):
    """By PyTorch's own convolution, by every method that takes z as a kernel, and block by block of z."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    import torch

    from sash.ops import trilinear

    choose, (n, h, w) = adjoint.choose, shape

    if (method, promise) == ("native", "elementwise"):
        pytest.skip("PyTorch's convolution promises no elementwise bound")

    def asked(problem, wanted, max_memory, crew):
        plan = choose(problem, method if wanted == "auto" and method != "laid" else "gemm", max_memory, crew)
        first = (wanted == "auto") != (method == "laid")
        if first and plan.seconds > 5:
            pytest.skip(f"{plan.seconds:.0f} seconds")
        return Seconds(plan, 0.0 if first else 1.0)

    monkeypatch.setattr(trilinear, "goes_native", lambda *problem: method == "native")
    monkeypatch.setattr(adjoint, "choose", asked)
    carry_out = adjoint.carry_out
    monkeypatch.setattr(adjoint, "carry_out", lambda *told: carry_out(*told[:-1], told[-1]._replace(method=method)))
    x, weight = torch.from_numpy(tenths(n, 3, h + 2, w + 2)), torch.from_numpy(tenths(4, 3, 3, 3)).requires_grad_()
    y = sash.conv(x, weight, accuracy=promise)
    try:
        y.backward(torch.full_like(y, 0.1))
    except sash.SashError:
        return
    assert off(weight.grad, n * h * w, promise) <= 1


@pytest.mark.parametrize("size", [64, 128])
def test_the_gradients_of_absolute_differences(size):
    """Every sign is 1: the image's gradient sums the cotangent over the taps, the template's over the positions."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    import torch

    x, t = torch.ones(2 * size + 1, 2 * size + 1, requires_grad=True), torch.zeros(size, size, requires_grad=True)
    y = sash.similarity(x, t, metric="sad")
    y.backward(torch.full_like(y, 0.1))
    scale = size**2 * TENTH  # scores are means of terms of 1
    assert off(-x.grad[size - 1 : size + 2, size - 1 : size + 2] * scale, size**2) <= 1
    assert off(t.grad * scale, y.numel()) <= 1


class Seconds:
    """A plan that is told how long it takes."""

    def __init__(self, plan, seconds):
        self.plan, self.seconds = plan, seconds

    def __getattr__(self, name):
        return getattr(self.plan, name)
