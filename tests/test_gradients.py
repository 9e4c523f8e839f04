"""Gradients of every verb, of any order and in both directions, over random problems; what backward keeps; vmap."""

import numpy as np
import pytest

import oracle
import problems
import sash
from problems_networks import conv_case, depth_case, scene, transposed_case
from sash import methods
from tensor_layouts import torch

functional = torch.nn.functional
func, gradcheck, gradgradcheck = torch.func, torch.autograd.gradcheck, torch.autograd.gradgradcheck

METHODS = ("auto", *methods.names())
NUMBERS = [("float64", "float64"), ("float64", "float64"), ("complex128", "complex128"), ("float64", "complex128")]
QUICK = {"fast_mode": True, "atol": 1e-5, "rtol": 1e-3}
NAMED = {"conv": conv_case, "conv_transpose": transposed_case}


def leaf(array):
    """Scaled to about one, so that finite differences mean something."""
    t = torch.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C"))
    return t.requires_grad_()


def noise(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()


def willing(call, method):
    """Whether the method takes this problem."""
    try:
        call()
    except sash.SashError as refusal:
        assert method in str(refusal), refusal
        return False
    return True


# --- derivatives against finite differences --------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_filters(method):
    checked = 0
    for seed in range(60 if method == "auto" else 24):
        case = problems.case(seed, NUMBERS)
        if 0 in case.x.shape or case.x.size > 700:
            continue
        x, kernel = leaf(case.x), leaf(case.kernel)

        def call(x, k, told=case.settings):
            return sash.correlate(x, k, method=method, **told)

        if willing(lambda call=call, x=x, kernel=kernel: call(x, kernel), method):
            checked += 1
            assert gradcheck(call, (x, kernel), **QUICK), case
            if seed % 3 == 0:
                assert gradgradcheck(call, (x, kernel), **QUICK), case
    assert checked >= 8 or method not in ("auto", "direct", "fft", "gemm", "shift_add"), checked


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("verb", NAMED)
def test_convolutions(verb, method):
    checked = 0
    for seed in range(45 if method == "auto" else 18):
        case = NAMED[verb](seed, NUMBERS)
        if case.x.size > 1500 or not case.x.size or not case.exactly.size:
            continue
        inputs = [leaf(a) for a in (case.x, case.weight, case.bias) if a is not None]

        def call(*inputs, told=case.settings):
            return getattr(sash, verb)(*inputs, method=method, **told)

        if willing(lambda call=call, inputs=inputs: call(*inputs), method):
            checked += 1
            assert gradcheck(call, inputs, **QUICK), case
            if seed % 3 == 0:
                assert gradgradcheck(call, inputs, **QUICK), case
    assert checked >= 5 or method not in ("auto", "direct", "gemm", "shift_add"), checked


def test_depth():
    for seed in range(40):
        case = depth_case(seed, ("float64",))
        inputs = [leaf(a) for a in (case.x, case.weight, case.bias) if a is not None]
        depth = torch.from_numpy(np.array(case.depth))

        def call(x, weight, *bias, depth=depth, told=(case.settings | case.optics)):
            return sash.conv2_5d(x, depth, weight, *bias, **told)

        assert gradcheck(call, inputs, **QUICK), case
        if seed % 3 == 0:
            assert gradgradcheck(call, inputs, **QUICK), case


@pytest.mark.parametrize("boundary", oracle.BOUNDARIES)
def test_every_entry_of_the_jacobian(boundary):
    """Slow and complete, forward mode included."""
    x, k, told = noise(1, 2, 5, 4), noise(2, 2, 3, 2, seed=1), {"padding": ((2, 1), (-1, 3)), "stride": (2, 1), "boundary": boundary}
    thorough = {"check_forward_ad": True}
    cval = 1.5 if boundary == "constant" else 0
    assert gradcheck(lambda x, k: sash.conv(x, k, cval=cval, **told), (x, k), **thorough)
    assert gradcheck(lambda x, k: sash.conv_transpose(x, k, **told), (x, k), **thorough)
    told = {**told, "axes": (3, 2), "cval": cval}
    assert gradcheck(lambda x, k: sash.correlate(x, k, **told), (x, noise(3, 2)), **thorough)
    pair = noise(3), noise(2, seed=1)
    assert gradcheck(lambda x, a, b: sash.separable_filter(x, [a, b], **told), (x, *pair), **thorough)
    assert gradgradcheck(lambda x, a, b: sash.separable_filter(x, [a, b], **told), (x, *pair), **QUICK)


def test_batched_cotangents():
    """As `torch.autograd.functional.jacobian(vectorize=True)` and gradcheck hand them in."""
    x, w = noise(1, 2, 5, 4).detach(), noise(2, 2, 3, 2, seed=1).detach()
    jacobian = torch.autograd.functional.jacobian
    for call in (
        lambda x, w: sash.conv(x, w, padding=1, boundary="mirror"),
        lambda x, w: sash.conv_transpose(x, w, stride=2),
        lambda x, w: sash.correlate(x, w[0, 0], cval=1.5, padding=1),
        lambda x, w: sash.separable_filter(x, [w[0, 0, 0], w[0, 0, 1]]),
        lambda x, w: sash.conv2_5d(x, 2 + x[:, 0].detach().abs(), torch.stack([w.repeat(1, 1, 1, 2)[..., :3]] * 3), focal=9.0),
    ):
        for found, wanted in zip(jacobian(call, (x, w), vectorize=True), jacobian(call, (x, w)), strict=True):
            torch.testing.assert_close(found, wanted)


def test_separable_filters_and_blurs():
    for x in (noise(7, 8), noise(3, 5, 6, dtype=torch.complex128)):
        for told in (
            {},
            {"padding": "same", "boundary": "mirror"},
            {"padding": ((1, 2), (-1, 3)), "stride": (2, 1), "dilation": (1, 2), "cval": 2},
        ):
            inputs = (x, noise(3, seed=1), noise(2, seed=2))
            assert gradcheck(lambda x, a, b, told=told: sash.separable_filter(x, [a, b], **told), inputs, **QUICK)
            assert gradgradcheck(lambda x, a, b, told=told: sash.separable_filter(x, [a, b], **told), inputs, **QUICK)
    for told in ({"sigma": 0.8}, {"sigma": (0.5, 1.1), "order": (0, 1), "boundary": "wrap"}, {"sigma": 1, "axes": 0, "order": 2}):
        assert gradcheck(lambda x, told=told: sash.gaussian_blur(x, **told), (noise(7, 8),), **QUICK)


def test_separable_gradients_are_those_of_the_dense_kernel():
    for seed in range(200, 320):
        case, rng = problems.case(seed, NUMBERS), np.random.default_rng(seed)
        if 0 in case.x.shape or case.x.dtype != case.kernel.dtype:
            continue
        x, kernels = leaf(case.x), [leaf(problems.values(rng, n, case.x.dtype.newbyteorder("="))) for n in case.kernel.shape]
        dense = kernels[0]
        for k in kernels[1:]:
            dense = dense[..., None] * k
        y, z = sash.separable_filter(x, kernels, **case.settings), sash.correlate(x, dense, method="direct", **case.settings)
        cotangent = torch.from_numpy(problems.values(rng, tuple(y.shape), case.x.dtype.newbyteorder("=")))
        found, wanted = (torch.autograd.grad(one, (x, *kernels), cotangent) for one in (y, z))
        for g, h in zip(found, wanted, strict=True):
            torch.testing.assert_close(g, h, rtol=1e-9, atol=1e-9 * (1 + h.abs().max().item()), msg=str(case))


def test_the_width_of_a_blur():
    """At fixed taps; 0.83 and 1.21 are no widths at which one more is taken."""
    x = noise(9, 10)
    for order, boundary in ((0, "symmetric"), (1, "wrap"), (2, "constant"), ((0, 1), "mirror")):
        told = {"order": order, "boundary": boundary}
        for sigma in (torch.tensor(0.83, dtype=torch.float64), torch.tensor([0.83, 1.21], dtype=torch.float64)):
            sigma.requires_grad_()
            found = sash.gaussian_blur(x, sigma, **told)
            wanted = sash.gaussian_blur(x.detach().numpy(), sigma.tolist(), **told)
            np.testing.assert_allclose(found.detach().numpy(), wanted, atol=1e-12)
            assert gradcheck(lambda x, s, told=told: sash.gaussian_blur(x, s, **told), (x, sigma), **QUICK)
            if order == 1:
                assert gradgradcheck(lambda x, s, told=told: sash.gaussian_blur(x, s, **told), (x, sigma), **QUICK)


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
def test_similarity(metric):
    mask = torch.rand(3, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for told in (
        {},
        {"stride": (2, 1), "padding": "same"},
        {"mask": mask},
        {"channel_axis": 0, "bank": True, "stride": 2},
        {"padding": ((1, 2), (0, 3))},
    ):
        bank = told.get("bank", False)
        image = noise(2, 6, 7) if bank else noise(6, 7)
        template = noise(2, 2, 3, 4, seed=1) if bank else noise(3, 4, seed=1)
        for method in METHODS:

            def call(x, t, told=told, method=method):
                return sash.similarity(x, t, metric=metric, method=method, data_range=2.0, **told)

            if willing(lambda call=call, image=image, template=template: call(image, template), method):
                assert gradcheck(call, (image, template), **QUICK), (told, method)
    if metric != "sad":
        assert gradgradcheck(lambda x, t: sash.similarity(x, t, metric=metric), (noise(5, 6), noise(3, 2, seed=1)), **QUICK)


def test_the_subgradient_of_a_perfect_match():
    """|x - t| has none where they are equal: any number in [-1, 1] will do, NaN will not; zncc of a flat window gives 0."""
    x = torch.ones(5, 5, dtype=torch.float64, requires_grad=True)
    for metric in ("sad", "ssd", "zncc", "ncc"):
        (g,) = torch.autograd.grad(sash.similarity(x, torch.ones(3, 3, dtype=torch.float64), metric=metric).sum(), x)
        assert torch.isfinite(g).all() and g.abs().max() <= 1, metric


# --- the same from elsewhere -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_pytorchs_own_gradients(dtype):
    loose = {torch.float32: 1e-4, torch.float64: 1e-11}.get(dtype, 0.1)
    for groups, stride, dilation, padding in ((1, 1, 1, 0), (2, 2, 1, 1), (4, 1, 2, 2), (1, 3, 2, 0)):
        x, w, b = (noise(*s, seed=i, dtype=dtype) for i, s in enumerate([(2, 4, 12, 11), (8, 4 // groups, 3, 3), (8,)]))
        told = {"stride": stride, "dilation": dilation, "padding": padding, "groups": groups}
        for ours, theirs, inputs in (
            (sash.conv, functional.conv2d, (x, w, b)),
            (sash.conv_transpose, functional.conv_transpose2d, (noise(2, 8, 6, 5, dtype=dtype), w, noise(4, dtype=dtype))),
        ):
            y, z = ours(*inputs, **told), theirs(*inputs, **told)
            torch.testing.assert_close(y, z, atol=loose, rtol=loose)
            cotangent = torch.randn(y.shape, generator=torch.Generator().manual_seed(4)).to(dtype)
            for g, h in zip(torch.autograd.grad(y, inputs, cotangent), torch.autograd.grad(z, inputs, cotangent), strict=True):
                assert g.dtype == h.dtype == dtype and g.shape == h.shape
                scale = h.abs().max().float().item() + 1
                torch.testing.assert_close(g.double() / scale, h.double() / scale, atol=loose, rtol=0)


def test_the_adjoint_identity_of_depth():
    """<conv2_5d(x, w), z> = <x, gx> = <w, gw>: it is linear in both."""
    for seed in range(60):
        case = depth_case(seed, ("float64",))
        x, w = leaf(case.x), leaf(case.weight)
        y = sash.conv2_5d(x, torch.from_numpy(np.array(case.depth)), w, **case.settings, **case.optics)
        z = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed), dtype=y.dtype)
        gx, gw = torch.autograd.grad(y, (x, w), z)
        total, scale = (y * z).sum(), (y.abs() * z.abs()).sum() + 1
        assert abs((x * gx).sum() - total) < 1e-11 * scale and abs((w * gw).sum() - total) < 1e-11 * scale, case


def test_transforms_agree_with_backward():
    x, w = noise(2, 3, 6, 5).detach(), noise(4, 3, 3, 2, seed=1).detach()
    dx, dw = noise(2, 3, 6, 5, seed=2).detach(), noise(4, 3, 3, 2, seed=3).detach()
    depth = torch.from_numpy(scene(np.random.default_rng(0), 2, 6, 5))
    planes = torch.stack([w[..., :1].expand(4, 3, 3, 3), w[..., 1:].expand(4, 3, 3, 3), w[..., :1].expand(4, 3, 3, 3)])
    spreads = torch.stack([dw[..., :1].expand(4, 3, 3, 3)] * 3)
    for call, args, tangents in (
        (lambda x, w: sash.conv(x, w, padding=1, boundary="mirror", stride=2), (x, w), (dx, dw)),
        (lambda x, w: sash.conv(x, w, padding=1, cval=2.0), (x, w), (dx, dw)),
        (lambda x, w: sash.conv_transpose(x, w.transpose(0, 1), stride=2), (x, w), (dx, dw)),
        (lambda x, w: sash.correlate(x, w[0, 0], padding=1, cval=1.5), (x, w), (dx, dw)),
        (lambda x, w: sash.separable_filter(x, [w[0, 0, :, 0], w[0, 0, 0]], padding=1, cval=1.5), (x, w), (dx, dw)),
        (lambda x, w: sash.similarity(x, w[0, 0], metric="zncc"), (x, w), (dx, dw)),
        (lambda x, w: sash.similarity(x, w[0, 0], metric="sad", data_range=2), (x, w), (dx, dw)),
        (lambda x, w: sash.gaussian_blur(x, 0.7) + 0 * w.sum(), (x, w), (dx, dw)),
        (lambda x, w: sash.conv2_5d(x, depth, w, focal=12.0, padding=1), (x, planes), (dx, spreads)),
    ):

        def loss(x, w, call=call):
            return call(x, w).sin().sum()

        leaves = [t.clone().requires_grad_() for t in args]
        back = torch.autograd.grad(loss(*leaves), leaves)
        for found, wanted in zip(func.grad(loss, (0, 1))(*args), back, strict=True):
            torch.testing.assert_close(found, wanted)
        value, push = func.jvp(loss, args, tangents)
        torch.testing.assert_close(value, loss(*args))
        torch.testing.assert_close(push, sum((g * t).sum() for g, t in zip(back, tangents, strict=True)))
        batch = torch.stack([args[0], tangents[0], -args[0]])
        wanted = torch.stack([call(one, args[1]) for one in batch])
        torch.testing.assert_close(func.vmap(call, (0, None))(batch, args[1]), wanted)
        both = func.vmap(call)(batch, torch.stack([args[1], tangents[1], args[1]]))
        torch.testing.assert_close(both, torch.stack([call(a, b) for a, b in zip(batch, [args[1], tangents[1], args[1]], strict=True)]))
        each = func.vmap(func.grad(loss), (0, None))(batch, args[1])
        torch.testing.assert_close(each, torch.stack([func.grad(loss)(one, args[1]) for one in batch]))


def test_hessians_both_ways():
    x, w = noise(1, 1, 5).detach(), noise(1, 1, 3, seed=1).detach()

    def loss(w):
        return sash.conv(x, w, padding=1, boundary="wrap").pow(3).sum()

    torch.testing.assert_close(func.hessian(loss)(w), func.jacrev(func.jacrev(loss))(w))
    torch.testing.assert_close(func.jacfwd(func.jacfwd(loss))(w), func.jacrev(func.jacfwd(loss))(w))


# --- what backward needs ---------------------------------------------------------------------------


def kept(call):
    """Bytes of every tensor that autograd keeps, storages counted once."""
    found = {}

    def pack(t):
        found[t.untyped_storage().data_ptr()] = t.numel() * t.element_size()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = call()
    assert y.requires_grad
    return sum(found.values())


def test_backward_keeps_nothing_larger_than_its_inputs():
    x, w = noise(2, 8, 30, 31, dtype=torch.float32), noise(16, 8, 5, 5, dtype=torch.float32)
    depth, planes = 2 + torch.rand(2, 30, 31), noise(3, 16, 8, 5, 5, dtype=torch.float32)

    def size(*tensors):
        return sum(t.numel() * t.element_size() for t in tensors)

    both = size(x, w)
    assert kept(lambda: sash.conv(x, w, padding=2, boundary="mirror")) <= both
    assert kept(lambda: sash.conv(x, w, padding=2)) <= both
    assert kept(lambda: sash.conv_transpose(noise(2, 16, 8, 8, dtype=torch.float32), w, stride=4)) <= both
    assert kept(lambda: sash.correlate(x, w[0, 0], padding="same", boundary="wrap")) <= size(x, w)
    assert kept(lambda: sash.gaussian_blur(x, 2.0)) <= size(x) + 4096
    assert kept(lambda: sash.separable_filter(x, [w[0, 0, 0], w[0, 0, 1]], padding="same")) <= size(x, w)
    gate = 2 * 25 * 30 * 31  # the plane map: a byte for each tap
    assert kept(lambda: sash.conv2_5d(x, depth, planes, focal=20.0, padding=2)) <= size(x, depth, planes) + gate


def test_only_what_is_asked_for():
    x, w, b = noise(1, 2, 6, 6), noise(3, 2, 3, 3), noise(3)
    depth = torch.full((1, 6, 6), 2.0, dtype=torch.float64)
    for asked in ((x,), (w,), (b,), (x, b), (w, b)):
        given = [t if any(t is a for a in asked) else t.detach() for t in (x, w, b)]
        planes = given[1][None]
        for y in (sash.conv(*given, padding=1), sash.conv2_5d(given[0], depth, planes, given[2], focal=9.0)):
            found = torch.autograd.grad(y.square().sum(), asked)
            assert [g.shape for g in found] == [a.shape for a in asked]
    y = sash.conv2_5d(x, depth.requires_grad_(), w[None], focal=9.0)
    (g,) = torch.autograd.grad(y.sum(), depth, allow_unused=True)
    assert g is None or not g.any()


def test_empty_batches_have_gradients():
    for dtype in (torch.float64, torch.complex128):
        x, w = noise(0, 3, 6, 6, dtype=dtype), noise(4, 3, 3, 3, dtype=dtype)
        answers = {
            (0, 4, 4, 4): sash.conv(x, w),
            (0, 4, 8, 8): sash.conv_transpose(x, w.transpose(0, 1)),
            (0, 3, 4, 4): sash.correlate(x, w[0, 0]),
            (0, 3, 4, 6): sash.separable_filter(x, [w[0, 0, 0], w[0, 0, 1, :1]]),
        }
        if dtype == torch.float64:
            answers[0, 3, 6, 6] = sash.gaussian_blur(x, 1, axes=(2, 3))
            answers[0, 4, 6, 6] = sash.conv2_5d(x, torch.ones(0, 6, 6), w[None], focal=9.0, padding=1)
        for shape, y in answers.items():
            assert y.shape == shape
            gx, gw = torch.autograd.grad(y.sum().real + 0 * w.sum().real, (x, w))
            assert gx.shape == x.shape and gw.shape == w.shape and not gw.any()


def test_an_input_that_was_changed_is_noticed():
    x, w = noise(1, 1, 5, 5), noise(1, 1, 3, 3)
    kernel = w * 1
    y = sash.conv(x, kernel)
    with torch.no_grad():
        kernel.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        y.sum().backward()


def test_axes_of_one_tap_may_be_padded():
    for boundary in oracle.BOUNDARIES:
        x, w = noise(1, 1, 6, 5), noise(1, 1, 1, 3)
        told = {"padding": ((1, 0), (1, 0)), "stride": (1, 3), "boundary": boundary}
        assert gradcheck(lambda x, w, told=told: sash.conv(x, w, **told), (x, w), **QUICK)
        assert gradcheck(lambda x, w, told=told: sash.conv_transpose(x, w, **told), (noise(1, 1, 6, 5), w), **QUICK)


def test_cotangents_and_inputs_of_any_layout():
    x = noise(2, 3, 8, 9)
    for view in (x[:, :, ::2], x.transpose(2, 3), x.flip(3), x[:1].expand(4, -1, -1, -1), x.contiguous(memory_format=torch.channels_last)):
        w = noise(2, 3, 3, 3)
        for move in (lambda y: y, lambda y: y.transpose(0, 3)[:, 1:], lambda y: y.sum() * torch.ones(2, 2)):
            found = torch.autograd.grad(move(sash.conv(view, w, padding=1)).sum(), (x, w))
            wanted = torch.autograd.grad(move(functional.conv2d(view, w, padding=1)).sum(), (x, w))
            for g, h in zip(found, wanted, strict=True):
                torch.testing.assert_close(g, h)


def test_gradients_of_mixed_types_have_the_types_of_their_operands():
    for kinds in ((torch.float32, torch.float64), (torch.float64, torch.float32), (torch.bfloat16, torch.float32)):
        x, w = noise(1, 2, 6, 6, dtype=kinds[0]), noise(2, 2, 3, 3, dtype=kinds[1])
        for y in (sash.conv(x, w), sash.conv_transpose(x, w), sash.correlate(x, w[0, 0])):
            gx, gw = torch.autograd.grad(y.sum(), (x, w))
            assert gx.dtype == kinds[0] and gw.dtype == kinds[1]
    x, w = torch.arange(36).reshape(1, 1, 6, 6), noise(1, 1, 3, 3)
    (g,) = torch.autograd.grad(sash.conv(x, w).sum(), w)  # integers are data here, as good as floats
    torch.testing.assert_close(g, torch.autograd.grad(functional.conv2d(x.double(), w).sum(), w)[0])
