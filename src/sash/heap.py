"""The C library's heap: memory that scratch and results had stays in the process for those of the next call.

glibc gives the end of its heap back to the system as soon as more than twice the largest block lies free there that it
ever mapped and unmapped, and that is 128 kB at first (mallopt(3), M_MMAP_THRESHOLD, "dynamic").  A call that needs 20 MB
in arrays of 1 MB then takes all of it anew each time, page by page, at 0.5 to 2 us for 4 kB: half of the time of a
transform (512² by 127²: 9.2 ms, then 5.5).  One block of 32 MB, given back untouched, is what any program does that once
makes a large array; from then on up to 64 MB stay.  Where MALLOC_TRIM_THRESHOLD_ or its sister is set, or another library
manages memory, nothing changes.   Imports: NumPy only.
"""

from __future__ import annotations

import numpy as np

LARGEST = (1 << 25) - (1 << 16)
"""Bytes: what glibc learns from, at most, with room for its own few."""


def keep() -> None:
    """Give one large block back, of which no byte was touched."""
    np.empty(LARGEST, np.uint8)
