"""What is printed, in 80 columns: each contender of a cell as it is done, then each suite in short.

Imports: trial (its records).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp, log

from benchmarks.suites.start import Wait
from benchmarks.trial import OURS, Entry, Outcome

WIDTH = 79
RATED = "match"
"""The kind of job whose rate is told in numbers too: what a term costs says more there than what a product would."""
ALL = "the fastest peer of each cell"


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
    title, told = f"{outcome.suite}: {outcome.name}", limits(outcome, peak)
    yield from fitted(title, told)
    ratios = {OURS: 1.0, **outcome.ratios(), **outcome.references()} if outcome.ours.times else {}
    for e in outcome.entries:
        yield entry(e, ratios.get(e.name))


def fitted(left: str, right: str) -> Iterator[str]:
    """At both ends of a line, or of two."""
    if len(left) + len(right) < WIDTH - 1:
        yield left + f"{right:>{WIDTH - len(left)}}"
    else:
        yield from (left, f"{right:>{WIDTH}}")


def entry(e: Entry, ratio: float | None) -> str:
    """One contender."""
    name = f"  {e.name:<26}"
    if e.refusal:
        return f"{name} {e.refusal}"[:WIDTH]
    if e.wrong:
        return f"{name} WRONG: off by {e.error:.2g}, {e.allowed:.2g} allowed"
    assert e.times
    beside = f"{digits(ratio):>7}" if ratio is not None else " " * 7
    line = f"{name} {duration(e.times.median):>8} ±{min(e.times.spread * 100, 999):>3.0f} % {beside} {bytes_(e.scratch):>8}".rstrip()
    notes = [e.note] * bool(e.note) + ["not counted"] * e.reference
    return f"{line}\n{'':>4}({'; '.join(notes)})" if notes else line


def limits(outcome: Outcome, peak: float) -> str:
    """How far sash is from the machine's limits in this cell: plain copies of its data, and peak multiply-adds."""
    mine = outcome.ours.times
    told = []
    if mine and outcome.copy:
        told.append(f"{digits(mine.median / outcome.copy)} copies")
    if mine and outcome.work:
        told.append(f"{digits(100 * outcome.work / mine.median / peak)} % of peak")
    if mine and outcome.kind == RATED:
        told.append(f"{digits(outcome.work / mine.median / 1e9)}·10⁹ terms/s")
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
        groups = dict.fromkeys(o.group for o in outcomes if o.group)
        rows = over_peers(outcomes)
        yield row(ALL, rows.pop(ALL))
        for group in groups:
            if pairs := over_peers([o for o in outcomes if o.group == group]).get(ALL):
                yield row(f"  {group}", pairs)
        for name, pairs in rows.items():
            yield row(name, pairs)
    for name, pairs in beside(outcomes).items():
        yield row(f"{name}, not counted", pairs, won=False)
    for name, (peer, ratio) in losses:
        yield from fitted(f"  lost  {digits(ratio):<6} {name}", peer)
    for o in outcomes:
        for e in o.entries:
            if e.wrong or (e.name == OURS and e.refusal):
                yield f"  WRONG {o.name}: {e.name} {e.refusal or f'off by {e.error:.2g}, {e.allowed:.2g} allowed'}"


def over_peers(outcomes: Sequence[Outcome]) -> dict[str, list[tuple[float, float]]]:
    """(its seconds, sash's) in each cell where both are right: of the fastest peer, and of each by its fastest way."""
    pairs: dict[str, list[tuple[float, float]]] = {ALL: []}
    for o in outcomes:
        mine = o.ours.times
        least: dict[str, float] = {}
        for e in o.entries[1:]:
            if e.times and mine and not e.reference:
                least[e.peer] = min(e.times.median, least.get(e.peer, e.times.median))
        if least and mine:
            for name, theirs in {ALL: min(least.values()), **least}.items():
                pairs.setdefault(name, []).append((theirs, mine.median))
    return {name: each for name, each in pairs.items() if each}


def beside(outcomes: Sequence[Outcome]) -> dict[str, list[tuple[float, float]]]:
    """The same of each reference."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    for o in outcomes:
        for e in o.entries:
            if e.reference and e.times and o.ours.times:
                pairs.setdefault(e.name, []).append((e.times.median, o.ours.times.median))
    return pairs


def row(name: str, pairs: Sequence[tuple[float, float]], won: bool = True) -> str:
    """A line of the summary: how many cells, how many of them won, the mean of the ratios and the ratio of the sums."""
    ratios = [theirs / mine for theirs, mine in pairs]
    total = sum(theirs for theirs, _ in pairs) / sum(mine for _, mine in pairs)
    wins = sum(r >= 1 for r in ratios) if won else "-"
    return f"  {name:<36}{len(ratios):>6}{wins:>6}{digits(geometric(ratios)):>17}{digits(total):>9}"


def wait(found: Wait) -> str:
    """One reading of the start."""
    verdict = "" if found.within else "  OVER"
    return f"  {found.name:<46} {digits(found.value):>6} {found.unit:<2} of {found.allowed:g} allowed{verdict}"
