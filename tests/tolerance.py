"""How far an answer may be from the definition: from its type, its taps and its data, written once, never softened.

The promises are those of `sash.accuracy`; `test_accuracy.py` holds the constants themselves down.  Imports: sash.accuracy.
"""

import numpy as np

from sash import accuracy

COMPUTED = {
    "float16": "float32",
    "float32": "float32",
    "float64": "float64",
    "complex64": "float32",
    "complex128": "float64",
}
"""The real type that an array of each type is computed in."""


def eps(dtype):
    """The spacing of the numbers that a result of this type is computed in; 0 for integers: they are exact."""
    name = np.dtype(dtype).newbyteorder("=").name
    return float(np.finfo(COMPUTED[name]).eps) if name in COMPUTED else 0.0


def stored(exact, dtype):
    """What one rounding to the type of the result may add: half precision only, others are computed in their own."""
    if np.dtype(dtype) != np.float16:
        return 0.0
    return abs(exact) * float(np.finfo(np.float16).eps) / 2 + float(np.finfo(np.float16).smallest_subnormal) / 2


def magnitude(values):
    """The largest finite size in an array, 0 where there is none."""
    sizes = np.abs(np.asarray(values).astype(np.result_type(values, np.float64)))
    return float(np.max(sizes, initial=0.0, where=np.isfinite(sizes)))


def promise(kernel, largest, dtype):
    """The default promise: how far a correlation of numbers up to `largest` may be off, whatever the method."""
    weights = np.abs(np.asarray(kernel, np.result_type(kernel, np.float64)))
    return accuracy.NORMWISE * eps(dtype) * np.sqrt(max(weights.size, 1)) * float(weights.sum()) * largest


def normwise(case, dtype):
    """The default promise for a random problem: one number for all outputs."""
    return promise(case.kernel, max(magnitude(case.x), abs(case.settings["cval"])), dtype)


def elementwise(case, dtype):
    """The stronger promise: one number for each output."""
    return accuracy.ELEMENTWISE * eps(dtype) * case.answer(size_only=True, work=np.float64)


def check(found, exact, bound, told):
    """Compare where the definition is finite; where it is not, the answer must not be either, and nowhere else."""
    found, exact = np.asarray(found), np.asarray(exact)
    assert found.shape == exact.shape, f"{told}\nshape {found.shape}, the definition gives {exact.shape}"
    if exact.dtype == object:
        wrong = found.astype(object) != exact
        assert not np.any(wrong), f"{told}\n{np.sum(wrong)} of {exact.size} integers differ, first at {first(wrong, found, exact)}"
        return
    finite = np.isfinite(exact)
    stray = np.isfinite(found) != finite
    assert not np.any(stray), f"{told}\n{np.sum(stray)} of {exact.size} NaN or inf astray, first at {first(stray, found, exact)}"
    error = np.where(finite, abs(np.where(finite, found, 0) - np.where(finite, exact, 0)), 0.0)
    limit = np.broadcast_to(bound + stored(np.where(finite, exact, 0), found.dtype), error.shape)
    wrong = error > limit
    assert not np.any(wrong), (
        f"{told}\n{np.sum(wrong)} of {exact.size} are off by up to {np.max(error / np.maximum(limit, 1e-300)):.3g} times "
        f"the promise, first at {first(wrong, found, exact)}"
    )


def first(wrong, found, exact):
    """Where the first difference is, and what stands there."""
    place = tuple(int(v) for v in np.argwhere(wrong)[0])
    return f"{place}: {found[place]!r} instead of {exact[place]!r}"
