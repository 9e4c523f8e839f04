"""Waiting awake: a thread that sleeps is 20 to 300 us late, one that watches a number in memory 3.

Without Python's lock, and with the pause that leaves a core to whoever shares it.   Imports: simd.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .simd import target


@intrinsic
def cycles(typing: Any) -> Any:
    """The processor's time stamp, after a pause."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        module = builder.module
        builder.call(module.declare_intrinsic("llvm.x86.sse2.pause", (), ir.FunctionType(ir.VoidType(), [])), [])
        return builder.call(module.declare_intrinsic("llvm.readcyclecounter", (), ir.FunctionType(ir.IntType(64), [])), [])

    return types.int64(), code


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def watch(news: Any, seen: int, most: int, more: int, told: Any) -> bool:
    """Whether news[0] becomes another number than `seen` within `most` cycles; returns `more` cycles after it has.

    On the way in told[0] is counted up: whoever watches that finds Python's lock free.
    """
    told[0] += 1
    start = cycles()
    while news[0] == seen:
        passed = cycles() - start
        if passed > most or passed < 0:  # another core's time stamp may be behind
            return False
    start = passed = cycles()
    while 0 <= passed - start < more:
        passed = cycles()
    return True


@cache
def watches() -> bool:
    """Whether this processor has what it takes: a pause, and a time stamp that any program may read."""
    return target()[0].startswith("x86_64")
