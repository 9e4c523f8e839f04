"""The methods, in the order in which plans show them.  A new one is one new file and one line here."""

from __future__ import annotations

from sash.errors import unknown
from sash.methods import bytes_, direct, fft, gated, gather, gemm, indirect, native, polyphase, separable, shift_add
from sash.methods.method import Cost, Method

METHODS: tuple[Method, ...] = (direct, bytes_, separable, fft, polyphase, gemm, indirect, shift_add, native, gated, gather)


CHOICES = ("auto", "measure")
"""What `method=` may be where none is named: the fastest as predicted, or as found by trying (see `sash.wisdom`)."""


def names() -> tuple[str, ...]:
    """What `method=` may be, besides CHOICES."""
    return tuple(method.NAME for method in METHODS)


def named(name: str) -> Method:
    """The method of this name."""
    for method in METHODS:
        if name == method.NAME:
            return method
    raise unknown("method", name, (*CHOICES, *names()))


__all__ = ["CHOICES", "METHODS", "Cost", "Method", "named", "names"]
