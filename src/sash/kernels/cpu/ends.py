"""The ends of rows: positions beyond the plain run are copied from inside it, or set to a constant.

s (X,) flat   at (R,) rows   gap (E,) positions to fill   source (E,) positions in the same row, -1 = past
"""

from __future__ import annotations

from typing import Any

from numba import njit


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def ends(s: Any, at: Any, gap: Any, source: Any, past: float) -> None:
    """s[at[r] + gap[e]] = s[at[r] + source[e]], or past."""
    for r in range(len(at)):
        for e in range(len(gap)):
            s[at[r] + gap[e]] = s[at[r] + source[e]] if source[e] >= 0 else past
