"""The CPU kernels against the plain definition, their same-bits laws, and the portable build in a process of its own.

Inputs end where their buffer's slack of NaN begins and outputs start as NaN (integers: a marker) inside guard zones,
so that a read or a write out of range shows.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from sash import machine
from sash.kernels.cpu import simd
from sash.kernels.cpu.ends import ends
from sash.kernels.cpu.rows import column, rows
from sash.kernels.cpu.split import split
from sash.kernels.cpu.taps import taps
from sash.kernels.cpu.weave import woven

TYPES = ["float32", "float64", "int64"]
OPS = [0, 1, 2, 3, 4]
GUARD = 32
LANES = [1, 2, 3, 4, 5, 8, 13, 16, 31, 64, 65, 100, 131, 200]  # row lengths on both sides of every block


def values(rng, size, dtype):
    """Whole numbers up to 9: their sums are exact in every type here, so the answer has one right set of bits."""
    return rng.integers(-9, 10, size).astype(dtype)


def fenced(array):
    """A view of the same values with unreadable slack on both sides."""
    wide = blank(array.size + 2 * GUARD, array.dtype)
    wide[GUARD:-GUARD] = array
    return wide[GUARD:-GUARD]


def blank(size, dtype):
    return np.full(size, np.nan if np.dtype(dtype).kind == "f" else np.iinfo(np.int64).min + 77, dtype)


def term(op, w, v, x):
    return (w * x, v * abs(x - w), v * (x - w) ** 2, abs(x - w), (x - w) ** 2)[op]


def defined(x, w, v, y, at, to, base, step, off, n, add, op):
    """The definition of taps."""
    for r in range(len(at)):
        for o in range(len(base)):
            total = np.zeros(n, y.dtype)
            for t in range(len(off)):
                start = at[r] + base[o] + off[t]
                total += term(op, w[o, t], v[o, t], x[start : start + n])
            start = to[r] + step[o]
            y[start : start + n] = y[start : start + n] + total if add else total


def ordinary(rng, n, dtype):
    """A problem for taps whose farthest read is the last element of x, and whose rows of y have gaps between."""
    R, O, T = (int(rng.integers(1, top)) for top in (20, 4, 12))
    w, v = values(rng, (O, T), dtype), values(rng, (O, T), dtype)
    v[0, 0] = 1  # what op 3 takes every weight to be
    at, base, off = (rng.integers(0, 50, size) for size in (R, O, T))
    x = values(rng, at.max() + base.max() + off.max() + n, dtype)
    to = rng.permutation(R) * (O * (n + 3)) + GUARD
    step = rng.permutation(O) * (n + 3)
    return x, w, v, R * O * (n + 3) + 2 * GUARD, at, to, base, step, off


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("add", [0, 1])
def test_taps_equals_the_definition(dtype, op, add):
    rng = np.random.default_rng(1)
    for n in LANES:
        x, w, v, size, *where = ordinary(rng, n, dtype)
        y = values(rng, size, dtype) if add else blank(size, dtype)
        want = y.copy()
        defined(x, w, v, want, *where, n, add, op)
        taps(fenced(x), w, v, y, *where, n, add, op)
        np.testing.assert_array_equal(y, want, err_msg=f"{n=}")


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_taps_of_a_part_have_the_bits_of_the_whole(dtype, op):
    rng = np.random.default_rng(2)
    for n in LANES:
        x, w, v, size, at, to, base, step, off = ordinary(rng, n, dtype)
        x, w, v = (rng.standard_normal(a.shape).astype(dtype) for a in (x, w, v))
        whole, parts = blank(size, dtype), blank(size, dtype)
        taps(x, w, v, whole, at, to, base, step, off, n, 0, op)
        for r in range(len(at)):
            cuts = [0, *sorted(rng.integers(0, n + 1, 2)), n]
            for a, b in zip(cuts, cuts[1:], strict=False):
                taps(x, w, v, parts, at[r : r + 1] + a, to[r : r + 1] + a, base, step, off, b - a, 0, op)
        np.testing.assert_array_equal(parts, whole, err_msg=f"{n=}")


def test_taps_of_integers_wrap_round_at_two_to_the_64():
    x, w = np.array([2**62, -(2**63), 3, 2**40]), np.array([[3, 5]])
    y, zero = blank(3, "int64"), np.zeros(1, np.int64)
    taps(x, w, w, y, zero, zero, zero, zero, np.arange(2), 3, 0, 0)
    exact = [3 * int(a) + 5 * int(b) for a, b in zip(x, x[1:], strict=False)]
    assert [int(a) % 2**64 for a in y] == [a % 2**64 for a in exact]


def image(rng, m, n, h, k, d, dtype):
    """A problem for rows, again ending where x ends, and the same as a problem for taps."""
    R, O, P = (int(rng.integers(1, 4)) for _ in range(3))
    xp, yp = n + (k - 1) * d + int(rng.integers(0, 4)), n + int(rng.integers(0, 4))
    w, v = values(rng, (O, P * h * k), dtype), values(rng, (O, P * h * k), dtype)
    v[0, 0] = 1
    at, base, off = (rng.integers(0, 3 * xp, size) for size in (R, O, P))
    x = values(rng, at.max() + base.max() + off.max() + (m + h - 2) * xp + (k - 1) * d + n, dtype)
    to, step = rng.permutation(R) * (O * m * yp) + GUARD, rng.permutation(O) * m * yp
    every = (off[:, None, None] + np.arange(h)[:, None] * xp + np.arange(k) * d).ravel()
    down = np.arange(m)
    flat = (at[:, None] + down * xp).ravel(), (to[:, None] + down * yp).ravel(), base, step, every
    return x, w, v, R * O * m * yp + 2 * GUARD, (at, to, base, step, off, xp, yp, m, n, h, k, d), flat


SHAPES = [(7, 30, 3, 3, 3), (4, 64, 3, 1, 1), (3, 24, 2, 1, 1), (10, 100, 7, 5, 1), (9, 25, 1, 9, 2), (40, 64, 17, 1, 1)]
SHAPES += [(2, 7, 3, 2, 1), (1, 1, 1, 1, 1), (5, 3, 4, 3, 1), (6, 70, 4, 4, 1), (13, 129, 5, 1, 1), (4, 24, 1, 1, 1)]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("add", [0, 1])
def test_rows_equals_the_definition(dtype, op, add):
    rng = np.random.default_rng(3)
    for m, n, h, k, d in SHAPES:
        x, w, v, size, where, flat = image(rng, m, n, h, k, d, dtype)
        y = values(rng, size, dtype) if add else blank(size, dtype)
        want = y.copy()
        defined(x, w, v, want, *flat, n, add, op)
        rows(fenced(x), w, v, y, *where, add, op)
        np.testing.assert_array_equal(y, want, err_msg=f"{(m, n, h, k, d)=}")


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_has_the_bits_of_taps(dtype, op):
    rng = np.random.default_rng(4)
    for m, n, h, k, d in SHAPES:
        x, w, v, size, where, flat = image(rng, m, n, h, k, d, dtype)
        x, w, v = (rng.standard_normal(a.shape).astype(dtype) for a in (x, w, v))
        y, want = blank(size, dtype), blank(size, dtype)
        rows(x, w, v, y, *where, 0, op)
        taps(x, w, v, want, *flat, n, 0, op)
        np.testing.assert_array_equal(y, want, err_msg=f"{(m, n, h, k, d)=}")


COLUMNS = [(2, 40, 24, 17), (1, 24, 100, 5), (3, 7, 25, 3), (2, 12, 300, 9), (2, 2, 64, 4), (3, 9, 7, 6), (1, 5, 1, 2), (2, 24, 241, 1)]


CLASHING = [(2, 12, 300, 9), (1, 6, 24, 4), (2, 9, 530, 5)]
"""Columns with rows that share one set of the first-level cache, which are copied together."""


def columns(rng, R, m, n, h, dtype, clashing=False):
    """A problem for column: rows of x in any order, read more than once, the last one at the end of x."""
    size = -(-n // 1024) * 1024 if clashing else n
    x, k = values(rng, (m + h - 1) * size + (h + 1) * n, dtype), values(rng, h, dtype)
    line = rng.integers(0, m * n, m + h - 1)
    if clashing:
        line = rng.permutation(m + h - 1) * size
        x = x[: max(line) + (h + 1) * n]
    else:
        x = x[: (m + h + 1) * n]
        line[-1] = m * n
    at = rng.permutation(np.r_[h * n, rng.integers(0, h * n, R - 1)])
    yp = n + int(rng.integers(0, 5))
    return x, k, at, np.arange(R) * (m * yp) + GUARD, line, yp


@pytest.mark.parametrize("add", [0, 1])
@pytest.mark.parametrize("dtype", TYPES)
def test_column_equals_the_definition(dtype, add):
    rng = np.random.default_rng(5)
    for R, m, n, h, clashing in [(*c, False) for c in COLUMNS] + [(*c, True) for c in CLASHING]:
        x, k, at, to, line, yp = columns(rng, R, m, n, h, dtype, clashing)
        y = values(rng, R * m * yp + 2 * GUARD, dtype) if add else blank(R * m * yp + 2 * GUARD, dtype)
        want = y.copy()
        for r in range(R):
            for i in range(m):
                total = sum(k[u] * x[at[r] + line[i + u] : at[r] + line[i + u] + n] for u in range(h))
                row = want[to[r] + i * yp : to[r] + i * yp + n]
                row[:] = row + total if add else total
        column(fenced(x), k, y, at, to, line, yp, m, n, add)
        np.testing.assert_array_equal(y, want, err_msg=f"{(R, m, n, h, clashing)=}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_column_of_a_part_has_the_bits_of_the_whole(dtype):
    rng = np.random.default_rng(6)
    for R, m, n, h, clashing in [(*c, False) for c in COLUMNS] + [(*c, True) for c in CLASHING]:
        x, k, at, to, line, yp = columns(rng, R, m, n, h, dtype, clashing)
        x, k = rng.standard_normal(x.shape).astype(dtype), rng.standard_normal(h).astype(dtype)
        whole, parts = blank(R * m * yp + 2 * GUARD, dtype), blank(R * m * yp + 2 * GUARD, dtype)
        column(x, k, whole, at, to, line, yp, m, n, 0)
        for top, low in ((0, m // 2), (m // 2, m)):
            for left, right in ((0, n // 3), (n // 3, n)):
                if low > top and right > left:
                    column(x, k, parts, at + left, to + top * yp + left, line[top : low + h - 1], yp, low - top, right - left, 0)
        np.testing.assert_array_equal(parts, whole, err_msg=f"{(R, m, n, h, clashing)=}")


def test_ends_copies_from_inside_and_sets_what_is_beyond():
    s = np.arange(40.0)
    ends(s, np.array([0, 20]), np.array([0, 1, 18]), np.array([3, -1, 17]), 7.0)
    assert s[[0, 1, 18, 20, 21, 38]].tolist() == [3, 7, 17, 23, 7, 37]
    assert s[2:18].tolist() == list(range(2, 18)) and s[19] == 19 and s[39] == 39


def test_kernels_of_other_sizes_are_kept_in_other_files(tmp_path):
    """Numba's cache numbers what it keeps of a function, without a lock: two processes could take each other's sizes."""
    code = """
import numpy as np
from sash.kernels.cpu import simd, taps
x, w, nil = np.arange(99, dtype=np.float32), np.ones((1, 3), np.float32), np.zeros(1, np.int64)
for op in (0, 1, 4):
    taps.taps(x, w, w, np.zeros(60, np.float32), nil, nil, nil, nil, np.arange(3), 60, 0, op)
"""
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    indices, kept = [sorted(tmp_path.rglob(f"*spread*.{end}")) for end in ("nbi", "nbc")]
    assert len(indices) == len(kept) == 3, indices


@pytest.mark.parametrize("cpu", ["generic", "haswell"])
def test_the_portable_build_gives_the_right_answers(cpu, tmp_path):
    """Kernels never ask for an instruction by name: any CPU that Numba can be told to compile for will do."""
    if sys.platform != "win32" and os.uname().machine not in ("x86_64", "AMD64") and cpu != "generic":
        pytest.skip("haswell is an x86 processor")
    width = {"generic": 16, "haswell": 32}[cpu]
    code = f"""
import test_kernels as t
assert t.simd.vector_bytes() == {width}, t.simd.vector_bytes()
t.test_taps_equals_the_definition("float32", 0, 1)
t.test_taps_of_a_part_have_the_bits_of_the_whole("float32", 0)
t.test_rows_has_the_bits_of_taps("float32", 0)
t.test_column_of_a_part_has_the_bits_of_the_whole("float32")
t.test_column_equals_the_definition("float32", 0)
"""
    told = {"NUMBA_CPU_NAME": cpu, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    if cpu == "haswell":
        told["NUMBA_CPU_FEATURES"] = "+avx2,+fma,+bmi,+bmi2,+f16c,+movbe,+popcnt,+lzcnt"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | told, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.skipif(
    any(name in os.environ for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")), reason="Numba is told of another processor"
)
def test_plans_count_with_the_registers_that_kernels_use():
    """The planner must not load LLVM, so it reads the width off the processor's instructions."""
    assert machine.vector() == simd.vector_bytes()


def test_blocks_follow_the_registers():
    for itemsize in (4, 8):
        size = simd.block(itemsize)
        assert len(size.lanes) * itemsize == simd.vector_bytes() in (16, 32, 64)


@pytest.mark.parametrize("side", [3, 4])
def test_the_blocks_of_wider_registers_give_the_same_bits(side, monkeypatch):
    """LLVM splits vectors that the CPU lacks, so the 64-byte blocks can be tried anywhere."""
    here = []
    for block in (simd.block, lambda itemsize: simd.Block((0,) * (64 // itemsize), (0,) * side, (0,) * side, (0,) * 8)):
        monkeypatch.setattr(simd, "block", block)
        rng = np.random.default_rng(8)
        made = []
        for m, n, h, k, d in [*SHAPES, (9, 260, 5, 3, 1), (7, 300, 6, 1, 1)]:
            x, w, v, size, where, _ = image(rng, m, n, h, k, d, "float32")
            x, w = rng.standard_normal(x.shape).astype("float32"), rng.standard_normal(w.shape).astype("float32")
            made.append(blank(size, "float32"))
            rows(x, w, v, made[-1], *where, 0, 0)
        here.append(np.concatenate(made))
    np.testing.assert_array_equal(here[0], here[1])
    test_column_equals_the_definition("float32", 1)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32"])
@pytest.mark.parametrize("n", [5, 16, 70, 200])
def test_small_integers_are_read_and_written_as_they_lie(kind, n):
    """Sums in floats, of which the nearest integers are stored: of ties the even ones."""
    rng = np.random.default_rng(n)
    few = np.iinfo(kind)
    x = rng.integers(max(few.min, -4096), min(few.max, 4096), 9 * (n + 4), kind, endpoint=True)
    w = np.array([[0.25, 0.25, 0, 0.5, 0]], np.float32)
    wanted = np.array([[w[0] @ x[r * (n + 4) + j :][:5].astype(np.float32) for j in range(n)] for r in range(9)])
    y = np.zeros(9 * n, kind)
    zero, rows_of = np.zeros(1, np.int64), np.arange(9)
    taps(x, w, w, y, rows_of * (n + 4), rows_of * n, zero, zero, np.arange(5), n, 0, 0)
    np.testing.assert_array_equal(y.reshape(9, n), np.rint(wanted))
    wide = np.zeros(9 * n, np.int64)
    taps(x, w, w, wide, rows_of * (n + 4), rows_of * n, zero, zero, np.arange(5), n, 0, 0)
    np.testing.assert_array_equal(wide.reshape(9, n), np.rint(wanted))


@pytest.mark.parametrize("kind", ["uint8", "int16"])
def test_columns_of_small_integers(kind):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 127, (40, 300), kind)
    k = rng.integers(-4, 5, 7).astype(np.float32)
    wanted = sum(k[u] * x[u : u + 34].astype(np.float32) for u in range(7))
    y = np.zeros((34, 300), np.int32)
    zero = np.zeros(1, np.int64)
    column(x.reshape(-1), k, y.reshape(-1), zero, zero, np.arange(40) * 300, 300, 34, 300, 0)
    np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("kind", ["float32", "float64", "uint8", "int16"])
@pytest.mark.parametrize("s", [2, 3, 4])
def test_rows_are_dealt_out_to_phases(kind, s):
    rng = np.random.default_rng(s)
    for n in (1, s, 31, 64 * s, 64 * s + 1, 201):
        x = values(rng, 5 * (n + 3), "int64").astype(kind)
        length = -(-n // s)
        y = np.full((5, s, length), 777, "float64" if kind == "float64" else "float32")
        split(fenced(x) if x.dtype.kind == "f" else x, y.reshape(-1), np.arange(5) * (n + 3), np.arange(5) * s * length, n, s, length)
        for t in range(n):
            np.testing.assert_array_equal(y[:, t % s, t // s], x.reshape(5, n + 3)[:, t])
        assert (y.reshape(5, -1) == 777).sum() == 5 * (s * length - n)


@pytest.mark.parametrize("classes", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("more", [0, 1])
def test_classes_are_woven_one_sample_of_each_in_turn(classes, more):
    more = min(more, classes - 1)
    counts = np.array([6] * more + [5] * (classes - more))
    rows, out = 9, int(counts.sum())
    wanted = np.random.default_rng(1).standard_normal((rows, out)).astype(np.float32)
    apart = np.zeros((classes, rows * counts[0]), np.float32)
    for c, n in enumerate(counts):
        apart[c, : rows * n] = wanted[:, c::classes].reshape(-1)
    found = np.full((rows, out + 3), np.nan, np.float32)
    woven(apart.reshape(-1), apart.shape[1], counts, found.reshape(-1), np.arange(rows) * (out + 3), (0,) * classes)
    np.testing.assert_array_equal(found[:, :out], wanted)
    assert np.isnan(found[:, out:]).all()
