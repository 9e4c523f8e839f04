"""Every verb and every layer inside one graph: `torch.compile(fullgraph=True)` gives what eager gives, gradients included,
for a second size too; and the operations that stand in the graphs keep PyTorch's own rules."""

import shutil

import pytest

import sash
from tensor_layouts import torch

pytest.importorskip("torch._dynamo.testing")

X, W, PLANES = (2, 4, 13, 12), (6, 4, 3, 3), (3, 6, 4, 3, 3)
LARGER = (3, 4, 15, 17)


def noise(shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def depth_like(x):
    return 2 + torch.rand((x.shape[0], *x.shape[2:]), generator=torch.Generator().manual_seed(5))


VERBS = {
    "correlate, convolve": lambda x, w: sash.convolve(
        sash.correlate(x, w[0, 0], padding=((1, 2), (0, 1)), boundary="mirror"), w[1, 0], padding="same", dilation=2
    ),
    "correlate with a constant": lambda x, w: sash.correlate(x, w[0, 0], axes=(2, 3), padding=2, cval=1.5, stride=(1, 2)),
    "separable_filter, windows": lambda x, w: (
        2  # a graph that ends in overlapping views gets PyTorch's own `unfold` wrong, too
        * sash.windows(sash.separable_filter(x, [w[0, 0, 0], w[0, 0, 1]], padding="same", boundary="wrap"), (2, 3), axes=(2, 3), stride=2)
    ),
    "gaussian_blur": lambda x, w: sash.gaussian_blur(x, 1.2, axes=(2, 3)),
    "gaussian_blur of a learnt width": lambda x, w: sash.gaussian_blur(x, w[0, 0, 0, :2].square() + 0.9, axes=(2, 3), order=(0, 1), size=7),
    "similarity": lambda x, w: sash.similarity(x, w[0, 0], metric="zncc"),
    "similarity of differences": lambda x, w: sash.similarity(x, w[0, 0], metric="sad", stride=2, data_range=2.0),
    "conv": lambda x, w: sash.conv(x, w, w[:, 0, 0, 0], padding=1, stride=2, boundary="symmetric"),
    "conv with channels last": lambda x, w: sash.conv(
        x.movedim(1, -1), w[:, :2].permute(2, 3, 1, 0), data_format="NHWC", padding="same", groups=2, stride=(2, 1)
    ),
    "conv_transpose": lambda x, w: sash.conv_transpose(x, w.transpose(0, 1), stride=2, padding=1, output_padding=1),
    "conv_transpose with a shape": lambda x, w: sash.conv_transpose(
        x, w.transpose(0, 1), stride=2, padding="same", output_shape=(2 * x.shape[2] - 1, 2 * x.shape[3]), boundary="wrap"
    ),
    "conv2_5d": lambda x, w: sash.conv2_5d(x, 2 + x[:, 0].detach().abs(), torch.stack([w, w * 2, w * 3]), focal=20.0, padding=1),
    "depth_planes": lambda x, w: sash.conv2_5d(
        x, sash.depth_planes(2 + x[:, 0].detach().abs(), 3, focal=20.0, padding=1), torch.stack([w, w * 2, w * 3]), padding=1
    ),
}


def close(found, wanted):
    torch.testing.assert_close(found, wanted, atol=2e-4, rtol=1e-4)


def compiled(call, backend):
    torch._dynamo.reset()
    return torch.compile(call, fullgraph=True, backend=backend)


@pytest.mark.parametrize("name", VERBS)
def test_verbs(name):
    """One graph for the first size and one for all others, as PyTorch's own operations have it."""
    call, counter = VERBS[name], torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    fast = compiled(call, counter)
    for shape in (X, LARGER, (4, 4, 18, 21)):
        inputs = [noise(shape).requires_grad_(), noise(W, 1).requires_grad_()]
        found, wanted = fast(*inputs), call(*inputs)
        close(found, wanted)
        cotangent = noise(wanted.shape, 2)
        for g, h in zip(*(torch.autograd.grad(y, inputs, cotangent, allow_unused=True) for y in (found, wanted)), strict=True):
            assert (g is None) == (h is None) or not (h if g is None else g).any()
            if g is not None and h is not None:
                close(g, h)
    assert counter.frame_count <= 2


def layers():
    from sash import nn

    torch.manual_seed(0)
    return {
        "GaussianBlur": (nn.GaussianBlur(1.1, learnable=True), False),
        "Similarity": (nn.Similarity(4, 2, 3, metric="ncc"), False),
        "Conv": (nn.Conv(4, 6, 3, padding="same", boundary="mirror", stride=2), False),
        "ConvTranspose": (nn.ConvTranspose(4, 6, 3, stride=2, padding=1, output_padding=1), False),
        "Conv2_5d": (nn.Conv2_5d(4, 6, 3, padding=1, focal=20.0), True),
    }


@pytest.mark.parametrize("name", ["GaussianBlur", "Similarity", "Conv", "ConvTranspose", "Conv2_5d"])
def test_layers(name):
    layer, deep = layers()[name]
    x = noise(X).requires_grad_()
    args = (x, depth_like(x)) if deep else (x,)
    found, wanted = compiled(layer, "aot_eager")(*args), layer(*args)
    close(found, wanted)
    inputs = [x, *layer.parameters()]
    for g, h in zip(*(torch.autograd.grad(y.sin().sum(), inputs) for y in (found, wanted)), strict=True):
        close(g, h)


@pytest.mark.skipif(not any(shutil.which(name) for name in ("c++", "g++", "clang++")), reason="no C++ compiler")
def test_inductor():
    """Several verbs in one graph, so that what surrounds them is fused."""

    def call(x, w):
        y = sash.conv(x, w, padding=1, boundary="mirror").relu()
        y = sash.conv_transpose(y, w, stride=2, padding="same") * 2
        return sash.gaussian_blur(y, 0.8, axes=(2, 3)) + sash.correlate(y, w[0, 0], padding="same")

    fast = compiled(call, "inductor")
    for shape in (X, LARGER):
        inputs = [noise(shape).requires_grad_(), noise(W, 1).requires_grad_()]
        found, wanted = fast(*inputs), call(*inputs)
        torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)
        for g, h in zip(*(torch.autograd.grad(y.square().mean(), inputs) for y in (found, wanted)), strict=True):
            torch.testing.assert_close(g, h, atol=1e-3, rtol=1e-3)


def nodes(call, inputs):
    """Every call of an operation of sash in the graph of `call`, with the operands that it gets."""
    met = []

    class Interpreter(torch.fx.Interpreter):
        def call_function(self, target, args, kwargs):
            if "sash" in getattr(target, "namespace", ""):
                met.append((target, args, kwargs))
            return super().call_function(target, args, kwargs)

    def backend(graph, _):
        return lambda *args: Interpreter(graph).run(*args)

    compiled(call, backend)(*inputs)
    return met


@pytest.mark.parametrize(
    "name", ["correlate with a constant", "conv", "conv_transpose", "separable_filter, windows", "conv2_5d", "similarity of differences"]
)
def test_operations_keep_the_rules_of_pytorch(name):
    met = nodes(VERBS[name], [noise(X), noise(W, 1)])
    assert met, f"no operation of sash stands in the graph of {name}"
    for target, args, kwargs in met:
        for grad in (False, True):
            given = [a.detach().clone().requires_grad_(grad and a.is_floating_point()) if isinstance(a, torch.Tensor) else a for a in args]
            torch.library.opcheck(target, tuple(given), kwargs)


def test_complex_constants_survive_a_graph_or_are_refused():
    x, k = noise((7, 8), dtype=torch.complex64), noise((3, 3), 1, dtype=torch.complex64)
    for cval in (2.5, 1.5 - 2j):

        def call(x, k, cval=cval):
            return sash.correlate(x, k, padding=1, cval=cval)

        try:
            found = compiled(call, "aot_eager")(x, k)
        except Exception as refusal:
            assert isinstance(cval, complex) and "cval" in str(refusal), refusal
        else:
            close(found, call(x, k))


REFUSED = {
    "groups": lambda x, w: sash.conv(x, w, groups=4),
    "channels": lambda x, w: sash.conv(x, w[:, :3]),
    "bias": lambda x, w: sash.conv(x, w, w[0, 0, 0]),
    "reflect": lambda x, w: sash.correlate(x, w[0, 0], padding=1, boundary="reflect"),
    "accuracy": lambda x, w: sash.correlate(x, w[0, 0], accuracy="good"),
    "max_memory": lambda x, w: sash.correlate(x, w[0, 0], max_memory=-5),
    "separable": lambda x, w: sash.correlate(x, w[0, 0], separable="maybe"),
    "stride": lambda x, w: sash.separable_filter(x, [w[0, 0, 0]], stride=0),
    "metric": lambda x, w: sash.similarity(x, w[0, 0], metric="cosine"),
    "sigma": lambda x, w: sash.gaussian_blur(x, -1),
    "output_shape": lambda x, w: sash.conv_transpose(x, w.transpose(0, 1), stride=2, output_shape=(5, 5)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_meant_is_refused_while_compiling_too(name):
    with pytest.raises(Exception) as caught:
        compiled(REFUSED[name], "aot_eager")(noise(X), noise(W, 1))
    assert "ArgumentError" in str(caught.value) or "raise unknown(" in str(caught.value), caught.value


def test_integers_are_exact_in_a_graph():
    x, a, b = (torch.tensor(v, dtype=torch.int8) for v in ([[100, 2, 3]], [100], [100, 1]))

    def call(x, a, b):
        y = sash.correlate(x, b, axes=1), sash.separable_filter(x, [a, b])
        return *y, sash.conv(x[None], b[None, None]), sash.conv_transpose(x[None], b[None, None])

    found = compiled(call, "aot_eager")(x, a, b)
    assert [y.flatten().tolist() for y in found] == [[10002, 203], [1000200, 20300], [10002, 203], [10000, 300, 302, 3]]
    assert all(y.dtype == torch.int64 for y in found)


def test_autocast_inside_a_graph():
    def call(x, w):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return sash.conv(x, w, padding=1), sash.correlate(x, w[0, 0])

    found = compiled(call, "aot_eager")(noise(X), noise(W, 1))
    assert [y.dtype for y in found] == [torch.bfloat16, torch.float32]


def test_export():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(noise(W, 1))

        def forward(self, x):
            return sash.conv(x, self.weight, padding="same", boundary="wrap").relu()

    net = Net()
    program = torch.export.export(net, (noise(X),), dynamic_shapes={"x": {0: torch.export.Dim("n"), 2: torch.export.Dim("h", min=4)}})
    close(program.module()(noise(LARGER[:3] + X[3:])), net(noise(LARGER[:3] + X[3:])))
