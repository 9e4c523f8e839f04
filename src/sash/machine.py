"""What one machine can do: measured seconds per unit of work, read from a file beside this module.

Rates are seconds per unit for one thread; each name says its unit (see `machines/default.json`, whose `script` made
them).  The planner's predictions are built from these and nothing else.  Imports: nothing of sash.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

SHIPPED = Path(__file__).with_name("machines") / "default.json"
GPU = Path(__file__).with_name("machines") / "cuda.json"


@dataclass(frozen=True)
class Machine:
    """Rates (seconds per unit, one thread), cores, and where they come from."""

    name: str
    date: str
    script: str
    cores: int
    cache: int
    """Bytes of second-level cache of one core: tiles are made to fit."""
    rates: Mapping[str, float]

    def seconds(self, work: Mapping[str, float]) -> float:
        """What this much work takes one thread; each entry is an amount in the unit of its rate."""
        return sum(amount * self.rates[name] for name, amount in work.items())

    def __hash__(self) -> int:
        return hash((self.name, self.date, self.cores, self.cache))


@lru_cache(maxsize=4)
def machine(home: str = "numpy") -> Machine:
    """The machine that plans are made for: this one's cores, or its GPU (home "cuda")."""
    import json

    record = json.loads((GPU if home == "cuda" else SHIPPED).read_text(encoding="utf-8"))
    return Machine(
        name=record["name"],
        date=record["date"],
        script=record["script"],
        cores=1 if home == "cuda" else usable_cores(),
        cache=record["cache"],
        rates=record["rates"],
    )


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
