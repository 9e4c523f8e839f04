"""Numbers of any kind on a GPU: what `arithmetic` does for arrays, for tensors that no array can stand for.

    x (N, C, *S)   kernel (O, C/G, *K) or terms   y (N, O, *out), written in place
Imports: PyTorch, running, integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sash.arrays import torch_
from sash.arrays.weights import Weights
from sash.ops.integers import exactly
from sash.problem import Problem
from sash.running import run


def carry_out(problem: Problem, x: Any, kernel: Weights, y: Any, cval: complex, exact: bool, how: Any) -> None:
    """Make y, whatever the element types."""
    w: Any = kernel.array
    if exact:
        ends = np.array([int(x.min()), int(x.max())] if x.numel() else [0], torch_.TYPES[x.dtype])
        problem = exactly(problem, ends, Weights(None if w is None else w.cpu().numpy(), kernel.terms), int(cval.real), np.dtype(np.int64))
    elif w is not None and not problem.rank and not problem.finite and not w.is_complex():
        problem = problem._replace(finite=bool(torch.isfinite(w).all()))
    if not y.is_complex():
        run(problem, x, kernel, y, cval=cval.real, method=how.method, max_memory=how.max_memory)
        return
    if cval:
        x = torch_.fill(x.to(y.dtype), problem.axes, cval)
        problem = problem._replace(axes=tuple([a.moved(n, 0, n) for a, n in zip(problem.axes, x.shape[2:], strict=True)]))
    part = f"float{y.element_size() * 4}"
    problem = problem._replace(straight=False, result=part, source=part)
    parts = [x.real, x.imag] if x.is_complex() else [x]
    into: Any = torch.view_as_real(y)
    if w is None or not w.is_complex():
        for i in range(2):
            if i < len(parts):
                run(
                    problem,
                    parts[i],
                    Weights(w, kernel.terms, spread=kernel.spread),
                    into[..., i],
                    method=how.method,
                    max_memory=how.max_memory,
                )
            else:
                into[..., i] = 0
    else:
        both: Any = torch.stack(parts, 2).reshape(x.shape[0], -1, *x.shape[2:])
        rows = [torch.stack([w.real, -w.imag][: len(parts)], 2), torch.stack([w.imag, w.real][: len(parts)], 2)]
        problem = problem._replace(inputs=problem.inputs * len(parts), rank=0)
        for i, row in enumerate(rows):
            kept: Any = row.reshape(w.shape[0], -1, *w.shape[2:])
            run(problem, both, Weights(kept), into[..., i], method=how.method, max_memory=how.max_memory)
    if kernel.bias is not None:
        y += kernel.bias.reshape(-1, *[1] * (y.ndim - 2))
