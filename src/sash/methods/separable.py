"""Separable kernels: a sum of outer products of 1-D kernels, made as passes along the axes.

    x (N, 1, *S)   terms: per product, one 1-D kernel per axis   y (N, 1, *out)
Without stride, the last three axes go through one fused kernel that keeps a few planes in cache and resolves the
boundary by index maps; everything else goes axis by axis over blocks that fit the cache.   Imports: arrays, kernels.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from sash.arrays import family
from sash.arrays.numpy_ import Array, fill, give
from sash.arrays.weights import Terms, Weights
from sash.axis import Axis
from sash.machine import Machine
from sash.methods import bands, fused
from sash.methods.method import GATED, Cost
from sash.methods.offsets import Kernel, slide
from sash.problem import Box, Problem

NAME = "separable"


def refuses(problem: Problem) -> str:
    if problem.planes:
        return GATED
    if problem.reduce != "product":
        return f"{problem.reduce} differences do not factor"
    if problem.inputs * problem.outputs > 1:
        return f"one kernel per channel pair ({problem.outputs} x {problem.inputs // problem.groups}), not a product of 1-D kernels"
    if all(a.size == 1 for a in problem.axes):
        return "the kernel has one tap: there is nothing to separate"
    if not problem.rank:
        return "the kernel is not known to be a sum of few outer products (separable=True measures it)"
    return ""


def fuses(problem: Problem) -> bool:
    """Whether passes are fused: the order of summation must be that of the whole."""
    return problem.home != "cuda" and not problem.upsampled and not refuses(problem) and bands.takes(problem)


def cost(problem: Problem, machine: Machine, limit: float) -> Cost:
    item = problem.itemsize
    if problem.home != "cuda" and bands.takes(problem):
        tile = bands.block(problem, limit / item, machine.cores)
        done = bands.passes(problem, tile, machine.vector // item, machine.side)
        ends = np.dtype(problem.source).itemsize + np.dtype(problem.result).itemsize
        work: dict[str, float] = {
            f"separable.{'pair.' if problem.mirrored else ''}{problem.dtype}": done.terms,
            f"separable.pass.{problem.dtype}": done.made * min(ends / (2 * item), 1),  # most of it is memory
            "copy.sample": done.gathered + (0 if problem.straight else problem.samples),
            "separable.call": done.calls,
            "separable.line": done.lines,
            "separable.block": problem.count(tile),
        }
        scratch = bands.scratch(problem, tile) * item
        return Cost(work, scratch, problem.taps * item, tile, "fused")
    tile = problem.tile(max(int(min(machine.cache / 2, limit / 6) / item), 1))
    tiles, reads = problem.count(tile), problem.reads(tile)
    terms = made = split = 0.0
    grown = float(reads)
    for i in _order(problem.axes):
        axis = problem.axes[i]
        split += grown if axis.stride > 1 else 0
        grown *= tile[i + 1] / ((tile[i + 1] - 1) * axis.stride + axis.reach)
        terms += grown * axis.size
        made += grown
    passes = tiles * problem.rank
    work = {
        f"direct.taps.product.{problem.dtype}": passes * terms,
        f"result.{problem.dtype}": passes * made,
        "copy.sample": tiles * reads,
        "split.sample": passes * split,
        "separable.pass": passes * len(problem.active),
        "split.call": passes * sum(a.stride for a in problem.axes if a.stride > 1),
        "separable.tile": tiles,
    }
    return Cost(work, 5 * reads * item + 16 * prod(tile), problem.taps * item, tile, "axis by axis")


def boxes(problem: Problem, cost: Cost) -> list[Box]:
    return problem.grid(cost.tile)


def prepare(problem: Problem, weights: Weights, cost: Cost | None) -> tuple[bool, Terms, bool, list[Array]]:
    """(whether passes are fused: the order of summation must be that of the whole; terms; all symmetric; scratch to use again)."""
    assert weights.terms is not None
    if problem.home == "cuda":
        f = family(weights.terms[0][0])
        return False, tuple([tuple([f.cast(k, problem.dtype) for k in term]) for term in weights.terms]), False, []
    key = (NAME, problem.dtype)
    terms: Terms | None = weights.kept.get(key)
    if terms is None:
        terms = weights.kept[key] = tuple([tuple([np.ascontiguousarray(k, problem.dtype) for k in term]) for term in weights.terms])
    return bands.takes(problem), terms, weights.mirrored, []


def run(problem: Problem, x: Array, prepared: tuple[bool, Terms, bool, list[Array]], y: Array, cval: float) -> None:
    fuses, terms, even, spare = prepared
    if problem.home == "cuda":
        _pass_by_pass(problem, x, terms, y, cval)
        return
    if fuses:
        fused.run(problem, x, terms, even, y, cval, spare)
        return
    tile = fill(x, problem.axes, problem.dtype, cval)
    total: Array | None = None
    for term in terms:
        done, axes = tile, list(problem.axes)
        passed = _order(problem.axes)
        for i in passed:
            single = tuple(a if j == i else _idle(n) for j, (a, n) in enumerate(zip(axes, done.shape[2:], strict=True)))
            step = Problem(single, problem.batch, dtype=problem.dtype, elementwise=problem.elementwise)
            shape = list(done.shape)
            shape[i + 2] = axes[i].out
            result = np.empty(shape, problem.dtype)
            slide(step, done, Kernel(term[i].reshape(1, -1)), result)
            done = result
        total = done if total is None else np.add(total, done, out=total)
    assert total is not None
    give(total, y)


def _pass_by_pass(problem: Problem, x: Any, terms: Terms, y: Any, cval: float) -> None:
    """One of PyTorch's convolutions along each axis, on a tile that holds the extension of x."""
    f = family(x)
    tile = f.fill(x, problem.axes, problem.dtype, cval)
    total: Any = None
    for term in terms:
        done = tile
        for i in _order(problem.axes):
            a = problem.axes[i]
            moved = done.movedim(i + 2, -1)
            line = moved.reshape(-1, 1, moved.shape[-1])
            line = f.lib.nn.functional.conv1d(line, term[i].reshape(1, 1, -1), stride=a.stride, dilation=a.dilation)
            done = line.reshape(*moved.shape[:-1], -1).movedim(-1, i + 2)
        total = done if total is None else total + done
    f.give(total, y)


def _idle(n: int) -> Axis:
    return Axis(n, 1, 1, 1, 0, n, "zero")


def _order(axes: tuple[Axis, ...]) -> list[int]:
    """Axes that a pass is made along: those that shrink the block most come first."""
    active = [i for i, a in enumerate(axes) if a.size > 1 or a.stride > 1]
    active = active or [len(axes) - 1]
    return sorted(active, key=lambda i: -axes[i].stride)
