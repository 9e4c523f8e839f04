"""What is printed, in 80 columns: each contender of a cell as it is done, then each suite in short.

Imports: trial (its records).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp, log

from benchmarks.suites.start import Wait
from benchmarks.trial import OURS, Entry, Outcome

WIDTH = 79


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{digits(seconds * factor)} {unit}"
    return f"{digits(seconds * 1e9)} ns"


def digits(value: float) -> str:
    """Three of them, never as a power of ten."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def bytes_(count: int | None) -> str:
    """Megabytes, or nothing where it was not measured."""
    return "" if count is None else f"{digits(count / 1e6) if count >= 1e6 else f'{count / 1e6:.1f}'} MB"


def lines(outcome: Outcome, peak: float) -> Iterator[str]:
    """One cell."""
    yield ""
    yield f"{outcome.suite}: {outcome.name}{limits(outcome, peak):>{max(WIDTH - len(outcome.suite) - len(outcome.name) - 2, 0)}}"
    mine = outcome.ours.times
    for e in outcome.entries:
        yield entry(e, outcome.ratios().get(e.name, 1.0) if mine else None)


def entry(e: Entry, ratio: float | None) -> str:
    """One contender."""
    name = f"  {e.name:<26}"
    if e.refusal:
        return f"{name} {e.refusal}"[:WIDTH]
    if e.wrong:
        return f"{name} WRONG: off by {e.error:.2g}, {e.allowed:.2g} allowed"
    assert e.times
    beside = f"{digits(ratio):>7}" if ratio is not None else " " * 7
    row = f"{name} {duration(e.times.median):>8} ±{min(e.times.spread * 100, 999):>3.0f} % {beside} {bytes_(e.scratch):>8}".rstrip()
    return f"{row}\n{'':>4}({e.note})" if e.note else row


def limits(outcome: Outcome, peak: float) -> str:
    """How far sash is from the machine's limits in this cell: plain copies of its data, and peak multiply-adds."""
    mine = outcome.ours.times
    told = []
    if mine and outcome.copy:
        told.append(f"{digits(mine.median / outcome.copy)} copies")
    if mine and outcome.work:
        told.append(f"{digits(100 * outcome.work / mine.median / peak)} % of peak")
    return ", ".join(told)


def geometric(values: Sequence[float]) -> float:
    return exp(sum(map(log, values)) / len(values))


def summary(suite: str, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Wins, losses, geometric means over the best peer and over each."""
    best = {o.name: found for o in outcomes if (found := o.best())}
    wins = {name: b for name, b in best.items() if b[1] >= 1}
    losses = sorted(((name, b) for name, b in best.items() if b[1] < 1), key=lambda item: item[1][1])
    yield ""
    alone = len(outcomes) - len(best)
    without = f", {alone} with no one to compare" if alone else ""
    yield f"{suite}: {len(outcomes)} cells, {len(wins)} won, {len(losses)} lost against the fastest peer{without}"
    if best:
        yield f"  {'time / sash':<36}{'cells':>6}{'won':>6}{'geometric mean':>17}{'total':>9}"
        for name, pairs in over_peers(outcomes).items():
            ratios = [theirs / mine for theirs, mine in pairs]
            total = sum(theirs for theirs, _ in pairs) / sum(mine for _, mine in pairs)
            yield f"  {name:<36}{len(ratios):>6}{sum(r >= 1 for r in ratios):>6}{digits(geometric(ratios)):>17}{digits(total):>9}"
    for name, (peer, ratio) in losses:
        yield f"  lost  {name}: {digits(ratio)} ({peer})"
    for o in outcomes:
        for e in o.entries:
            if e.wrong or (e.name == OURS and e.refusal):
                yield f"  WRONG {o.name}: {e.name} {e.refusal or f'off by {e.error:.2g}, {e.allowed:.2g} allowed'}"


def over_peers(outcomes: Sequence[Outcome]) -> dict[str, list[tuple[float, float]]]:
    """(its seconds, sash's) in each cell where both are right: of the fastest peer, and of each by its fastest way."""
    pairs: dict[str, list[tuple[float, float]]] = {"the fastest peer of each cell": []}
    for o in outcomes:
        mine = o.ours.times
        least: dict[str, float] = {}
        for e in o.entries[1:]:
            if e.times and mine:
                least[e.peer] = min(e.times.median, least.get(e.peer, e.times.median))
        if least and mine:
            for name, theirs in {"the fastest peer of each cell": min(least.values()), **least}.items():
                pairs.setdefault(name, []).append((theirs, mine.median))
    return {name: each for name, each in pairs.items() if each}


def wait(found: Wait) -> str:
    """One reading of the start."""
    verdict = "" if found.within else "  OVER"
    return f"  {found.name:<46} {digits(found.value):>6} {found.unit:<2} of {found.allowed:g} allowed{verdict}"
