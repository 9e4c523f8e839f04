"""The accuracy that is promised, in numbers; the tests hold every method to them.

    normwise     |error| <= NORMWISE * eps * sqrt(taps) * sum|kernel| * max|x|
    elementwise  |error| <= ELEMENTWISE * eps * sum(|kernel| * |window|)      for each output

`eps` is that of the type computed in (float16 computes in float32 and is then rounded once to float16).
Imports: nothing.
"""

NORMWISE = 4.0
ELEMENTWISE = 24.0

CHUNK = {False: 2048, True: 256}
"""Taps summed in one running sum, by whether the elementwise promise holds: equal taps that all round the same way
drift by about taps / 13 roundings (measured on 0.1), so longer sums are made of such pieces."""

EXACT_BITS = {"float32": 24, "float64": 53, "int64": 63}
"""Integers of at most this many bits, and all their partial sums, are exact in these types."""
