"""Convolutions of many channels: blocks of outputs, tiles with a border, channels in turns.

Outputs start as NaN inside guard zones and inputs end where unreadable slack begins, so that a read or a write out of range
shows; results are compared bit by bit with one output, or one channel, at a time.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

import sash
from sash import methods
from sash.arrays.numpy_ import fill
from sash.axis import Axis
from sash.kernels.cpu import bank, simd
from sash.kernels.cpu.taps import taps
from sash.methods import borders
from sash.methods.phases import used

GUARD = 32
LENGTHS = [4, 5, 7, 8, 15, 16, 17, 31, 32, 50, 64, 65, 100]  # both sides of every vector


def blank(size, dtype):
    return np.full(size, np.nan if np.dtype(dtype).kind == "f" else 77, dtype)


def fenced(array):
    wide = blank(array.size + 2 * GUARD, array.dtype)
    wide[GUARD:-GUARD] = array
    return wide[GUARD:-GUARD]


# --- the kernel ----------------------------------------------------------------------------------


def banked(rng, n, each, groups, source, dtype, result):
    """A random problem by bank and by taps, in arrays with guards: what they wrote."""
    R, T, O = int(rng.integers(1, 12)), int(rng.integers(1, 40)), each * groups
    w = rng.standard_normal((O, T)).astype(dtype)
    at, off, base = rng.integers(0, 50, R), rng.integers(0, 60, T), np.repeat(rng.integers(0, 40, groups), each)
    x = (rng.standard_normal(at.max() + off.max() + base.max() + n) * 9).astype(source)
    if np.dtype(result).kind != "f":
        w = np.rint(w)
    pitch = n + int(rng.integers(0, 5))
    to, step = rng.permutation(R) * (O * pitch) + GUARD, np.arange(O) * pitch
    found, want = (blank(R * O * pitch + 2 * GUARD, result) for _ in range(2))
    heads = bank.heads(O, groups, w.itemsize)
    bank.settled(w.itemsize, each, (at, to, base[heads], step[heads], off), pitch, n)(fenced(x), bank.pack(w, groups), found)
    taps(fenced(x), w, w, want, at, to, base, step, off, n, 0, 0)
    return found, want


def check_bank():
    rng = np.random.default_rng(1)
    for n in LENGTHS:
        for each in (2, 3, 4, 5, 7, 8, 11, 16, 20):
            for kinds in (("float32", "float32", "float32"), ("float64", "float64", "float64"), ("uint8", "float32", "int16")):
                found, want = banked(rng, n, each, int(rng.integers(1, 4)), *kinds)
                np.testing.assert_array_equal(found, want, err_msg=f"{n=} {each=} {kinds}")


def test_blocks_of_outputs_have_the_bits_of_one_output_at_a_time():
    check_bank()


@pytest.mark.parametrize("cpu", ["generic", "haswell"])
def test_so_they_have_on_old_processors(cpu, tmp_path):
    if sys.platform != "win32" and os.uname().machine not in ("x86_64", "AMD64") and cpu != "generic":
        pytest.skip("haswell is an x86 processor")
    code = "import test_banks as t\nassert t.simd.vector_bytes() < 64\nt.check_bank()\nt.check_turns(range(12))"
    told = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    told["PYTHONPATH"] = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    if cpu == "haswell":
        told["NUMBA_CPU_FEATURES"] = "+avx2,+fma,+bmi,+bmi2,+f16c,+movbe,+popcnt,+lzcnt"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | told, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


def test_blocks_fit_the_registers():
    for side, registers in ((4, 32), (3, 16)):
        for rows, cols in bank.COLUMNS[side].items():
            assert rows * cols + cols + 1 <= registers


def test_every_output_is_in_a_block():
    for side in (3, 4):
        for outputs in range(2, 80):
            form = bank._form(outputs, side)
            covered = {o + r for o in form.first for r in range(len(form.rows))}
            assert covered == set(range(outputs))


# --- tiles with a border -------------------------------------------------------------------------


def axes_of(rng):
    found, boundary = [], str(rng.choice(["constant", "nearest", "symmetric", "mirror", "wrap"]))
    count = int(rng.integers(1, 4))
    for i in range(count):
        n = int(rng.integers(1, 90 if i == count - 1 else 6))
        stride, size, dilation, start = (int(rng.integers(*ends)) for ends in ((1, 5), (1, 4), (1, 3), (-6, 4)))
        stop = max(n + int(rng.integers(-3, 7)), start + (size - 1) * dilation + 1)
        size += i == count - 1 and size == 1 == stride  # it is slid over
        found.append(Axis(n, size, stride, dilation, start, stop, boundary))
    return tuple(found)


@pytest.mark.parametrize("seed", range(40))
def test_a_tile_with_a_border_holds_what_taps_read(seed):
    rng = np.random.default_rng(seed)
    for _ in range(10):
        axes = axes_of(rng)
        dtype, source = [("float32", "float32"), ("float64", "float64"), ("float32", "uint8")][seed % 3]
        x = (rng.standard_normal((2, 3, *[a.n for a in axes])) * 9).astype(source)[:, :: 1 + seed % 2]
        assert borders.takes(x, axes, dtype)
        tile, want, last = borders.tile(x, axes, dtype, 7.0), fill(x, axes, dtype, 7.0), axes[-1]
        for place in np.ndindex(*want.shape[2:-1]):
            if any(p % a.stride not in used(a) for p, a in zip(place, axes, strict=False)):
                continue
            for q in range(want.shape[-1]):
                at = (q,) if last.stride == 1 else (q % last.stride, q // last.stride)
                np.testing.assert_array_equal(tile[(slice(None), slice(None), *place, *at)], want[(..., *place, q)], err_msg=f"{axes}")


def test_rows_that_no_tap_reads_are_left_out():
    axes = Axis(6, 1, 3, 1, -3, 7, "zero"), Axis(20, 3, 1, 1, 0, 20, "zero")
    row = borders.frame(axes, (1, 1), (120, 120, 20, 1)).row
    assert row.tolist() == [borders.BORDER, *[borders.UNREAD] * 2, 0, *[borders.UNREAD] * 2, 60, *[borders.UNREAD] * 2, borders.BORDER]


def test_borders_leave_alone_what_is_not_theirs():
    """Rows that do not lie along the last axis, and axes behind the one that is slid over."""
    plain, idle = Axis(40, 3, 2, 1, -1, 41, "zero"), Axis(5, 1, 1, 1, 0, 5, "zero")
    x = np.zeros((1, 2, 40, 40), np.float32)
    assert borders.takes(x, (plain, plain), "float32")
    assert not borders.takes(x.swapaxes(2, 3), (plain, plain), "float32")
    assert not borders.takes(x, (plain, plain._replace(stride=5)), "float32")
    assert not borders.takes(x[..., :5], (plain, idle), "float32")


# --- whole convolutions --------------------------------------------------------------------------


def drawn(seed, groups, each, made):
    """x, weight and settings of a convolution; rows are short and long, and pads larger than windows."""
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 4))
    shape = [int(rng.integers(5, top)) for top in (12, 20, 90)[3 - rank :]]
    size = [int(rng.integers(1, 4)) for _ in shape]
    if seed % 3 == 0:
        size = [3] * rank
    dtype = ["float32", "float64"][seed % 2]
    x = rng.standard_normal((int(rng.integers(1, 3)), groups * each, *shape)).astype(dtype)
    w = rng.standard_normal((groups * made, each, *size)).astype(dtype)
    settings = {
        "stride": tuple(int(s) for s in rng.integers(1, 5, rank)) if seed % 4 else 1,
        "dilation": tuple(int(d) for d in rng.integers(1, 3, rank)) if seed % 5 else 1,
        "padding": [(int(a), int(b)) for a, b in rng.integers(0, 5, (rank, 2))],
        "cval": float(seed % 2),
    }
    return x, w, settings


def one_by_one(x, w, groups, settings):
    """The convolution output by output, each of which sees no other."""
    each, made = x.shape[1] // groups, w.shape[0] // groups
    rows = [
        sash.conv(x[:, g * each : (g + 1) * each], w[o : o + 1], **settings) for g in range(groups) for o in range(g * made, (g + 1) * made)
    ]
    return np.concatenate(rows, 1)


def check_turns(seeds=range(24)):
    for seed in seeds:
        for groups, each, made in ((1, 3, 9), (2, 2, 5), (5, 1, 1), (3, 1, 2)):
            x, w, settings = drawn(seed, groups, each, made)
            found = sash.conv(x, w, groups=groups, method="direct", **settings)
            np.testing.assert_array_equal(found, one_by_one(x, w, groups, settings | {"method": "direct"}), err_msg=f"{seed=} {groups=}")


def test_outputs_have_the_bits_they_have_alone():
    check_turns()


@pytest.mark.parametrize("settings", [{}, {"dilation": 2}, {"stride": 2}])
@pytest.mark.parametrize(("shape", "size"), [((30, 100), 5), ((30, 100), 3), ((6, 20, 70), 3), ((100,), 5)])
def test_channels_have_the_bits_they_have_alone(shape, size, settings):
    rng = np.random.default_rng(7)
    x, w = rng.standard_normal((2, 5, *shape), np.float32), rng.standard_normal((5, 1, *[size] * len(shape)), np.float32)
    found = sash.conv(x, w, padding=2, groups=5, method="direct", **settings)
    np.testing.assert_array_equal(found, one_by_one(x, w, 5, settings | {"padding": 2, "method": "direct"}))


@pytest.mark.parametrize("groups", [1, 6])
def test_blocks_and_threads_do_not_change_the_bits(groups):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 6, 130, 131), np.float32), rng.standard_normal((12 if groups == 1 else 6, 6 // groups, 3, 3), np.float32)
    whole = sash.conv(x, w, padding=1, groups=groups, method="direct")
    with sash.threads(1):
        np.testing.assert_array_equal(sash.conv(x, w, padding=1, groups=groups, method="direct"), whole)
    for limit in (1 << 16, 1 << 18, 1 << 20):
        np.testing.assert_array_equal(sash.conv(x, w, padding=1, groups=groups, method="direct", max_memory=limit), whole)


@pytest.mark.parametrize(("groups", "stride"), [(1, 1), (1, 2), (4, 1), (4, 2)])
@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_an_odd_sample_touches_what_covers_it(odd, groups, stride):
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((1, 4, 40, 70), np.float32), np.ones((8 if groups == 1 else 4, 4 // groups, 3, 3), np.float32)
    x[0, 2, 17, 33] = odd
    y = sash.conv(x, w, padding=1, stride=stride, groups=groups, method="direct")
    covered = np.zeros(y.shape, bool)
    rows, cols = ([i for i in range(n) if abs(i * stride - p) <= 1] for n, p in ((y.shape[2], 17), (y.shape[3], 33)))
    covered[np.ix_([0], range(y.shape[1]) if groups == 1 else [2], rows, cols)] = True
    np.testing.assert_array_equal(~np.isfinite(y), covered)


def test_a_weight_that_is_not_finite_touches_its_own_output():
    x, w = np.ones((1, 3, 20, 40), np.float32), np.ones((9, 3, 3, 3), np.float32)
    w[4, 1, 1, 1] = np.nan
    y = sash.conv(x, w, method="direct")
    assert np.isnan(y[:, 4]).all() and np.isfinite(np.delete(y, 4, 1)).all()


@pytest.mark.parametrize("each", [1, 3])
def test_integers_are_exact(each):
    rng = np.random.default_rng(5)
    x, w = rng.integers(0, 255, (1, 4 * each, 30, 50), np.uint8), rng.integers(-128, 127, (8 if each > 1 else 4, each, 3, 3), np.int8)
    y = sash.conv(x, w, padding=1, groups=4, method="direct")
    wide = sash.conv(x.astype(np.float64), w.astype(np.float64), padding=1, groups=4, method="gemm")
    assert y.dtype == np.int64
    np.testing.assert_array_equal(y, wide)


@pytest.mark.parametrize(
    ("shape", "weight", "settings"),
    [
        ((1, 3, 224, 224), (16, 3, 3, 3), {"padding": 1}),
        ((1, 16, 224, 224), (32, 16, 3, 3), {"padding": 1, "stride": 2}),
        ((1, 64, 112, 112), (64, 1, 3, 3), {"padding": 1, "groups": 64}),
        ((1, 16, 32, 64, 64), (32, 16, 3, 3, 3), {"padding": 1}),
    ],
)
def test_arrays_of_few_channels_are_summed_where_they_stand(shape, weight, settings):
    assert sash.plan("conv", shape, weight, **settings).method == methods.direct.NAME


def test_a_block_is_as_wide_as_its_rows_allow():
    widest = len(simd.block(4).lanes)
    assert [len(bank.lanes(n, 4)) for n in (3, 4, 7, 8, 1000)] == [0, 4, 4, min(8, widest), widest]
