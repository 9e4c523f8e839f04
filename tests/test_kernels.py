"""The CPU kernels against the plain definition, their same-bits laws, and the portable build in a process of its own.

Inputs end where their buffer's slack of NaN begins and outputs start as NaN (integers: a marker) inside guard zones,
so that a read or a write out of range shows.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from sash.kernels.cpu import simd
from sash.kernels.cpu.blur import BAND, blur, blur_scratch
from sash.kernels.cpu.rows import rows
from sash.kernels.cpu.taps import taps

TYPES = ["float32", "float64", "int64"]
OPS = [0, 1, 2]
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
    return (w * x, v * abs(x - w), v * (x - w) ** 2)[op]


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


def extension(rng, n, k, d, boundary):
    """Map of one axis: which sample each extended position reads, with an odd amount of padding or a crop before."""
    reach = (k - 1) * d
    before = int(rng.integers(0, reach + 3)) if rng.random() < 0.8 else -min(n // 3, 2)
    after = max(reach - before, 0) + int(rng.integers(0, 3)) + max(0, 1 - n)
    t = np.arange(-before, max(n + after, reach + 1 - before))
    if boundary == "constant":
        return np.where((t < 0) | (t >= n), -1, t)
    if boundary == "nearest":
        return np.clip(t, 0, n - 1)
    return t % n if boundary == "wrap" else np.where(t % (2 * n) < n, t % (2 * n), 2 * n - 1 - t % (2 * n))


def longest_run(samples):
    """(xlo, xhi, xsrc): the longest stretch of positions that read consecutive samples."""
    best, lo = (0, 0, 0), 0
    for p in range(len(samples)):
        if p == 0 or samples[p - 1] < 0 or samples[p] != samples[p - 1] + 1:
            lo = p
        if samples[p] >= 0 and p + 1 - lo > best[1] - best[0]:
            best = (lo, p + 1, int(samples[lo]))
    return best


def filtered(x, kernels, dilations, maps, cval):
    """The definition of blur in float64: extend every axis by its map, then one sum per axis."""
    x = x.astype(np.float64)
    for axis, positions in enumerate(maps):
        inside = (positions >= 0).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        x = np.where(inside, np.take(x, np.maximum(positions, 0), axis=axis), np.float64(cval))
    for axis, (kernel, d) in enumerate(zip(kernels, dilations, strict=True)):
        made = x.shape[axis] - (len(kernel) - 1) * d
        x = sum(kernel[i] * np.take(x, np.arange(made) + i * d, axis=axis) for i in range(len(kernel)))
    return x


def volume(rng, boundary, dtype):
    shape = tuple(int(rng.integers(1, top)) for top in (20, 45, 60, 4))
    kernels = [values(rng, rng.choice([1, 1, 2, 3, 5, 8]), dtype) for _ in range(3)]
    kernels = [np.ones(1, dtype) if len(k) == 1 and rng.random() < 0.5 else k for k in kernels]
    dilations = [int(rng.choice([1, 1, 1, 2, 3])) for _ in range(3)]
    maps = [extension(rng, n, len(k), d, boundary) for n, k, d in zip(shape, kernels, dilations, strict=False)]
    return values(rng, shape, dtype), kernels, dilations, maps


def run_blur(x, kernels, dilations, maps, cval, y, y0, yz, yy, cuts, add):
    Z, Y, X, c = x.shape
    out = len(maps[2]) - (len(kernels[2]) - 1) * dilations[2]
    for a, b in zip(cuts, cuts[1:], strict=False):
        need = blur_scratch(*map(len, kernels), *dilations, out, c, b - a)
        room = blank(need + 2 * GUARD, x.dtype)
        scratch = room[GUARD:-GUARD]
        blur(
            fenced(x.ravel()), y, *kernels, *maps, 0, Y * X * c, X * c, y0, yz, yy, a, b, c, *dilations,
            *longest_run(maps[2]), cval, add, scratch,
        )  # fmt: skip
        assert np.isnan(room[:GUARD]).all() and np.isnan(room[-GUARD:]).all()


@pytest.mark.parametrize("add", [0, 1])
@pytest.mark.parametrize("boundary", ["constant", "nearest", "wrap", "symmetric"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blur_equals_the_definition(dtype, boundary, add):
    rng = np.random.default_rng(5)
    for _ in range(40):
        x, kernels, dilations, maps = volume(rng, boundary, dtype)
        want = filtered(x, kernels, dilations, maps, 7)
        Z, Y, X, c = want.shape
        yy = X * c + int(rng.choice([0, 5]))
        yz = yy * Y + int(rng.choice([0, 7]))
        before = values(rng, GUARD + Z * yz + GUARD, dtype) if add else blank(GUARD + Z * yz + GUARD, dtype)
        y = before.copy()
        cuts = sorted({0, Y, *rng.integers(0, Y + 1, 2)})
        run_blur(x, kernels, dilations, maps, 7, y, GUARD, yz, yy, cuts, add)
        told = f"{x.shape=} {[len(k) for k in kernels]=} {dilations=} {maps=}"
        made, held = (np.lib.stride_tricks.as_strided(a[GUARD:], want.shape, [s * a.itemsize for s in (yz, yy, c, 1)]) for a in (y, before))
        # Whole numbers below 2^24 at every stage stay exact in float64; float32 may round the largest.
        size = filtered(abs(x), [abs(k) for k in kernels], dilations, maps, 7).max()
        np.testing.assert_allclose(made, want + held if add else want, rtol=0, atol=np.finfo(dtype).eps * 8 * size, err_msg=told)
        made[...] = held
        np.testing.assert_array_equal(y, before, err_msg=told)


@pytest.mark.parametrize("boundary", ["constant", "symmetric"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("add", [0, 1])
def test_blur_of_a_band_has_the_bits_of_the_whole(dtype, boundary, add):
    rng = np.random.default_rng(6)
    for _ in range(20):
        x, kernels, dilations, maps = volume(rng, boundary, dtype)
        x, kernels = rng.standard_normal(x.shape).astype(dtype), [rng.standard_normal(k.shape).astype(dtype) for k in kernels]
        Z, Y, X = (len(p) - (len(k) - 1) * d for p, k, d in zip(maps, kernels, dilations, strict=True))
        n = X * x.shape[3]
        start = rng.standard_normal(Z * Y * n).astype(dtype) if add else blank(Z * Y * n, dtype)
        whole, parts = start.copy(), start.copy()
        run_blur(x, kernels, dilations, maps, 0.3, whole, 0, Y * n, n, [0, Y], add)
        run_blur(x, kernels, dilations, maps, 0.3, parts, 0, Y * n, n, sorted({0, Y, *rng.integers(0, Y + 1, 4)}), add)
        np.testing.assert_array_equal(parts, whole)


def test_a_constant_beyond_the_edge_weighs_as_much_as_one_inside():
    """Where everything equals cval, edges included, every output is the same number to the last bit."""
    rng = np.random.default_rng(7)
    kernels = [rng.random(k).astype("float32") for k in (3, 5, 4)]
    maps = [extension(rng, n, len(k), 1, "constant") for n, k in zip((6, BAND + 3, 40), kernels, strict=True)]
    made = [len(p) - len(k) + 1 for p, k in zip(maps, kernels, strict=True)]
    y = blank(int(np.prod(made)), "float32")
    run_blur(
        np.full((6, BAND + 3, 40, 1), np.float32(0.7)), kernels, [1, 1, 1], maps, 0.7, y, 0, made[1] * made[2], made[2], [0, made[1]], 0
    )
    assert len(np.unique(y)) == 1 and not np.isnan(y[0])


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
t.test_blur_of_a_band_has_the_bits_of_the_whole("float32", "constant", 0)
t.test_blur_equals_the_definition("float32", "symmetric", 0)
"""
    told = {"NUMBA_CPU_NAME": cpu, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    if cpu == "haswell":
        told["NUMBA_CPU_FEATURES"] = "+avx2,+fma,+bmi,+bmi2,+f16c,+movbe,+popcnt,+lzcnt"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | told, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


def test_blocks_follow_the_registers():
    for itemsize in (4, 8):
        size = simd.block(itemsize)
        assert len(size.lanes) * itemsize == simd.vector_bytes() in (16, 32, 64)
        assert BAND % len(size.rows) == 0


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
    test_blur_equals_the_definition("float32", "symmetric", 1)
