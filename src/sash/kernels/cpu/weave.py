"""Rows woven of their classes: samples s apart that lie together become neighbours again.  The way back of `split`.

t (s, R, ...) flat, class c of row r from c size + r counts[c] on   y flat, row r from to[r] on: place j s + c is sample j of class c
Imports: numba.
"""

from __future__ import annotations

from typing import Any

from numba import njit


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def woven(t: Any, size: int, counts: Any, y: Any, to: Any, ways: Any) -> None:
    """`counts[c]` samples of each class, of which there are as many as `ways` is long; the first have one more than the last, or as many."""
    s = len(ways)
    m = counts[s - 1]
    for r in range(len(to)):
        goal = y[to[r] : to[r] + m * s]
        if s == 2:
            even, odd = t[r * counts[0] :], t[size + r * counts[1] :]
            for j in range(m):
                goal[2 * j] = even[j]
                goal[2 * j + 1] = odd[j]
        else:
            for c in range(s):
                one = t[c * size + r * counts[c] :]
                for j in range(m):
                    goal[j * s + c] = one[j]
        for c in range(s):
            if counts[c] > m:
                y[to[r] + m * s + c] = t[c * size + r * counts[c] + m]
