"""Where arrays live: NumPy's (`numpy_`) and PyTorch's (`torch_`, loaded when a tensor is met).

A family is a module of a dozen functions of the same names in both: `fill`, `take`, `give`, `zeros`, `empty`, `cast`,
`rfftn`, `irfftn`, `steps`, `windows`, `add_exactly`; and `lib`, the library itself, for what is called alike in both.
"""

from __future__ import annotations

import sys
from typing import Any

from numpy import ndarray

from sash.arrays import numpy_


def tensors(*operands: object) -> bool:
    """Whether any operand is a PyTorch tensor (without loading PyTorch: whoever has a tensor has loaded it)."""
    torch = sys.modules.get("torch")
    return torch is not None and any(map(torch.is_tensor, operands))


def family(x: object) -> Any:
    """The module that handles x."""
    if isinstance(x, ndarray):
        return numpy_
    from sash.arrays import torch_

    return torch_.family
