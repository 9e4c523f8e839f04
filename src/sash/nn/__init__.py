"""Layers for PyTorch: the verbs with parameters that are learnt.

>>> import torch, sash.nn
>>> layer = sash.nn.Conv(3, 8, 3, padding="same", stride=2)
>>> layer(torch.zeros(1, 3, 9, 9)).shape
torch.Size([1, 8, 5, 5])
"""

from sash.errors import MissingLibrary

try:
    import torch as _torch  # noqa: F401
except ImportError:
    raise MissingLibrary('sash.nn needs PyTorch: pip install "sash[torch]".') from None

from sash.nn.blur import GaussianBlur
from sash.nn.convolution import Conv, ConvTranspose
from sash.nn.depth import Conv2_5d
from sash.nn.matching import Similarity

__all__ = ["Conv", "Conv2_5d", "ConvTranspose", "GaussianBlur", "Similarity"]
