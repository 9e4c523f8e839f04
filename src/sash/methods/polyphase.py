"""Overlap-save on stride phases: each phase of a block is transformed and multiplied, all are summed, one inverse.

    x (N, C, *S)   phases (N, C, s, *S/s)   w (O, C/G, s, *K/s)   y (N, O, *out)
With stride s, tap a*s + b of output j reads x[(j + a)*s + b], sample j + a of phase b: a correlation without stride,
so the skipped positions are never made.  Source: Vaidyanathan 1993, Multirate Systems and Filter Banks, section 4.3.
Imports: spectrum.
"""

from __future__ import annotations

from sash.arrays.numpy_ import Array
from sash.arrays.weights import Weights
from sash.machine import Machine
from sash.methods import spectrum
from sash.methods.method import Cost
from sash.problem import Box, Problem

NAME = "polyphase"
PHASED = True


def refuses(problem: Problem) -> str:
    if not problem.planes and all(axis.stride == 1 for axis in problem.axes):
        return "without a stride there is one phase: this is fft"
    return spectrum.refuses(problem)


def cost(problem: Problem, machine: Machine, limit: float) -> Cost:
    return spectrum.cost(problem, machine, limit, PHASED)


def boxes(problem: Problem, cost: Cost) -> list[Box]:
    return problem.grid(cost.tile)


def prepare(problem: Problem, weights: Weights, cost: Cost) -> spectrum.Spectrum:
    return spectrum.prepare(problem, weights, cost, PHASED)


def run(problem: Problem, x: Array, prepared: spectrum.Spectrum, y: Array, cval: float) -> None:
    spectrum.run(problem, x, prepared, y, cval)
