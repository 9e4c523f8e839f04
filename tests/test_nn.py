"""Layers: what their verbs give, with weights that are learnt, kept, copied and printed; a small field check."""

import copy
import pickle

import numpy as np
import pytest

import oracle
import oracle_networks
import sash
from problems_networks import scene
from tensor_layouts import torch

nn = pytest.importorskip("sash.nn")
functional = torch.nn.functional

LAYERS = {
    "blur": lambda: nn.GaussianBlur(1.2),
    "learnt blur": lambda: nn.GaussianBlur((0.8, 1.3), learnable=True, order=(0, 1), boundary="wrap"),
    "similarity": lambda: nn.Similarity(4, 3, (3, 2), metric="ncc", stride=2),
    "conv": lambda: nn.Conv(4, 6, (3, 2), padding="same", stride=2, groups=2, boundary="mirror"),
    "conv of lines": lambda: nn.Conv(12, 5, 3, ndim=1, bias=False, data_format="channels_last"),
    "conv_transpose": lambda: nn.ConvTranspose(4, 6, 3, stride=2, padding=1, output_padding=1),
    "conv2_5d": lambda: nn.Conv2_5d(4, 6, 3, planes=3, focal=20.0, padding=1),
}


def inputs(name):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 13, 12, generator=generator)
    if name == "conv of lines":
        return (x[0],)
    return (x, 2 + torch.rand(2, 13, 12, generator=generator)) if name == "conv2_5d" else (x,)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_kept_copied_and_printed(name, tmp_path):
    torch.manual_seed(1)
    layer, args = LAYERS[name](), inputs(name)
    y = layer(*args)
    assert torch.isfinite(y).all()
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(*args), y)
    torch.manual_seed(2)
    other = LAYERS[name]()
    assert list(other.state_dict()) == list(layer.state_dict())
    if any(p.ndim > 1 for p in layer.parameters()):
        assert not torch.equal(other(*args), y), "weights are random"
    torch.save(layer.state_dict(), tmp_path / "kept.pt")
    other.load_state_dict(torch.load(tmp_path / "kept.pt", weights_only=True))
    assert torch.equal(other(*args), y)
    text = repr(layer)
    assert type(layer).__name__ in text and len(text) > len(type(layer).__name__) + 5 and "\n" not in text
    assert layer.double()(*[a.double() for a in args]).dtype == torch.float64
    assert layer.bfloat16()(*[a.bfloat16() if i == 0 else a for i, a in enumerate(args)]).dtype == torch.bfloat16


@pytest.mark.parametrize("name", LAYERS)
def test_all_parameters_learn(name):
    torch.manual_seed(3)
    layer, (x, *rest) = LAYERS[name](), inputs(name)
    assert all(isinstance(p, torch.nn.Parameter) for p in layer.parameters())
    assert name == "blur" or any(True for _ in layer.parameters())
    x = x.clone().requires_grad_()
    layer(x, *rest).square().sum().backward()
    for p in (x, *layer.parameters()):
        assert p.grad is not None and torch.isfinite(p.grad).all() and p.grad.any()


@pytest.mark.parametrize("name", LAYERS)
def test_layers_move_to_other_devices(name):
    layer, args = LAYERS[name](), inputs(name)
    found = layer.to("meta")
    assert all(p.device.type == "meta" for p in found.parameters())
    if torch.cuda.is_available():
        layer = LAYERS[name]()
        wanted = layer(*args)
        torch.testing.assert_close(layer.cuda()(*[a.cuda() for a in args]).cpu(), wanted, atol=1e-4, rtol=1e-4)


# --- blur and similarity -------------------------------------------------------------------------


def test_blur_is_the_verb_on_all_axes_behind_the_first_two():
    x = torch.randn(2, 3, 9, 10)
    for settings in ({}, {"order": 1}, {"boundary": "wrap", "truncate": 3.0}, {"axes": 3}, {"axes": (2, -1), "order": (1, 0)}):
        for learnable in (False, True):
            told = {"axes": (2, 3), **settings}
            found = nn.GaussianBlur(1.1, learnable=learnable, **settings)(x)
            torch.testing.assert_close(found.detach(), sash.gaussian_blur(x, 1.1, **told), atol=1e-5, rtol=1e-5)
    lines = nn.GaussianBlur(0.9)(x[:, :, 0])
    torch.testing.assert_close(lines, sash.gaussian_blur(x[:, :, 0], 0.9, axes=2))
    assert not list(nn.GaussianBlur(1.0).parameters()) and len(list(nn.GaussianBlur(1.0, learnable=True).parameters())) == 1


def test_a_learnable_blur_finds_the_width_that_was_used():
    x = torch.randn(1, 1, 24, 24, generator=torch.Generator().manual_seed(4))
    wanted = sash.gaussian_blur(x, 1.4, axes=(2, 3))
    layer = nn.GaussianBlur(0.8, learnable=True)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(120):
        optimizer.zero_grad()
        functional.mse_loss(layer(x), wanted).backward()
        optimizer.step()
    assert abs(layer.sigma.item() - 1.4) < 0.05


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
def test_similarity_scores_every_window_with_every_template(metric):
    generator = torch.Generator().manual_seed(5)
    for axes, size in ((1, 3), (2, (3, 2)), (3, 2)):
        x = torch.randn(2, 3, *(7, 6, 5)[:axes], generator=generator)
        layer = nn.Similarity(3, 4, size, metric=metric, ndim=axes, stride=2)
        assert layer.weight.shape == (4, 3, *oracle.per_axis(size, axes)) and layer.weight.requires_grad
        found = layer(x).detach().numpy()
        wanted = [oracle.similarity(one.numpy(), layer.weight.detach().numpy(), metric, channel_axis=0, stride=2, bank=True) for one in x]
        np.testing.assert_allclose(found, np.stack(wanted), atol=1e-4)


def test_similarity_from_templates():
    bank = torch.randn(3, 2, 4, 5)
    layer = nn.Similarity.from_templates(bank, metric="zncc")
    assert torch.equal(layer.weight, bank) and layer.weight.data_ptr() != bank.data_ptr()
    image = torch.randn(1, 2, 12, 13)
    image[0, :, 3:7, 2:7] = bank[1] * 3 + 2
    scores = layer(image)
    assert scores.shape == (1, 3, 9, 9) and scores[0, 1].argmax() == 3 * 9 + 2 and scores[0, 1].max() > 0.999
    padded = nn.Similarity.from_templates(bank, metric="sad", padding="same", stride=2)(image)
    assert padded.shape == (1, 3, 6, 7)


# --- convolutions --------------------------------------------------------------------------------


def test_conv_is_pytorchs_own_where_conventions_agree():
    for axes in (1, 2, 3):
        x = torch.randn(2, 4, *(9, 8, 7)[:axes])
        for settings in ({}, {"stride": 2, "padding": 1}, {"dilation": 2, "groups": 2, "bias": False}):
            layer, own = nn.Conv(4, 6, 3, ndim=axes, **settings), getattr(torch.nn, f"Conv{axes}d")(4, 6, 3, **settings)
            assert {k: v.shape for k, v in layer.state_dict().items()} == {k: v.shape for k, v in own.state_dict().items()}
            layer.load_state_dict(own.state_dict())
            torch.testing.assert_close(layer(x), own(x), atol=1e-5, rtol=1e-5)
            back = nn.ConvTranspose(4, 6, 3, ndim=axes, **settings)
            own = getattr(torch.nn, f"ConvTranspose{axes}d")(4, 6, 3, **settings)
            back.load_state_dict(own.state_dict())
            torch.testing.assert_close(back(x), own(x), atol=1e-5, rtol=1e-5)


def test_conv_starts_as_wide_as_pytorchs():
    """Uniform within 1 / sqrt(fan-in)."""
    torch.manual_seed(6)
    for layer in (nn.Conv(64, 64, 3, groups=2), nn.Conv2_5d(32, 64, 3)):
        bound = (32 * 9) ** -0.5
        for p in (layer.weight, layer.bias):
            assert p.abs().max() <= bound and p.abs().max() > 0.9 * bound and abs(p.mean()) < 0.3 * bound


def test_conv_transpose_takes_the_shape_that_is_wanted():
    layer, x = nn.ConvTranspose(2, 3, 3, stride=2, padding="same"), torch.randn(1, 2, 8, 9)
    assert layer(x).shape == (1, 3, 16, 18) and layer(x, output_shape=(15, 18)).shape == (1, 3, 15, 18)
    with pytest.raises(sash.SashError, match="15 or 16"):
        layer(x, output_shape=(17, 18))


def test_boundaries_and_layouts_reach_the_verb():
    x = torch.randn(1, 7, 8, 4)
    layer = nn.Conv(4, 6, 3, padding=2, boundary="wrap", data_format="channels_last", groups=2)
    assert layer.weight.shape == (3, 3, 2, 6)
    found = sash.conv(x, layer.weight, layer.bias, padding=2, boundary="wrap", data_format="NHWC", groups=2)
    torch.testing.assert_close(layer(x), found)
    for bad in ({"groups": 3}, {"boundary": "reflect"}, {"data_format": "NWHC"}, {"stride": 0}, {"padding": "sam"}):
        with pytest.raises(sash.SashError):
            nn.Conv(4, 6, 3, **bad)(torch.randn(1, 4, 7, 8))


MADE = {
    "no taps": lambda: nn.Conv(4, 5, 0),
    "taps of three axes": lambda: nn.Conv(4, 5, (3, 3, 3), ndim=2),
    "five axes": lambda: nn.Conv(4, 5, 3, ndim=5),
    "fractions of a tap": lambda: nn.ConvTranspose(4, 5, 3.0),
    "groups": lambda: nn.ConvTranspose(4, 5, 3, groups=2),
    "a metric": lambda: nn.Similarity(4, 5, 3, metric="cosine"),
    "templates of two axes": lambda: nn.Similarity.from_templates(torch.randn(3, 3)),
    "no width": lambda: nn.GaussianBlur(None),
    "a negative width": lambda: nn.GaussianBlur(-1.0),
    "a width of 0 that is learnt": lambda: nn.GaussianBlur(0.0, learnable=True),
    "an even size": lambda: nn.GaussianBlur(1.0, size=4),
    "a convolution of lines": lambda: nn.Conv2_5d.from_conv2d(torch.nn.Conv1d(4, 5, 3), focal=9.0),
}


@pytest.mark.parametrize("name", MADE)
def test_layers_are_checked_when_they_are_made(name):
    with pytest.raises(sash.SashError) as caught:
        MADE[name]()
    assert isinstance(caught.value, (ValueError, TypeError)) and "\n" not in str(caught.value)


def test_templates_and_widths_may_be_arrays_or_tensors():
    bank = np.random.default_rng(9).random((2, 3, 4, 4), np.float32)
    assert torch.equal(nn.Similarity.from_templates(bank).weight, torch.from_numpy(bank))
    x = torch.randn(1, 1, 8, 8)
    for sigma in (torch.tensor(1.0), np.float32(1), [1.0, 1.0], torch.ones(2)):
        torch.testing.assert_close(nn.GaussianBlur(sigma)(x), nn.GaussianBlur(1.0)(x))


# --- 2.5-D ---------------------------------------------------------------------------------------


def test_planes_start_equal():
    layer = nn.Conv2_5d(4, 6, 3, planes=4, groups=2, missing="drop", focal=9.0)
    assert layer.weight.shape == (4, 6, 2, 3, 3)
    assert all(torch.equal(plane, layer.weight[0]) for plane in layer.weight)


def test_from_a_convolution():
    own = torch.nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2)
    layer = nn.Conv2_5d.from_conv2d(own, planes=3, focal=15.0)
    assert layer.weight.shape == (3, 6, 2, 3, 5) and all(torch.equal(plane, own.weight) for plane in layer.weight)
    assert torch.equal(layer.bias, own.bias) and layer.bias.data_ptr() != own.bias.data_ptr()
    x = torch.randn(2, 4, 11, 12)
    torch.testing.assert_close(layer(x, torch.full((2, 11, 12), 2.0)), own(x), atol=1e-5, rtol=1e-5)
    assert nn.Conv2_5d.from_conv2d(torch.nn.Conv2d(1, 1, 3, bias=False), focal=9.0).bias is None
    with pytest.raises(sash.SashError):
        nn.Conv2_5d.from_conv2d(torch.nn.Conv2d(1, 1, 2), focal=9.0)
    with pytest.raises(sash.SashError):
        nn.Conv2_5d.from_conv2d(torch.nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), focal=9.0)


def test_the_focal_length_of_the_layer_or_of_the_call():
    x, depth = torch.randn(2, 3, 9, 9), torch.from_numpy(scene(np.random.default_rng(7), 2, 9, 9))
    layer = nn.Conv2_5d(3, 4, 3, padding=1)
    torch.nn.init.normal_(layer.weight)
    with pytest.raises(sash.SashError, match="focal"):
        layer(x, depth)
    focal = torch.tensor([8.0, 30.0])
    found = layer(x, depth, focal=focal)
    wanted = sash.conv2_5d(x, depth, layer.weight, layer.bias, focal=focal, padding=1)
    assert torch.equal(found, wanted)
    layer.focal = 8.0
    assert torch.equal(layer(x, depth)[0], found[0])
    planes = sash.depth_planes(depth, 3, focal=focal, padding=1)
    assert torch.equal(layer(x, planes), found), "a plane map needs no focal length"


@pytest.mark.parametrize(
    "bad", [{"kernel_size": 2}, {"planes": 2}, {"planes": 0}, {"groups": 3}, {"missing": "keep"}, {"focal": 0.0}, {"spacing": -1}]
)
def test_layers_that_cannot_be_meant(bad):
    with pytest.raises(sash.SashError):
        layer = nn.Conv2_5d(**{"in_channels": 4, "out_channels": 6, "kernel_size": 3, "focal": 9.0, **bad})
        layer(torch.randn(1, 4, 8, 8), torch.full((1, 8, 8), 2.0))


def test_a_small_field_check():
    """The loss falls, and what was learnt still keeps the flat-depth law, which a scrambled view of windows does not."""
    torch.manual_seed(8)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2_5d(3, 32, 5, padding=2, focal=30.0)
            self.norm = torch.nn.BatchNorm2d(32)
            self.last = torch.nn.Conv2d(32, 1, 3, padding=1)

        def forward(self, x, depth):
            return self.last(functional.relu(self.norm(self.first(x, depth))))

    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for step in range(12):
        generator = torch.Generator().manual_seed(step)
        x, depth = torch.randn(2, 3, 64, 64, generator=generator), 1 + torch.rand(2, 64, 64, generator=generator)
        target = functional.avg_pool2d(x.mean(1, keepdim=True), 3, 1, 1) * 3
        optimizer.zero_grad()
        loss = functional.mse_loss(net(x, depth), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3]), losses
    layer = net.first
    assert not torch.equal(layer.weight[0], layer.weight[1]), "planes have parted"
    flat = layer(x, torch.full((2, 64, 64), 1.7))
    wanted = functional.conv2d(x, layer.weight[1], layer.bias, padding=2)
    torch.testing.assert_close(flat, wanted, atol=1e-4, rtol=1e-4)
    some = slice(20, 30)
    plane_map = oracle_networks.depth_planes(depth[:, some, some].numpy(), 5, focal=30.0)
    exact = oracle_networks.conv2_5d(x[:, :, some, some].numpy(), plane_map, layer.weight.detach().numpy(), layer.bias.detach().numpy())
    np.testing.assert_allclose(layer(x, depth)[:, :, 22:28, 22:28].detach().numpy(), exact, atol=1e-4)
