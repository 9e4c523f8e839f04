"""What can be wrong with a call, each as one sentence: the fact, both numbers, the way out.

Every error is a `SashError` *and* the built-in that fits (`ValueError`, `TypeError`, `OverflowError`, ...),
so old `except ValueError` code keeps working.  Imports: nothing of sash.
"""

from __future__ import annotations

from collections.abc import Iterable


class SashError(Exception):
    """Any refusal of sash; nothing has been computed or written when it is raised.

    Examples
    --------
    >>> import sash
    >>> try:
    ...     sash.correlate([1, 2, 3], [1, 1], stride=0)
    ... except sash.SashError as refused:
    ...     print(refused)
    stride=0 must be at least 1 on every axis, got 0.
    """


class ArgumentError(SashError, ValueError):
    """An argument has a value that cannot be used."""


class KindError(SashError, TypeError):
    """An argument is of a kind that cannot be used."""


class OverflowRisk(SashError, OverflowError, ValueError):
    """An exact integer result might not fit its type for this data."""


class MemoryLimit(SashError, MemoryError, ValueError):
    """No method fits into the scratch memory that the caller allows; `least`: bytes that would do."""

    def __init__(self, message: str, least: int) -> None:
        super().__init__(message)
        self.least = least


class MissingLibrary(SashError, ImportError):
    """An optional library is needed for this call and is not installed."""


def unknown(what: str, name: object, known: Iterable[str]) -> ArgumentError:
    """The error for a name that is not in `known`: suggests the nearest and lists all.

    >>> print(unknown("method", "ftt", ["direct", "fft"]))
    method='ftt' is unknown; did you mean 'fft'? Known: 'direct', 'fft'.
    """
    names = list(known)
    hint = ""
    if isinstance(name, str):
        from difflib import get_close_matches

        close = get_close_matches(name.lower(), names, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else "."
    else:
        hint = "."
    return ArgumentError(f"{what}={name!r} is unknown{hint} Known: {', '.join(map(repr, names))}.")
