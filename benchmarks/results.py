"""Results as files: one JSON with every number of a suite, and its picture beside it.

Imports: trial, suites.start (their records), report, picture.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.report import beside, geometric, over_peers
from benchmarks.suites.start import Wait
from benchmarks.trial import Entry, Outcome


def entry(e: Entry) -> dict[str, Any]:
    """A contender; seconds only where it is right."""
    told = {k: v for k, v in asdict(e).items() if k != "times" and v not in ("", None) and v is not False}
    if e.times:
        told |= {"median": e.times.median, "least": e.times.least, "spread": e.times.spread, "seconds": list(e.times.seconds)}
    return told


def timed(machine: dict[str, Any], suite: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """A suite whose cells were timed in turns."""
    best = [found[1] for o in outcomes if (found := o.best())]
    return {
        "suite": suite,
        "machine": machine,
        "won": sum(ratio >= 1 for ratio in best),
        "lost": sum(ratio < 1 for ratio in best),
        "geometric_means": means(over_peers(outcomes)),
        "references": means(beside(outcomes)),
        "cells": [
            {
                **{k: v for k in ("name", "group", "copy", "work") if (v := getattr(o, k)) != ""},
                "ratios": o.ratios(),
                "contenders": [entry(e) for e in o.entries],
            }
            for o in outcomes
        ],
    }


def means(pairs: dict[str, list[tuple[float, float]]]) -> dict[str, float]:
    """Of each peer's times divided by sash's."""
    return {name: geometric([theirs / mine for theirs, mine in each]) for name, each in pairs.items()}


def started(machine: dict[str, Any], suite: str, waits: Sequence[Wait]) -> dict[str, Any]:
    """The suite of waits."""
    cells = [
        {"name": w.name, "value": w.value, "unit": w.unit, "allowed": w.allowed, "within": w.within, "seconds": list(w.times.seconds)}
        for w in waits
    ]
    return {"suite": suite, "machine": machine, "cells": cells}


def write(folder: Path, told: dict[str, Any]) -> Path:
    """The JSON of a suite, in place of that of an earlier run."""
    path = folder / f"{told['suite']}.json"
    beside = path.with_suffix(".json.part")
    beside.write_text(json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False, default=str) + "\n", encoding="utf-8")
    beside.replace(path)
    return path
