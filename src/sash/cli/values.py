"""What is typed for an option, as a value: `224,224`, `1.5mm`, `1:2`, `64MiB`, `[[1,2,1]]`.

Every refusal names the option, shows what was typed and how it is written.  Imports: errors.
"""

from __future__ import annotations

import re
from ast import literal_eval
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sash.errors import ArgumentError

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


@dataclass(frozen=True, slots=True)
class Length:
    """A number of samples, or of millimetres."""

    number: float
    mm: bool = False


def ints(option: str, text: str) -> int | tuple[int, ...]:
    """One int, or one per axis.

    >>> ints("--stride", "2"), ints("SHAPE", "224,224")
    (2, (224, 224))
    """
    try:
        found = tuple(int(word) for word in re.split(r"[,x×]", text))
    except ValueError:
        raise ArgumentError(f"{option}={text!r} is not a whole number, or one per axis like 2,1,1.") from None
    return found if len(found) > 1 else found[0]


def extents(option: str, text: str) -> tuple[int, ...]:
    """A shape, one axis or more."""
    found = ints(option, text)
    return found if isinstance(found, tuple) else (found,)


def number(option: str, text: str) -> int | float | complex:
    """A number, an int where it is written as one.

    >>> number("--cval", "7"), number("--cval", "0.5")
    (7, 0.5)
    """
    for kind in (int, float, complex):
        try:
            return kind(text)
        except ValueError:
            continue
    raise ArgumentError(f"{option}={text!r} is not a number.")


def lengths(option: str, text: str) -> tuple[Length, ...]:
    """Lengths in samples or, with mm, in millimetres: one, or one per axis.

    >>> lengths("--sigma", "2mm,1")
    (Length(number=2.0, mm=True), Length(number=1.0, mm=False))
    """
    found = []
    for word in text.split(","):
        match = re.fullmatch(r"\s*([^\s]+?)\s*(mm)?\s*", word)
        try:
            found.append(Length(float(match[1]), match[2] is not None) if match else Length(float(word)))
        except ValueError:
            raise ArgumentError(f"{option}={text!r} is not a length like 2 or 1.5mm, or one per axis like 1,2,2.") from None
    return tuple(found)


def padding(text: str) -> str | int | tuple[tuple[int, int], ...]:
    """A name, an int, `before:after` for every axis, or one of these per axis.

    >>> padding("same"), padding("1"), padding("1:2"), padding("1:2,0")
    ('same', 1, ((1, 2),), ((1, 2), (0, 0)))
    """
    if not re.fullmatch(r"[-+:,\s\d]+", text):
        return text
    try:
        pairs = []
        for word in text.split(","):
            before, _, after = word.partition(":")
            pairs.append((int(before), int(after or before)))
    except ValueError:
        raise ArgumentError(f"--padding={text!r} is not a name, a number like 1, or before:after like 1:2, or one per axis.") from None
    return tuple(pairs) if len(pairs) > 1 or ":" in text else pairs[0][0]


def size_in_bytes(option: str, text: str) -> int:
    """A size in bytes, with or without a unit.

    >>> size_in_bytes("--max-memory", "64MiB"), size_in_bytes("--max-memory", "1e6")
    (67108864, 1000000)
    """
    match = re.fullmatch(r"\s*([\d.]+(?:e\d+)?)\s*([a-z]*)\s*", text.lower())
    try:
        if match:
            return int(float(match[1]) * UNITS[match[2]])
    except (KeyError, ValueError):
        pass
    raise ArgumentError(f"{option}={text!r} is not a size like 500MB, 64MiB or a number of bytes.")


def numbers(option: str, text: str) -> NDArray[Any]:
    """An array written as nested lists.

    >>> numbers("KERNEL", "[[1, 2, 1], [2, 4, 2]]").shape
    (2, 3)
    """
    try:
        found = np.asarray(literal_eval(text.strip()))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        found = np.asarray(None)
    if found.dtype.kind not in "biufc":
        raise ArgumentError(f"{option}={text!r} is not an array of numbers like [[1,2,1],[2,4,2]], with rows of one length.")
    return found


def by(shape: tuple[int, ...]) -> str:
    """A shape for people: 512 × 512 × 3."""
    return " × ".join(map(str, shape))
