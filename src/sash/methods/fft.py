"""Overlap-save: blocks of the input are transformed, multiplied by the kernel's spectrum, and transformed back.

    x (N, C, *S)   w (O, C/G, *K)   y (N, O, *out)
Strides are taken after the dense result is made; `polyphase` does not make what is thrown away.
Imports: spectrum.
"""

from __future__ import annotations

from sash.arrays.numpy_ import Array
from sash.arrays.weights import Weights
from sash.machine import Machine
from sash.methods import spectrum
from sash.methods.method import Cost
from sash.problem import Box, Problem

NAME = "fft"
PHASED = False


def refuses(problem: Problem) -> str:
    return spectrum.refuses(problem)


def cost(problem: Problem, machine: Machine, limit: float) -> Cost:
    return spectrum.cost(problem, machine, limit, PHASED)


def boxes(problem: Problem, cost: Cost) -> list[Box]:
    return problem.grid(cost.tile)


def prepare(problem: Problem, weights: Weights, cost: Cost) -> spectrum.Spectrum:
    return spectrum.prepare(problem, weights, cost, PHASED)


def run(problem: Problem, x: Array, prepared: spectrum.Spectrum, y: Array, cval: float) -> None:
    spectrum.run(problem, x, prepared, y, cval)
