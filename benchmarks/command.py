"""The command line: which suites, which peers, how long; exit status 1 where sash is wrong, 2 for a name nobody knows.

Imports: everything here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import wrap
from typing import Any

from benchmarks import machine, peers, report, results
from benchmarks.scratch import LEAST, Scale
from benchmarks.suites import STARTED, SUITES, TIMED, cells, start
from benchmarks.trial import OURS, Cell, Entry, Limits, Outcome, attempt

HERE = Path(__file__).parent
WRONG, UNKNOWN = 1, 2
BUSY = 0.25
"""Load for each core, over the last minute, from which times are not to be trusted."""
REGRET = "regret"
"""Not a suite: sash beside itself, with options of its own."""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m benchmarks", description="sash beside its peers, on the same arrays in one run.")
    p.epilog = f"'python -m benchmarks {REGRET} --help': how much longer the chosen method takes than the fastest would have."
    p.add_argument("suites", nargs="*", metavar="suite", help=f"which to run: {', '.join(SUITES)} (default: all of them)")
    p.add_argument("--suite-list", action="store_true", help="name the suites and their cells, and stop")
    p.add_argument("--peer", action="append", metavar="NAME", help=f"only this peer (may be repeated): {', '.join(peers.PEERS)}")
    p.add_argument("--cell", metavar="TEXT", help="only cells with this text in their name")
    much = p.add_mutually_exclusive_group()
    much.add_argument("--quick", action="store_true", help="a subset of the cells, about 10 minutes (the default)")
    much.add_argument("--all", action="store_true", help="every cell that is not --large, and slow peers too")
    p.add_argument("--large", action="store_true", help="the largest cells too")
    p.add_argument(
        "--rounds", type=int, metavar="N", help="rounds of each contender (default: 5 to 25 as time allows, fewer for slow ones)"
    )
    p.add_argument("--patience", type=float, metavar="S", help="seconds that one call of a peer may take about (default 3; 60 with --all)")
    scratch_ = p.add_mutually_exclusive_group()
    scratch_.add_argument("--memory", action="store_true", help="peak scratch of everyone (default: of sash and of the fastest peer)")
    scratch_.add_argument("--no-memory", action="store_true", help="of nobody: saves a process for each reading")
    p.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for numbers and pictures (default: benchmarks/results; none with --cell or --peer, which show a part only)",
    )
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == [REGRET]:
        from benchmarks import regret

        return regret.main(arguments[1:])
    asked = parser().parse_args(arguments)
    unknown = [unknown_name("suite", n, SUITES) for n in asked.suites if n not in SUITES]
    unknown += [unknown_name("peer", n, peers.PEERS) for n in asked.peer or () if n not in peers.PEERS]
    if asked.rounds is not None and asked.rounds < 1:
        unknown.append(f"--rounds {asked.rounds} must be at least 1.")
    if unknown:
        print(unknown[0], file=sys.stderr)
        return UNKNOWN
    suites = asked.suites or list(SUITES)
    if asked.suite_list:
        print("\n".join(listed(suites)))
        return 0
    if not asked.out and not asked.cell and not asked.peer:
        asked.out = HERE / "results"
    try:
        if asked.out:
            asked.out.mkdir(parents=True, exist_ok=True)
    except OSError as failed:
        print(f"--out {asked.out} cannot be a folder ({failed.strerror}); choose another.", file=sys.stderr)
        return UNKNOWN
    told = machine.record()
    told["asked"] = {name: value for name, value in vars(asked).items() if value and name not in ("out", "suites")}
    names = tuple(asked.peer or peers.PEERS)
    peak = machine.peak()
    told["peak_multiply_adds"] = peak
    print("\n".join(heading(asked, told, names)))
    wrong = [started(asked, told) if suite == STARTED else timed(suite, asked, told, names, peak) for suite in suites]
    return UNKNOWN if set(wrong) == {None} else WRONG if any(wrong) else 0


def timed(suite: str, asked: argparse.Namespace, told: dict[str, Any], names: tuple[str, ...], peak: float) -> bool | None:
    """Run, print and write one suite; whether sash was wrong anywhere, None where no cell has the name asked for."""
    limits = Limits(asked.rounds, patience=asked.patience or (60.0 if asked.all else 3.0))
    outcomes, without = [], 0
    with Scale() as scale:
        for cell in chosen(cells(suite), asked):
            if getattr(cell.job, "tensors", False) and not peers.opened("torch"):
                without += 1
                continue
            outcome = attempt(suite, cell, names, limits)
            if not asked.no_memory:
                outcome = weighed(outcome, scale, everyone=asked.memory)
            print("\n".join(report.lines(outcome, peak)), flush=True)
            outcomes.append(outcome)
    if without:
        print(f"\n{suite}: {without} cells are left out: their tensors need PyTorch.")
    if not outcomes and without:
        return False
    if not outcomes:
        print(f"\n{suite}: no cell of this run has {asked.cell!r} in its name; --all has more of them.")
        return None
    print("\n".join(report.summary(suite, outcomes)))
    if asked.out:
        path = results.write(asked.out, results.timed(told, suite, outcomes))
        picture = path.with_suffix(".png")
        if any(o.ratios() for o in outcomes):
            from benchmarks.picture import draw

            draw(picture, suite, outcomes, f"{told['processor']}, {told['cores']} cores, {told['date'][:10]}")
        print(f"  -> {path}, {picture.name}")
    return any(o.ours.wrong or o.ours.refusal for o in outcomes)


def started(asked: argparse.Namespace, told: dict[str, Any]) -> bool:
    """Run, print and write the suite of waits, in which nothing can be wrong."""
    print(f"\n{STARTED}: new processes, import and call together")
    waits = []
    for wait in start.waits(asked.rounds or (5 if asked.all else 2), asked.cell or ""):
        print(report.wait(wait), flush=True)
        waits.append(wait)
    if asked.out:
        print(f"  -> {results.write(asked.out, results.started(told, STARTED, waits))}")
    return False


def chosen(all_cells: Sequence[Cell], asked: argparse.Namespace) -> Iterator[Cell]:
    """The cells of this run."""
    kinds = {"quick", *(["all"] if asked.all else []), *(["large"] if asked.large else [])}
    return (c for c in all_cells if c.when in kinds and (not asked.cell or asked.cell in c.name))


def weighed(outcome: Outcome, scale: Scale, everyone: bool) -> Outcome:
    """The same with the scratch of everyone who was timed; or of sash and the fastest peer, where arrays are large enough to tell."""
    best = outcome.best()
    wanted = {e.name for e in outcome.entries} if everyone else {OURS, best[0] if best else ""} if outcome.size >= LEAST else set()

    def taken(e: Entry) -> int | None:
        return scale.taken(outcome.suite, outcome.name, e.name, e.peer) if e.times and e.name in wanted else None

    return replace(outcome, entries=tuple(replace(e, scratch=taken(e)) for e in outcome.entries))


def heading(asked: argparse.Namespace, told: dict[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    """Where this is, and who takes part."""
    yield f"{told['processor']}, {told['cores']} cores, Python {told['python']}, {told['date']}"
    if told["load"] > told["cores"] * BUSY:
        yield f"The load is {told['load']:.1f}: something else runs, and times will be off."
    yield from wrap(", ".join(f"{name} {number}" for name, number in told["versions"].items()), report.WIDTH)
    yield f"Peak {told['peak_multiply_adds'] / 1e9:.0f}·10⁹ float32 multiply-adds a second (a matrix product)."
    scratch = "" if asked.no_memory else ", peak scratch" if asked.memory else ", peak scratch (of the fastest)"
    yield f"Columns: time, spread, ratio to {OURS}'s time{scratch}."
    for name in names:
        if not peers.opened(name):
            yield f"{name} is left out: pip install {peers.PEERS[name].package}"


def listed(suites: Sequence[str]) -> Iterator[str]:
    """Names of suites and cells."""
    for suite in suites:
        yield suite
        if suite in TIMED:
            yield from (f"  {cell.name}{'' if cell.when == 'quick' else f'  (--{cell.when})'}" for cell in cells(suite))
        else:
            yield from (f"  {name}" for name in start.CALLS)


def unknown_name(what: str, name: str, known: Sequence[str] | dict[str, Any]) -> str:
    """One sentence that suggests the nearest."""
    from sash.errors import unknown

    return str(unknown(what, name, known))
