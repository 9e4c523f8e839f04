"""Finding the 1-D kernels that a kernel is made of: a short sum of outer products, with its error.

    kernel (*K)   terms: per product, one 1-D kernel per axis       Imports: arrays, errors.
Axis by axis the kernel is unfolded into a matrix whose singular values say how many products it needs (Golub & Van
Loan, Matrix Computations, section 2.4; for more axes: Oseledets 2011, doi:10.1137/090752286, without the cores).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, reduce
from math import gcd, prod
from typing import Any

import numpy as np

from sash.arrays.numpy_ import Array, asarray, settle_number
from sash.arrays.weights import Terms, sum_of_products
from sash.errors import ArgumentError, KindError

KEPT = 1 << 18
"""Bytes of a kernel that is remembered, at most."""


@dataclass(frozen=True, slots=True)
class Separation:
    """A kernel as a sum of outer products.

    `terms`: per product one 1-D kernel per axis; `rank`: how many products; `error`: sum|kernel - dense()| /
    sum|kernel|, which bounds what the result of filtering can lose relative to sum|kernel| * max|x|.

    Examples
    --------
    >>> import sash
    >>> found = sash.separate([[1, 2], [2, 4]])
    >>> found.rank, found.dense().tolist()
    (1, [[1, 2], [2, 4]])
    """

    terms: Terms
    error: float

    @property
    def rank(self) -> int:
        return len(self.terms)

    def dense(self) -> Array:
        """The sum of the products."""
        return sum_of_products(self.terms)


def separate(kernel: Any, *, tol: float | None = None) -> Separation:
    """Write a kernel as a sum of as few outer products of 1-D kernels as its accuracy needs.

    Parameters
    ----------
    kernel : array, real, at least one axis
        One axis per axis that it slides over.
    tol : float, optional
        Largest `error` (see below) that is accepted, relative to sum|kernel|. Default: the rounding of the kernel's
        own type (1.2e-7 for float32, 2.2e-16 for float64 and integers, times the number of taps' square root).

    Returns
    -------
    Separation
        `terms`, `rank` and `error`; `dense()` multiplies them out. One term: the kernel is separable. Integer kernels
        of one term come back as integers, exactly.

    Raises
    ------
    ArgumentError, KindError
        A kernel that is empty, complex or not finite; a negative tol.

    Examples
    --------
    >>> import sash
    >>> found = sash.separate([[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    >>> found.rank, [k.tolist() for k in found.terms[0]]
    (1, [[1, 2, 1], [1, 2, 1]])
    >>> sash.separate([[0, 1, 0], [1, -4, 1], [0, 1, 0]]).rank
    2
    """
    dense = asarray("kernel", kernel)
    if not dense.size or not dense.ndim:
        raise ArgumentError(f"kernel has shape {dense.shape}: there is nothing to separate; give at least one tap and one axis.")
    if dense.dtype.kind == "c":
        raise KindError(f"kernel is {dense.dtype}; separate takes real kernels (separate .real and .imag).")
    if not np.isfinite(dense).all():
        raise ArgumentError("kernel holds NaN or infinity, which no sum of products can equal.")
    if tol is not None:
        tol = settle_number("tol", tol)
        if not tol >= 0:
            raise ArgumentError(f"tol={tol!r} must be at least 0 (relative to sum|kernel|).")
    whole = integer_product(dense) if dense.dtype.kind in "biu" else None
    if whole is not None:
        return Separation((whole,), 0.0)
    if tol is None:
        tol = float(np.finfo(dense.dtype if dense.dtype.kind == "f" else np.float64).eps) * dense.size**0.5
    return _lowest(dense.astype(np.float64), tol)


def _lowest(dense: Array, tol: float) -> Separation:
    """The fewest leading products whose error is within tol."""
    products = sorted(_products(dense), key=lambda p: -p[0])
    mass = float(np.abs(dense).sum()) or 1.0
    rest, terms = dense.copy(), []
    for _, term in products:
        terms.append(term)
        rest -= reduce(np.multiply.outer, term)
        error = float(np.abs(rest).sum()) / mass
        if error <= tol:
            break
    return Separation(tuple(terms), error)


def _products(dense: Array) -> list[tuple[float, tuple[Array, ...]]]:
    """(size, 1-D kernels) of products that sum to `dense`; sizes share out evenly among the 1-D kernels."""
    if dense.ndim == 1:
        return [(float(np.linalg.norm(dense)), (dense,))]
    u, s, vt = np.linalg.svd(dense.reshape(dense.shape[0], -1), full_matrices=False)
    found = []
    for i, size in enumerate(s):
        if i and size <= s[0] * 1e-17:
            break
        share = float(size) ** (1 / dense.ndim)
        rest = float(size) / share if share else 0.0
        for inner, term in _products(vt[i].reshape(dense.shape[1:])):
            found.append((float(size) * inner, (u[:, i] * share, *(k * rest ** (1 / len(term)) for k in term))))
    return found


def integer_product(dense: Array) -> tuple[Array, ...] | None:
    """The integer 1-D kernels whose outer product an integer kernel exactly is, or None."""
    values = dense.astype(object) if dense.dtype == np.uint64 else dense.astype(np.int64).astype(object)
    nonzero = np.argwhere(dense)
    if not len(nonzero):
        return tuple(np.zeros(n, np.int64) for n in dense.shape)
    pivot = tuple(int(i) for i in nonzero[0])
    content = reduce(gcd, (abs(int(v)) for v in values.reshape(-1)))
    lines = []
    for axis in range(dense.ndim):
        through: Any = (*pivot[:axis], slice(None), *pivot[axis + 1 :])
        line = [int(v) for v in values[through]]
        shared = reduce(gcd, map(abs, line))
        lines.append([v // shared for v in line])
    sign = 1 if (int(values[pivot]) > 0) == (prod(line[i] for line, i in zip(lines, pivot, strict=True)) > 0) else -1
    lines[0] = [v * content * sign for v in lines[0]]
    if max(abs(v) for line in lines for v in line) >= 2**63:
        return None
    exact = reduce(np.multiply.outer, [np.array(line, dtype=object) for line in lines])
    return tuple(np.array(line, np.int64) for line in lines) if bool((exact == values).all()) else None


def factors(dense: Array, dtype: str, exact: bool, most: int) -> Terms | None:
    """At most `most` terms that a filter may use instead of `dense` without leaving its accuracy promise, or None.

    A kernel comes again with the next image: what was found of it is known by its values (15² taps: 500 us, then 3).
    """
    if dense.nbytes > KEPT:
        return _found(dense, dtype, exact, most)
    return _known(dense.tobytes(), dense.dtype.str, dense.shape, dtype, exact, most)


@lru_cache(maxsize=32)
def _known(values: bytes, kind: str, shape: tuple[int, ...], dtype: str, exact: bool, most: int) -> Terms | None:
    return _found(np.frombuffer(values, kind).reshape(shape), dtype, exact, most)


def _found(dense: Array, dtype: str, exact: bool, most: int) -> Terms | None:
    if exact:
        whole = integer_product(dense)
        return None if whole is None else (whole,)
    eps = float(np.finfo(dtype).eps) * dense.size**0.5
    if not _few_crosses(dense.reshape(dense.shape[0], -1).astype(np.float64), most, eps):
        return None
    terms = _lowest(dense.astype(np.float64), eps / 2).terms
    return terms if len(terms) <= most else None


def _few_crosses(matrix: Array, most: int, eps: float) -> bool:
    """Whether eliminating `most` pivots leaves next to nothing: a cheap bound before singular values are taken.

    Source: Bebendorf 2000, doi:10.1007/PL00005410 (adaptive cross approximation, full pivoting).
    """
    mass = float(np.abs(matrix).sum())
    rows, columns = [np.linspace(0, n - 1, min(2 * most, n)).astype(int) for n in matrix.shape]
    some = matrix[np.ix_(rows, columns)]
    if 4 * some.size < matrix.size and not _left_by(some, most, eps * mass):  # a part has no more terms than the whole
        return False
    return _left_by(matrix, most, eps * mass)


def _left_by(matrix: Array, most: int, least: float) -> bool:
    """Whether what `most` pivots leave of a matrix is next to nothing."""
    rest = matrix.copy()
    for _ in range(min(most, *matrix.shape)):
        i, j = np.unravel_index(np.abs(rest).argmax(), rest.shape)
        if rest[i, j] == 0:
            return True
        rest -= np.multiply.outer(rest[:, j] / rest[i, j], rest[i])
    return float(np.abs(rest).sum()) <= least * 4
