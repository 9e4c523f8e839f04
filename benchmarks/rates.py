"""Measure this machine's rates: time sample problems of every method on one thread, fit seconds per unit of work.

    python -m benchmarks.rates [FILE]        default: src/sash/machines/default.json

Every method states its work as amounts of named units (`Cost.work`), so predicted time is linear in the rates and
non-negative least squares on relative errors finds them; nothing here knows what the units are.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

import sash
from sash import planning
from sash.arrays.weights import Weights
from sash.axis import Axis
from sash.machine import SHIPPED, Machine, machine, usable_cores
from sash.methods import METHODS, Method
from sash.problem import REDUCTIONS, Problem
from sash.tiles import execute

ROUNDS = 4
LONGEST = 0.12
"""Seconds: a sample that is predicted to take longer is left out."""


def samples() -> Iterator[Problem]:
    """Problems of all kinds and many sizes; each method takes those that it is willing to do."""
    shapes = [((16, 16), 3), ((64, 64), 3), ((64, 64), 9), ((256, 256), 5), ((256, 256), 15), ((512, 512), 3), ((512, 512), 31)]
    shapes += [((1024, 1024), 7), ((1024, 1024), 63), ((1536, 1536), 3), ((10000,), 51), ((200000,), 11), ((200000,), 501), ((1000000,), 5)]
    shapes += [((24, 24, 24), 3), ((48, 48, 48), 5), ((96, 96, 96), 3), ((128, 128, 128), 9), ((100, 64, 64), 1), ((8, 700, 300), 9)]
    for dtype in ("float32", "float64", "int64"):
        for shape, size in shapes:
            for stride in (1, 2):
                for reduce in REDUCTIONS if stride == 1 else REDUCTIONS[:1]:
                    for boundary in ("zero", "symmetric") if stride == 1 and reduce == "product" else ("zero",):
                        axes = [Axis(n, size, stride, 1, -(size // 2), n + size // 2, boundary) for n in shape]
                        if size == 1:
                            axes = [Axis(n, 5, stride, 1, 0, n, boundary) for n in shape[1:]]
                            axes = [Axis(shape[0], 1, 1, 1, 0, shape[0], boundary), *axes]
                        base = Problem(
                            tuple(axes), reduce=reduce, dtype=dtype, source=dtype, result=dtype, bits=40 * (dtype == "int64"), finite=True
                        )
                        yield base
                        if reduce == "product":
                            yield base._replace(rank=1)
                            if boundary == "zero":
                                yield base._replace(source="uint8", straight=False, result="float32")
    for inputs, outputs, n, size in ((3, 16, 64, 3), (16, 32, 64, 3), (64, 64, 48, 3), (4, 4, 200, 7)):
        for dtype in ("float32", "float64"):
            axis = Axis(n, size, 1, 1, 0, n, "zero")
            yield Problem((axis, axis), inputs=inputs, outputs=outputs, dtype=dtype, source=dtype, result=dtype, finite=True)


def operands(problem: Problem) -> tuple[np.ndarray[Any, Any], Weights, np.ndarray[Any, Any]]:
    """Random arrays for a problem."""
    rng = np.random.default_rng(len(problem.axes) + problem.taps)
    shape = (problem.batch, problem.inputs, *(a.n for a in problem.axes))
    x = (rng.random(shape) * 100).astype(problem.source)
    sizes = [a.size for a in problem.axes]
    dense = (rng.random((problem.outputs, problem.inputs, *sizes)) * 9).astype(problem.dtype)
    terms = (tuple((rng.random(k) * 9).astype(problem.dtype) for k in sizes),) if problem.rank else None
    return x, Weights(dense, terms), np.empty((problem.batch, problem.outputs, *problem.out), problem.result)


def clock(method: Method, problem: Problem, guess: Machine) -> tuple[dict[str, float], float] | None:
    """(work, median seconds on one thread) of a method on a problem."""
    if method.refuses(problem):
        return None
    cost = method.cost(problem, guess, float("inf"))
    if guess.seconds(cost.work) > LONGEST:
        return None
    x, weights, y = operands(problem)
    with sash.threads(1):
        plan = planning.choose(problem, method.NAME, None, 1)
        execute(plan, x, weights, y, 0.0)
        times = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            execute(plan, x, weights, y, 0.0)
            times.append(time.perf_counter() - start)
            if times[0] > 2 * LONGEST:
                break
    return dict(cost.work), float(np.median(times))


def crew(rates: dict[str, float]) -> dict[str, float]:
    """What a second thread does not bring (share of the time), and what calling it costs (seconds)."""
    axis = Axis(1024, 15, 1, 1, 0, 1024, "zero")
    problem = Problem((axis, axis), finite=True)
    x, weights, y = operands(problem)
    lost = []
    for _ in range(7):
        times = []
        for n in (1, 2):
            plan = planning.choose(problem, "direct", None, n)
            start = time.perf_counter()
            execute(plan, x, weights, y, 0.0)
            times.append(time.perf_counter() - start)
        lost.append(2 * times[1] / times[0] - 1)
    return {"crew": float(np.clip(np.median(lost), 0.0, 1.0)), "crew.call": rates.get("crew.call", 6e-5)}


def main(path: Path) -> None:
    guess = machine()
    rows, seconds, told = [], [], []
    for problem in samples():
        for method in METHODS:
            found = clock(method, problem, guess)
            if found:
                rows.append(found[0])
                seconds.append(found[1])
                told.append((method.NAME, problem))
    names = sorted({name for row in rows for name in row})
    matrix = np.array([[row.get(name, 0.0) for name in names] for row in rows]) / np.array(seconds)[:, None]
    weight = np.ones(len(rows))
    for _ in range(8):  # reweighted, so that a few odd samples do not bend the rest
        fitted, _ = nnls(matrix * weight[:, None], weight)
        weight = 1 / np.sqrt(np.maximum(np.abs(matrix @ fitted - 1), 0.05))
    floor = dict.fromkeys(names, 1e-13)
    rates = dict(guess.rates) | {name: float(f"{max(rate, floor[name]):.3g}") for name, rate in zip(names, fitted, strict=True)}
    if usable_cores() > 1:
        rates |= {name: float(f"{value:.3g}") for name, value in crew(rates).items()}
    record = json.loads(SHIPPED.read_text(encoding="utf-8"))
    record |= {"date": date.today().isoformat(), "rates": dict(sorted(rates.items()))}
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    ratio = np.sort(matrix @ fitted)
    print(
        f"{len(rows)} samples; predicted / measured: 5 % {ratio[len(ratio) // 20]:.2f}, median {np.median(ratio):.2f}, 95 % {ratio[-len(ratio) // 20]:.2f}"
    )
    for i in np.argsort(-np.abs(np.log(matrix @ fitted)))[:12]:
        method, problem = told[i]
        print(
            f"  {method:10} {(matrix @ fitted)[i]:6.2f}  {seconds[i] * 1e3:8.3f} ms  {problem.dtype} {problem.source} {problem.reduce} rank {problem.rank} {[(a.n, a.size, a.stride) for a in problem.axes]} {problem.inputs}->{problem.outputs}"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED)
