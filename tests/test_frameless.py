"""Channels read where they lie: what the definition gives, at every edge, by one channel or many; the same bits in any block."""

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import oracle
import oracle_networks
import sash
from sash import bound, planning
from sash.kernels.cpu.frameless import REACH
from sash.methods import channels, little, transposed
from sash.ops import repeats


def test_the_reach_is_that_of_the_kernel():
    assert (REACH.start + 1, REACH[-1]) == channels.NEAR


@pytest.fixture
def taken(monkeypatch):
    """Sizes of the rows that were made so."""
    seen, settle = [], channels._frameless
    monkeypatch.setattr(channels, "_frameless", lambda problem, *told: seen.append(problem) or settle(problem, *told))
    return seen


def problem(rng):
    """A depthwise convolution, or one of a single channel: small integers, so that sums are exact."""
    count, groups = int(rng.integers(1, 4)), int(rng.choice([1, 3, 5]))
    shape = [int(rng.integers(low, high)) for low, high in ([(9000, 20000)], [(60, 200), (30, 150)], [(9, 40)] * 3)[count - 1]]
    sizes = [int(rng.integers(1, 6 if groups > 1 else 5)) for _ in range(count)]
    pads = [tuple(int(p) for p in rng.integers(-1, 3, 2)) for _ in range(count)]
    stride = [int(s) for s in rng.integers(1, 4, count - 1)] + [int(rng.choice([1, 2]))]
    dilation = [int(s) for s in rng.integers(1, 3, count - 1)] + [1]
    x = rng.integers(-9, 10, (2, groups, *shape))
    w = rng.integers(-9, 10, (groups, 1, *sizes))
    settings = {"stride": tuple(stride), "padding": tuple(pads), "dilation": tuple(dilation), "groups": groups}
    settings |= {"boundary": "constant", "cval": float(rng.integers(-3, 4))}
    fits = all(min(pair) + n > 0 and n + sum(pair) > (k - 1) * d for n, k, d, pair in zip(shape, sizes, dilation, pads, strict=True))
    return x, w, settings, fits


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_definition(taken, dtype):
    rng, met = np.random.default_rng(7), 0
    while met < 80:
        x, w, settings, fits = problem(rng)
        if not fits:
            continue
        met += 1
        exact = oracle_networks.conv(x, w, work=np.int64, **settings | {"cval": int(settings["cval"])})
        np.testing.assert_array_equal(sash.conv(x.astype(dtype), w.astype(dtype), method="direct", **settings), exact, str(settings))
    if channels.machine().vector >= channels.MASKED:
        assert len(taken) > 20


@pytest.mark.parametrize("n", [1, 2, 3, 30, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200, 257])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("padding", ["valid", "same", "full"])
@pytest.mark.parametrize("stride", [1, 2])
def test_rows_of_every_length(n, k, padding, stride):
    """Where vectors end, and where a border begins; the values beside the array are NaN, and nobody reads them."""
    rng = np.random.default_rng(n + k)
    room = np.full((7, n + 66), np.nan, np.float32)
    room[1:-1, 33 : n + 33] = rng.integers(-9, 10, (5, n))
    x, w = room[1:-1, 33 : n + 33], rng.integers(-9, 10, (2, k)).astype(np.float32)
    if n < k and padding == "valid":
        return
    exact = oracle.correlate(x, w, stride=stride, padding=padding)
    for given in (np.ascontiguousarray(x), x):
        np.testing.assert_array_equal(sash.correlate(given, w, stride=stride, padding=padding, method="direct"), exact)


@pytest.mark.parametrize("n", [*range(4, 20), 31, 32, 33, 47, 56, 63, 64, 65, 112, 113, 130, 240])
@pytest.mark.parametrize("k", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_channels_of_every_width(n, k, dtype):
    """Rows serve several rows of results, in blocks of every form, with less and more border than taps reach over."""
    rng = np.random.default_rng(n + k)
    room = np.full((2, 3, 9, n + 66), np.nan, dtype)
    room[..., 33 : n + 33] = rng.integers(-9, 10, (2, 3, 9, n))
    x, w = room[..., 33 : n + 33], rng.integers(-9, 10, (3, 1, 3, k)).astype(dtype)
    for left, right in ((0, 0), (k // 2, k // 2), (k - 1, 0), (-1, 2), (4, 7)):
        if n + left + right < k:
            continue
        settings = {"groups": 3, "padding": ((1, 1), (left, right)), "cval": 2.0}
        exact = oracle_networks.conv(x, w, **settings)
        for given in (np.ascontiguousarray(x), x):
            np.testing.assert_array_equal(sash.conv(given, w, method="direct", **settings), exact, str(settings))


@pytest.mark.parametrize("n", [*range(2, 20), 28, 31, 33, 56, 64, 65, 100])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_transposed_channels_of_every_width(woven, n, k, dtype):
    """Both classes of a row at once: an odd number of results, borders that are cropped, and any order of classes."""
    rng = np.random.default_rng(n + k)
    x, w = rng.integers(-9, 10, (2, 3, 6, n)).astype(dtype), rng.integers(-9, 10, (3, 1, 3, k)).astype(dtype)
    for left, right, more in ((0, 0, 0), (k // 2, k // 2, 1), (k - 1, 0, 0), (0, k - 1, 1), (-1, -2, 0), (1, 2, 1)):
        if (n - 1) * 2 + k - left - right + more < 1:
            continue
        settings = {"groups": 3, "stride": 2, "padding": ((1, 1), (left, right)), "output_padding": (1, more)}
        exact = oracle_networks.conv_transpose(x, w, **settings)
        np.testing.assert_array_equal(sash.conv_transpose(x, w, method="direct", **settings), exact, str(settings))
    if n >= 16 and k >= 2 and channels.machine().vector >= channels.MASKED:
        assert woven


@pytest.fixture
def woven(monkeypatch):
    """Problems whose classes were made at once in registers; none is so little that zeros are written between its samples."""
    seen, make = [], transposed._frameless
    monkeypatch.setattr(transposed, "_frameless", lambda problem, *told: seen.append(problem) or make(problem, *told))
    monkeypatch.setattr(little, "spreads", lambda *told: False)
    kept = bound.settle, bound.bind, repeats.again, planning.choose
    for one in kept:
        one.cache_clear()
    yield seen
    for one in kept:
        one.cache_clear()


@pytest.mark.parametrize("kind", ["uint8", "int16"])
def test_small_integers_have_a_frame(kind):
    """What is read in place is of the type that is computed in; classes of a transposed problem do not tell."""
    rng = np.random.default_rng(5)
    x, w = rng.integers(0, 9, (1, 2, 20, 30)).astype(kind), rng.integers(-3, 4, (2, 1, 3, 3)).astype(np.float32)
    for stride in (1, 2):
        found = sash.conv_transpose(x, w, stride=stride, groups=2)
        exact = sash.conv_transpose(x.astype(found.dtype), w.astype(found.dtype), stride=stride, groups=2)
        np.testing.assert_array_equal(found, exact)


def test_the_same_bits_in_any_block():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2, 6, 150, 171)).astype(np.float32)
    w = rng.standard_normal((6, 1, 3, 4)).astype(np.float32)
    settings = {"stride": 2, "padding": 1, "groups": 6, "method": "direct"}
    y = sash.conv(x, w, **settings)
    for memory in (1 << 14, 1 << 17, 1 << 20):
        np.testing.assert_array_equal(sash.conv(x, w, max_memory=memory, **settings), y)
    with sash.threads(1):
        np.testing.assert_array_equal(sash.conv(x, w, **settings), y)
    apart = np.zeros((2, 6, 150, 342), np.float32)[..., ::2]
    apart[...] = x
    np.testing.assert_array_equal(sash.conv(apart, w, **settings), y)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_window(value):
    x, w = np.ones((1, 3, 40, 90), np.float32), np.ones((3, 1, 3, 3), np.float32)
    for spot in ((0, 1, 0, 0), (0, 1, 39, 89), (0, 1, 20, 63), (0, 2, 5, 31)):
        x[spot] = value
        y = sash.conv(x, w, stride=2, padding=1, groups=3)
        with np.errstate(invalid="ignore"):
            exact = oracle_networks.conv(x, w, stride=2, padding=1, groups=3)
        np.testing.assert_array_equal(y, exact)
        x[spot] = 1


@pytest.mark.parametrize(
    "x, w, limit", [((120, 120, 16), (9, 9, 3), 1 << 20), ((200, 200, 8), (11, 11, 3), None), ((300, 300), (3, 3), 1 << 17)]
)
def test_the_tables_are_in_what_is_promised(x, w, limit):
    """A row of outputs by 121 rows of taps would be a table of 9 MB; planes and rows apart are two of some kilobytes."""
    settings = {"stride": (*[1] * (len(x) - 1), 2), "method": "direct", "max_memory": limit, "separable": False}
    a, b = np.ones(x, np.float32), np.ones(w, np.float32)
    sash.correlate(np.ones([n + 1 for n in x], np.float32), b, **settings)  # compiled, and imported
    tracemalloc.start()
    try:
        y = sash.correlate(a, b, **settings)
        peak = tracemalloc.get_traced_memory()[1] - y.nbytes
    finally:
        tracemalloc.stop()
    assert peak <= sash.plan("correlate", x, w, **settings).scratch + (1 << 16)


@pytest.mark.parametrize("n, k, more", [(20, 3, 0), (33, 5, 0), (40, 4, 1), (64, 3, 0), (17, 7, 0)])
def test_a_block_of_channels_writes_its_own(woven, n, k, more):
    """Rows of an odd number of results end within a vector: what comes next belongs to another thread."""
    settings = {"groups": 3, "stride": 2, "output_padding": (0, more)}
    x, w = np.ones((1, 3, 4, n), np.float32), np.ones((3, 1, 3, k), np.float32)
    y = sash.conv_transpose(x, w, method="direct", **settings)
    if not woven:
        return
    made = transposed.cross(woven[0], 1, 2)
    found = np.full(y.shape, np.nan, np.float32)
    made(x.reshape(-1), w.reshape(-1), found.reshape(-1))
    assert np.isnan(found[:, [0, 2]]).all()
    np.testing.assert_array_equal(found[:, 1], y[:, 1])


def check_channels():
    """A few of every kind against the definitions, in one process."""
    rng = np.random.default_rng(11)
    for n in (5, 9, 16, 33, 70, 112):
        for k in (2, 3, 6, 7):
            x, w = rng.integers(-9, 10, (1, 3, 9, n)).astype(np.float32), rng.integers(-9, 10, (3, 1, 3, k)).astype(np.float32)
            settings = {"groups": 3, "padding": ((1, 1), (k - 1, k - 1))}
            np.testing.assert_array_equal(sash.conv(x, w, method="direct", **settings), oracle_networks.conv(x, w, **settings))
            settings = {"groups": 3, "stride": 2, "padding": ((1, 1), (0, k - 1)), "max_memory": 1 << 20}
            found = sash.conv_transpose(x, w, method="direct", **settings)
            del settings["max_memory"]
            np.testing.assert_array_equal(found, oracle_networks.conv_transpose(x, w, **settings))
    image, template = rng.standard_normal((150, 160)), rng.standard_normal((4, 5))
    windows = np.lib.stride_tricks.sliding_window_view(image, template.shape)
    gaps, part = windows - windows.mean((2, 3), keepdims=True), template - template.mean()
    exact = (gaps * part).sum((2, 3)) / np.sqrt((gaps**2).sum((2, 3)) * (part**2).sum())
    np.testing.assert_allclose(sash.similarity(image, template, metric="zncc"), exact, atol=1e-12)


@pytest.mark.parametrize("cpu", ["generic", "haswell"])
def test_channels_on_old_processors(cpu, tmp_path):
    """Whatever the machine file says that the vectors hold."""
    if sys.platform != "win32" and os.uname().machine not in ("x86_64", "AMD64") and cpu != "generic":
        pytest.skip("haswell is an x86 processor")
    told = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    told["PYTHONPATH"] = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    if cpu == "haswell":
        told["NUMBA_CPU_FEATURES"] = "+avx2,+fma,+bmi,+bmi2,+f16c,+movbe,+popcnt,+lzcnt"
    code = "import test_frameless as t\nt.check_channels()"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | told, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_few_of_every_kind():
    check_channels()
