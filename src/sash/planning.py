"""Choosing: every method is asked, those over the memory limit are put aside, the fastest is taken.

Plans are made from shapes, types and flags alone, and kept.  Imports: plans, methods, little, machine.
"""

from __future__ import annotations

from math import prod

from sash.errors import ArgumentError, MemoryLimit
from sash.machine import Machine, by_rates, machine
from sash.methods import CHOICES, METHODS, Cost, Method, direct, little, named
from sash.methods.transposed import crossing, together
from sash.plans import Candidate, Plan, describe, size
from sash.problem import Box, Problem

ALONE = 6e-5
"""Seconds of work below which handing blocks to other threads costs more than it gains."""

APART = 2
"""Samples of a copy that take as long as one result that is written beside others of another class."""

CLASS = 1 << 12
"""Bytes that Python holds for the kernel of a class, beside its taps."""

CALLS = 1 << 14
"""Bytes that Python holds while a class is made by itself."""

NEAR = 4.0
"""A method that is predicted to take at most so many times the best prediction may be the fastest all the same."""

RIVALS = 3
"""Methods besides the predicted best that are tried, where trying is asked for."""


@by_rates(1024)
def choose(problem: Problem, method: str, max_memory: int | None, workers: int) -> Plan:
    """The plan for a problem: the fastest willing method within `max_memory` bytes of scratch, or the one asked for.

    "measure" is planned as "auto" is: `rivals` says which others are worth a trial, and `wisdom` how trials went.
    """
    here = machine("cuda" if problem.home == "cuda" else "numpy")
    limit = float("inf") if max_memory is None else max_memory
    if not problem.results:
        nothing = Candidate(METHODS[0].NAME, 0.0, 0, 1, "", Cost({}, 0, 0, (1,) * (len(problem.axes) + 1)))
        return Plan(describe(problem), problem, nothing.name, "there is nothing to do", (nothing,))
    if method in CHOICES:
        candidates = tuple(_ask(m, problem, here, limit, workers) for m in METHODS)
        # Ranked as if all cores took part: another number of threads must not change the method, hence the bits.
        ranked = {m.NAME: _ask(m, problem, here, limit, here.cores).seconds for m in METHODS}
        willing = [c for c in candidates if not c.refusal]
        if not willing:
            least = min((c for c in candidates if c.cost), key=lambda c: c.scratch)
            raise MemoryLimit(
                f"max_memory={max_memory} bytes is too little: the least that would do is {least.scratch} bytes "
                f"({size(least.scratch)}, method={least.name!r}).",
                least.scratch,
            )
        best = min(willing, key=lambda c: ranked[c.name])
        near = sorted((c.name for c in willing if c is not best and ranked[c.name] <= NEAR * ranked[best.name]), key=ranked.__getitem__)
        reason, boxes = _reason(best, willing, candidates), _boxes(problem, best)
        return Plan(describe(problem), problem, best.name, reason, candidates, boxes, tuple(near[:RIVALS]))
    asked = _ask(named(method), problem, here, limit, workers)
    if asked.refusal and asked.cost is None:
        raise ArgumentError(f"method={method!r} cannot do this: {asked.refusal}.")
    if asked.refusal:
        raise MemoryLimit(
            f"max_memory={max_memory} bytes is too little for method={method!r}, which needs {asked.scratch} bytes "
            f"({size(asked.scratch)}); allow that much, or method='auto'.",
            asked.scratch,
        )
    return Plan(describe(problem), problem, method, "as asked", (asked,), _boxes(problem, asked))


def _boxes(problem: Problem, chosen: Candidate) -> tuple[Box, ...]:
    assert chosen.cost is not None
    if problem.upsampled:  # made phase by phase, each with boxes of its own
        return ()
    boxes = named(chosen.name).boxes(problem, chosen.cost)
    return () if boxes == [problem.whole] else tuple(boxes)


def _ask(method: Method, problem: Problem, here: Machine, limit: float, workers: int) -> Candidate:
    if problem.upsampled:
        return _ask_phases(method, problem, here, limit, workers)
    refusal = method.refuses(problem)
    if refusal:
        return Candidate(method.NAME, 0.0, 0, 0, refusal, None)
    # Blocks are sized for all cores of the machine, not for `workers`: fewer threads must give the same bits.
    cost = method.cost(problem, here, limit / here.cores if limit != float("inf") else limit)
    seconds = here.seconds(cost.work)
    room = workers if limit == float("inf") else int((limit - cost.shared) // max(cost.scratch, 1))
    crew = max(1, min(workers, cost.blocks or problem.count(cost.tile), room)) if seconds > ALONE and not cost.alone else 1
    if crew > 1 and (share := here.shared(cost.work, crew, cost.crowded)) < seconds:
        seconds = share
    else:
        crew = 1
    scratch = cost.shared + crew * cost.scratch
    over = _over(scratch, limit) if scratch > limit else ""
    return Candidate(method.NAME, seconds, scratch, crew, over, cost)


def _ask_phases(method: Method, problem: Problem, here: Machine, limit: float, workers: int) -> Candidate:
    """A transposed problem, one class of its outputs after the other."""
    asked = [_ask(method, part, here, left_of(limit), workers) for _, part in problem.phases() if part is not None]
    unable = next((c for c in asked if c.cost is None), None)
    if unable:
        return unable
    seconds, scratch = sum([c.seconds for c in asked]), max([c.scratch + CALLS for c in asked], default=0)
    crew, refusal = max([c.workers for c in asked], default=1), ""
    if any([c.refusal for c in asked]):
        refusal = _over(scratch, limit)
    if method.NAME == direct.NAME and little.spreads(problem, limit):
        seconds, crew, scratch = here.seconds(little.work(problem, here)), 1, max(scratch, little.room(problem))
    elif method.NAME == direct.NAME:  # blocks of all classes are shared, and what is woven is held (see `bound`)
        work: dict[str, float] = {"direct.block": 0}
        for cost in [c.cost for c in asked if c.cost]:
            for name, amount in cost.work.items():
                work[name] = work.get(name, 0) + amount
        way = together(problem, limit, here.cores)
        held, kernels = way.held * problem.itemsize, problem.taps * problem.outputs * problem.itemsize * 2 + len(asked) * CLASS
        if way.crossed:
            work = crossing(problem, way, here)
        else:
            blocks = problem.results // max(prod(way.tile) * problem.outputs * problem.out[-1], 1)
            work["direct.block"] += blocks * len(problem.axes[-1].phases())
            work["copy.sample"] = work.get("copy.sample", 0) + problem.results
        alone, crew = here.seconds(work), workers if limit == float("inf") else crew
        shared = here.shared(work, crew, 1.0) if crew > 1 and alone > ALONE else alone
        seconds, crew = (shared, crew) if shared < alone else (alone, 1)
        if limit != float("inf"):  # as many as there is room for: fewer or more must not change the method
            crew = max(1, min(crew, int((limit - kernels) // max(held, 1))))
        scratch = max(scratch, kernels + held * crew)  # bound, or one class after the other
        refusal = refusal or (_over(scratch, limit) if scratch > limit else "")
    elif problem.axes[-1].upsample > 1:  # results of a class stand apart
        seconds += problem.results * APART * here.rates["copy.sample"]
    whole = (problem.batch, *problem.out)
    return Candidate(method.NAME, seconds, scratch, crew, refusal, Cost({}, scratch, 0, whole, f"{len(asked)} phases"))


def left_of(limit: float) -> float:
    """What is left of this memory for a class of a transposed problem."""
    return max(limit - CALLS, 1)


def _over(scratch: int, limit: float) -> str:
    return f"needs {size(scratch)} of scratch, more than max_memory={size(limit)}"


def _reason(best: Candidate, willing: list[Candidate], candidates: tuple[Candidate, ...]) -> str:
    """Why this one, in a clause."""
    over = [c.name for c in candidates if c.refusal and c.cost and c.seconds < best.seconds]
    limited = f" within max_memory ({', '.join(over)} would be faster and needs more)" if over else ""
    others = sorted(c.seconds for c in willing if c is not best)
    if not others or not best.seconds:
        return f"the only willing method{limited}" if not others else "no tap meets a sample"
    return f"{others[0] / best.seconds:.3g} times faster than the next{limited}"
