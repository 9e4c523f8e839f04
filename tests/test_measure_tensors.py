"""method="measure" on tensors: PyTorch's own convolution against the engine, in graphs, under gradients, where nothing runs at all."""

from types import SimpleNamespace

import numpy as np
import pytest

import problems
import problems_networks
import sash
from sash import race, running
from sash.ops import trilinear
from tensor_layouts import array, tensor, torch

NATIVE = "native"
pytestmark = pytest.mark.usefixtures("forgotten")


@pytest.fixture
def clock(monkeypatch):
    """A clock that runs only while a method does: `takes` seconds by its name, or else 1; `ran` are the names."""
    told = SimpleNamespace(takes={}, now=0.0, ran=[])
    execute, native = running.execute, trilinear._native

    def run(name, job, *args):
        told.ran.append(name)
        told.now += told.takes.get(name, 1.0)
        return job(*args)

    monkeypatch.setattr(running, "execute", lambda plan, *args: run(plan.method, execute, plan, *args))
    monkeypatch.setattr(trilinear, "_native", lambda *args: run(NATIVE, native, *args))
    monkeypatch.setattr(race, "perf_counter", lambda: told.now)
    return told


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


X, W, B = noise(2, 8, 40, 41), noise(8, 8, 3, 3, seed=1), noise(8, seed=2)
LAYER = {"padding": 1, "stride": 2}


@pytest.mark.parametrize("verb", ["conv", "conv_transpose"])
@pytest.mark.parametrize("winner", [NATIVE, "the engine"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_the_faster_of_pytorch_and_the_engine_is_taken_bit_for_bit(verb, winner, dtype, clock):
    x, w, b = (t.to(dtype) for t in (X, W, B))
    clock.takes = {NATIVE: 0.5 if winner == NATIVE else 8.0}  # the engine makes four classes of outputs one by one
    call = getattr(sash, verb)
    first = call(x, w, b, method="measure", **LAYER)
    assert NATIVE in clock.ran, "PyTorch's own convolution was not tried"
    taken = clock.ran[-1]
    assert (taken == NATIVE) == (winner == NATIVE)
    count = len(clock.ran)
    again = call(x, w, b, method="measure", **LAYER)
    assert set(clock.ran[count:]) == {taken}, "it was tried again"
    for other in (again, call(x, w, b, method=taken, **LAYER)):
        assert torch.equal(first, other)
    assert first.dtype == dtype
    known = sash.export_wisdom()
    assert any(e["problem"]["home"] == "torch" and (e["method"] == NATIVE) == (winner == NATIVE) for e in known["entries"])
    sash.forget_wisdom()
    sash.import_wisdom(known)
    count = len(clock.ran)
    assert torch.equal(call(x, w, b, method="measure", **LAYER), first) and set(clock.ran[count:]) == {taken}
    plan = sash.plan(verb, tuple(x.shape), tuple(w.shape), input_dtype=dtype, method="measure", **LAYER)
    assert plan.reason.startswith("measured") and (plan.method == NATIVE) == (winner == NATIVE)


def test_the_engine_learns_for_arrays_too(clock):
    """Beneath PyTorch's convolution tensors on the CPU are arrays, and what was found on the ones holds for the others."""
    clock.takes = {NATIVE: 2.5}
    x, w = noise(1, 8, 40, 40), W
    found = sash.conv(x, w, padding=1, method="measure")
    count = len(clock.ran)
    wanted = sash.conv(array(x), array(w), padding=1, method="measure")
    assert len(clock.ran) == count + 1 and clock.ran[-1] == clock.ran[-2] != NATIVE
    np.testing.assert_array_equal(array(found), wanted)
    blurred = sash.gaussian_blur(x, 1.0, axes=(2, 3), method="measure")
    count = len(clock.ran)
    np.testing.assert_array_equal(array(blurred), sash.gaussian_blur(array(x), 1.0, axes=(2, 3), method="measure"))
    assert len(clock.ran) == count + 1


def test_little_ones_are_remembered_too(clock):
    """Their kernels are not looked through for NaN, so the engine knows them by another problem than PyTorch does."""
    clock.takes = {NATIVE: 2.5}
    x, w = noise(1, 8, 12, 12), noise(8, 8, 3, 3)
    found = sash.conv(x, w, method="measure")
    count = len(clock.ran)
    assert NATIVE in clock.ran and torch.equal(sash.conv(x, w, method="measure"), found)
    assert clock.ran[count:] == [clock.ran[count - 1]] != [NATIVE]
    homes = [entry["problem"]["home"] for entry in sash.export_wisdom()["entries"]]
    assert "torch" in homes and len(homes) == len(set(homes)), "it was tried twice"


def test_half_precision_does_not_decide_for_float32(clock):
    clock.takes = {NATIVE: 0.5}
    sash.conv(X.bfloat16(), W.bfloat16(), method="measure", **LAYER)
    clock.takes = {NATIVE: 2.5}
    sash.conv(X, W, method="measure", **LAYER)
    assert clock.ran[-1] != NATIVE
    sash.conv(X.bfloat16(), W.bfloat16(), method="measure", **LAYER)
    assert clock.ran[-1] == NATIVE


def test_random_networks_are_right_whoever_wins(clock):
    kinds = [("float32", "float32"), ("float64", "float64"), ("complex64", "complex64"), ("uint8", "int8")]
    for seed in range(60):
        rng = np.random.default_rng(seed)
        for make in (problems_networks.conv_case, problems_networks.transposed_case):
            case = make(seed, kinds)
            clock.takes = {name: rng.uniform(0.4, 1) for name in (NATIVE, "direct", "gemm", "indirect", "fft")}
            x, w, b = (
                None if a is None else tensor(a, problems.pick(rng, "contiguous", "sliced")) for a in (case.x, case.weight, case.bias)
            )
            before = [t.clone() for t in (x, w)]
            for _ in range(2):
                case.check(array(getattr(sash, case.verb)(x, w, b, method="measure", **case.settings)), "measure")
            assert all(torch.equal(*pair) for pair in zip((x, w), before, strict=True)), f"{case}: an input was written to"


def test_a_kernel_with_nan_is_right_after_one_without(clock):
    """What was remembered of finite kernels may be a transform, which NaN would spread."""
    clock.takes = {"fft": 0.1, NATIVE: 2.5}
    x, w = noise(1, 1, 60, 60), noise(1, 1, 15, 15)
    sash.conv(x, w, method="measure")
    w[0, 0, 3, 4] = float("nan")
    assert torch.isnan(sash.conv(x, w, method="measure")).all()
    x[0, 0, :30] = 0
    w[0, 0, 3, 4] = float("inf")
    for _ in range(2):
        found = sash.conv(x, w, method="measure")
        torch.testing.assert_close(found, sash.conv(x, w, method="direct"), equal_nan=True, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("winner", [NATIVE, "direct"])
def test_gradients(winner, clock):
    """Each side is a problem of its own; every one of them is tried, and right."""
    clock.takes = {winner: 0.5}
    x, w, b = noise(1, 3, 7, 8, dtype=torch.float64), noise(4, 3, 3, 3, dtype=torch.float64), noise(4, dtype=torch.float64)
    for verb, more in ((sash.conv, {}), (sash.conv_transpose, {"output_shape": (13, 15)})):
        weight = w if verb is sash.conv else noise(3, 4, 3, 3, dtype=torch.float64)
        inputs = [t.clone().requires_grad_() for t in (x, weight, b)]

        def call(*t, verb=verb, more=more):
            return verb(*t, method="measure", **LAYER, **more)

        for _ in range(2):
            assert torch.autograd.gradcheck(call, inputs)
        assert torch.autograd.gradgradcheck(call, inputs)
    k = noise(3, 3, dtype=torch.float64).requires_grad_()
    image = noise(9, 9, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, k: sash.correlate(x, k, method="measure"), [image, k])
    assert torch.autograd.gradcheck(lambda x, k: sash.similarity(x, k, metric="zncc", method="measure"), [image, k], atol=1e-4)
    assert {entry["problem"]["home"] for entry in sash.export_wisdom()["entries"]} <= {"numpy", "torch"}


def test_a_gradient_is_measured_where_its_verb_is(clock):
    x, w = noise(2, 8, 40, 41).requires_grad_(), noise(8, 8, 3, 3, seed=1).requires_grad_()
    sash.conv(x, w, method="measure", **LAYER)
    forward = len(sash.export_wisdom()["entries"])
    for method, more in (("direct", False), ("measure", True)):
        y = sash.conv(x, w, method=method, **LAYER)
        grads = torch.autograd.grad(y.square().sum(), (x, w))
        assert (len(sash.export_wisdom()["entries"]) > forward) == more, method
    wanted = torch.autograd.grad(torch.nn.functional.conv2d(x, w, **LAYER).square().sum(), (x, w))
    for g, h in zip(grads, wanted, strict=True):
        torch.testing.assert_close(g, h, atol=1e-2, rtol=1e-3)


def test_inside_a_graph():
    """The graph holds the question, not the answer: it is tried when the graph runs, and the graph stays what it was."""
    pytest.importorskip("torch._dynamo.testing")
    torch._dynamo.reset()

    def call(x, w):
        y = sash.conv(x, w, padding=1, method="measure")
        return sash.correlate(y, w[0, 0], method="measure").sin()

    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    fast = torch.compile(call, fullgraph=True, backend=counter)
    for _ in range(2):
        for shape in ((1, 8, 30, 31), (2, 8, 33, 36), (2, 8, 37, 40)):
            inputs = [noise(*shape).requires_grad_(), noise(8, 8, 3, 3, seed=1).requires_grad_()]
            found, wanted = fast(*inputs), call(*inputs)
            torch.testing.assert_close(found, wanted, atol=2e-4, rtol=1e-4)
            for g, h in zip(*(torch.autograd.grad(y.sum(), inputs) for y in (found, wanted)), strict=True):
                torch.testing.assert_close(g, h, atol=1e-2, rtol=1e-3)
    assert counter.frame_count <= 2 and sash.export_wisdom()["entries"]


def test_where_nothing_runs_nothing_is_tried(clock):
    found = sash.conv(X.to("meta"), W.to("meta"), method="measure", **LAYER)
    assert found.device.type == "meta" and found.shape == sash.conv(X, W, **LAYER).shape
    fake = pytest.importorskip("torch._subclasses.fake_tensor")
    clock.ran.clear()
    with fake.FakeTensorMode() as mode:
        found = sash.conv(mode.from_tensor(X), mode.from_tensor(W), method="measure", **LAYER)
        assert found.shape == (2, 8, 20, 21)
    assert not clock.ran and not sash.export_wisdom()["entries"]


def test_the_limit_of_the_engine_is_that_of_the_race(monkeypatch):
    """Where only one of the two fits, it is taken without a trial."""
    ran, execute = [], running.execute
    monkeypatch.setattr(running, "execute", lambda plan, *args: ran.append(plan) or execute(plan, *args))
    limit = 400_000
    found = sash.conv(X, W, method="measure", max_memory=limit, **LAYER)
    torch.testing.assert_close(found, sash.conv(X, W, **LAYER), atol=1e-4, rtol=1e-4)
    assert all(plan.scratch <= limit for plan in ran)


def test_a_gpu_is_waited_for(monkeypatch):
    """Its work is done behind the clock's back: each run is timed until it is over, and while a graph is captured none is."""
    waited, capturing = [], [False]
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: capturing[0])
    problem = sash.plan("conv", (1, 4, 9, 9), (4, 4, 3, 3)).problem._replace(home="cuda")
    device, ran = torch.device("cuda", 0), []
    runs = {name: lambda name=name: ran.append(name) for name in (NATIVE, "gemm")}
    capturing[0] = True
    assert race.race(problem, None, runs, device) == NATIVE and not ran and not sash.export_wisdom()["entries"]
    capturing[0] = False
    assert race.race(problem, None, runs, device) in runs
    assert len(waited) == len(ran) == 6 and set(waited) == {device}
    runs["gemm"] = lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("no"))
    assert race.race(problem, 5, runs, device) == NATIVE
