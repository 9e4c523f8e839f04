"""Tensors of every element type, mixed with arrays, on other devices, under autocast and inside PyTorch's modes; their errors."""

import numpy as np
import pytest

import oracle_networks
import problems_networks
import sash
import tolerance
from problems_networks import conv_case
from tensor_layouts import check_fresh, tensor, torch

# --- element types -------------------------------------------------------------------------------


def test_bfloat16_is_stored_as_such_and_summed_in_single():
    rng = np.random.default_rng(5)
    for seed in range(40):
        case = conv_case(seed, (("float32", "float32"),))
        x, weight = (tensor(a).bfloat16() for a in (case.x, case.weight))
        bias = None if case.bias is None else torch.from_numpy(case.bias).bfloat16()
        found = sash.conv(x, weight, bias, **case.settings)
        assert found.dtype == torch.bfloat16
        wide = [None if t is None else t.float().numpy() for t in (x, weight, bias)]
        near = problems_networks.Case(seed, "conv", *wide, case.settings)
        bound = near.bound(np.float32) + abs(near.exactly) * 2**-8 + 1e-30
        tolerance.check(found.float().numpy(), near.exactly, bound, f"bfloat16 on {near}")
    x = torch.from_numpy(rng.standard_normal((9, 10)).astype("f4")).bfloat16()
    for found in (
        sash.correlate(x, x[:3, :3]),
        sash.separable_filter(x, [x[0, :3], x[0, :2]]),
        sash.conv_transpose(x[None, None], x[None, None, :3, :3]),
        sash.windows(x, (2, 2)),
    ):
        assert found.dtype == torch.bfloat16
    wanted = oracle_networks.conv(x[None, None].float().numpy(), x[None, None, :3, :3].float().numpy())
    np.testing.assert_allclose(sash.correlate(x, x[:3, :3]).float().numpy(), wanted[0, 0], atol=0.1)
    assert sash.gaussian_blur(x, 1).dtype == torch.bfloat16
    depth = torch.full((1, 9, 10), 2.0)
    assert sash.conv2_5d(x[None, None], depth, x[None, None, None, :3, :3], focal=10.0).dtype == torch.bfloat16


def test_half_precision_sums_in_single():
    """256 + 1 + 1 ... is 256 in bfloat16, 2048 + 1 + 1 ... 2048 in float16, however many ones there are."""
    for dtype, start in ((torch.bfloat16, 256), (torch.float16, 2048)):
        x = torch.ones(1, start // 4 + 1, 3, dtype=dtype)
        x[:, 0] = start
        for found in (
            sash.conv(x, torch.ones(1, start // 4 + 1, 1, dtype=dtype)),
            sash.conv_transpose(x, torch.ones(x.shape[1], 1, 1, dtype=dtype)),
        ):
            assert found.dtype == dtype and found.flatten().tolist() == [start * 1.25] * 3


def test_integers_are_exact():
    x = torch.full((1, 1, 3, 3), 200, dtype=torch.uint8)
    found = sash.conv(x, torch.ones_like(x))
    assert found.dtype == torch.int64 and found.tolist() == [[[[1800]]]]
    assert sash.correlate(x[0, 0], torch.ones(3, 3, dtype=torch.uint8)).tolist() == [[1800]]
    big = torch.tensor([[[2**60 + 1, 1]]])
    assert sash.conv(big, torch.ones(1, 1, 1, dtype=torch.int64)).tolist() == [[[2**60 + 1, 1]]]


def test_unsigned_integers_beyond_a_byte():
    for dtype in (torch.uint16, torch.uint32, torch.uint64):
        x = torch.tensor([[1, 60000, 3]], dtype=torch.int64).to(dtype)
        assert sash.correlate(x, torch.ones(1, 2, dtype=torch.int64)).tolist() == [[60001, 60003]]


@pytest.mark.parametrize(
    ("x", "kernel", "result"),
    [
        ("float32", "float64", "float32"),
        ("float16", "float32", "float16"),
        ("bfloat16", "float32", "bfloat16"),
        ("float64", "float32", "float64"),
        ("float32", "complex64", "complex64"),
        ("complex64", "float32", "complex64"),
        ("uint8", "float32", "float32"),
        ("float32", "int64", "float32"),
        ("bool", "bool", "int64"),
    ],
)
def test_types_of_results(x, kernel, result):
    """Those of arrays: x keeps its own."""
    kinds = [getattr(torch, name) for name in (x, kernel, result)]
    square, three = torch.ones(7, 7).to(kinds[0]), torch.ones(3, 3).to(kinds[1])
    for found in (
        sash.correlate(square, three),
        sash.conv(square[None, None], three[None, None]),
        sash.conv_transpose(square[None, None], three[None, None], padding=2),
    ):
        assert found.dtype == kinds[2] and complex(found.flatten()[12]) == 9


# --- mixtures, devices, modes --------------------------------------------------------------------


def test_mixed_kinds_follow_the_tensor():
    rng = np.random.default_rng(6)
    x, k = rng.standard_normal((9, 10)), rng.standard_normal((3, 3))
    wanted = sash.correlate(x, k)
    for pair in ((torch.from_numpy(x), k), (x, torch.from_numpy(k)), (torch.from_numpy(x), k.tolist())):
        for found, theirs in (
            (sash.correlate(*pair), wanted),
            (
                sash.conv(*(np.asarray(a)[None, None] if not isinstance(a, torch.Tensor) else a[None, None] for a in pair)),
                wanted[None, None],
            ),
            (sash.similarity(*pair), sash.similarity(x, k)),
        ):
            assert isinstance(found, torch.Tensor) and found.dtype == torch.float64
            np.testing.assert_allclose(found.numpy(), theirs, atol=1e-12)
    assert isinstance(sash.separable_filter(torch.from_numpy(x), [k[0], k[1]]), torch.Tensor)
    assert isinstance(sash.conv(torch.from_numpy(x)[None], np.ones((2, 9, 3)), np.ones(2)), torch.Tensor)
    depth = np.full((1, 9, 10), 2.0)
    assert isinstance(sash.conv2_5d(torch.from_numpy(x)[None, None], depth, k[None, None, None], focal=10.0), torch.Tensor)


def test_nothing_to_slide_is_still_a_result_of_its_own():
    x = torch.arange(6.0).reshape(1, 1, 6)
    for found in (
        sash.correlate(x, torch.ones(1)),
        sash.conv(x, torch.ones(1, 1, 1)),
        sash.conv_transpose(x, torch.ones(1, 1, 1)),
        sash.gaussian_blur(x, 0),
        sash.separable_filter(x, [torch.ones(1)]),
    ):
        check_fresh(found, x)
        found += 1
        assert torch.equal(x, torch.arange(6.0).reshape(1, 1, 6))


def test_other_places_and_layouts_are_refused_in_words():
    x, w = torch.ones(1, 2, 8, 8), torch.ones(3, 2, 3, 3)
    for call in (
        lambda: sash.conv(x, w.to("meta")),
        lambda: sash.conv_transpose(x, w.to("meta").transpose(0, 1)),
        lambda: sash.correlate(x, w[0, 0].to("meta")),
        lambda: sash.conv2_5d(x, torch.ones(1, 8, 8), w[None].to("meta"), focal=9.0),
        lambda: sash.conv(x, w, torch.ones(3, device="meta")),
    ):
        with pytest.raises(sash.SashError, match=r"meta.*cpu|cpu.*meta"):
            call()
    with pytest.raises(sash.SashError, match="sparse"):
        sash.correlate(x[0, 0].to_sparse(), w[0, 0])
    with pytest.raises(sash.SashError, match="7"):
        sash.correlate(torch.ones(7, 7), torch.ones(9, 3))


CHECKED = {
    "a fractional bias of integers": lambda x, w: sash.conv(x.to(torch.int8), w.to(torch.int8), torch.full((3,), 0.5)),
    "a bias of integers that is learnt": lambda x, w: sash.conv(x.to(torch.int8), w.to(torch.int8), torch.ones(3, requires_grad=True)),
    "a complex bias": lambda x, w: sash.conv(x, w, torch.full((3,), 1j)),
    "a bias that overflows": lambda x, w: sash.conv(x.long() * 2**58, w.long(), torch.full((3,), 2**62)),
    "a fractional cval of integers": lambda x, w: sash.conv(x.long(), w.long(), padding=1, cval=0.5),
    "a NaN cval of integers": lambda x, w: sash.conv(x.long(), w.long(), padding=1, cval=float("nan")),
    "a complex cval": lambda x, w: sash.conv(x, w, padding=1, cval=1j),
    "a complex cval of a filter": lambda x, w: sash.correlate(x, w[0, 0], padding=1, cval=1j),
    "padding beyond all memory": lambda x, w: sash.correlate(x, w[0, 0], padding=2**62),
    "an exact sum that might not fit": lambda x, w: sash.conv(x.long() * 2**61, w.long()),
    "groups": lambda x, w: sash.conv(x, w, groups=2),
    "no taps": lambda x, w: sash.conv(x, w[..., :0]),
    "another number of axes": lambda x, w: sash.conv(x, w[0]),
    "an unknown method": lambda x, w: sash.conv(x, w, method="ftt"),
    "an unknown boundary": lambda x, w: sash.conv_transpose(x, w.transpose(0, 1), boundary="reflect"),
    "an impossible extent": lambda x, w: sash.conv_transpose(x, w.transpose(0, 1), stride=2, padding="same", output_shape=13),
}


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", CHECKED)
def test_tensors_are_checked_as_arrays_are(name, grad):
    x, w = torch.ones(1, 2, 8, 8, requires_grad=grad), torch.ones(3, 2, 3, 3, requires_grad=grad)
    with pytest.raises(sash.SashError) as caught:
        CHECKED[name](x, w)
    assert isinstance(caught.value, (ValueError, TypeError)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "cval", "way"),
    [(torch.uint8, 0.5, "an integer"), (torch.int64, float("nan"), "an integer"), (torch.int32, 1j, "real"), (torch.float32, 1j, "real")],
)
def test_a_constant_that_does_not_suit_is_told_the_type_of_x(kind, cval, way):
    x, w = torch.ones(1, 1, 5, 5, dtype=kind), torch.ones(1, 1, 3, 3, dtype=kind)
    name = str(kind).removeprefix("torch.")
    for call in (lambda: sash.conv(x, w, padding=1, cval=cval), lambda: sash.correlate(x[0, 0], w[0, 0], padding=1, cval=cval)):
        with pytest.raises(sash.SashError, match=f"x is (torch.)?{name} .*; use .*{way}"):
            call()


def test_tensors_without_values_have_shapes():
    x, w = torch.ones(2, 3, 9, 8, device="meta"), torch.ones(4, 3, 3, 3, device="meta")
    assert sash.conv(x, w, padding=1).shape == (2, 4, 9, 8)
    assert sash.conv_transpose(x, w.transpose(0, 1), stride=2).device.type == "meta"
    assert sash.correlate(x, w[0, 0], axes=(2, 3)).shape == (2, 3, 7, 6)


def test_no_grad_and_inference_mode():
    with torch.inference_mode():
        x, w = torch.ones(1, 1, 5, 5), torch.ones(1, 1, 3, 3)
        assert sash.conv(x, w).sum() == 81 and sash.correlate(x, w[0, 0]).sum() == 81
    w = torch.nn.Parameter(torch.ones(1, 1, 3, 3))
    with torch.no_grad():
        assert not sash.conv(torch.ones(1, 1, 5, 5), w).requires_grad
    found = sash.conv(torch.ones(1, 1, 5, 5), w)
    assert found.requires_grad and not found.is_leaf and type(found) is torch.Tensor


def test_autocast_is_that_of_pytorch():
    """Convolutions of networks in half precision, filters and scores in single."""
    x, w, depth = torch.randn(1, 2, 9, 9), torch.randn(3, 2, 3, 3), torch.full((1, 9, 9), 2.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = torch.nn.functional.conv2d(x, w)
        found = sash.conv(x, w)
        assert found.dtype == low.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), low.float(), atol=0.1, rtol=0.02)
        assert sash.conv_transpose(x, w.transpose(0, 1)).dtype == torch.bfloat16
        assert sash.conv2_5d(x, depth, w[None], torch.zeros(3), focal=9.0).dtype == torch.bfloat16
        assert sash.depth_planes(depth, 3, focal=9.0).dtype == torch.int8
        assert sash.correlate(x, w[0, 0]).dtype == torch.float32
        assert sash.gaussian_blur(x, 1).dtype == torch.float32
        assert sash.separable_filter(x, [w[0, 0, 0]] * 2).dtype == torch.float32
        assert sash.similarity(x[0, 0], w[0, 0], metric="zncc").dtype == torch.float32
        assert sash.conv(x.double(), w.double()).dtype == torch.nn.functional.conv2d(x.double(), w.double()).dtype
    assert sash.conv(x, w).dtype == torch.float32


def test_deterministic_algorithms():
    torch.use_deterministic_algorithms(True)
    try:
        x, w = torch.randn(2, 4, 20, 20, requires_grad=True), torch.randn(3, 5, 4, 3, 3, requires_grad=True)
        depth = 2 + torch.rand(2, 20, 20)
        runs = []
        for _ in range(2):
            y = sash.conv2_5d(x, depth, w, focal=20.0, padding=1).sum() + sash.conv(x, w[0], padding=1, boundary="wrap").square().sum()
            y = y + sash.conv_transpose(x, w[0].transpose(0, 1), stride=2).square().sum()
            runs.append(torch.autograd.grad(y, (x, w)))
        assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    finally:
        torch.use_deterministic_algorithms(False)
