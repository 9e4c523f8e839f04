"""Absolute differences of floats, two taps at a time: what terms one by one give, infinities included; the same bits in any block."""

import os
import subprocess
import sys

import numpy as np
import pytest

import oracle
import sash
import tolerance
from sash.kernels.cpu import couples
from test_bytes import OTHERS, runs

SHAPES = [((3, 2), 1), ((3, 5), 1), ((4, 4), 1), ((5, 9), 1), ((7, 8), 2), ((6, 3), 3), ((12, 1), 2)]
"""(h, k) and channels: pairs, pairs and one more, and what stays alone."""


def score(image, template, **settings):
    settings = {"channel_axis": 0} | settings if template.ndim == 3 else settings
    return sash.similarity(image, template, metric="sad", method="direct", **settings)


def noise(seed, *shape, dtype="float32", level=0.0):
    return (np.random.default_rng(seed).standard_normal(shape) + level).astype(dtype)


def bound(image, template):
    return 4 * tolerance.eps(image.dtype) * np.sqrt(template.size) * (tolerance.magnitude(image) + tolerance.magnitude(template))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int16"])
@pytest.mark.parametrize(("sizes", "channels"), SHAPES)
def test_the_definition(sizes, channels, dtype):
    rng = np.random.default_rng(1)
    image, template = (rng.standard_normal((channels, *s)) * (9 if dtype == "int16" else 1) for s in ((23, 90), sizes))
    image, template = image.astype(dtype), template.astype(dtype)
    exact = oracle.similarity(image, template, "sad", channel_axis=0)
    found = score(image, template, data_range=1.0)
    tolerance.check(found, exact, bound(image.astype(found.dtype), template), f"{sizes} {channels} {dtype}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("level", [0, 1, 10_000])
@pytest.mark.parametrize(("sizes", "channels"), SHAPES)
def test_a_match_is_exactly_1(sizes, channels, level, dtype):
    image = noise(2, channels, 40, 120, dtype=dtype, level=level)
    for i, j in ((0, 0), (7, 31), (40 - sizes[0], 120 - sizes[1])):
        template = image[:, i : i + sizes[0], j : j + sizes[1]].copy()
        assert score(image, template)[i, j] == 1
        assert score(template, template)[0, 0] == 1


def test_a_high_level_does_not_hurt():
    """Noise of deviation 1 on 10 000: sums of two taps lose a few units of 1/1024, never the sum of all."""
    image, template = noise(3, 3, 40, 110, level=10_000), noise(4, 3, 24, 24, level=10_000)
    exact = oracle.similarity(image, template, "sad", channel_axis=0)
    assert abs(score(image, template) - exact).max() < 2e-4
    assert abs(score(image, template, accuracy="elementwise") - exact).max() < 4e-6


@pytest.mark.parametrize(("sizes", "channels"), SHAPES)
def test_nan_and_infinity_give_what_they_give_alone(sizes, channels):
    rng = np.random.default_rng(5)
    odd = np.array([np.nan, np.inf, -np.inf], np.float32)
    for share in (0.002, 0.05, 0.5):
        image, template = noise(6, channels, 24, 100), noise(7, channels, *sizes)
        struck, pierced = rng.random(image.shape) < share, rng.random(template.shape) < share / 4
        image[struck], template[pierced] = rng.choice(odd, struck.sum()), rng.choice(odd, pierced.sum())
        with np.errstate(all="ignore"):
            windows = np.lib.stride_tricks.sliding_window_view(image.astype(float), (channels, *sizes))[0]
            want = abs(windows - template).sum((2, 3, 4))
        found = score(image, template)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(want))
        np.testing.assert_array_equal(found == -np.inf, want == np.inf)


@pytest.mark.parametrize(("sizes", "channels"), SHAPES)
def test_the_same_bits_in_any_block(sizes, channels):
    image, template = noise(8, channels, 60, 200), noise(9, channels, *sizes)
    whole = score(image, template)
    for rows, columns in ((1, 1), (1, 17), (2, 15), (3, 64), (4, 63), (4, 64), (5, 65), (9, 33), (17, 130)):
        part = image[:, 20 : 20 + rows + sizes[0] - 1, 9 : 9 + columns + sizes[1] - 1]
        np.testing.assert_array_equal(score(part, template), whole[20 : 20 + rows, 9 : 9 + columns], err_msg=f"{rows} x {columns}")
    turned = np.moveaxis(image, 0, -1).copy()
    np.testing.assert_array_equal(score(turned, np.moveaxis(template, 0, -1), channel_axis=-1), whole)
    with sash.threads(1):
        np.testing.assert_array_equal(score(image, template, max_memory=60_000), whole)


def test_axes_behind_the_rows_and_banks():
    """Samples of a row's neighbours lie between its own: pairs are that far apart."""
    image, template = noise(10, 30, 40, 3), noise(11, 5, 4, 1)
    found = score(image, template, channel_axis=None)
    for c in range(3):
        alone = score(image[..., c].copy(), template[..., 0].copy())
        np.testing.assert_array_equal(found[..., c], alone)
    bank = noise(12, 3, 5, 7)
    found = score(image[..., 0].copy(), bank, bank=True, channel_axis=None)
    for t in range(3):
        np.testing.assert_array_equal(found[t], score(image[..., 0].copy(), bank[t].copy()))


def check_portable():
    """Where there is no such instruction, terms go one by one."""
    assert not couples.available()
    image, template = noise(13, 20, 90), noise(14, 5, 7)
    tolerance.check(score(image, template), oracle.similarity(image, template, "sad"), bound(image, template), "portable")


@pytest.mark.parametrize("name", ["generic", "haswell"])
def test_processors_without_the_instruction(name, tmp_path):
    if not runs(OTHERS[name]["NUMBA_CPU_FEATURES"]):
        pytest.skip("this machine has no such instructions")
    here = os.path.dirname(__file__)
    paths = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, **OTHERS[name], "PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(tmp_path)}
    script = "import test_couples; test_couples.check_portable(); print('done')"
    done = subprocess.run([sys.executable, "-c", script], env=env, cwd=here, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "done" in done.stdout
