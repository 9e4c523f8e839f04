"""Little 2.5-D convolutions are one kernel: the bits of the method `gated`, from depth and from planes, and the same errors."""

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import sash
from sash.errors import ArgumentError
from sash.kernels.cpu import positions as kernels
from sash.ops import depth as verb
from sash.ops import planar, positions

LIMIT = 1 << 40
"""A memory limit that limits nothing: with one, calls go the general way."""


@pytest.fixture
def bound(monkeypatch):
    """How many calls were one kernel."""
    calls = []

    def counted(*told):
        found = positions.again(*told)
        if found is not None:
            calls.append(found)
        return found

    monkeypatch.setattr(verb, "again", counted)
    monkeypatch.setattr(planar, "again", counted)
    return calls


def problem(rng):
    """Operands and settings of any kind: depth with gaps and of any float, what is not finite, taps beside the image."""
    planes, groups, batch = int(rng.choice([1, 2, 3, 4, 5, 9])), int(rng.integers(1, 4)), int(rng.integers(1, 3))
    each, made, size, extents = int(rng.integers(1, 7)), int(rng.integers(1, 40)), rng.choice([1, 3, 5], 2), rng.integers(1, 20, 2)
    kind = str(rng.choice(["float32", "float64"]))
    x = rng.standard_normal((batch, each * groups, *extents)).astype(kind)
    weight = rng.standard_normal((planes, made * groups, each, *size)).astype(kind)
    depth = 1 + 0.05 * rng.random((batch, *extents))
    depth[rng.random(depth.shape) < 0.1] = rng.choice([0, np.nan, np.inf, -1])
    depth.flat[0] = 1
    for a in (x, weight):
        if rng.random() < 0.2:
            a.flat[rng.integers(a.size)] = rng.choice([np.nan, np.inf])
    bias = rng.standard_normal(made * groups).astype(kind) if rng.random() < 0.5 else None
    steps = {"stride": int(rng.integers(1, 3)), "padding": int(rng.integers(0, 4)), "dilation": int(rng.integers(1, 3))}
    steps["missing"] = "center" if planes % 2 and rng.random() < 0.7 else "drop"
    others = {"groups": groups, "accuracy": str(rng.choice(["normwise", "elementwise"]))}
    return x, depth.astype(str(rng.choice(["float16", "float32", "float64"]))), weight, bias, steps, others


@pytest.mark.parametrize("seed", range(60))
def test_bits_are_those_of_the_general_way(seed, bound):
    rng = np.random.default_rng(seed)
    x, depth, weight, bias, steps, others = problem(rng)
    focal = float(rng.choice([30, 100, 525])) if rng.random() < 0.5 else rng.uniform(30, 525, len(x))
    try:
        want = sash.conv2_5d(x, depth, weight, bias, focal=focal, max_memory=LIMIT, **steps, **others)
    except ArgumentError:
        with pytest.raises(ArgumentError):
            sash.conv2_5d(x, depth, weight, bias, focal=focal, **steps, **others)
        return
    assert not bound
    planes = sash.depth_planes(depth, weight.shape[3:], planes=len(weight), focal=focal, **steps)
    found = sash.conv2_5d(x, depth, weight, bias, focal=focal, **steps, **others)
    mapped = sash.conv2_5d(x, planes, weight, bias, **steps, **others)
    little = want.size > 0 and weight.size <= positions.WEIGHTS and planes.size <= positions.TABLE
    assert len(bound) == 2 * little
    for y in (found, mapped):
        assert y.dtype == want.dtype
        np.testing.assert_array_equal(y, want)


@pytest.mark.parametrize("cpu", ["generic", "haswell"])
def test_the_portable_build_gives_the_same_bits(cpu, tmp_path):
    if sys.platform != "win32" and os.uname().machine not in ("x86_64", "AMD64") and cpu != "generic":
        pytest.skip("haswell is an x86 processor")
    code = """
import numpy as np
import sash
import test_positions as t
for seed in (1, 3, 6):
    x, depth, weight, bias, steps, others = t.problem(np.random.default_rng(seed))
    told = dict(focal=100.0, **steps, **others)
    want = sash.conv2_5d(x, depth, weight, bias, max_memory=t.LIMIT, **told)
    np.testing.assert_array_equal(sash.conv2_5d(x, depth, weight, bias, **told), want)
"""
    told = {"NUMBA_CPU_NAME": cpu, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    if cpu == "haswell":
        told["NUMBA_CPU_FEATURES"] = "+avx2,+fma,+bmi,+bmi2,+f16c,+movbe,+popcnt,+lzcnt"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | told, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


def test_tensors_take_the_same_way(bound):
    torch = pytest.importorskip("torch")
    x, depth, weight, bias, *_ = (torch.rand(s) for s in ((2, 4, 16, 16), (2, 16, 16), (3, 8, 4, 3, 3), (8,)))
    want = sash.conv2_5d(x.numpy(), 1 + depth.numpy(), weight.numpy(), bias.numpy(), focal=100.0, padding=1)
    found = sash.conv2_5d(x, 1 + depth, weight, bias, focal=100.0, padding=1)
    planes = sash.depth_planes(1 + depth, 3, focal=100.0, padding=1)
    mapped = sash.conv2_5d(x, planes, weight, bias, padding=1)
    assert len(bound) == 3
    for y in (found, mapped):
        np.testing.assert_array_equal(y.numpy(), want)
    watched = sash.conv2_5d(x, 1 + depth, weight.requires_grad_(), bias, focal=100.0, padding=1)
    assert watched.requires_grad
    assert len(bound) == 3


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"depth": np.zeros((1, 16, 16))}, "all is missing"),
        ({"depth": np.ones((1, 16, 15))}, "one depth per image"),
        ({"focal": None}, "focal is needed"),
        ({"focal": -1.0}, "must be finite and above 0"),
        ({"bias": np.zeros(3, np.float32)}, "there are 8 output channels"),
        ({"depth": np.full((1, 3, 3, 14, 14), 3, np.int8)}, "planes go from 3 to 3"),
        ({"depth": np.zeros((1, 3, 3, 14, 13), np.int8)}, "planes have shape"),
        ({"weight": np.ones((3, 8, 4, 2, 3), np.float32)}, "has no centre"),
        ({"weight": np.ones((3, 0, 4, 3, 3), np.float32)}, "it is empty"),
        ({"missing": ["center"]}, "missing"),
        ({"x": np.ones((1, 5, 16, 16), np.float32)}, "they must agree"),
        ({"padding": -9}, "padding"),
    ],
)
def test_errors_are_those_of_the_general_way(change, error):
    told = {"x": np.ones((1, 4, 16, 16), np.float32), "depth": np.ones((1, 16, 16)), "weight": np.ones((3, 8, 4, 3, 3), np.float32)}
    told = {**told, "bias": None, "focal": 100.0, **change}
    x, depth, weight, bias = (told.pop(name) for name in ("x", "depth", "weight", "bias"))
    said = []
    for more in ({}, {"max_memory": LIMIT}):
        with pytest.raises(sash.SashError) as caught:
            sash.conv2_5d(x, depth, weight, bias, **told, **more)
        said.append(str(caught.value))
    assert error in said[0]
    assert said[0] == said[1]


def test_an_image_without_samples_is_all_padding():
    x, depth, weight = np.ones((1, 1, 0, 4), np.float32), np.ones((1, 0, 4)), np.ones((3, 1, 1, 3, 3), np.float32)
    y = sash.conv2_5d(x, depth, weight, [2.0], focal=9.0, padding=2)
    np.testing.assert_array_equal(y, np.full((1, 1, 2, 6), 2, np.float32))


def test_planes_of_taps_beside_the_image_have_the_bits_of_the_general_way():
    """What is read there is 0, which times an infinite weight is NaN."""
    x, planes, weight = np.ones((1, 1, 3, 3), np.float32), np.ones((1, 3, 3, 3, 3), np.int8), np.ones((3, 1, 1, 3, 3), np.float32)
    weight[1] = np.inf
    want = sash.conv2_5d(x, planes, weight, padding=1, max_memory=LIMIT)
    np.testing.assert_array_equal(sash.conv2_5d(x, planes, weight, padding=1), want)
    assert np.isnan(want).sum() == 8


def test_what_is_large_goes_the_general_way(bound):
    x, depth = np.ones((1, 4, 128, 128), np.float32), np.ones((1, 128, 128))
    sash.conv2_5d(x, depth, np.ones((3, 8, 4, 3, 3), np.float32), focal=100.0)
    sash.conv2_5d(x[..., :16, :16], depth[:, :16, :16], np.ones((3, 64, 4, 9, 9), np.float32), focal=100.0)
    assert not bound


def test_room_is_what_the_plan_says():
    shape, weight = (1, 4, 64, 64), (3, 8, 4, 3, 3)
    x, depth, w = np.ones(shape, np.float32), np.ones((1, 64, 64)), np.ones(weight, np.float32)
    sash.conv2_5d(x, depth, w, focal=100.0)
    tracemalloc.start()
    y = sash.conv2_5d(x, depth, w, focal=100.0)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most - y.nbytes <= sash.plan("conv2_5d", shape, weight).scratch


def test_blocks_of_outputs_cover_them_all():
    for itemsize in (4, 8):
        for outputs in range(1, 100):
            lanes, vectors = kernels.width(outputs, itemsize)
            assert lanes * vectors * -(-outputs // (lanes * vectors)) >= outputs
            assert lanes * vectors < 2 * max(outputs, lanes)
