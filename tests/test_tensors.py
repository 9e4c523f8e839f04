"""Every verb on PyTorch tensors: the answer of NumPy arrays, as a tensor, from any memory layout, with nothing written to."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

import problems
import problems_networks
import sash
import tolerance
from problems_networks import conv_case, depth_case, transposed_case
from sash import machine, methods
from tensor_layouts import LAYOUTS, array, check_fresh, tensor, torch

networks = pytest.importorskip("sash.ops.networks")
trilinear = pytest.importorskip("sash.ops.trilinear")

METHODS = methods.names()
KINDS = [pair for pair in problems.PAIRS if pair[0] not in ("uint16", "uint32", "uint64")]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))]
NAMED = {"conv": conv_case, "conv_transpose": transposed_case}


# --- filters -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_filters_give_the_bits_that_they_give_on_arrays(method):
    rng = np.random.default_rng(0)
    compared = 0
    for seed in range(250):
        case = problems.case(seed, dtypes=KINDS)
        verb = sash.correlate if seed % 2 else sash.convolve
        x, kernel = (tensor(a, problems.pick(rng, *LAYOUTS)) for a in (case.x, case.kernel))
        before = array(x).tobytes(), array(kernel).tobytes()
        told = {**case.settings, "method": method}
        try:
            found = verb(x, kernel, **told)
        except sash.SashError as refusal:
            assert method in str(refusal), f"{case}\n{refusal}"
            continue
        assert before == (array(x).tobytes(), array(kernel).tobytes()), f"{case}: an input was written to"
        check_fresh(found, x, kernel)
        if method == "native":  # PyTorch's own sums
            exact = case.answer() if seed % 2 else problems.Case(seed, case.x, np.flip(case.kernel), "C", case.settings).answer()
            tolerance.check(array(found), exact, tolerance.normwise(case, array(found).dtype), f"native on {case}")
            continue
        wanted = verb(array(x), array(kernel), **told)  # of the same strides, which the order of a sum may follow
        compared += 1
        assert array(found).dtype == wanted.dtype and found.shape == wanted.shape, f"{case}: {found.dtype}, {tuple(found.shape)}"
        np.testing.assert_array_equal(array(found), wanted, err_msg=f"{method} on {case}")
    assert compared > 10 or method == "native", f"{method} is willing {compared} times"


@pytest.mark.parametrize("device", DEVICES)
def test_the_other_filters_too(device):
    rng = np.random.default_rng(1)
    for dtype in ("float32", "float64", "float16", "uint8", "int16", "complex64"):
        x = problems.values(rng, (3, 17, 19), dtype, 99)
        kernels = [problems.values(rng, n, dtype, 9) for n in (3, 4)]
        t, ts = tensor(x, "sliced", device), [tensor(k, device=device) for k in kernels]
        for call in (
            lambda x, k: sash.separable_filter(x, k, padding="same", boundary="mirror"),
            lambda x, k: sash.separable_filter(x, k, axes=(0, 2), stride=(1, 2)),
            lambda x, k: sash.correlate(x, k[0], axes=1, padding=2, cval=3),
            lambda x, k: sash.gaussian_blur(x, 1.3) if x.dtype not in (np.complex64, torch.complex64) else sash.correlate(x, k[1]),
            lambda x, k: sash.gaussian_blur(x, (0.8, 2), axes=(1, 2), order=(0, 1), boundary="wrap"),
            lambda x, k: sash.windows(x, (2, 3), axes=(1, 2), stride=2, dilation=(1, 2)),
        ):
            found, wanted = call(t, ts), call(array(t), kernels)  # of one layout, which the choice of a method may hang on
            assert found.device.type == device and array(found).dtype == wanted.dtype
            if device == "cpu":
                np.testing.assert_array_equal(array(found), wanted)
            else:
                np.testing.assert_allclose(array(found), wanted, rtol=1e-3, atol=1e-3 * (1 + tolerance.magnitude(wanted)))


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
def test_similarity_equals_that_of_arrays(metric):
    rng = np.random.default_rng(2)
    for dtype in ("float32", "float64", "uint8", "int16"):
        image, bank = problems.values(rng, (3, 20, 21), dtype, 99), problems.values(rng, (2, 3, 5, 4), dtype, 99)
        mask = rng.random((5, 4)) < 0.8
        told = {"metric": metric, "channel_axis": 0, "stride": (1, 2), "data_range": 255}
        wanted = sash.similarity(image, bank, bank=True, **told), sash.similarity(image, bank[0], mask=mask, padding="same", **told)
        t, b, m = tensor(image, "sliced"), tensor(bank, "transposed"), torch.from_numpy(mask)
        found = sash.similarity(t, b, bank=True, **told), sash.similarity(t, b[0], mask=m, padding="same", **told)
        for ours, theirs in zip(found, wanted, strict=True):
            check_fresh(ours, t, b)
            assert array(ours).dtype == theirs.dtype
            np.testing.assert_allclose(array(ours), theirs, rtol=0, atol=1e-4 if theirs.dtype == np.float32 else 1e-10)


def test_windows_are_a_view():
    t = torch.arange(30.0).reshape(5, 6)
    seen = sash.windows(t, (2, 3), stride=(1, 2))
    assert seen.untyped_storage().data_ptr() == t.untyped_storage().data_ptr()
    np.testing.assert_array_equal(array(seen), sash.windows(t.numpy(), (2, 3), stride=(1, 2)))


# --- networks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("verb", NAMED)
@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_convolutions_equal_the_definition(method, verb, device):
    rng = np.random.default_rng(3)
    for seed in range(110):
        case = NAMED[verb](seed)
        x, weight = (tensor(a, problems.pick(rng, *LAYOUTS), device) for a in (case.x, case.weight))
        bias = None if case.bias is None else tensor(case.bias, "sliced", device)
        before = array(x).tobytes(), array(weight).tobytes()
        try:
            found = getattr(sash, verb)(x, weight, bias, method=method, **case.settings)
        except sash.SashError as refusal:
            assert method in str(refusal) and method != "auto", f"{case}\n{refusal}"
            continue
        assert before == (array(x).tobytes(), array(weight).tobytes()), f"{case}: an input was written to"
        check_fresh(found, x, weight)
        assert found.device.type == device
        assert array(found).dtype == (np.int64 if case.exact else case.x.dtype.newbyteorder("=")), f"{case}: {found.dtype}"
        case.check(array(found), f"{method} on tensors")


@pytest.fixture
def engine(monkeypatch):
    """PyTorch's own convolution is never predicted to be faster, whatever the rates are."""
    machine.forget()
    for module in (networks, trilinear):
        monkeypatch.setattr(module, "goes_native", lambda *told: False)
    yield
    machine.forget()


@pytest.mark.parametrize("verb", NAMED)
def test_what_nobody_watches_goes_straight_to_arrays(verb, monkeypatch, engine):
    """Shapes seen before take the arrays' quick way: with the bits that arrays get, from weights of any strides."""
    quick, straight = networks.again, []
    monkeypatch.setattr(networks, "again", lambda *told: straight.append(found := quick(*told)) or found)
    for seed in range(400, 700):
        case = NAMED[verb](seed, problems_networks.REALS)
        x, weight = tensor(case.x), tensor(case.weight, LAYOUTS[seed % len(LAYOUTS)])
        bias = None if case.bias is None else tensor(case.bias)
        straight.append(None)
        found = getattr(sash, verb)(x, weight, bias, **case.settings)
        check_fresh(found, x, weight)
        if straight[-1]:
            case.check(array(found), "tensors that nobody watches")
            assert array(found).tobytes() == getattr(sash, verb)(case.x, case.weight, case.bias, **case.settings).tobytes(), case
    assert len([ready for ready in straight if ready]) > (40 if verb == "conv" else 8)  # the latter where nothing is folded in


def watchers():
    """What must not go straight to arrays: (operands, what surrounds the call)."""
    x, weight, bias = torch.ones(1, 2, 8, 8), torch.ones(3, 2, 3, 3), torch.ones(3)
    learnt = weight.clone().requires_grad_()
    calm = nullcontext()
    yield "learnt", (x, learnt, bias), calm
    yield "learnt bias", (x, weight, bias.clone().requires_grad_()), calm
    yield "negated", (tensor(-np.ones((1, 2, 8, 8), np.float32), "negated"), weight, bias), calm
    yield "negated weight", (x, tensor(-np.ones((3, 2, 3, 3), np.float32), "negated"), bias), calm
    yield "sliced", (torch.ones(1, 2, 8, 16)[..., ::2], weight, bias), calm
    yield "half", (x.bfloat16(), weight.bfloat16(), bias.bfloat16()), calm
    yield "mixed", (x, weight.double(), bias), calm
    yield "bias of another type", (x, weight, bias.double()), calm
    yield "an array among them", (x, weight.numpy(), bias), calm
    yield "autocast", (x, weight, bias), torch.autocast("cpu", torch.bfloat16)
    yield "forward mode", (x, weight, bias), torch.autograd.forward_ad.dual_level()
    yield (
        "unaligned",
        (torch.frombuffer(bytearray(bytes(1) + x.numpy().tobytes()), dtype=torch.float32, offset=1).reshape(x.shape), weight, bias),
        calm,
    )
    yield "meta", (x.to("meta"), weight.to("meta"), bias.to("meta")), calm


@pytest.mark.parametrize(("name", "operands", "around"), [pytest.param(*w, id=w[0]) for w in watchers()])
def test_what_is_watched_does_not(name, operands, around, monkeypatch):
    def never(*told):
        raise AssertionError(f"{name} went straight to arrays")

    monkeypatch.setattr(networks, "again", never)
    with around:
        found = sash.conv(*operands)
        assert found.shape == (1, 3, 6, 6) and (found.device.type == "meta" or abs(abs(float(found.detach()[0, 0, 0, 0])) - 18) < 2)
        assert found.requires_grad == name.startswith("learnt")
    with pytest.raises(AssertionError, match="went straight"), torch.no_grad():
        sash.conv(torch.ones(1, 2, 8, 8), torch.nn.Parameter(torch.ones(3, 2, 3, 3)))


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("layout", ["to_sparse", "to_mkldnn"])
def test_tensors_that_are_not_dense_are_named(layout, place):
    operands = [torch.ones(1, 2, 8, 8), torch.ones(3, 2, 3, 3), torch.ones(3)]
    try:
        operands[place] = getattr(operands[place], layout)()
    except RuntimeError:
        pytest.skip("this build has no oneDNN")
    with pytest.raises(sash.SashError, match="dense"):
        sash.conv(*operands)


def test_fake_tensors_are_not_looked_into(monkeypatch, engine):
    """A mode that sees every operation: whatever comes of it, no memory is read that is not there."""
    from torch._subclasses import FakeTensorMode

    monkeypatch.setattr(networks, "again", lambda *told: pytest.fail("went straight to arrays"))
    x, weight = torch.ones(1, 2, 8, 8), torch.ones(3, 2, 3, 3)
    with FakeTensorMode(allow_non_fake_inputs=True), pytest.raises(RuntimeError):
        sash.conv(x, weight)


def test_what_is_mapped_or_traced_does_not(monkeypatch):
    x, weight = torch.ones(4, 1, 2, 8, 8), torch.ones(3, 2, 3, 3)
    wanted = torch.stack([sash.conv(v, weight) for v in x])
    assert torch.equal(torch.func.vmap(lambda v: sash.conv(v, weight))(x), wanted)
    assert torch.equal(torch.compile(sash.conv, backend="eager", fullgraph=True)(x[0], weight), wanted[0])


def test_new_rates_are_heeded_by_tensors():
    sash.conv(torch.ones(1, 2, 8, 8), torch.ones(3, 2, 3, 3))
    assert networks.again.cache_info().currsize
    machine.forget()
    assert not networks.again.cache_info().currsize


@pytest.mark.parametrize("layout", LAYOUTS)
def test_volumes_and_weights_of_any_strides(layout):
    """oneDNN itself reads some weights wrong where channels of x stand last (PyTorch 2.13)."""
    for seed in (1629, 5, 12, 37):
        case = conv_case(seed, problems_networks.REALS)
        for other in LAYOUTS:
            found = sash.conv(tensor(case.x, layout), tensor(case.weight, other), None, **case.settings)
            replace(case, bias=None).check(array(found), f"{layout}, {other}")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_depth_equals_the_definition(method, device):
    rng = np.random.default_rng(4)
    for seed in range(70):
        case = depth_case(seed)
        x, depth, weight = (tensor(a, problems.pick(rng, *LAYOUTS), device) for a in (case.x, case.depth, case.weight))
        bias = None if case.bias is None else tensor(case.bias, device=device)
        focal = case.optics["focal"]
        optics = {**case.optics, "focal": focal if isinstance(focal, float) or seed % 2 else torch.from_numpy(focal).to(device)}
        planes = sash.depth_planes(depth, case.size, **{**case.sliding, **optics})
        assert planes.dtype == torch.int8 and planes.device.type == device
        np.testing.assert_array_equal(array(planes), case.plane_map, err_msg=str(case))
        report = sash.depth_report(depth, case.size, **{**case.sliding, **optics})
        assert report == sash.depth_report(case.depth, case.size, **case.sliding)
        try:
            found = sash.conv2_5d(x, depth, weight, bias, method=method, **case.settings, **optics)
        except sash.SashError as refusal:
            assert method in str(refusal) and method != "auto", f"{case}\n{refusal}"
            continue
        check_fresh(found, x, depth, weight)
        case.check(array(found), f"{method} on tensors")
        told = {name: value for name, value in case.settings.items() if name != "spacing"}
        again = sash.conv2_5d(x, planes, weight, bias, method=method, **told)
        assert torch.equal(found, again), case


@pytest.mark.parametrize("watched", [False, True])
def test_operands_that_are_missing_are_named(watched):
    x, w, deep = torch.rand(1, 4, 8, 8, requires_grad=watched), torch.rand(3, 8, 4, 3, 3), torch.rand(1, 8, 8) + 1
    for call, name in (
        (lambda: sash.conv(x, None), "weight"),
        (lambda: sash.conv_transpose(x, None), "weight"),
        (lambda: sash.conv2_5d(x, deep, None, focal=1.0), "weight"),
        (lambda: sash.conv2_5d(x, None, w, focal=1.0), "depth"),
    ):
        with pytest.raises(sash.errors.KindError, match=f"{name} is None"):
            call()


def test_a_focal_length_may_be_a_parameter():
    x, w, deep = torch.rand(1, 4, 8, 8), torch.rand(3, 8, 4, 3, 3), torch.rand(1, 8, 8) + 1
    wanted = sash.conv2_5d(x, deep, w, focal=500.0)
    assert torch.equal(sash.conv2_5d(x, deep, w, focal=torch.nn.Parameter(torch.tensor(500.0))), wanted)
