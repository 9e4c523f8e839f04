"""Regret: how much longer the chosen method takes than the fastest would have, over random problems of all kinds.

    python -m benchmarks regret [--cells N] [--seconds S] [--shipped]

Every method that is willing is timed on every cell, in turns; regret is the least time of the chosen one divided by that
of the fastest.  The same for SciPy's `choose_conv_method`, between its own two ways, stands beside it.
Imports: cells, clock, machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import sash
from benchmarks import machine as host
from benchmarks.cells import Draw, draws
from benchmarks.clock import once
from sash import calibration, planning, running
from sash import machine as machines
from sash.ops import conv as networks
from sash.ops import filters
from sash.plans import Plan, duration

HERE = Path(__file__).parent
SLOWER = 20.0
"""A method that is predicted to take so many times as long as the best is not timed."""
BEATEN = 4.0
"""A method whose first run takes so many times as long as the best so far is not run again."""
ROUNDS = 15
CLOSE = 1.5
"""Regrets between 1 and this are looked at again: noise only adds, so more rounds can only tell the truth."""
TERM = 1.5e-9
"""Seconds of a term of SciPy's direct way, roughly: to see which cells it would never finish."""


@dataclass(slots=True)
class Cell:
    """One problem, what was predicted and what was measured."""

    title: str
    chosen: str
    """By the rates that it ran with."""
    other: str
    """By the other machine file's: shipped for calibrated, and calibrated for shipped."""
    predicted: dict[str, float]
    work: dict[str, dict[str, float]]
    seconds: dict[str, float] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    """Methods that were not timed, or once only, and why."""
    scipy: dict[str, Any] = field(default_factory=dict)

    @property
    def fastest(self) -> str:
        return min(self.seconds, key=self.seconds.__getitem__)

    def regret(self, name: str) -> float:
        return self.seconds[name] / self.seconds[self.fastest] if name in self.seconds else float("nan")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m benchmarks regret", description="How much longer the chosen method takes than the fastest.")
    p.add_argument("--cells", type=int, default=200, metavar="N", help="how many random problems (default 200)")
    p.add_argument("--seconds", type=float, default=4.0, metavar="S", help="for one cell, about; larger ones are left out (default 4)")
    p.add_argument("--largest", type=float, default=1e8, metavar="N", help="elements of the largest array (default 1e8)")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of the problems")
    whose = p.add_mutually_exclusive_group()
    whose.add_argument(
        "--calibrated", action="store_true", help="choose by this machine's calibration, made now if there is none (the default)"
    )
    whose.add_argument("--shipped", action="store_true", help="choose by the machine file that comes with sash")
    p.add_argument("--out", type=Path, metavar="DIR", default=HERE / "results", help="where the JSON goes (default: benchmarks/results)")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit status."""
    asked = parser().parse_args(arguments)
    calibrated, shipped = machines.calibrated(), machines.shipped()
    if calibrated is None:
        print("This machine is not calibrated: it is measured now, and the result is not kept.", flush=True)
        calibrated = calibration.calibrate(store=False)
    mine, others = (shipped, calibrated) if asked.shipped else (calibrated, shipped)
    kind, beside = ("shipped", "calibrated") if asked.shipped else ("calibrated", "shipped")
    print(f"{host.processor()}, {mine.cores} cores; {asked.cells} cells, seed {asked.seed}; rates: {kind} ({mine.date})")
    cells: list[Cell] = []
    left = 0
    for draw in draws(asked.seed, asked.largest):
        if len(cells) == asked.cells:
            break
        cell = measured(draw, mine, others, asked.seconds)
        if cell is None:
            left += 1
            continue
        cells.append(cell)
        print(f"{len(cells):4} {cell.regret(cell.chosen):6.2f}  {cell.chosen:10} {cell.fastest:10} {cell.title}", flush=True)
    print("\n".join(report(cells, kind, beside, left, asked.seconds)))
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / "regret.json"
    told = host.record() | {"rates": kind, "seed": asked.seed, "left_out": left, "cells": [asdict(c) for c in cells]}
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(f"  -> {path}")
    return 0


@contextmanager
def by(here: machines.Machine) -> Iterator[None]:
    """Plans are made from these rates inside the block."""
    before = planning.machine
    planning.machine = lambda home="numpy": here  # type: ignore[assignment]
    machines.forget()
    try:
        yield
    finally:
        planning.machine = before
        machines.forget()


def plan_of(run: Callable[[], Any]) -> Plan:
    """What a call of a verb plans, without doing it."""

    class Planned(Exception):
        pass

    found: list[Plan] = []

    def choose(*given: Any) -> Plan:
        found.append(planning.choose(*given))
        raise Planned

    with (
        mock.patch.object(running, "choose", choose),
        mock.patch.object(running, "bind", never),
        mock.patch.object(filters, "again", never),
        mock.patch.object(networks, "again", never),
        suppress(Planned),
    ):
        run()
    return found[0]


def never(*given: Any) -> None:
    """No call is little: little ones are bound to their plans, and would not make them."""


def measured(draw: Draw, mine: machines.Machine, others: machines.Machine, budget: float) -> Cell | None:
    """All willing methods on one problem; None where even the best would take too long."""
    x, run = draw.given()
    with by(mine):
        free = plan_of(lambda: run("auto", None))
        limit = None if draw.memory is None else max(int(free.scratch * draw.memory), 1)
        try:
            plan = plan_of(lambda: run("auto", limit))
        except sash.SashError:  # less than any method can do with
            limit, plan = None, free
    with by(others):
        try:
            other = plan_of(lambda: run("auto", limit)).method
        except sash.SashError:
            other = plan.method
    if plan.seconds > budget / 6:
        return None
    willing = {c.name: c.seconds for c in plan.candidates if not c.refusal}
    title = draw.title + ("" if limit is None else f", max_memory {limit}")
    work = {c.name: dict(c.cost.work) for c in plan.candidates if c.cost}
    cell = Cell(title, plan.method, other, willing, work)
    with by(mine):
        timed(cell, lambda name: run(name, limit), budget)
    if draw.single:
        cell.scipy = scipys(draw, x, budget / 3)
    return cell


def timed(cell: Cell, run: Callable[[str], Any], budget: float) -> None:
    """Fill in the seconds of every method that may be the fastest, the chosen one among them."""
    best = min(cell.predicted.values())
    for name, seconds in sorted(cell.predicted.items(), key=lambda item: item[1]):
        if seconds > SLOWER * best and name not in (cell.chosen, cell.other):
            cell.left[name] = f"predicted to take {seconds / best:.0f} times as long as the best"
            continue
        once(lambda name=name: run(name))  # kernels are compiled, tables kept
        cell.seconds[name] = once(lambda name=name: run(name))[1]
    soonest = min(cell.seconds.values())
    kept = [n for n, s in cell.seconds.items() if s <= BEATEN * soonest or n in (cell.chosen, cell.other)]
    cell.left |= {n: f"run once: {s / soonest:.1f} times as long as the best" for n, s in cell.seconds.items() if n not in kept}
    turns(cell, kept, run, budget / 3)
    if cell.chosen != cell.fastest and cell.regret(cell.chosen) < CLOSE:
        turns(cell, (cell.chosen, cell.fastest), run, budget / 3)


def turns(cell: Cell, names: Sequence[str], run: Callable[[str], Any], budget: float) -> None:
    """Everyone once in each round, as many rounds as the budget has room for; the least counts."""
    rounds = int(np.clip(budget / max(sum(cell.seconds[n] for n in names), 1e-6), 2, ROUNDS))
    order = np.random.default_rng(len(names))
    for _ in range(rounds):
        for name in order.permutation(names):
            count = max(1, int(1e-3 / max(cell.seconds[name], 1e-6)))
            seconds = once(lambda name=name, count=count: [run(name) for _ in range(count)])[1] / count
            cell.seconds[name] = min(cell.seconds[name], seconds)


def scipys(draw: Draw, x: Any, budget: float) -> dict[str, Any]:
    """What SciPy would choose for the dense result of the same arrays, and both its ways' seconds."""
    from scipy import signal

    kernel = draw.kernel()
    mode = "same" if draw.padding == "same" else "valid"
    outputs = prod(n if mode == "same" else n - k + 1 for n, k in zip(draw.shape, draw.size, strict=True))
    choice = signal.choose_conv_method(x, kernel, mode=mode)
    seconds = {}
    for method, guess in (("fft", x.size * 1e-7), ("direct", outputs * prod(draw.size) * TERM)):
        if guess < budget and guess < SLOWER * seconds.get("fft", budget):
            seconds[method] = min(once(lambda method=method: signal.correlate(x, kernel, mode, method))[1] for _ in range(3))
    return {"choice": choice, "seconds": seconds}


# --- what is told ----------------------------------------------------------------------------------


def percentiles(values: Sequence[float]) -> str:
    kept = np.array([v for v in values if np.isfinite(v)])
    if not len(kept):
        return "none"
    median, high = np.percentile(kept, (50, 95))
    return f"median {median:.2f}, 95th percentile {high:.2f}, worst {kept.max():.2f}  ({len(kept)} cells)"


def report(cells: Sequence[Cell], kind: str, beside: str, left: int, budget: float) -> Iterator[str]:
    """Percentiles, what was left out, the ten worst."""
    yield ""
    yield f"sash, {kind:11} {percentiles([c.regret(c.chosen) for c in cells])}"
    yield f"sash, {beside:11} {percentiles([c.regret(c.other) for c in cells])}"
    theirs = [c.scipy["seconds"] for c in cells if {"direct", "fft"} <= c.scipy.get("seconds", {}).keys()]
    choices = [c.scipy["choice"] for c in cells if {"direct", "fft"} <= c.scipy.get("seconds", {}).keys()]
    yield f"scipy choose_conv_method: {percentiles([s[n] / min(s.values()) for s, n in zip(theirs, choices, strict=True)])}"
    yield f"{left} drawn problems were left out: even the best method is predicted to take more than {budget / 6:.2g} s."
    never = sum(text.startswith("predicted") for c in cells for text in c.left.values())
    yield f"{never} of {sum(len(c.predicted) for c in cells)} methods were not timed: predicted over {SLOWER:g} times slower than the best."
    yield f"SciPy counts where both its ways end within {budget / 3:.2g} s, and direct is not over {SLOWER:g} times slower than fft (a guess)."
    yield ""
    yield "The worst:            chosen      predicted  measured    fastest     predicted  measured"
    for c in sorted(cells, key=lambda c: -c.regret(c.chosen))[:10]:
        both = "    ".join(f"{n:10} {duration(c.predicted[n]):>10} {duration(c.seconds[n]):>9}" for n in (c.chosen, c.fastest))
        yield f"  {c.regret(c.chosen):5.2f}  {'':12} {both}  {c.title}"


if __name__ == "__main__":
    sys.exit(main())
