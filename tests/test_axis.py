"""An axis' extension as runs, and the one rule of blocks, against the extension written out sample by sample."""

import random

import numpy as np
import pytest

import oracle
from sash.axis import Axis
from sash.problem import Problem

BOUNDARIES = ("zero", *oracle.BOUNDARIES)


def written_out(runs):
    """The index that each position of the runs reads; -1: cval."""
    return [run.first + i * run.step if run.first >= 0 else -1 for run in runs for i in range(run.length)]


def definition(axis, a, b):
    boundary = "constant" if axis.boundary == "zero" else axis.boundary
    return [oracle.source(t, axis.n, boundary) for t in range(a, b)]


def random_axis(rng, boundary):
    n, size, stride, dilation = rng.randint(1, 9), rng.randint(1, 5), rng.randint(1, 3), rng.randint(1, 3)
    start = rng.randint(-25, max(n - 2, 0))
    stop = max(rng.randint(0, n + 25), start + (size - 1) * dilation + 1)
    return Axis(n, size, stride, dilation, start, stop, boundary)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_runs_are_the_extension(boundary):
    rng = random.Random(1)
    for _ in range(400):
        axis = random_axis(rng, boundary)
        a = rng.randint(-30, 30)
        b = a + rng.randint(0, 40)
        runs = axis.runs(a, b)
        assert written_out(runs) == definition(axis, a, b), (axis, a, b)
        assert all(run.length > 0 and run.step in (-1, 0, 1) for run in runs), (axis, a, b)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_part_reads_what_the_whole_reads(boundary):
    """Each output of the smaller axis, through the runs, reads the very samples that it reads of the whole."""
    rng = random.Random(2)
    for _ in range(300):
        axis = random_axis(rng, boundary)
        o = rng.randint(0, axis.out)
        p = rng.randint(o, axis.out)
        runs, smaller = axis.part(o, p)
        assert smaller.out == p - o or p == o, (axis, o, p)
        read = written_out(runs)
        assert len(read) == smaller.n, (axis, o, p)
        for i in range(p - o):
            first = smaller.start + i * smaller.stride
            seen = [read[j] if j >= 0 else -1 for j in definition(smaller, first, first + smaller.reach)[:: smaller.dilation]]
            first = axis.start + (o + i) * axis.stride
            assert seen == definition(axis, first, first + axis.reach)[:: axis.dilation], (axis, o, p, i)


def test_a_part_of_a_part_is_a_part():
    rng = random.Random(3)
    for _ in range(300):
        axis = random_axis(rng, rng.choice(BOUNDARIES))
        cuts = sorted(rng.randint(0, axis.out) for _ in range(4))
        runs, middle = axis.part(cuts[0], cuts[3])
        if cuts[0] == cuts[3]:
            continue
        inner, smaller = middle.part(cuts[1] - cuts[0], cuts[2] - cuts[0])
        outer = written_out(runs)
        both = [outer[j] if j >= 0 else -1 for j in written_out(inner)]
        for i in range(cuts[2] - cuts[1]):
            first = smaller.start + i * smaller.stride
            seen = [both[j] if j >= 0 else -1 for j in definition(smaller, first, first + smaller.reach)[:: smaller.dilation]]
            first = axis.start + (cuts[1] + i) * axis.stride
            assert seen == definition(axis, first, first + axis.reach)[:: axis.dilation], (axis, cuts, i)


def test_a_block_wholly_in_padding_reads_nothing():
    runs, smaller = Axis(4, 3, 1, 1, -20, 24, "zero").part(0, 5)
    assert smaller.n == 0 == sum(run.length for run in runs)
    assert smaller.out == 5


def test_a_wrap_block_at_the_end_reads_both_ends_and_nothing_else():
    runs, smaller = Axis(10_000, 9, 1, 1, -4, 10_004, "wrap").part(9_998, 10_000)
    assert [(run.first, run.length, run.step) for run in runs] == [(9_994, 6, 1), (0, 4, 1)]
    assert smaller.n == 10


def test_inside_is_where_no_padding_is_read():
    rng = random.Random(4)
    for _ in range(400):
        axis = random_axis(rng, "zero")
        o, p = axis.inside()
        for i in range(axis.out):
            first = axis.start + i * axis.stride
            plain = -1 not in definition(axis, first, first + axis.reach)
            assert (o <= i < p) == plain or (o == p and not plain), (axis, i, o, p)


def test_grid_and_frame_cover_every_output_once():
    rng = random.Random(5)
    for _ in range(200):
        axes = tuple(random_axis(rng, rng.choice(BOUNDARIES)) for _ in range(rng.randint(1, 3)))
        problem = Problem(axes, batch=rng.randint(0, 3))
        tile = tuple(rng.randint(1, 9) for _ in range(len(axes) + 1))
        inner, edges = problem.frame()
        for boxes in (problem.grid(tile), [*([] if inner is None else [inner]), *edges]):
            seen = np.zeros((problem.batch, *problem.out), int)
            for box in boxes:
                seen[tuple(slice(o, p) for o, p in box)] += 1
            assert np.all(seen == 1), (problem, tile)
        for box in problem.grid(tile):
            assert all(p - o <= t for (o, p), t in zip(box, tile, strict=True))
