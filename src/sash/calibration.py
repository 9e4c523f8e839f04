"""Measuring this machine: sample problems of every method are timed, and seconds per unit of work fitted to them.

Every method states its work as amounts of named units (`Cost.work`), so predicted time is linear in the rates, and
non-negative least squares on relative errors finds them; nothing here knows what the units are.  What no sample
reaches keeps its shipped rate, scaled as the others are.  Imports: ahead, machine, methods, samples, tiles.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import product, zip_longest
from pathlib import Path
from statistics import median
from tempfile import NamedTemporaryFile
from time import perf_counter, process_time, thread_time
from typing import Any

import numpy as np

from sash import ahead
from sash import machine as machines
from sash.errors import ArgumentError
from sash.machine import FORMAT, Machine
from sash.methods import METHODS, Method, direct
from sash.plans import Candidate, Plan
from sash.problem import Problem
from sash.running import at_once
from sash.samples import alone, operands, problems
from sash.tiles import execute, threads

SECONDS = 26.0
"""That all takes at most, about; the fit and the last sample come on top."""

AHEAD, SHARE = 800, 0.5
"""Samples whose kernels are compiled before any is timed, and the part of the time that this may take."""

HERE = "float32"
"""The type whose kernels this process compiles: half of all."""

LEFT = 0.3
"""Part of the time that is left to the samples, whatever went before."""

LONGEST = 0.025
"""Seconds: a sample that is predicted to take longer is left out."""

ROUNDS, SHORT, TURNS = 2, 0.006, 2
"""In each of its turns a sample is run at least so often, and again until so many seconds are over; its least time counts.

Turns lie seconds apart: a moment in which another program slows this one is as long as several samples."""

MOMENTS = 8
"""How often it is looked what a second thread brings, before all else and once more behind it."""

PULL = 0.4
"""Weight of the shipped rates beside a sample's 1: it settles what few samples leave open, and yields to many."""

ODD = 0.3
"""How far off a sample is, relative to what it took, before its weight falls."""

LEAST = 1e-13
"""Seconds per unit that no rate goes below."""

Progress = Callable[[float], None]
Job = tuple[Method, Problem]
Clock = Callable[[], tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Sample:
    """What a method was timed at: its work, and the seconds it took one thread."""

    method: str
    problem: Problem
    work: Mapping[str, float]
    seconds: float


def calibrate(*, seconds: float = SECONDS, store: bool = True, progress: Progress | None = None) -> Machine:
    """Measure this machine once; the result is kept in the user's cache folder, and plans are made with it from then on.

    Processor time is measured, not the clock's, and the least of several runs counts, so another program that is busy
    disturbs little. Two calibrations at once are safe: each writes a whole file, and the later one stays.

    Parameters
    ----------
    seconds : float
        That may be spent, of which at most half on compiling kernels that the cache has not, which a second process helps
        with. What is not reached keeps its shipped rate, scaled as the others are.
    store : bool
        False: nothing is written, and plans stay what they are.
    progress : callable, optional
        Called with the part that is done, from 0 to 1.

    Returns
    -------
    Machine
        With the measured `rates`, in seconds per unit of work.

    Raises
    ------
    ArgumentError
        `seconds` is not a positive number.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import sash
    >>> here = sash.calibrate(seconds=0.2, store=False)
    >>> here.rates["direct.rows.product.float32"] > 0
    True
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < float("inf"):
        raise ArgumentError(f"calibrate(seconds={seconds!r}): seconds must be a positive number.")
    found = measured(seconds, progress)
    if store:
        keep(found, machines.calibration_file())
        machines.forget()
    return found


def measured(seconds: float = SECONDS, progress: Progress | None = None) -> Machine:
    """This machine, measured."""
    start, tell = perf_counter(), progress or (lambda part: None)
    guess, given = guessed(), tuple(problems())
    tell(0.0)
    compile_ahead(given, guess, seconds * SHARE)
    lost = losses() if guess.cores > 1 else []
    done = min((perf_counter() - start) / seconds, 1.0)
    left = max(seconds * (1 - done), LEFT * seconds)
    rates = fit(sampled(given, guess, left, lambda part: tell(done + (1 - done) * part)), guess.rates)
    if guess.cores > 1:
        rates |= crew(rates, lost + losses())
    name = machines.signature()["processor"]
    return replace(guess, name=name, date=date.today().isoformat(), script="sash calibrate", rates=dict(sorted(rates.items())))


def guessed() -> Machine:
    """What is taken for this machine until it is measured."""
    from sash.kernels.cpu.simd import vector_bytes

    return replace(machines.shipped(), vector=vector_bytes())


def keep(found: Machine, path: Path) -> None:
    """Write the file in one step: whoever reads meanwhile gets the old one or the new one."""
    record = {
        "format": FORMAT,
        "sash": machines.version(),
        "signature": machines.signature(),
        "name": found.name,
        "date": found.date,
        "script": found.script,
        "cache": found.cache,
        "vector": found.vector,
        "rates": dict(found.rates),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=path.stem, suffix=".part", delete=False) as part:
        try:
            part.write(json.dumps(record, indent=2) + "\n")
            part.close()
            os.replace(part.name, path)
        except BaseException:
            part.close()
            os.unlink(part.name)
            raise


# --- samples ---------------------------------------------------------------------------------------


def compile_ahead(given: Sequence[Problem], guess: Machine, seconds: float) -> None:
    """Run the first samples once, those of other types than float32 in a process beside this one.

    Kernels are compiled for one type, and each process finds in the cache on disk what the other compiled.
    """
    until, jobs = perf_counter() + seconds, first(given, guess)
    if not ahead.able(guess.cores, seconds):
        _run(jobs, guess, until)
        return
    mine = [job for job in jobs if job[1].dtype == HERE]
    ahead.together(lambda: _run(mine, guess, until), f"from sash.calibration import help_ahead; help_ahead({seconds}, LOCK)", until)


def help_ahead(seconds: float, lock: str) -> None:
    """What the process beside does."""
    until, guess = perf_counter() + seconds, guessed()
    with ahead.one_saves(lock):
        _run([job for job in first(tuple(problems()), guess) if job[1].dtype != HERE], guess, until)


def first(given: Sequence[Problem], guess: Machine) -> list[Job]:
    return orders(given, guess, LONGEST)[:AHEAD]


def _run(jobs: Sequence[Job], guess: Machine, until: float) -> None:
    with threads(1):
        for method, problem in jobs:
            if perf_counter() > until:
                return
            runner(method, problem, guess)[0]()


def orders(given: Sequence[Problem], guess: Machine, longest: float) -> list[Job]:
    """Every method on every problem that it takes, in the order in which they are timed.

    Kinds of work take turns, whatever the number of problems of each: by the method and by what takes most of the time.
    Within a kind the order has no meaning, so that whatever the time allows is a fair choice.
    """
    kinds: dict[tuple[str, str], list[Job]] = {}
    for method, problem in product(METHODS, given):
        if _suits(method, problem, guess, longest):
            _, most = max([(amount * guess.rates[name], name) for name, amount in _work(method, problem, guess).items()])
            kinds.setdefault((method.NAME, most), []).append((method, problem))
    rng = np.random.default_rng(0)
    mixed = [[jobs[i] for i in rng.permutation(len(jobs))] for jobs in kinds.values()]
    return [job for turn in zip_longest(*mixed) for job in turn if job is not None]


def sampled(
    given: Sequence[Problem], guess: Machine, seconds: float, progress: Progress | None = None, longest: float = LONGEST
) -> list[Sample]:
    """Every method timed on every problem that it takes, in `TURNS` turns, until the time is over."""
    tell = progress or (lambda part: None)
    start = perf_counter()
    jobs = orders(given, guess, longest)
    now, found = clock(), []
    tell(0.0)
    with threads(1):
        for number, (method, problem) in enumerate(jobs * TURNS):
            sample = timed(method, problem, guess, now)
            if number < len(jobs):
                found.append(sample)
            else:
                at = number % len(jobs)
                found[at] = min(found[at], sample, key=lambda s: s.seconds)
            part = (perf_counter() - start) / seconds
            tell(min(max(part, (number + 1) / (TURNS * len(jobs))), 1.0))
            if part >= 1:
                break
    return found


def _work(method: Method, problem: Problem, guess: Machine) -> Mapping[str, float]:
    return method.cost(problem, guess, float("inf")).work


def _suits(method: Method, problem: Problem, guess: Machine, longest: float) -> bool:
    return not method.refuses(problem) and guess.seconds(_work(method, problem, guess)) <= longest


def timed(method: Method, problem: Problem, guess: Machine, now: Clock) -> Sample:
    """The least seconds of a few runs on one thread; the first, which may compile, does not count."""
    run, work = runner(method, problem, guess)
    run()
    times: list[float] = []
    begun = perf_counter()
    while len(times) < ROUNDS or perf_counter() - begun < SHORT:
        start = now()
        run()
        times.append(min(b - a for a, b in zip(start, now(), strict=True)))
        if times[0] > 4 * LONGEST:
            break
    return Sample(method.NAME, problem, work, max(min(times), 1e-7))


def runner(method: Method, problem: Problem, guess: Machine) -> tuple[Callable[[], None], Mapping[str, float]]:
    """What runs a method on random operands, and its work."""
    plan = planned(method, problem, guess)
    assert plan.chosen.cost is not None
    x, weights, y = operands(problem)

    def run() -> None:
        if method.NAME != direct.NAME or not at_once(problem, x, weights, y, 0.0, method.NAME, None):
            execute(plan, x, weights, y, 0.0)

    return run, plan.chosen.cost.work


def planned(method: Method, problem: Problem, guess: Machine) -> Plan:
    """The plan by one method on one thread, made from `guess` and not from what was measured before."""
    cost = method.cost(problem, guess, float("inf"))
    boxes = method.boxes(problem, cost)
    candidate = Candidate(method.NAME, guess.seconds(cost.work), cost.scratch + cost.shared, 1, "", cost)
    return Plan("", problem, method.NAME, "as asked", (candidate,), () if boxes == [problem.whole] else tuple(boxes))


def clock() -> Clock:
    """What tells the seconds that work took, each in its way too long: the least is right.

    The clock counts what other programs took; the processor time of all threads, that BLAS' threads spun while they
    waited; that of this thread lacks what they did, at most as much again for each core.
    """
    start = process_time()
    steps, until = 0, perf_counter() + 2e-3
    while perf_counter() < until:
        if (here := process_time()) != start:
            start, steps = here, steps + 1
    if steps < 100:  # it is told by the tick only
        return lambda: (perf_counter(),)
    cores = machines.usable_cores()
    return lambda: (perf_counter(), process_time(), thread_time() * cores)


# --- rates -----------------------------------------------------------------------------------------


def fit(samples: Sequence[Sample], shipped: Mapping[str, float]) -> dict[str, float]:
    """Seconds per unit that predict the samples best, relative to what each took; all of `shipped`'s names."""
    names = sorted({name for sample in samples for name, amount in sample.work.items() if amount})
    if not names:
        return dict(shipped)
    from scipy.optimize import nnls

    matrix = np.array([[sample.work.get(name, 0.0) for name in names] for sample in samples], float)
    matrix /= np.array([sample.seconds for sample in samples])[:, None]
    before = np.array([shipped[name] for name in names])
    speed = median(1 / np.maximum(matrix @ before, 1e-9))  # how many times longer than predicted
    units = np.maximum(before * speed, LEAST)
    matrix, weight = matrix * units, np.ones(len(samples))
    for _ in range(12):  # reweighted: half as long counts as much as twice as long, and a few odd samples do not bend the rest
        rows = np.concatenate([matrix * weight[:, None], PULL * np.eye(len(names))])
        found, _ = nnls(rows, np.concatenate([weight, np.full(len(names), PULL)]))
        ratio = np.maximum(matrix @ found, 0.1)
        off = np.abs(ratio - 1) / np.sqrt(ratio)
        weight = np.sqrt(ODD / np.maximum(off, ODD) / ratio)
    rates = {name: rate * speed for name, rate in shipped.items()} | dict(zip(names, found * units, strict=True))
    return {name: float(f"{max(rate, LEAST):.4g}") for name, rate in rates.items()}


def ratios(samples: Sequence[Sample], rates: Mapping[str, float]) -> list[float]:
    """Predicted / measured of each sample."""
    return [sum(amount * rates[name] for name, amount in sample.work.items()) / sample.seconds for sample in samples]


def losses() -> list[float]:
    """What a second thread did not bring (share of the time), at several moments."""
    problem, found = alone(), []
    x, weights, y = operands(problem)
    plan = planned(METHODS[0], problem, machines.shipped())
    shared = {n: replace(plan, candidates=(replace(plan.chosen, workers=n),)) for n in (1, 2)}
    for _ in range(MOMENTS):
        times: dict[int, list[float]] = {1: [], 2: []}
        for _, n in product(range(5), times):
            start = perf_counter()
            execute(shared[n], x, weights, y, 0.0)
            times[n].append(perf_counter() - start)
        found.append(2 * min(times[2]) / min(times[1]) - 1)
    return found


def crew(rates: Mapping[str, float], lost: list[float]) -> dict[str, float]:
    """What a second thread does not bring, and what calling it costs (seconds).

    Where other programs take a core now and then, moments are very different (0.03 to 0.6 within seconds): three quarters
    of them tell of those programs.
    """
    return {"crew": float(f"{min(max(np.percentile(lost, 25), 0.01), 0.6):.3g}"), "crew.call": rates["crew.call"]}


def summary(before: Machine, after: Machine) -> list[tuple[str, float, float]]:
    """(name, rate before, rate after), those that changed most first."""
    both: list[tuple[str, Any, Any]] = [(name, before.rates[name], rate) for name, rate in after.rates.items() if name in before.rates]
    return sorted(both, key=lambda row: -abs(np.log(row[2] / row[1])))
