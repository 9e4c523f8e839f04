"""Calls are bound to their shapes: the same bits as the general way, taken where they are meant to be, and forgotten in time."""

import tracemalloc
import warnings
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import oracle
import problems
import problems_networks
import sash
from sash import bound as shapes
from sash import machine, running
from sash.kernels.cpu import moves, scored, simd
from sash.methods import direct, little
from sash.ops import conv as convolutions
from sash.ops import filters, repeats
from sash.planning import choose

BUFFER = 3 << 14
"""Bytes: NumPy adds arrays whose rows lie apart through a buffer of 8192 elements, now and then."""

rng = np.random.default_rng(44)
X, K = rng.standard_normal((16, 16)).astype("float32"), rng.standard_normal((3, 3)).astype("float32")


@pytest.fixture
def bound(monkeypatch):
    """How many calls were bound; `general()` makes a call that is not."""

    class Count:
        calls = 0

        @staticmethod
        def general(call):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(filters, "again", lambda *told: None)
                patch.setattr(convolutions, "again", lambda *told: None)
                patch.setattr(running, "bind", lambda *told: None)
                return call()

    def counted(find):
        def found(*told):
            what = find(*told)
            if what is None:
                return None

            def call(*operands):
                Count.calls += 1
                what.call(*operands)

            return what._replace(call=call)

        return found

    monkeypatch.setattr(filters, "bind", counted(shapes.bind))
    monkeypatch.setattr(repeats, "bind", counted(shapes.bind))
    monkeypatch.setattr(running, "bind", counted(shapes.bind))
    filters.again.cache_clear(), repeats.again.cache_clear()
    yield Count
    filters.again.cache_clear(), repeats.again.cache_clear()


def same_bits(case, call, bound):
    try:
        found = call()
    except sash.SashError:
        return
    wanted = bound.general(call)
    assert found.dtype == wanted.dtype and found.shape == wanted.shape, case
    assert found.tobytes() == wanted.tobytes(), case


@pytest.mark.parametrize("block", range(4))
def test_filters_have_the_bits_of_the_general_way(block, bound):
    for seed in range(1000 + block, 1600, 4):
        case = problems.case(seed)
        same_bits(case, lambda case=case: sash.correlate(case.x, case.kernel, method="direct", **case.settings), bound)
    assert bound.calls > 30


@pytest.mark.parametrize("verb", ["conv", "conv_transpose"])
def test_convolutions_equal_the_general_way(verb, bound):
    """The bits of the general way, but for samples that stand apart: those are summed in another order, with zeros."""
    make = problems_networks.conv_case if verb == "conv" else problems_networks.transposed_case
    for seed in range(1000, 1300):
        case = make(seed)

        def call(case=case):
            return getattr(sash, verb)(case.x, case.weight, case.bias, method="direct", **case.settings)

        if verb == "conv":
            same_bits(case, call, bound)
            continue
        try:
            found, wanted = call(), bound.general(call)
        except sash.SashError:
            continue
        near = 1e-3 if found.dtype.itemsize <= 4 or found.dtype == "complex64" else 1e-10
        np.testing.assert_allclose(found, wanted, rtol=near, atol=near * np.abs(wanted).max(initial=0), err_msg=str(case))
    assert bound.calls > 40


@pytest.mark.parametrize("metric", ["sad", "ssd"])
@pytest.mark.parametrize("masked", [False, True])
def test_differences_have_the_bits_of_the_general_way(metric, masked, bound):
    mask = rng.random(K.shape) if masked else None
    for stride, padding in ((1, "valid"), (2, 1), (3, "full")):
        same_bits((stride, padding), lambda: sash.similarity(X, K, metric=metric, stride=stride, padding=padding, mask=mask), bound)  # noqa: B023
    assert bound.calls == 3


@pytest.mark.parametrize("metric", ["ncc", "zncc"])
def test_scores_equal_those_of_blocks(metric):
    """Any number of axes, strides, pads, channels, banks and masks; levels of 10 000; NaN and infinities where they were."""
    for seed in range(120):
        draw = np.random.default_rng(seed)
        ndim = int(draw.integers(1, 4))
        sizes = draw.integers(1, 5, ndim)
        channels = [int(draw.integers(1, 4))] if seed % 3 == 0 else []
        bank = [2] if seed % 4 == 0 else []
        image = draw.standard_normal((*channels, *(sizes + draw.integers(0, 9, ndim)))) + draw.choice([0, 1e4])
        template = draw.standard_normal((*bank, *channels, *sizes))
        if seed % 5 == 0:
            image.reshape(-1)[draw.integers(image.size)] = draw.choice([np.nan, np.inf, -np.inf])
        if seed % 7 == 0:
            image = image.astype(np.float32)
        settings = {
            "metric": metric,
            "stride": int(draw.integers(1, 4)),
            "padding": str(draw.choice(["valid", "same"])),
            "channel_axis": 0 if channels else None,
            "bank": bool(bank),
            "mask": draw.random(template.shape[len(bank) :]) if seed % 2 else None,
        }
        found = sash.similarity(image, template, **settings)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shapes, "windows", lambda *told: None)
            wanted = sash.similarity(image, template, **settings)
        if np.prod(sizes) * (channels or [1])[0] == 1 and metric == "zncc":
            assert (np.nan_to_num(found) == 0).all(), (seed, settings)  # one sample has no variance
            continue
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5, err_msg=f"{seed} {settings}")


CALLS = {
    "correlate": lambda: sash.correlate(X, K),
    "turned": lambda: sash.correlate(X.T, K),
    "layers turned": lambda: sash.conv(X.T[None, None, ::2], K[None, None]),
    "a kernel of float64": lambda: sash.correlate(X, K.astype(float)),
    "padding": lambda: sash.correlate(X, K, padding="same", boundary="constant", cval=2),
    "a boundary": lambda: sash.correlate(X, K, padding="full", boundary="mirror"),
    "stride and dilation": lambda: sash.correlate(X, K, stride=(2, 3), dilation=2, padding=1),
    "other axes": lambda: sash.correlate(np.stack([X] * 3), K, axes=(1, 0), padding=1),
    "convolve": lambda: sash.convolve(X, K),
    "separable_filter": lambda: sash.separable_filter(X, [K[0], K[1]]),
    "gaussian_blur": lambda: sash.gaussian_blur(X, 1.0),
    "a blur of bytes": lambda: sash.gaussian_blur(X.astype(np.uint8), 1.0, dtype="uint8"),
    "a blur of 64²": lambda: sash.gaussian_blur(np.zeros((64, 64)), 1.0, size=5),
    "zncc": lambda: sash.similarity(X, K, metric="zncc"),
    "sad": lambda: sash.similarity(X, K),
    "conv": lambda: sash.conv(X[None, None], K[None, None], [1.0], padding=1),
    "conv_transpose": lambda: sash.conv_transpose(X[None, None], K[None, None], stride=2),
    "a photo": lambda: sash.correlate(np.zeros((300, 300), np.float32), K),
    "a photo with a border": lambda: sash.correlate(np.zeros((900, 1000), np.uint8), K, padding=1, cval=3, method="direct"),
    "a photo in a mirror": lambda: sash.correlate(np.zeros((900, 1000)), K, padding=1, boundary="mirror", method="direct"),
    "a photo on a torus": lambda: sash.correlate(np.zeros((300, 300), np.float32), K, padding=9, boundary="wrap", method="direct"),
    "layers": lambda: sash.conv(np.zeros((2, 3, 100, 120), np.float32), np.ones((16, 3, 3, 3), np.float32), stride=2, padding=1),
}


@pytest.mark.parametrize("seed", range(80))
def test_blocks_have_the_bits_of_the_general_way(seed, bound):
    """Large enough for several blocks: rows, bands, borders and strides, whatever the threads."""
    rng = np.random.default_rng(seed)
    axes = int(rng.integers(1, 4))
    batch, groups = int(rng.integers(1, 3)), int(rng.choice([1, 1, 2]))
    inputs, outputs = (groups * int(n) for n in rng.integers(1, 5, 2))
    side = {1: 200_000, 2: 400, 3: 50}[axes]
    extents = tuple(int(n) for n in rng.integers(side // 2, side, axes))
    sizes = tuple(int(k) for k in rng.integers(1, 5, axes))
    dtype = rng.choice(["float32", "float64", "uint8"])
    x = (rng.standard_normal((batch, inputs, *extents)) * 40).astype(dtype)
    w = rng.standard_normal((outputs, inputs // groups, *sizes)).astype(np.float64 if dtype == "float64" else np.float32)
    settings = {
        "stride": tuple(int(s) for s in rng.choice([1, 1, 2, 3, 5], axes)),
        "dilation": tuple(int(d) for d in rng.choice([1, 1, 2], axes)),
        "padding": [tuple(int(p) for p in rng.integers(-2, rng.choice([1, 4]), 2)) for _ in range(axes)],
        "cval": float(rng.choice([0, 2.5])),
        "bias": rng.standard_normal(outputs) if seed % 2 else None,
        "boundary": ("constant", "nearest", "symmetric", "mirror", "wrap")[seed % 5],
    }
    for threads in (1, 2):
        with sash.threads(threads):
            same_bits(seed, lambda: sash.conv(x, w, groups=groups, method="direct", **settings), bound)


@pytest.mark.parametrize("seed", range(60))
def test_woven_classes_have_the_bits_of_the_general_way(seed, bound):
    rng = np.random.default_rng(seed)
    axes = int(rng.integers(1, 4))
    batch, groups = int(rng.integers(1, 3)), int(rng.choice([1, 1, 2, 4]))
    inputs, outputs = (groups * int(n) for n in rng.integers(1, 4, 2))
    side = {1: 20_000, 2: 120, 3: 24}[axes]
    extents = tuple(int(n) for n in rng.integers(side // 2, side, axes))
    sizes = tuple(int(k) for k in rng.integers(1, 6, axes))
    dtype = rng.choice(["float32", "float64"])
    x = rng.standard_normal((batch, inputs, *extents)).astype(dtype)
    w = rng.standard_normal((inputs, outputs // groups, *sizes)).astype(dtype)
    if seed % 7 == 3:
        w[rng.random(w.shape) < 0.1] = rng.choice([np.inf, np.nan])
    settings = {
        "stride": tuple(int(s) for s in rng.choice([1, 2, 2, 3, 4], axes)),
        "dilation": tuple(int(d) for d in rng.choice([1, 1, 2], axes)),
        "padding": [tuple(int(p) for p in rng.integers(0, k, 2)) for k in sizes],
        "bias": rng.standard_normal(outputs).astype(dtype) if seed % 2 else None,
        "max_memory": 1 << 24 if seed % 3 == 0 else None,
    }
    for threads in (1, 2):
        with sash.threads(threads):
            same_bits(seed, lambda: sash.conv_transpose(x, w, groups=groups, method="direct", **settings), bound)


@pytest.mark.parametrize("seed", range(60))
def test_little_transposed_problems_have_the_bits_of_the_general_way(seed, bound):
    """One kernel: rows by classes where outputs share samples, zeros between samples of a row."""
    rng = np.random.default_rng(seed)
    axes, batch, groups = int(rng.integers(1, 4)), int(rng.integers(1, 3)), int(rng.choice([1, 1, 2]))
    inputs, outputs = (groups * int(n) for n in rng.integers(1, 6, 2))
    extents = tuple(int(n) for n in rng.integers(1, {1: 200, 2: 20, 3: 8}[axes], axes))
    sizes = tuple(int(k) for k in rng.integers(1, 6, axes))
    dtype = rng.choice(["float32", "float64"])
    x = rng.standard_normal((batch, inputs, *extents)).astype(dtype)
    if seed % 4 == 0:
        x[rng.random(x.shape) < 0.02] = rng.choice([np.inf, np.nan])
    w = rng.standard_normal((inputs, outputs // groups, *sizes)).astype(dtype)
    if seed % 7 == 3:
        w[rng.random(w.shape) < 0.1] = rng.choice([np.inf, np.nan])
    stride = tuple(int(s) for s in rng.choice([1, 2, 2, 3, 7], axes))
    settings = {
        "stride": stride,
        "output_padding": tuple(int(rng.integers(0, s)) for s in stride),
        "dilation": tuple(int(d) for d in rng.choice([1, 1, 2, 3], axes)),
        "padding": [tuple(int(p) for p in rng.integers(-1, (k + 1) // 2, 2)) for k in sizes],
        "bias": rng.standard_normal(outputs).astype(dtype) if seed % 2 else None,
        "max_memory": (None, 1 << 22)[seed % 5 == 0],
    }
    same_bits(seed, lambda: sash.conv_transpose(x, w, groups=groups, method="direct", **settings), bound)


def test_most_little_transposed_problems_are_one_kernel(bound, monkeypatch):
    made, by_classes = [], little._by_classes
    monkeypatch.setattr(little, "_by_classes", lambda problem: made.append(problem) or by_classes(problem))
    shapes.settle.cache_clear(), shapes.bind.cache_clear(), repeats.again.cache_clear()
    for seed in range(30):
        test_little_transposed_problems_have_the_bits_of_the_general_way(seed, bound)
    assert len(made) >= 10


@pytest.mark.parametrize("seed", range(60))
def test_channels_made_one_by_one_have_the_bits_of_the_general_way(seed, bound):
    """Transposed and depthwise: one border for all classes of a channel, and rows woven in cache."""
    rng = np.random.default_rng(seed)
    axes, channels, batch = int(rng.integers(1, 4)), int(rng.integers(2, 9)), int(rng.integers(1, 4))
    extents = tuple(int(n) for n in rng.integers(1, {1: 40_000, 2: 240, 3: 40}[axes], axes))
    sizes = tuple(int(k) for k in rng.integers(1, 7, axes))
    dtype = rng.choice(["float32", "float64"])
    x = rng.standard_normal((batch, channels, *extents)).astype(dtype)
    w = rng.standard_normal((channels, 1, *sizes)).astype(dtype)
    if seed % 7 == 3:
        w[rng.random(w.shape) < 0.1] = rng.choice([np.inf, np.nan])
    stride = (*(int(s) for s in rng.choice([1, 2, 3], axes - 1)), int(rng.integers(2, 5)))
    settings = {
        "stride": stride,
        "output_padding": tuple(int(rng.integers(0, s)) for s in stride),
        "dilation": tuple(int(d) for d in rng.choice([1, 1, 2, 3], axes)),
        "padding": [tuple(int(p) for p in rng.integers(-1, (k + 1) // 2, 2)) for k in sizes],
        "bias": rng.standard_normal(channels).astype(dtype) if seed % 2 else None,
        "groups": channels,
    }
    for threads in (1, 2):
        with sash.threads(threads):
            same_bits(seed, lambda: sash.conv_transpose(x, w, method="direct", **settings), bound)


def test_most_channels_are_made_one_by_one(bound, monkeypatch):
    made, cross = [], shapes.cross
    monkeypatch.setattr(shapes, "cross", lambda *told: made.append(told) or cross(*told))
    shapes.settle.cache_clear(), shapes.bind.cache_clear(), repeats.again.cache_clear()
    for seed in range(30):
        test_channels_made_one_by_one_have_the_bits_of_the_general_way(seed, bound)
    assert len({told[0] for told in made}) >= 10


def held_and_promised(threads, x, w, verb="conv_transpose", **settings):
    """Bytes beside the result, of a verb called again, and of its plan; NumPy tells tracemalloc of its arrays.

    The least of three: caches of plans and shapes, which fill and are emptied meanwhile, take some tens of kilobytes.
    """
    held = []
    with sash.threads(threads):
        y = getattr(sash, verb)(x, w, **settings)
        for _ in range(3):
            tracemalloc.start()
            try:
                getattr(sash, verb)(x, w, **settings)
                held.append(tracemalloc.get_traced_memory()[1] - y.nbytes)
            finally:
                tracemalloc.stop()
        return min(held), sash.plan(verb, x.shape, w.shape, **settings).scratch


@pytest.mark.parametrize("limit", [None, 1 << 20, 1 << 18])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("x, w", [((4, 16, 14, 14), (32, 16, 3, 3)), ((1, 4, 20, 20, 20), (8, 4, 3, 3, 3)), ((1, 8, 9, 500), (8, 8, 3, 3))])
def test_what_joined_rows_take_is_counted(x, w, padding, limit):
    """Rows of 14 with what lies between them wait to be drawn out."""
    x, w = np.ones(x, "float32"), np.ones(w, "float32")
    held, promised = held_and_promised(1, x, w, "conv", padding=padding, max_memory=limit, method="direct")
    assert held <= promised + 8192
    assert promised <= (limit or promised)


@pytest.mark.parametrize(
    "x, w, stride",
    [
        ((1, 4, 24, 24), (4, 8, 3, 3), 2),
        ((1, 64, 16, 16), (64, 1, 4, 4), 4),
        ((2, 4, 10, 10, 10), (4, 4, 3, 3, 3), (3, 2, 2)),
        ((1, 4, 8, 8, 6), (4, 32, 3, 3, 3), (1, 1, 4)),
        ((1, 2, 60, 3), (2, 64, 3, 3), (1, 2)),
        ((8, 8, 9, 12, 9), (8, 32, 3, 3, 3), 2),
    ],
)
@pytest.mark.parametrize("limit", [None, 1 << 20, 1 << 18, 1 << 17])
def test_what_little_transposed_problems_take_is_counted(x, w, stride, limit):
    """64 channels of 16², stride 4, with zeros between are 1 MB; with little memory it is woven, or made class by class."""
    x, w = np.ones(x, "float32"), np.ones(w, "float32")
    held, promised = held_and_promised(1, x, w, stride=stride, max_memory=limit, method="direct")
    assert held <= promised + 4096
    assert limit is None or promised <= limit


@pytest.mark.parametrize("limit", [None, 1 << 22, 1 << 20, 1 << 18])
@pytest.mark.parametrize("method", ["direct", "indirect", "gemm", "shift_add"])
@pytest.mark.parametrize(
    "x, w, groups",
    [((2, 4, 10, 10, 10), (4, 4, 3, 3, 3), 1), ((1, 16, 132, 132), (16, 16, 3, 3), 1), ((1, 1, 300, 300), (1, 1, 3, 3), 1),
     ((1, 16, 200, 100), (16, 1, 3, 3), 16)],
)  # fmt: skip
def test_what_classes_take_one_after_the_other_is_counted(x, w, groups, method, limit):
    """Samples that lie apart are not bound to their shapes; the results of a class wait to be put among the others."""
    x, w = np.ones((*x[:-1], 2 * x[-1]), "float32")[..., ::2], np.ones(w, "float32")
    if method == "indirect" and x.shape[1] == groups:  # it needs several outputs
        return
    try:
        held, promised = held_and_promised(1, x, w, stride=2, groups=groups, max_memory=limit, method=method)
    except sash.errors.MemoryLimit:
        assert limit and limit <= 1 << 20
        return
    assert held <= promised + BUFFER
    assert promised <= (limit or promised)


@pytest.mark.parametrize("boundary", ["wrap", "symmetric", "nearest"])
@pytest.mark.parametrize("limit", [None, 1 << 20, 1 << 18])
def test_what_boundaries_fold_back_is_counted(boundary, limit):
    """The frame of 70² samples in 16 channels takes 313 kB."""
    x, w = np.ones((1, 4, 33, 33), "float32"), np.ones((4, 16, 3, 3), "float32")
    settings = {"stride": 2, "padding": 2, "boundary": boundary, "max_memory": limit}
    if limit == 1 << 18:
        with pytest.raises(sash.errors.MemoryLimit, match=r"the least that would do is (\d+) bytes .*folds back") as refusal:
            sash.conv_transpose(x, w, **settings)
        with pytest.raises(sash.errors.MemoryLimit) as told:
            sash.plan("conv_transpose", x.shape, w.shape, **settings)
        assert refusal.value.least == told.value.least > limit
        settings["max_memory"] = limit = refusal.value.least
    held, promised = held_and_promised(1, x, w, **settings)
    assert 300_000 < held <= promised + (1 << 14)  # in so little memory Python holds some tables
    assert promised <= (limit or promised)


@pytest.mark.parametrize("limit", [None, 1 << 19, 1 << 17])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("stride", [2, 3])
def test_what_a_channel_takes_is_counted(stride, threads, limit):
    """A channel of 160² with its border is 103 kB; with little memory rows are cut instead.  With stride 2 it needs none."""
    settings = {"stride": stride, "padding": 1, "groups": 32, "method": "direct", "max_memory": limit}
    x, w = np.ones((1, 32, 160, 160), np.float32), np.ones((32, 1, 4, 4), np.float32)
    held, promised = held_and_promised(threads, x, w, **settings)
    assert (20_000 if stride == 3 else 2000) < held <= promised <= (limit or promised)


@pytest.mark.parametrize(
    ("x", "w"), [((1, 64, 31, 31), (64, 64, 3, 3)), ((1, 128, 22, 22), (128, 128, 3, 3)), ((1, 16, 60, 60), (16, 16, 7, 7))]
)
def test_heavy_problems_of_little_maps_are_bound(x, w, bound):
    """Their outputs are few, but so many terms are cut into bands."""
    x, w = rng.standard_normal(x).astype("float32"), rng.standard_normal(w).astype("float32")
    before = bound.calls
    same_bits(x.shape, lambda: sash.conv(x, w, method="direct"), bound)
    assert bound.calls == before + 1


def test_most_transposed_problems_are_bound(bound):
    for seed in range(20):
        test_woven_classes_have_the_bits_of_the_general_way(seed, bound)
    assert bound.calls >= 30


def test_most_blocks_are_bound(bound):
    for seed in range(20):
        test_blocks_have_the_bits_of_the_general_way(seed, bound)
    assert bound.calls >= 24


@pytest.mark.parametrize("name", CALLS)
def test_calls_are_bound(name, bound, monkeypatch):
    monkeypatch.setattr(scored, "by_windows", lambda *told: setattr(bound, "calls", bound.calls + 1))
    CALLS[name]()
    assert bound.calls == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: sash.correlate(np.zeros((300, 310), np.float32).T, K),
        lambda: sash.correlate(X.astype(">f4"), K),
        lambda: sash.correlate(X, K, method="fft"),
        lambda: sash.correlate(np.zeros(9000), np.ones(3000), method="direct"),
    ],
    ids=["turned and not little", "of the other byte order", "another method", "of long sums"],
)
def test_others_are_not(call, bound):
    call()
    assert bound.calls == 0


@pytest.mark.parametrize("kind", ["bool", "uint8", "int16", "uint32", "int64", ">f4"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_transposed_problems_of_other_types_go_the_general_way(kind, groups, stride, bound):
    x, w = rng.integers(0, 2, (1, 2, 90, 100)).astype(kind), rng.standard_normal((2, 1, 3, 3)).astype(np.float32)
    found = sash.conv_transpose(x, w, stride=stride, groups=groups)
    np.testing.assert_array_equal(found, sash.conv_transpose(x.astype(found.dtype), w.astype(found.dtype), stride=stride, groups=groups))


def test_an_infinite_tap_does_not_change_how_others_are_summed(bound):
    x, w = rng.standard_normal((2, 3, 90, 90)).astype(np.float32), rng.standard_normal((3, 1, 3, 3)).astype(np.float32)
    w[0, 0, 1, 1] = np.inf
    same_bits("inf", lambda: sash.conv(x, w, padding=1, groups=3, method="direct"), bound)
    assert bound.calls


@pytest.mark.parametrize("limit", [520_000, 741_455, 2_600_000])
@pytest.mark.parametrize(
    ("x", "w"), [((4, 64, 256, 256), (64, 1, 3, 3)), ((1, 8, 400, 400), (8, 1, 7, 7)), ((1, 8, 200, 200), (8, 4, 3, 3))]
)
def test_threads_do_not_change_the_method_of_transposed_problems(x, w, limit):
    """Nor whether the limit is kept: as many are used as it has room for."""

    def plan(threads, method):
        with sash.threads(threads):
            return sash.plan("conv_transpose", x, w, stride=2, groups=x[1] if w[1] == 1 else 1, max_memory=limit, method=method)

    try:
        wanted = plan(1, "auto")
    except sash.SashError:
        return
    for threads in (2, 5, 16):
        found = plan(threads, "auto")
        assert (found.method, found.scratch <= limit) == (wanted.method, True)


def test_taps_that_float32_cannot_hold_are_summed_in_float64(bound):
    big = np.array([1e39, -1e39])
    assert sash.correlate(np.ones(4, np.float32), big).tolist() == [0, 0, 0]
    assert bound.calls == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_tap_meets_what_stands_between_samples(value):
    weight = np.ones((1, 1, 3), np.float32)
    weight[..., 0] = value
    x = np.ones((1, 1, 4), np.float32)
    found = sash.conv_transpose(x, weight, stride=3)
    assert (~np.isfinite(found)).tolist() == [[[True, False, False] * 4]]


def test_a_refusal_stays_one_when_the_call_was_made_before():
    sash.correlate(X, K, stride=1)
    for stride in (1.0, True, np.bool_(True)):
        with pytest.raises(sash.SashError):
            sash.correlate(X, K, stride=stride)


def test_values_outside_are_those_of_this_call():
    for cval in (0.0, 1.0, np.inf, -3.0):
        found = sash.correlate(X, K, padding=2, boundary="constant", cval=cval)
        np.testing.assert_allclose(found, oracle.correlate(X, K, padding=[(2, 2)] * 2, cval=cval), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_values_outside_that_float32_cannot_hold_are_infinite_without_a_warning(stride):
    ones = np.ones_like(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(sash.correlate(ones, np.abs(K), padding=1, stride=stride, cval=1e300)[0]).all()


def test_results_are_arrays_of_their_own():
    first = sash.gaussian_blur(X, 1.0)
    kept = first.copy()
    second = sash.gaussian_blur(-X, 1.0)
    assert not np.shares_memory(first, second) and (first == kept).all()


@pytest.mark.parametrize("shape", [(0, 45), (45, 0), (0, 0)])
def test_an_empty_result_is_not_written_to(shape, bound):
    """Kernels that were bound to it wrote behind its end."""
    x = np.zeros(shape)
    calls = (
        lambda: sash.gaussian_blur(x, 1.0, boundary="constant"),
        lambda: sash.separable_filter(x, [np.ones(5), np.ones(2)], padding="same"),
        lambda: sash.correlate(x, np.ones((5, 2)), padding="same"),
    )
    for call in calls:
        assert call().shape == shape
    assert not bound.calls


def test_new_rates_are_heeded():
    sash.correlate(X, K)
    sash.similarity(X, K, metric="zncc")
    sash.conv(X[None, None], K[None, None])
    kept = filters.again, repeats.again, shapes.bind, shapes.windows
    assert all(k.cache_info().currsize for k in kept)
    machine.forget()
    assert not any(k.cache_info().currsize for k in kept)


@pytest.mark.parametrize("limit", [None, 8 << 20])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("inputs", "outputs"), [(8, 8), (64, 2), (2, 64)])
def test_what_is_woven_is_counted(inputs, outputs, threads, limit):
    """A plan promises no less than what is held beside the result."""
    settings = {"stride": 2, "padding": 1, "method": "direct", "max_memory": limit}
    x, w = np.ones((1, inputs, 160, 160), np.float32), np.ones((inputs, outputs, 4, 4), np.float32)
    held, promised = held_and_promised(threads, x, w, **settings)
    assert 100_000 < held <= promised <= (limit or promised)


@pytest.mark.parametrize(
    ("x", "w", "told"),
    [
        ((1, 128, 14, 14), (128, 128, 3, 3), {"padding": 1}),
        ((1, 256, 20, 21), (144, 256, 1, 1), {}),
        ((1, 96, 29, 21), (160, 96, 3, 2), {"padding": 1, "stride": (2, 1)}),
        ((1, 80, 8, 7, 9), (64, 80, 2, 2, 3), {"padding": 1}),
    ],
)
def test_cores_that_share_outputs_make_the_bits_of_those_that_share_rows(x, w, told, monkeypatch):
    """Each output is a sum of its own, in the same order, whoever makes it; NaN and bias are where they belong."""
    rng = np.random.default_rng(3)
    problem = sash.plan("conv", x, w, method="direct", **told).problem
    assert direct.by_outputs(problem, 2) == w[0] // 2
    assert choose(problem, "direct", None, 2).boxes or machine.machine().cores == 1
    image, weight = rng.standard_normal(x, np.float32), rng.standard_normal(w, np.float32)
    image[(0, 1, *[n // 2 for n in x[2:]])] = np.nan
    bias = rng.standard_normal(w[0]).astype(np.float32)
    two = replace(machine.machine(), cores=2)
    found = []
    for heavy in (direct.HEAVY, 1 << 40):
        monkeypatch.setattr(direct, "HEAVY", heavy)
        monkeypatch.setattr(shapes, "machine", lambda home="numpy": two)
        machine.forget()
        found.append(sash.conv(image, weight, bias, method="direct", **told))
    machine.forget()
    np.testing.assert_array_equal(*found)
    assert np.isnan(found[0]).any() and not np.isnan(found[0]).all()


def test_few_or_light_weights_are_not_dealt():
    for x, w in (((1, 24, 56, 56), (144, 24, 1, 1)), ((1, 64, 112, 112), (64, 64, 3, 3)), ((1, 128, 14, 14), (72, 128, 3, 3))):
        assert direct.by_outputs(sash.plan("conv", x, w, method="direct", padding=w[-1] // 2).problem, 2) == 0
    grouped = sash.plan("conv", (1, 256, 14, 14), (256, 64, 3, 3), method="direct", groups=4).problem
    assert direct.by_outputs(grouped, 2) == 0


@pytest.mark.parametrize(
    ("x", "w", "told"),
    [
        ((1, 256, 14, 14), (64, 256, 3, 3), {"padding": 1}),
        ((2, 512, 7, 7), (24, 512, 3, 3), {"padding": 1}),
        ((1, 300, 5, 30), (17, 300, 3, 4), {}),
        ((1, 90, 6, 7, 8), (12, 90, 3, 3, 3), {"padding": 1}),
        ((1, 300, 9, 9), (16, 300, 3, 3), {"stride": 2, "padding": 1}),
        ((1, 3000, 40), (5, 3000, 1), {}),
        ((1, 300, 40), (8, 300, 3), {"accuracy": "elementwise"}),
        ((1, 2100, 3), (8, 2100, 1), {}),
    ],
)
def test_long_sums_are_bound_too_and_made_of_the_same_pieces(x, w, told):
    """Their bits are those of the general way, which a limit takes; an infinite sample makes what it touches infinite or NaN."""
    rng = np.random.default_rng(8)
    image, weight, bias = [rng.standard_normal(shape, np.float32) for shape in (x, w, w[:1])]
    image.flat[image.size // 2] = np.inf
    problem = sash.plan("conv", x, w, method="direct", **told).problem
    assert (shapes.bind(problem, "direct", None, 2) is None) == (x[-1] < 4)
    assert shapes.bind(problem, "direct", 10**9, 2) is None
    found = sash.conv(image, weight, bias, method="direct", **told)
    np.testing.assert_array_equal(found, sash.conv(image, weight, bias, method="direct", max_memory=10**9, **told))
    with sash.threads(1):
        np.testing.assert_array_equal(found, sash.conv(image, weight, bias, method="direct", **told))
    assert np.isfinite(found).any() and not np.isfinite(found).all()


@pytest.mark.parametrize("limit", [None, 1_200_000, 3_000_000])
def test_what_the_pieces_of_a_long_sum_take_is_counted(limit):
    x, w = (1, 64, 48, 50), (32, 64, 6, 6)
    told = {"method": "direct", "max_memory": limit}
    image, weight = np.ones(x, np.float32), np.ones(w, np.float32)
    plan = sash.plan("conv", x, w, **told)
    assert limit is None or plan.scratch <= limit
    assert _peak(lambda: sash.conv(image, weight, **told)) <= plan.scratch + BUFFER


@pytest.mark.parametrize(
    ("x", "w", "told"),
    [
        ((1, 128, 200, 3), (128, 128, 3, 3), {"padding": 1}),  # rows of three results, whose weights are not laid out
        ((2, 256, 14, 14), (128, 256, 3, 3), {"padding": 1}),  # long sums of several images
        ((2, 600, 9, 9), (16, 300, 3, 3), {"padding": 1, "groups": 2}),
        ((3, 128, 15, 13), (128, 128, 3, 3), {}),
    ],
)
def test_outputs_of_each_core_and_long_sums_are_right(x, w, told):
    rng = np.random.default_rng(9)
    image, weight, bias = [rng.standard_normal(shape, np.float32) for shape in (x, w, w[:1])]
    found = sash.conv(image, weight, bias, method="direct", **told)
    want = tensordot(image.astype(np.float64), weight, **told) + bias[:, None, None]
    np.testing.assert_allclose(found, want, atol=2e-3)


def tensordot(x, w, padding=0, groups=1):
    """A convolution of images by the definition, on views of windows."""
    frame = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    windows = np.lib.stride_tricks.sliding_window_view(frame, w.shape[2:], (2, 3))
    each = zip(np.split(windows, groups, 1), np.split(w.astype(x.dtype), groups), strict=True)
    return np.concatenate([np.moveaxis(np.tensordot(part, v, ([1, 4, 5], [1, 2, 3])), -1, 1) for part, v in each], 1)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_what_an_addition_loses_is_kept(kind):
    """Total and what was lost are the exact sum of both; an infinite one loses nothing."""
    rng = np.random.default_rng(11)
    for n in (1, 7, 16, 33):
        total = (rng.standard_normal(n) * 10.0 ** rng.integers(-6, 7, n)).astype(kind)
        piece = (rng.standard_normal(n) * 10.0 ** rng.integers(-6, 7, n)).astype(kind)
        total[0], total[n // 2], piece[-1] = 1e30 if n > 1 else np.inf, np.inf, -np.inf
        before, lost = total.copy(), np.zeros(n, kind)
        simd.sized(moves.added, simd.block(total.itemsize).lanes)(total, piece, lost)
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(total, before + piece)
        assert np.isfinite(lost).all()
        for a, b, s, rest in zip(before, piece, total, lost, strict=True):
            if np.isfinite(s):
                assert Fraction(float(a)) + Fraction(float(b)) == Fraction(float(s)) + Fraction(float(rest))


def test_long_sums_of_integers_are_exact():
    rng = np.random.default_rng(10)
    image, weight = rng.integers(0, 256, (1, 256, 14, 14), np.uint8), rng.integers(0, 256, (16, 256, 3, 3), np.uint8)
    for method in ("auto", "direct"):
        found = sash.conv(image, weight, padding=1, method=method)
        assert found.dtype.kind in "iu"
        np.testing.assert_array_equal(found, tensordot(image.astype(np.int64), weight, padding=1))


@pytest.mark.parametrize(
    ("x", "w", "told"),
    [
        ((1, 1, 150, 150), (8, 1, 48, 48), {"max_memory": 1_000_000}),
        ((1, 256, 40, 40), (128, 256, 3, 3), {"padding": 1}),
        ((1, 128, 56, 56), (128, 128, 3, 3), {"padding": 1}),
    ],
)
def test_what_long_sums_and_outputs_of_each_core_take_is_counted(x, w, told):
    image, weight = np.ones(x, np.float32), np.ones(w, np.float32)
    assert _peak(lambda: sash.conv(image, weight, method="direct", **told)) <= (
        sash.plan("conv", x, w, method="direct", **told).scratch + BUFFER
    )


def _peak(call):
    """Bytes that a call takes beside its result: the least of three, since others in the process may take some meanwhile."""
    tracemalloc.start()
    try:
        y, found = call(), []
        for _ in range(3):
            before = tracemalloc.get_traced_memory()[0] - y.nbytes
            tracemalloc.reset_peak()
            del y
            y = call()
            found.append(tracemalloc.get_traced_memory()[1] - before - y.nbytes)
        return min(found)
    finally:
        tracemalloc.stop()
