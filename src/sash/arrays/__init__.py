"""Where arrays live: NumPy's (`numpy_`) and PyTorch's (`torch_`, loaded when a tensor is met)."""

from __future__ import annotations

import sys


def tensors(*operands: object) -> bool:
    """Whether any operand is a PyTorch tensor (without loading PyTorch: whoever has a tensor has loaded it)."""
    torch = sys.modules.get("torch")
    return torch is not None and any(map(torch.is_tensor, operands))
