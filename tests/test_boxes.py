"""Sums over boxes: the definition, exactly where nothing is rounded, and NaN only in the boxes that hold it."""

import os
import subprocess
import sys

import numpy as np
import pytest

from sash.kernels.cpu.boxes import boxes, centred


@pytest.mark.parametrize("seed", range(40))
def test_sums_are_those_of_every_window(seed):
    rng = np.random.default_rng(seed)
    axes = int(rng.integers(1, 4))
    shape = tuple(int(n) for n in rng.integers(1, 40, axes + 1))
    sizes = tuple(int(rng.integers(1, n + 1)) for n in shape[1:])
    strides = tuple(int(s) for s in rng.integers(1, 5, axes))
    x = rng.integers(-99, 99, shape).astype(np.float64)
    views = np.lib.stride_tricks.sliding_window_view(x, sizes, tuple(range(1, axes + 1)))
    wanted = views.sum(axis=tuple(range(-axes, 0)))[(slice(None), *(slice(None, None, s) for s in strides))]
    np.testing.assert_array_equal(boxes(x, np.empty_like(x), sizes, strides), wanted)


def test_nothing_large_stays_behind_in_a_later_window():
    x = np.zeros((40, 50))
    x[:5] = 1e20
    x[:, :3] = np.inf
    x[20, 30] = np.nan
    found = boxes(x, np.empty_like(x), (4, 6), (1, 1))
    assert (found[5:17, 3:] == 0).all()
    assert np.isnan(found).sum() == 4 * 6
    assert np.isposinf(found).sum() == 37 * 3


def test_samples_are_centred_and_summed_over_channels():
    rng = np.random.default_rng(3)
    x = rng.integers(0, 99, (3, 70)).astype(np.float64)
    x[1, 4] = np.inf
    given, sums, squares = x.copy(), np.empty(70), np.empty(70)
    assert centred(given.reshape(-1), 40.0, sums, squares) == np.abs(x[np.isfinite(x)] - 40).max()
    np.testing.assert_array_equal(given, x - 40)
    np.testing.assert_array_equal(sums, given.sum(axis=0))
    np.testing.assert_array_equal(squares, (given**2).sum(axis=0))


@pytest.mark.parametrize("cpu", ["generic", "haswell"])
def test_the_portable_build_gives_the_right_answers(cpu, tmp_path):
    if sys.platform != "win32" and os.uname().machine not in ("x86_64", "AMD64") and cpu != "generic":
        pytest.skip("haswell is an x86 processor")
    code = """
import test_boxes as t
for seed in range(40):
    t.test_sums_are_those_of_every_window(seed)
t.test_nothing_large_stays_behind_in_a_later_window()
t.test_samples_are_centred_and_summed_over_channels()
"""
    told = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    told["PYTHONPATH"] = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | told, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
