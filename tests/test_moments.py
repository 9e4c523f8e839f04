"""Blocks that scores are made in: they fit, read little twice, and are what the plan tells of."""

from math import prod

import numpy as np
import pytest

import sash
from sash.ops import moments


def problem(shape, template, **settings):
    return sash.plan("similarity", shape, template, metric="zncc", **settings).problem


@pytest.mark.parametrize("seed", range(40))
def test_a_block_fits_and_no_other_cut_that_fits_reads_much_less(seed):
    rng = np.random.default_rng(seed)
    axes = int(rng.integers(1, 4))
    shape = tuple(int(n) for n in rng.integers(20, {1: 100_000, 2: 600, 3: 90}[axes], axes))
    given = problem(shape, tuple(int(k) for k in rng.integers(1, 16, axes)), stride=int(rng.integers(1, 3)))
    whole = (1, *given.out)
    room = moments._held(given, whole) / float(rng.uniform(1, 30))
    tile = moments._tile(given, room)
    assert moments._held(given, tile) <= room

    def read(tile):
        return given.reads(tile) * prod([-(-n // t) for n, t in zip(whole, tile, strict=True)])

    for i in range(1, axes + 1):  # slabs across one axis
        slab = next((t for t in range(whole[i], 0, -1) if moments._held(given, (*whole[:i], t, *whole[i + 1 :])) <= room), None)
        if slab:
            assert read(tile) <= 2.5 * read((*whole[:i], slab, *whole[i + 1 :]))


def test_a_stack_is_cut_into_whole_slices_or_rows():
    """Columns of 61 x 61 through all slices read every sample more than twice."""
    given = problem((64, 512, 512), (1, 32, 32))
    tile = moments._blocks(given, None)[0]
    assert tile[-1] == 481 and tile[-2] >= 160 and tile[1] == 1


def test_many_axes_are_cut_without_trying_every_block(monkeypatch):
    tried, held = [], moments._bytes
    monkeypatch.setattr(moments, "_bytes", lambda given, reads, made: tried.append(np.size(reads)) or held(given, reads, made))
    tile = moments._tile(problem((50, 50, 50, 50, 50), (7, 7)), moments.HELD)
    assert max(tried) <= moments.TRIED and tile[0] == 1


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
def test_a_batch_of_none_is_planned_and_made(metric):
    with np.errstate(all="raise"):
        assert sash.plan("similarity", (0, 50, 50), (7, 7), metric=metric).seconds == 0
    assert sash.similarity(np.zeros((0, 50, 50)), np.zeros((7, 7)), metric=metric).shape == (0, 44, 44)


def test_the_plan_tells_of_all_blocks():
    one, many = [sash.plan("similarity", (n, 512, 512), (1, 32, 32), metric="zncc") for n in (2, 64)]
    assert "in blocks of 1x" in str(many)
    assert 20 * one.seconds < many.seconds < 50 * one.seconds
