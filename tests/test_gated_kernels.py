"""The kernels of 2.5-D convolution and of layouts against plain loops, and the portable build in a process of its own.

Sums are of whole numbers, so that the answer has one right set of bits; what lies around an input is NaN.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from sash.kernels.cpu import simd
from sash.kernels.cpu.gated import forward, pack, panels, pitch, planes, unpack, weigh
from sash.kernels.cpu.layout import enter, leave, turn

REALS = ["float32", "float64"]
SIZES = [
    (1, 1, 1, 1, 1),
    (1, 4, 3, 5, 17),
    (2, 9, 7, 130, 50),
    (3, 9, 64, 64, 40),
    (4, 2, 16, 70, 33),
    (3, 3, 300, 33, 13),
    (2, 5, 5, 200, 6),
]
SIZES += [(3, 4, 6, 16, 0)]


def values(rng, size, dtype):
    return rng.integers(-9, 10, size).astype(dtype)


def block(rng, L, T, C, O, P, dtype):
    """Places in any order; x and y end where their last element is read or written."""
    yp = pitch(O, np.dtype(dtype).itemsize)
    at, to = rng.permutation(P) * (C + 2) + 3, rng.permutation(P) * yp
    off = rng.integers(0, 3 * C, T)
    x = np.full(max(at, default=0) + max(off) + C, np.nan, dtype)
    for o in off:
        for a in at:
            x[a + o : a + o + C] = values(rng, C, dtype)
    gate = rng.integers(-1, L, (T, P)).astype(np.int8)
    return x, values(rng, (L, T, C, O), dtype), values(rng, P * yp, dtype), gate, at, off, to, np.zeros(T, np.int64)


def defined(x, w, y, gate, at, off, to, shift):
    L, T, C, O = w.shape
    for t in range(T):
        for p in range(len(at)):
            if gate[t, p] >= 0:
                y[to[p] + shift[t] :][:O] += x[at[p] + off[t] :][:C] @ w[gate[t, p], t]


@pytest.mark.parametrize("dtype", REALS)
def test_forward_equals_the_definition(dtype):
    rng = np.random.default_rng(1)
    for L, T, C, O, P in SIZES:
        x, w, y, gate, *where = block(rng, L, T, C, O, P, dtype)
        want = y.copy()
        defined(x, w, want, gate, *where)
        wide = np.full((T, P + 4), 0, np.int8)
        wide[:, 3 : P + 3] = gate
        forward(x, pack(w), y, wide.reshape(-1), *where, 3, P + 4, L, C, O)
        np.testing.assert_array_equal(y, want, err_msg=f"{(L, T, C, O, P)=}")


@pytest.mark.parametrize("dtype", REALS)
def test_weigh_equals_the_definition(dtype):
    rng = np.random.default_rng(2)
    for L, T, C, O, P in SIZES:
        x, w, z, gate, *where = block(rng, L, T, C, O, P, dtype)
        at, off, to, _ = where
        want = w.copy()
        for t in range(T):
            for p in range(P):
                if gate[t, p] >= 0:
                    want[gate[t, p], t] += np.outer(x[at[p] + off[t] :][:C], z[to[p] :][:O])
        made, got = pack(w), np.empty_like(w)
        weigh(x, z, made, gate.reshape(-1), *where, 0, P, L, C, O)
        unpack(made, got)
        np.testing.assert_array_equal(got, want, err_msg=f"{(L, T, C, O, P)=}")


@pytest.mark.parametrize("dtype", REALS)
def test_forward_scatters_the_gradient_of_x(dtype):
    """Roles exchanged: z is read at the positions, and the sums go to the places that the taps read."""
    rng = np.random.default_rng(3)
    h, w, C, O, L = 5, 9, 11, 6, 3
    xp = pitch(C, np.dtype(dtype).itemsize)
    at = ((np.arange(h)[:, None] * (w + 2) + np.arange(w)) * xp).ravel()
    off = ((np.arange(3)[:, None] * (w + 2) + np.arange(3)) * xp).ravel()
    weight, gate = values(rng, (L, 9, C, O), dtype), rng.integers(-1, L, (9, h * w)).astype(np.int8)
    z, gx = values(rng, h * w * O, dtype), np.zeros((h + 2) * (w + 2) * xp, dtype)
    want = gx.copy()
    back = np.ascontiguousarray(weight.swapaxes(2, 3))
    where = np.arange(h * w) * O, np.zeros(9, np.int64), at, off
    defined(z, back, want, gate, *where)
    forward(z, pack(back), gx, gate.reshape(-1), *where, 0, h * w, L, O, C)
    np.testing.assert_array_equal(gx, want)


@pytest.mark.parametrize("dtype", REALS)
def test_forward_of_a_part_has_the_bits_of_the_whole(dtype):
    rng = np.random.default_rng(4)
    for L, T, C, O, P in SIZES:
        x, w, y, gate, at, off, to, shift = block(rng, L, T, C, O, P, dtype)
        x, w = rng.standard_normal(x.shape).astype(dtype), pack(rng.standard_normal(w.shape).astype(dtype))
        parts, gate = y.copy(), gate.reshape(-1)
        forward(x, w, y, gate, at, off, to, shift, 0, P, L, C, O)
        for a, b in ((0, P // 3), (P // 3, P)):
            forward(x, w, parts, gate, at[a:b], off, to[a:b], shift, a, P, L, C, O)
        np.testing.assert_array_equal(parts, y)


def test_a_gate_that_is_shut_reads_nothing():
    y, gw = np.ones(64), np.ones(2 * 3 * 5 * 16)
    x, w, gate = np.full(99, np.nan), np.full(gw.shape, np.nan), np.full(3 * 4, -1, np.int8)
    where = np.arange(4) * 5, np.arange(3), np.arange(4) * 16, np.zeros(3, np.int64), 0, 4, 2, 5, 16
    forward(x, w, y, gate, *where)
    weigh(x, np.full(64, np.nan), gw, gate, *where)
    assert (y == 1).all() and (gw == 1).all()


def test_panels_hold_every_output_once(monkeypatch):
    for side, lanes in ((3, 4), (3, 8), (4, 16), (4, 2)):
        monkeypatch.setattr(simd, "block", lambda itemsize, s=side, l=lanes: simd.Block((0,) * l, (0,) * s, (0,) * s, (0,) * 8))
        for O in range(200):
            end = 0
            for first, many, cols, rows in panels(O, 4):
                assert first == end and len(cols) <= (4 if side == 4 else 2) and (len(rows) + 1) * len(cols) < (32 if side == 4 else 16)
                end += many * len(cols) * lanes
            assert end == pitch(O, 4)
        w = np.random.default_rng(5).standard_normal((2, 3, 5, 99))
        back = np.empty_like(w)
        unpack(pack(w), back)
        np.testing.assert_array_equal(back, w)


def test_the_blocks_of_wider_registers_give_the_right_answers(monkeypatch):
    for side in (3, 4):
        monkeypatch.setattr(simd, "block", lambda itemsize, s=side: simd.Block((0,) * (64 // itemsize), (0,) * s, (0,) * s, (0,) * 8))
        test_forward_equals_the_definition("float32")
        test_weigh_equals_the_definition("float32")


def chosen(depth, down, across, out, ratio, L, missing):
    """The definition of planes, bin by bin."""
    gate = np.full((down[3] * across[3], *out), -1, np.int8)

    def at(i, j):
        inside = 0 <= i < depth.shape[0] and 0 <= j < depth.shape[1]
        return float(depth[i, j]) if inside and 0 < depth[i, j] < np.inf else None

    for i, j in np.ndindex(*out):
        y, x = i * down[0] - down[2], j * across[0] - across[2]
        centre = at(y + (down[3] - 1) // 2 * down[1], x + (across[3] - 1) // 2 * across[1])
        for u, v in np.ndindex(down[3], across[3]):
            a, b = y + u * down[1], x + v * across[1]
            if not (0 <= a < depth.shape[0] and 0 <= b < depth.shape[1]):
                continue
            z, t = at(a, b), u * across[3] + v
            if z is None or centre is None:
                gate[t, i, j] = missing
                continue
            for l in range(L):
                if centre * (1 + (l - L / 2) * ratio) <= z < centre * (1 + (l + 1 - L / 2) * ratio):
                    gate[t, i, j] = l
                    break
    return gate


def graded(depth, down, across, out, ratio, L, missing, rows, cols):
    h, w = rows[1] - rows[0], cols[1] - cols[0]
    gate = np.full((down[3] * across[3], h, w), 77, np.int8)
    planes(depth.reshape(-1), gate.reshape(-1), 0, h * w, w, rows, cols, depth.shape, down, across, ratio, L, missing)
    return gate


@pytest.mark.parametrize("dtype", REALS)
def test_planes_equals_the_definition(dtype):
    rng = np.random.default_rng(6)
    for _ in range(40):
        depth = (rng.integers(1, 40, (rng.integers(1, 30), rng.integers(1, 90))) / 8).astype(dtype)
        holes = rng.random(depth.shape) < 0.1
        depth[holes] = rng.choice([0, -1, np.nan, np.inf, -np.inf, 1e-40], holes.sum())
        down, across = (tuple(int(rng.integers(a, b)) for a, b in ((1, 4), (1, 4), (0, 5), (1, 5))) for _ in range(2))
        out = tuple((n + 2 * b - d * (k - 1) - 1) // s + 1 for n, (s, d, b, k) in zip(depth.shape, (down, across), strict=True))
        if min(out) < 1:
            continue
        L, ratio = int(rng.integers(1, 6)), float(rng.choice([0.5, 0.25, 1 / 3, 3, 0.01, 1e-9]))
        missing = (L - 1) // 2 if L % 2 else -1
        want = chosen(depth, down, across, out, ratio, L, missing)
        i, j = (int(rng.integers(0, n)) for n in out)
        for rows, cols in (((0, out[0]), (0, out[1])), ((i, out[0]), (j, out[1])), ((0, i), (0, j))):
            got = graded(depth, down, across, out, ratio, L, missing, rows, cols)
            np.testing.assert_array_equal(got, want[:, slice(*rows), slice(*cols)], err_msg=f"{(down, across, L, ratio)=}")


@pytest.mark.parametrize("dtype", REALS)
def test_depths_on_an_edge_belong_to_the_bin_above(dtype):
    """Neighbours of the float64 edges on both sides, and what float32 has nearest to them."""
    ratio, L = 0.1, 3
    edges = [2.0 * (1 + (m - L / 2) * ratio) for m in range(L + 1)]
    near = np.array(
        [z for e in edges for z in (np.nextafter(e, 0), e, np.nextafter(e, 9), np.float32(e), np.nextafter(np.float32(e), np.float32(9)))]
        * 3
    ).astype(dtype)
    depth = np.full((3, 3 * len(near)), 2, dtype)
    depth[0, ::3] = near
    tap = (1, 1, 1, 3)
    want = chosen(depth, tap, tap, depth.shape, ratio, L, 1)
    np.testing.assert_array_equal(graded(depth, tap, tap, depth.shape, ratio, L, 1, (0, 3), (0, depth.shape[1])), want)
    assert set(want[1, 1, ::3]) == {-1, 0, 1, 2}


@pytest.mark.parametrize("dtype", REALS)
def test_layouts_equal_the_definition(dtype):
    rng = np.random.default_rng(7)
    for C, H, W, top, left, h, w in [
        (3, 5, 7, -1, -1, 7, 9), (16, 9, 40, 2, 3, 4, 33), (33, 6, 50, -2, 20, 9, 40), (64, 4, 19, 0, 0, 4, 19), (20, 3, 30, -9, 2, 5, 9),
        (5, 3, 30, 1, 40, 2, 8), (17, 3, 30, 1, -20, 2, 8), (17, 8, 70, 1, -5, 9, 80),
    ]:  # fmt: skip
        x, yp, xp = rng.standard_normal((C, H * W + 5)).astype(dtype), C + 3, H * W + 5
        y = np.full((h, w, yp), np.nan, dtype)
        want = np.zeros((h, w, C), dtype)
        for r, q in np.ndindex(h, w):
            if 0 <= top + r < H and 0 <= left + q < W:
                want[r, q] = x[:, (top + r) * W + left + q]
        enter(x.reshape(-1), 0, xp, y.reshape(-1), 0, yp, C, H, W, top, left, h, w)
        np.testing.assert_array_equal(y[..., :C], want)
        if 0 <= top <= top + h <= H and 0 <= left <= left + w <= W:
            back = np.full((C, xp), np.nan, dtype)
            leave(y.reshape(-1), 0, yp, back.reshape(-1), 0, xp, C, W, top, left, h, w)
            for r, q in np.ndindex(h, w):
                np.testing.assert_array_equal(back[:, (top + r) * W + left + q], want[r, q])
            assert np.isnan(back).sum() == C * (xp - h * w)


@pytest.mark.parametrize("dtype", REALS)
def test_turn_transposes(dtype):
    rng = np.random.default_rng(8)
    for m, n in ((1, 1), (3, 100), (100, 3), (16, 16), (17, 31), (64, 50), (8, 4)):
        x, y = rng.standard_normal((m, n + 2)).astype(dtype), np.full(n * (m + 1) + 4, np.nan, dtype)
        turn(x.reshape(-1), 1, n + 2, y, 4, m + 1, m, n)
        np.testing.assert_array_equal(y[4:].reshape(n, m + 1)[:, :m], x[:, 1 : n + 1].T)
        assert np.isnan(y).sum() == 4 + n


@pytest.mark.parametrize("cpu", ["generic", "haswell"])
def test_the_portable_build_gives_the_right_answers(cpu, tmp_path):
    if sys.platform != "win32" and os.uname().machine not in ("x86_64", "AMD64") and cpu != "generic":
        pytest.skip("haswell is an x86 processor")
    code = """
import test_gated_kernels as t
t.test_forward_equals_the_definition("float32")
t.test_weigh_equals_the_definition("float32")
t.test_planes_equals_the_definition("float32")
t.test_layouts_equal_the_definition("float64")
t.test_turn_transposes("float32")
"""
    told = {"NUMBA_CPU_NAME": cpu, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    if cpu == "haswell":
        told["NUMBA_CPU_FEATURES"] = "+avx2,+fma,+bmi,+bmi2,+f16c,+movbe,+popcnt,+lzcnt"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | told, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
