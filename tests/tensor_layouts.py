"""Tensors that lie in memory in one of many ways, and what a result must not be: a view of what went in.

Files that need PyTorch import it from here: without it they are skipped.   Imports: NumPy, PyTorch.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
torch.set_num_threads(1)  # two workers with two threads each wait for each other: ten times slower on small tensors

LAYOUTS = ("contiguous", "sliced", "transposed", "channels_last", "offset", "conj", "negated")


def tensor(array, layout="contiguous", device="cpu"):
    """The values of an array as a tensor that lies in memory in one of many ways."""
    array = np.asarray(array)
    t = torch.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C")).to(device)
    if layout == "sliced":
        wide = torch.zeros([2 * n + 1 for n in t.shape], dtype=t.dtype, device=device)
        wide[tuple(slice(1, None, 2) for _ in t.shape)] = t
        return wide[tuple(slice(1, None, 2) for _ in t.shape)]
    if layout == "transposed" and t.ndim > 1:
        return t.transpose(0, -1).contiguous().transpose(0, -1)
    if layout == "channels_last" and t.ndim == 4:
        return t.contiguous(memory_format=torch.channels_last)
    if layout == "offset":
        return torch.cat([t.new_zeros(3), t.reshape(-1)])[3:].reshape(t.shape)
    if layout == "conj" and t.is_complex():
        return t.conj().resolve_conj().conj()
    if layout == "negated" and t.dtype in (torch.float32, torch.float64):
        return torch.complex(torch.zeros_like(t), -t).conj().imag
    return t


def array(t):
    return t.detach().resolve_conj().resolve_neg().cpu().numpy()


def check_fresh(found, *inputs):
    """A result of its own: not a view of what went in."""
    assert isinstance(found, torch.Tensor)
    for t in inputs:
        if isinstance(t, torch.Tensor) and t.numel():
            assert found.untyped_storage().data_ptr() != t.untyped_storage().data_ptr(), "the result aliases an input"
