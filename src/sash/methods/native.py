"""PyTorch's own convolution: the fastest where there are many channels, on the CPU (oneDNN) and on GPUs (cuDNN).

    x (N, C, *S)   w (O, C/G, *K)   z (N, O, *out)
For arrays that are tensors; takes one to three axes, all boundaries (what is not symmetric padding with zeros is
padded first) and gives all three sides of the trilinear form.   Imports: PyTorch (when it runs), arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import isqrt, prod
from typing import TYPE_CHECKING, NamedTuple

from numpy import ndarray

from sash.accuracy import CHUNK
from sash.arrays import family
from sash.arrays.numpy_ import Array
from sash.arrays.weights import Weights
from sash.machine import Machine
from sash.methods.method import GATED, Cost
from sash.problem import Box, Problem

if TYPE_CHECKING:
    import torch

NAME = "native"
MOST = 3
"""Axes that PyTorch convolves over."""


def refuses(problem: Problem) -> str:
    if problem.planes:
        return GATED
    if problem.home == "numpy":
        return "PyTorch's convolution takes tensors, and these are NumPy arrays"
    if problem.reduce != "product":
        return f"{problem.reduce} differences are no convolution"
    if problem.bits:
        return "integers are summed exactly here, and PyTorch's convolution rounds"
    if problem.source.startswith("complex"):
        return "PyTorch convolves complex numbers in some cases only; here they go through as pairs of real ones"
    if problem.elementwise:
        return "the order of PyTorch's sums is not known: no elementwise bound"
    if len(_kept(problem)) > MOST:
        return f"PyTorch convolves over {MOST} axes, not {len(_kept(problem))}"
    if problem.upsampled:
        return "a transposed problem goes to PyTorch by the side that it has in the forward one"
    return ""


def _kept(problem: Problem) -> tuple[int, ...]:
    """Axes that PyTorch sees: all but leading idle ones, which are batch where there is one channel."""
    active = problem.active
    count = len(problem.axes)
    if problem.batch == problem.inputs == problem.outputs == 1 and active:
        return tuple(range(min(active), count))
    return tuple(range(count))


def cost(problem: Problem, machine: Machine, limit: float) -> Cost:
    item = problem.itemsize
    each = problem.taps * prod(problem.out) * item  # im2col, one image at a time
    padded = 0 if _symmetric(problem) else problem.batch * problem.inputs * prod([a.stop - a.start for a in problem.axes])
    spatial = prod([a.size for a in problem.axes])
    inputs, outputs = problem.inputs // problem.groups, problem.outputs // problem.groups
    places = problem.batch * problem.groups * prod(problem.out) * spatial
    crew = 0.9 * machine.cores if machine.cores > 1 else 1.0  # PyTorch's own threads
    if _onednn(problem):
        scratch = (problem.samples + problem.results + problem.taps * problem.outputs) * item
        moved = problem.samples + problem.results
        work = {
            "native.float32": places * inputs * _lanes(problem, inputs, outputs) / crew,
            "native.moved": moved / crew,
            "native.call": 1,
        }
    else:
        scratch = each if spatial > 1 else 0
        work = {f"native.{problem.dtype}": places * inputs * outputs / crew, "native.column": places * inputs / crew, "native.call": 1}
    work["copy.sample"] = padded
    return Cost(work, scratch + padded * item, 0, (problem.batch, *problem.out))


ENOUGH = 20480
"""Product of the first four extents of x above which PyTorch 2 hands float32 to oneDNN (ConvParams::use_mkldnn)."""


def _onednn(problem: Problem) -> bool:
    """PyTorch hands the problem to oneDNN, whose scratch is blocked copies; else it lays out every window."""
    wide = all([a.size > 3 for a in problem.axes[-2:]])
    extents = (problem.batch, problem.inputs, *[a.stop - a.start for a in problem.axes])
    return problem.dtype == "float32" and (problem.groups > 1 or wide or problem.batch > 1 or prod(extents[:4]) > ENOUGH)


PLAIN = 20
"""How many times longer a term takes by oneDNN's plain loops (64 groups of 16 x 32², 3³ taps: 9 ms)."""


def _lanes(problem: Problem, inputs: int, outputs: int) -> int:
    """Outputs that oneDNN makes at once for each input: it fills vectors of channels, of groups where each is one."""
    if problem.groups > 1 and inputs == outputs == 1:
        return 1 if len(_kept(problem)) < 3 else PLAIN
    return -(-outputs // 16) * 16


def boxes(problem: Problem, cost: Cost) -> list[Box]:
    return [problem.whole]


def prepare(problem: Problem, weights: Weights, cost: Cost) -> Array:
    dense: Array = family(weights.dense).cast(weights.dense, problem.dtype)
    return dense


def run(problem: Problem, x: Array, prepared: Array, y: Array, cval: float) -> None:
    f = family(x)
    tile = f.fill(x, problem.axes, problem.dtype, cval)
    inner = _moved(problem, tile.shape[2:])
    if not isinstance(tile, ndarray):
        f.give(forward(inner, tile, prepared, None, cval), y)  # type: ignore[arg-type]
        return
    from sash.arrays import torch_

    if not tile.flags.writeable:  # PyTorch warns of memory that it may not write to
        tile = tile.copy()
    f.give(torch_.array(forward(inner, torch_.tensor(tile), torch_.tensor(prepared.copy()), None, cval)), y)


def _symmetric(problem: Problem) -> bool:
    """The padding is one that PyTorch's convolution does itself: the same with zeros at both ends, where it is read."""
    return all([
        a.start <= 0
        and (a.n - 2 * a.start - a.reach) // a.stride + 1 == a.out
        and (a.boundary == "zero" or (a.start == 0 and (a.out - 1) * a.stride + a.reach <= a.n))
        for a in problem.axes
    ])  # fmt: skip


class Way(NamedTuple):
    """A problem in PyTorch's terms."""

    whole: bool
    """Its padding is PyTorch's own, and x goes in as it is."""
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    nothing: list[int]
    shape: tuple[int, ...]


@lru_cache(maxsize=1024)
def way(problem: Problem) -> Way:
    kept = _kept(problem)
    whole = _symmetric(problem) and len(kept) == len(problem.axes)
    return Way(whole, *_numbers(problem, kept), [0] * len(kept), (problem.batch, problem.outputs, *problem.out))


def forward(problem: Problem, x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor | None, cval: complex) -> torch.Tensor:
    """y of tensors of one type."""
    import torch

    t = way(problem)
    if t.whole:
        return torch.convolution(x, _contiguous(w), bias, t.stride, t.padding, t.dilation, False, t.nothing, problem.groups)
    inner, tile = _framed(problem, x, cval)
    kept = _kept(problem)
    stride, padding, dilation = _numbers(inner, kept)
    x, w = _merged(tile, kept), _squeezed(w, kept)
    return torch.convolution(x, w, bias, stride, padding, dilation, False, t.nothing, problem.groups).reshape(t.shape)


def backward_x(problem: Problem, w: torch.Tensor, z: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """x's side: (N, C, *S)."""
    import torch

    from sash.arrays import torch_

    symmetric = _symmetric(problem)
    inner = problem if symmetric else _moved(problem, [a.stop - a.start for a in problem.axes])
    kept = _kept(problem)
    axes = [inner.axes[i] for i in kept]
    more = [a.n - ((a.out - 1) * a.stride + 2 * a.start + a.reach) for a in axes]
    own = bias if symmetric else None
    z, w = _merged(z, kept), _squeezed(w, kept)
    x = torch.convolution(z, w, own, *_numbers(inner, kept), True, more, problem.groups)
    x = x.reshape(problem.batch, problem.inputs, *[a.n for a in inner.axes])
    if not symmetric:
        x = torch_.spill(x, problem.axes)
        x = x if bias is None else x.add_(bias.reshape(-1, *[1] * len(problem.axes)))
    return x


def backward_w(problem: Problem, x: torch.Tensor, z: torch.Tensor, cval: complex) -> torch.Tensor:
    """w's side: (O, C/G, *K), summed over blocks of positions."""
    boxes = _pieces(problem) if z.device.type == "cpu" else [problem.whole]
    if len(boxes) < 2:
        return _weighed(problem, x, z, cval)
    f, total = family(x), z.new_zeros(problem.outputs, problem.inputs // problem.groups, *[a.size for a in problem.axes])
    for (first, last), *rest in boxes:
        runs, part = problem.part(((first, last), *rest))
        total += _weighed(part, f.take(x[first:last], runs), z[(slice(first, last), slice(None), *[slice(o, p) for o, p in rest])], cval)
    return total


ROOTS = 20
"""Square roots of the count of positions in one running sum of oneDNN: equal terms drift by 0.15 roundings each, and
NORMWISE = 4 roundings per square root are promised (measured on 0.1, 614 400 positions)."""


def _pieces(problem: Problem) -> list[Box]:
    """Blocks of positions so small that oneDNN's running sums over each keep the promise."""
    extents = (problem.batch, *problem.out)
    left = max(CHUNK[False], ROOTS * isqrt(prod(extents)))
    tile: list[int] = []
    for n in reversed(extents):
        tile.insert(0, max(min(n, left), 1))
        left //= tile[0]
    return problem.grid(tuple(tile))


def _weighed(problem: Problem, x: torch.Tensor, z: torch.Tensor, cval: complex) -> torch.Tensor:
    import torch

    inner, tile = _framed(problem, x, cval)
    kept = _kept(problem)
    shape = (problem.outputs, problem.inputs // problem.groups, *[a.size for a in problem.axes])
    w = z.new_empty(1).expand(*shape[:2], *[shape[i + 2] for i in kept])  # read for its shape alone
    found: torch.Tensor = torch.ops.aten.convolution_backward(
        _merged(z, kept), _merged(tile, kept), w, None, *_numbers(inner, kept), False, [0] * len(kept), problem.groups, [False, True, False]
    )[1]
    return found.reshape(shape)


def _framed(problem: Problem, x: torch.Tensor, cval: complex) -> tuple[Problem, torch.Tensor]:
    """x padded so far that PyTorch can do the rest, and the problem that is left."""
    if _symmetric(problem):
        return problem, x
    from sash.arrays import torch_

    tile = torch_.fill(x, problem.axes, cval)
    return _moved(problem, tile.shape[2:]), tile


def _moved(problem: Problem, extents: Sequence[int]) -> Problem:
    return problem._replace(axes=tuple([a.moved(n, 0, n) for a, n in zip(problem.axes, extents, strict=True)]))


def _numbers(problem: Problem, kept: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """Stride, padding, dilation of the axes that PyTorch sees."""
    axes = [problem.axes[i] for i in kept]
    return [a.stride for a in axes], [-a.start for a in axes], [a.dilation for a in axes]


def _squeezed(w: torch.Tensor, kept: Sequence[int]) -> torch.Tensor:
    """w over the axes that PyTorch sees."""
    return _contiguous(w.reshape(*w.shape[:2], *[w.shape[i + 2] for i in kept]))


def _contiguous(w: torch.Tensor) -> torch.Tensor:
    """w laid out anew where its strides are odd: beside channels-last x, PyTorch 2.13's conv3d is wrong for those."""
    return w if w.is_contiguous() or not all(w.stride()) else w.contiguous()


def _merged(x: torch.Tensor, kept: Sequence[int]) -> torch.Tensor:
    """Leading idle axes as the batch."""
    return x if len(kept) == x.ndim - 2 else x.reshape(-1, 1, *[x.shape[i + 2] for i in kept])
