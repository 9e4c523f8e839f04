"""Wisdom: which method was the fastest where several were tried, kept for this process and, where asked for, in a file.

A choice belongs to a Problem and its `max_memory`.  Trials are `race`'s matter; what was measured beats what is
predicted, so calibration leaves it alone.  The words are FFTW's.  Imports: planning, plans, methods, machine, problem.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_type_hints

from sash.accuracy import EXACT_BITS
from sash.arrays.numpy_ import settle_dtype
from sash.axis import BOUNDARIES, Axis
from sash.errors import ArgumentError, KindError, SashError, unknown
from sash.machine import signature, usable_cores, version
from sash.methods import names
from sash.planning import choose
from sash.plans import Plan, describe
from sash.problem import REDUCTIONS, Problem

FORMAT = 1
"""Of exported wisdom: other numbers are not read."""

Key = tuple[Problem, "int | None"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The method that was the fastest, and the least seconds of each that was tried."""

    method: str
    seconds: Mapping[str, float]


_kept: dict[Key, Choice] = {}
"""Every choice is whole before it stands here, and is replaced in one step: threads need no lock to read."""


def recall(problem: Problem, max_memory: int | None) -> Choice | None:
    """What is remembered of a problem under this limit."""
    return _kept.get((problem, max_memory))


def remember(problem: Problem, max_memory: int | None, choice: Choice) -> None:
    """Keep a choice; it replaces an older one."""
    _kept[problem, max_memory] = choice


def told(plan: Plan, max_memory: int | None) -> Plan:
    """The plan of method="measure": by what is remembered; where nothing is, as predicted, with what will be tried."""
    choice = recall(plan.problem, max_memory) or _alike(plan.problem, max_memory)
    if choice is None or all([c.name != choice.method or c.refusal for c in plan.candidates]):
        first = ", ".join((plan.method, *plan.rivals[:-1]))
        more = (
            f", as predicted; the first call tries {first} and {plan.rivals[-1]}"
            if plan.rivals
            else "; no other is near enough to be tried"
        )
        return replace(plan, reason=f"{plan.reason}{more}")
    candidates = tuple([replace(c, measured=choice.seconds.get(c.name)) for c in plan.candidates])
    return replace(plan, method=choice.method, reason=_reason(choice), candidates=candidates, boxes=(), rivals=())


def _reason(choice: Choice) -> str:
    """How far ahead the method was, in a clause."""
    others = {name: seconds for name, seconds in choice.seconds.items() if name != choice.method}
    if not others:
        return "measured"
    second = min(others, key=others.__getitem__)
    return f"measured: {others[second] / choice.seconds[choice.method]:.3g} times faster than the next ({second})"


def _alike(problem: Problem, max_memory: int | None) -> Choice | None:
    """The last choice for a problem that differs in what only arrays tell, not shapes and types."""
    wanted = _blurred(problem)
    return next((c for (p, limit), c in reversed(list(_kept.items())) if limit == max_memory and _blurred(p) == wanted), None)


def _blurred(problem: Problem) -> Problem:
    return problem._replace(bits=min(problem.bits, 1), finite=True, straight=True, mirrored=False)


# --- out -----------------------------------------------------------------------------------------


def export_wisdom(path: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """All choices that method="measure" has made or taken in, as plain numbers and text that JSON can hold.

    Parameters
    ----------
    path : path, optional
        A JSON file to write them to as well, in one step: whoever reads meanwhile gets the old file or the new one.

    Returns
    -------
    dict
        `format`, `sash` (its version), `signature` (of this machine), and `entries`: for each problem its description,
        its exact key (`problem`, `max_memory`), the `method`, and the `seconds` of each method that was tried.

    Raises
    ------
    OSError
        The file cannot be written; an older one is as it was.

    Examples
    --------
    >>> import numpy as np, sash
    >>> x, kernel = np.ones((64, 64), np.float32), np.ones((5, 5), np.float32)
    >>> y = sash.correlate(x, kernel, method="measure")       # the first call tries the likely methods on these arrays
    >>> sorted(sash.export_wisdom())
    ['entries', 'format', 'sash', 'signature']

    Source: Frigo & Johnson 2005, doi:10.1109/JPROC.2004.840301, section III.
    """
    entries = [_written(key, choice) for key, choice in list(_kept.items())]
    record = {"format": FORMAT, "sash": version(), "signature": signature(), "entries": entries}
    if path is not None:
        import json
        from pathlib import Path
        from uuid import uuid4

        target = Path(path).resolve()
        beside = target.with_name(f".sash-{uuid4().hex[:12]}.json")
        try:
            beside.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)
    return record


def _written(key: Key, choice: Choice) -> dict[str, Any]:
    problem, limit = key
    axes = [_plain(Axis, axis) for axis in problem.axes]
    return {
        "description": describe(problem),
        "problem": {"axes": axes, **_plain(Problem, problem)},
        "max_memory": None if limit is None else int(limit),
        "method": choice.method,
        "seconds": {name: float(f"{seconds:.4g}") for name, seconds in choice.seconds.items()},
    }


# --- in ------------------------------------------------------------------------------------------


def import_wisdom(source: str | os.PathLike[str] | Mapping[str, Any], *, foreign: bool = False) -> int:
    """Take in what `export_wisdom` gave: method="measure" follows it without trying again.

    All of it is checked before any of it is taken. What is taken replaces what is remembered of the same problems;
    the rest stays.

    Parameters
    ----------
    source : path or dict
        What `export_wisdom` wrote or returned.
    foreign : bool, default False
        True takes wisdom that was made on another machine, where another method may be the fastest.

    Returns
    -------
    int
        How many choices were taken.

    Raises
    ------
    ArgumentError
        No JSON, no wisdom, of another format or another machine; a method that is unknown or cannot do its problem.
    KindError
        `source` is neither a path nor a dict.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import sash
    >>> wisdom = sash.export_wisdom()
    >>> sash.import_wisdom(wisdom) == len(wisdom["entries"])
    True
    """
    record, where = _read(source)
    if not isinstance(record, Mapping) or not isinstance(record.get("entries"), list) or not isinstance(record.get("signature"), Mapping):
        raise ArgumentError(f"{where} holds no wisdom: that is a dict with format, signature and entries, as export_wisdom() gives it.")
    if record.get("format") != FORMAT:
        raise ArgumentError(
            f"{where} has format {record.get('format')!r}, and this sash ({version()}) reads format {FORMAT}; "
            f"export it with this version, or use version {record.get('sash')}."
        )
    if record["signature"] != signature() and not foreign:
        raise ArgumentError(
            f"{where} was made on {_named(record['signature'])}, and this is {_named(signature())}, where other methods may be the "
            f"fastest; measure here, or take it with foreign=True."
        )
    taken = dict(_entries(record["entries"], where))
    _kept.update(taken)
    return len(taken)


def forget_wisdom() -> None:
    """Forget all choices: the next call with method="measure" tries again. (Calibrating anew forgets none.)

    Parameters
    ----------
    None

    Raises
    ------
    Nothing.

    Examples
    --------
    >>> import sash
    >>> sash.forget_wisdom()
    >>> sash.export_wisdom()["entries"]
    []
    """
    _kept.clear()


def _read(source: Any) -> tuple[Any, str]:
    """What a file or a dict holds, and what to call it."""
    import json

    if isinstance(source, Mapping):
        return source, "this wisdom"
    if not isinstance(source, (str, os.PathLike)):
        raise KindError(f"import_wisdom takes a path, or the dict that export_wisdom() gave, not {type(source).__name__}.")
    from pathlib import Path

    path = Path(source)
    try:
        return json.loads(path.read_bytes()), str(path)
    except (ValueError, RecursionError) as broken:
        raise ArgumentError(f"{path} is broken: it is no JSON ({broken}); export it anew with export_wisdom().") from None


def _named(machine: Mapping[str, Any]) -> str:
    """A machine's signature for people."""
    return f"{machine.get('processor')} ({machine.get('instructions') or 'no known instructions'}), {machine.get('cores')} cores"


def _entries(entries: list[Any], where: str) -> Iterator[tuple[Key, Choice]]:
    """Every entry, checked."""
    for number, entry in enumerate(entries, 1):
        try:
            yield _entry(entry)
        except SashError as fault:
            raise ArgumentError(f"{where}, entry {number} of {len(entries)}, so nothing was taken: {fault}") from None


def _entry(entry: Any) -> tuple[Key, Choice]:
    if not isinstance(entry, Mapping) or not {"problem", "max_memory", "method", "seconds"} <= entry.keys():
        raise ArgumentError("it must hold problem, max_memory, method and seconds.")
    limit, method, seconds = entry["max_memory"], entry["method"], entry["seconds"]
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ArgumentError(f"max_memory={limit!r} must be a positive number of bytes, or null.")
    if not isinstance(seconds, Mapping) or not all([type(s) in (int, float) and 0 < s < float("inf") for s in seconds.values()]):
        raise ArgumentError(f"seconds={seconds!r} must be positive numbers by the names of methods.")
    for name in (method, *seconds):
        if name not in names():
            raise unknown("method", name, names())
    if method not in seconds or seconds[method] > min(seconds.values()):
        raise ArgumentError(f"method={method!r} is not the fastest of seconds={dict(seconds)!r}.")
    problem = _problem(entry["problem"])
    choose(problem, method, limit, usable_cores())  # refuses where the method does
    return (problem, limit), Choice(method, {name: float(s) for name, s in seconds.items()})


LEAST = {
    **dict.fromkeys(("size", "stride", "dilation", "upsample", "inputs", "outputs", "groups"), 1),
    **dict.fromkeys(("n", "batch", "bits", "rank", "planes"), 0),
}
HOMES = ("numpy", "torch", "cuda")
WORDS = {"boundary": ("zero", *BOUNDARIES), "reduce": REDUCTIONS, "dtype": tuple(EXACT_BITS), "home": HOMES}
"""What the fields of a Problem and of its axes may hold."""


def _kinds(record: type) -> dict[str, type]:
    """The fields of an Axis, or of a Problem but for its axes, with their types."""
    return {name: kind for name, kind in get_type_hints(record).items() if name != "axes"}


def _plain(record: type, values: Any) -> dict[str, Any]:
    """The same fields of one, as JSON has them."""
    return {name: kind(getattr(values, name)) for name, kind in _kinds(record).items()}


def _checked(record: type, values: Any) -> dict[str, Any]:
    """The same fields of one that was read."""
    kinds = _kinds(record)
    if not isinstance(values, Mapping) or values.keys() - {"axes"} != kinds.keys():
        raise ArgumentError(f"its {record.__name__} must have just these fields: {', '.join(kinds)}.")
    for name, kind in kinds.items():
        value = values[name]
        fits = type(value) is kind  # a bool is no int
        if not fits:
            raise ArgumentError(f"{name}={value!r} must be of type {kind.__name__}.")
        if name in LEAST and value < LEAST[name]:
            raise ArgumentError(f"{name}={value!r} must be at least {LEAST[name]}.")
        if name in WORDS and value not in WORDS[name]:
            raise unknown(name, value, WORDS[name])
        if name in ("source", "result") and value != "bfloat16":
            settle_dtype(name, value)
    return {name: values[name] for name in kinds}


def _problem(record: Any) -> Problem:
    """The problem that `_written` made this of."""
    fields = _checked(Problem, record)
    rows = record.get("axes")
    if not isinstance(rows, list) or not rows:
        raise ArgumentError("its Problem has no axes.")
    axes = tuple([Axis(**_checked(Axis, row)) for row in rows])
    for a in axes:
        if a.stop - a.start < a.reach or (not a.n and a.boundary not in ("zero", "constant")):
            raise ArgumentError(f"{a} holds no window.")
    problem = Problem(axes, **fields)
    if problem.inputs % problem.groups or problem.outputs % problem.groups:
        raise ArgumentError(f"groups={problem.groups} must divide {problem.inputs} inputs and {problem.outputs} outputs.")
    return problem
