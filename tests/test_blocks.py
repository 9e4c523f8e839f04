"""Blocks that scores are made in: they fit, read little twice, and are what the plan tells of."""

from math import prod

import numpy as np
import pytest

import sash
from sash.ops import blocks


def problem(shape, template, **settings):
    return sash.plan("similarity", shape, template, metric="zncc", **settings).problem


@pytest.mark.parametrize("seed", range(40))
def test_a_block_fits_and_no_other_cut_that_fits_reads_much_less(seed):
    rng = np.random.default_rng(seed)
    axes = int(rng.integers(1, 4))
    shape = tuple(int(n) for n in rng.integers(20, {1: 100_000, 2: 600, 3: 90}[axes], axes))
    given = problem(shape, tuple(int(k) for k in rng.integers(1, 16, axes)), stride=int(rng.integers(1, 3)))
    whole = (1, *given.out)
    room = blocks._held(given, whole) / float(rng.uniform(1, 30))
    tile = blocks._tile(given, room)
    assert blocks._held(given, tile) <= room

    def read(tile):
        return given.reads(tile) * prod([-(-n // t) for n, t in zip(whole, tile, strict=True)])

    for i in range(1, axes + 1):  # slabs across one axis
        slab = next((t for t in range(whole[i], 0, -1) if blocks._held(given, (*whole[:i], t, *whole[i + 1 :])) <= room), None)
        if slab:
            assert read(tile) <= 2.5 * read((*whole[:i], slab, *whole[i + 1 :]))


def test_a_stack_is_cut_into_whole_slices_or_rows():
    """Columns of 61 x 61 through all slices read every sample more than twice."""
    given = problem((64, 512, 512), (1, 32, 32))
    tile = blocks._blocks(given, None)[0]
    assert tile[-1] == 481 and tile[-2] >= 160 and tile[1] == 1


def test_many_axes_are_cut_without_trying_every_block(monkeypatch):
    tried, held = [], blocks._bytes
    monkeypatch.setattr(blocks, "_bytes", lambda given, spans, made: tried.append(np.size(made)) or held(given, spans, made))
    tile = blocks._tile(problem((50, 50, 50, 50, 50), (7, 7)), blocks.HELD)
    assert max(tried) <= blocks.TRIED and tile[0] == 1


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
def test_a_batch_of_none_is_planned_and_made(metric):
    with np.errstate(all="raise"):
        assert sash.plan("similarity", (0, 50, 50), (7, 7), metric=metric).seconds == 0
    assert sash.similarity(np.zeros((0, 50, 50)), np.zeros((7, 7)), metric=metric).shape == (0, 44, 44)


def test_the_plan_tells_of_all_blocks():
    one, many = [sash.plan("similarity", (n, 512, 512), (1, 32, 32), metric="zncc") for n in (2, 64)]
    assert "in blocks of 1x" in str(many)
    assert 20 * one.seconds < many.seconds < 50 * one.seconds


@pytest.mark.parametrize(
    ("shape", "template", "told", "limit"),
    [
        ((3, 200, 300), (2, 3, 21, 18), {"channel_axis": 0, "bank": True}, 600_000),
        ((300, 400), (9, 9), {}, 300_000),
        ((60_000,), (200,), {}, 300_000),
        ((60_000,), (200,), {}, 2_000_000),
        ((20, 60, 70), (5, 7, 7), {}, 300_000),
        ((3, 300, 400), (3, 40, 3), {"channel_axis": 0}, 300_000),
    ],
)
def test_blocks_keep_within_memory(shape, template, told, limit):
    """All threads together, with what sums over boxes are made in; Python's own objects for a block are a few thousand bytes."""
    import tracemalloc

    rng = np.random.default_rng(5)
    x, t = rng.standard_normal(shape, np.float32), rng.standard_normal(template, np.float32)
    plan = sash.plan("similarity", shape, template, metric="zncc", max_memory=limit, **told)
    assert plan.scratch <= limit
    tracemalloc.start()
    try:
        y = sash.similarity(x, t, metric="zncc", max_memory=limit, **told)
        before = tracemalloc.get_traced_memory()[0] - y.nbytes
        tracemalloc.reset_peak()
        del y
        y = sash.similarity(x, t, metric="zncc", max_memory=limit, **told)
        peak = tracemalloc.get_traced_memory()[1] - before - y.nbytes
    finally:
        tracemalloc.stop()
    assert peak <= plan.scratch + 40_000


@pytest.mark.parametrize("kind", [np.float32, np.uint8])
def test_what_single_windows_take_is_counted(kind):
    import tracemalloc

    x, t = np.ones((480, 640), kind), np.ones((3, 3), kind)
    plan = sash.plan("similarity", x.shape, t.shape, metric="zncc", input_dtype=kind)
    y = sash.similarity(x, t, metric="zncc")
    tracemalloc.start()
    try:
        y = sash.similarity(x, t, metric="zncc")
        peak = tracemalloc.get_traced_memory()[1] - y.nbytes
    finally:
        tracemalloc.stop()
    assert peak <= plan.scratch + 40_000


@pytest.mark.parametrize("limit", [350_000, 400_000, 500_000, 600_000, 1_000_000])
def test_threads_share_the_half_that_the_engine_may_use(limit):
    """In each block there is a correlation of its own."""
    told = {"metric": "zncc", "channel_axis": 0, "bank": True}
    plan = sash.plan("similarity", (3, 500, 700), (2, 3, 21, 18), max_memory=limit, **told)
    assert all([c.scratch <= limit for c in plan.candidates if not c.refusal]), str(plan)


def test_a_grid_is_the_list_of_its_blocks():
    given = problem((50, 61, 7), (3, 3, 3))
    for tile in ((1, 5, 7, 5), (1, 48, 59, 5), (1, 1, 1, 1), (1, 13, 59, 2)):
        grid = blocks.Grid(given, tile)
        assert list(grid) == given.grid(tile) and len(grid) == given.count(tile)
        assert grid.at(len(grid) // 2) == given.grid(tile)[len(grid) // 2]
