"""What one machine can do: measured seconds per unit of work, read from the user's cache folder or from beside this module.

Rates are seconds per unit for one thread; each name says its unit (see `machines/default.json`, whose `script` made
them).  `sash.calibrate` measures them here and keeps them in `calibration_file()`; a file that does not fit is told of
once and left alone.  The planner's predictions are built from these and nothing else.  Imports: nothing of sash.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from functools import _lru_cache_wrapper
    from pathlib import Path  # loaded with every verb, it would take a sixth of the time

T = TypeVar("T")

SHIPPED, GPU = [os.path.join(os.path.dirname(__file__), "machines", name) for name in ("default.json", "cuda.json")]

FORMAT = 2
"""Of calibration files: other numbers are not read."""

CALLS = (".block", ".call", ".line", ".pass", ".tile")
"""How rates end whose unit is a call, not a number that is read or made."""

WIDTHS = ("avx512f", "avx2", "avx", "fma", "sve2", "sve", "asimd")
"""Instructions, by the names that Linux lists, which decide how wide the kernels' registers are."""


@dataclass(frozen=True)
class Machine:
    """Rates (seconds per unit, one thread), cores, and where they come from.

    Examples
    --------
    >>> import sash
    >>> here = sash.calibrate(seconds=0.2, store=False)
    >>> here.cores >= 1, here.script
    (True, 'sash calibrate')
    """

    name: str
    date: str
    script: str
    cores: int
    cache: int
    """Bytes of second-level cache of one core: tiles are made to fit."""
    rates: Mapping[str, float]
    vector: int = 32
    """Bytes of the widest vector register that kernels use."""

    @property
    def side(self) -> int:
        """Vectors along each side of the block that kernels make at once (see kernels/cpu/simd.py)."""
        return 3 if self.vector == 32 else 4

    def seconds(self, work: Mapping[str, float]) -> float:
        """What this much work takes one thread; each entry is an amount in the unit of its rate."""
        return sum(amount * self.rates[name] for name, amount in work.items())

    def shared(self, work: Mapping[str, float], crew: int, crowded: float) -> float:
        """What it takes `crew` threads: Python's part of it is not shared, and where another is at it, calls wait."""
        calls = {name: amount for name, amount in work.items() if name.endswith(CALLS)}
        alone, even = self.seconds(calls), self.seconds(work) / crew
        waits = sum(calls.values()) / crew * min(alone / even, 1.0)
        return max(even * (1 + (crew - 1) * self.rates["crew"]) * crowded, alone) + self.rates["crew.call"] * (1 + waits)

    def __hash__(self) -> int:
        return hash((self.name, self.date, self.cores, self.cache))


def machine(home: str = "numpy") -> Machine:
    """The machine that plans are made for: this one's cores as calibrated (else as shipped), or its GPU (home "cuda")."""
    return _of(home == "cuda")


@lru_cache(maxsize=2)
def _of(gpu: bool) -> Machine:
    return read(GPU, 1) if gpu else calibrated() or shipped()


def by_rates(maxsize: int) -> Callable[[Callable[..., T]], _lru_cache_wrapper[T]]:
    """An `lru_cache` of what follows from rates: cleared when they are forgotten."""

    def keep(function: Callable[..., T]) -> _lru_cache_wrapper[T]:
        kept = lru_cache(maxsize, typed=True)(function)
        _following.append(kept)
        return kept

    return keep


_following: list[_lru_cache_wrapper[Any]] = []


def forget() -> None:
    """Files are read anew, and what followed from the rates is found anew."""
    for kept in (_of, *_following):
        kept.cache_clear()


def shipped() -> Machine:
    """This machine's cores, at the rates that come with the package."""
    return read(SHIPPED, usable_cores())


def read(path: str | Path, cores: int) -> Machine:
    """The machine of a file that is known to be whole."""
    return _made(_record(path), cores)


def _record(path: str | Path) -> Any:
    import json

    with open(path, "rb") as file:
        return json.load(file)


def calibrated() -> Machine | None:
    """This machine as it was measured; None if it was not, or (with a warning) if the file cannot be used."""
    import json

    path = calibration_file()
    try:
        record = json.loads(path.read_bytes())
        fault = misfit(record)
    except FileNotFoundError:
        return None
    except OSError as failed:
        fault = f"cannot be read ({failed.__class__.__name__})"
    except (ValueError, RecursionError):
        fault = "is broken (it is no JSON)"
    if not fault:
        return _made(record, usable_cores())
    import warnings

    warnings.warn(f'{path} {fault}, so it is ignored; run "sash calibrate" to make a new one.', stacklevel=_callers())
    return None


def _callers() -> int:
    """The `stacklevel` of whoever called sash: a warning about their file names their line."""
    import sys

    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == __package__:
        frame, level = frame.f_back, level + 1
    return level


def misfit(record: Any) -> str:
    """Why what a calibration file holds cannot be used here; empty where it can."""
    if not isinstance(record, dict) or not isinstance(record.get("rates"), dict):
        return "is broken (it holds no rates)"
    if record.get("format") != FORMAT:
        return f"has format {record.get('format')!r}, and this sash reads format {FORMAT}"
    if record.get("sash") != version():
        return f"was made by sash {record.get('sash')}, and this is {version()}"
    if record.get("signature") != signature():
        return "was made on another machine"
    if not all(isinstance(record.get(name), str) for name in ("name", "date", "script")) or not all(
        _positive(record.get(name), whole=True) for name in ("cache", "vector")
    ):
        return "is broken (it does not say what machine it is of)"
    for name in _record(SHIPPED)["rates"]:
        if name not in record["rates"]:
            return f"is broken (it lacks the rate {name!r})"
        if not _positive(record["rates"][name]):
            return f"is broken (the rate {name!r} is {record['rates'][name]!r}, not a positive number)"
    return ""


def calibration_file() -> Path:
    """Where this machine's calibration is kept: one file per machine, version of sash and format."""
    from hashlib import sha256

    from platformdirs import user_cache_path

    key = sha256("\n".join(f"{name}={value}" for name, value in signature().items()).encode()).hexdigest()[:16]
    return user_cache_path("sash", appauthor=False) / "machines" / f"{key}-{version()}-{FORMAT}.json"


@lru_cache(maxsize=1)
def _described() -> tuple[str, str]:
    """(processor, the instructions it has of WIDTHS), as the system tells without being asked much."""
    told: dict[str, str] = {}
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:  # of the first core: a hundred of them take long to list
                name, _, value = line.partition(":")
                told[name.strip()] = value.strip()
                if not line.strip():
                    break
    except OSError:
        import platform

        return f"{platform.system()} {platform.machine()}", ""
    has = (told.get("flags") or told.get("Features") or "").split()
    names = ("vendor_id", "cpu family", "model", "model name", "CPU implementer", "CPU part")
    return ", ".join(told[name] for name in names if told.get(name)) or "unknown", " ".join(name for name in WIDTHS if name in has)


def signature() -> dict[str, Any]:
    """What makes two machines alike: processor, width of its instructions, cores."""
    processor, instructions = _described()
    return {"processor": processor, "instructions": instructions, "cores": os.cpu_count() or 1}


def vector() -> int:
    """Bytes of the registers that kernels will use, without asking LLVM, which takes long.

    It leaves Intel's of 64 alone in loops that it makes vectors of itself, but not where vectors are written out.
    """
    instructions = _described()[1].split()
    widths = {"avx512f": 64, "avx": 32, "asimd": 16}
    return next((width for name, width in widths.items() if name in instructions), 32)


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(os.getpid())) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _made(record: Mapping[str, Any], cores: int) -> Machine:
    told = {name: record[name] for name in ("name", "date", "script", "cache", "rates")}
    return Machine(cores=cores, vector=record.get("vector") or vector(), **told)


def _positive(value: object, whole: bool = False) -> bool:
    return isinstance(value, int if whole else (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")


def version() -> str:
    """Of sash."""
    import sys

    return str(sys.modules["sash"].__version__)  # not imported: the package itself stands above this floor
