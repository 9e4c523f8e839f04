"""Shift and add: one whole-block multiply-add per tap, in plain array operations.

    x (N, C, *S)   w (O, C/G, *K)   y (N, O, *out)
The plainest method: nothing but slices, so it serves every reduction and type, and checks the others.
Imports: arrays.
"""

from __future__ import annotations

from itertools import product
from math import prod

from sash.accuracy import CHUNK
from sash.arrays import family
from sash.arrays.numpy_ import Array, cut
from sash.arrays.weights import Weights
from sash.machine import Machine
from sash.methods.method import GATED, Cost
from sash.methods.offsets import Kernel, plain
from sash.problem import Box, Problem

NAME = "shift_add"


def refuses(problem: Problem) -> str:
    if problem.planes:
        return GATED
    return ""


def cost(problem: Problem, machine: Machine, limit: float) -> Cost:
    item = problem.itemsize
    tile = problem.tile(max(int(min(machine.cache / 4, limit / 8) / item), 1))
    tiles = problem.count(tile)
    steps = 1 if problem.reduce == "product" else 2
    work = {
        f"shift_add.{problem.dtype}": problem.results * problem.taps * steps,
        "shift_add.call": tiles * problem.taps * problem.outputs * steps,
        "copy.sample": problem.samples,
        "shift_add.block": tiles,
    }
    scratch = (problem.reads(tile) + 4 * prod(tile) * (problem.outputs + 2)) * item
    return Cost(work, scratch, 2 * problem.taps * problem.outputs * item, tile)


def boxes(problem: Problem, cost: Cost) -> list[Box]:
    return problem.grid(cost.tile)


def prepare(problem: Problem, weights: Weights, cost: Cost | None) -> Kernel:
    key = (NAME, problem.dtype)
    found: Kernel | None = weights.kept.get(key)
    if found is None:
        found = weights.kept[key] = plain(problem, weights)
    return found


def run(problem: Problem, x: Array, prepared: Kernel, y: Array, cval: float) -> None:
    f = family(x)
    tile = f.fill(x, problem.axes, problem.dtype, cval)
    total, rest = f.zeros(y.shape, tile), f.zeros((problem.batch, *problem.out), tile)
    w, v, _ = prepared
    wide = problem.inputs // problem.groups
    sizes = [range(a.size) for a in problem.axes]
    term = f.empty((problem.batch, *problem.out), tile)
    for o in range(problem.outputs):
        first = o // (problem.outputs // problem.groups) * wide
        chunk = f.lib.zeros_like(term)
        for count, (c, *at) in enumerate(product(range(wide), *sizes), start=1):
            starts = [t * a.dilation for t, a in zip(at, problem.axes, strict=True)]
            stops = [s + (a.out - 1) * a.stride + 1 for s, a in zip(starts, problem.axes, strict=True)]
            piece = cut(tile[:, first + c], list(map(slice, starts, stops, [a.stride for a in problem.axes])))
            _term(problem.reduce, piece, w[o, count - 1], None if v is None else v[o, count - 1], term)
            chunk += term
            if count % CHUNK[True] == 0:  # a running sum's error grows with its length
                f.add_exactly(total[:, o], chunk, rest)
                chunk[...] = 0
        total[:, o] += chunk
        total[:, o] += rest
        rest[...] = 0
    f.give(total, y)


def _term(reduce: str, x: Array, w: Array, v: Array | None, term: Array) -> None:
    lib = family(x).lib
    if reduce == "product":
        lib.multiply(x, w, out=term)
        return
    lib.subtract(x, w, out=term)
    if reduce == "absolute":
        lib.abs(term, out=term)
    else:
        lib.multiply(term, term, out=term)
    if v is not None:
        lib.multiply(term, v, out=term)
