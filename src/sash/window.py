"""Window geometry: output extents, pads, and every input extent that gives an output extent.

Pure integers, no arrays, any number of axes.  Rules: TensorFlow SAME / ONNX SAME_UPPER ("same"), ONNX SAME_LOWER
("same_lower"), PyTorch's formula for explicit pads.  Imports: errors, axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from operator import index
from typing import TypeAlias

from sash.axis import Axis
from sash.errors import ArgumentError, KindError, unknown

PADDINGS = ("valid", "same", "same_lower", "full")
Ints: TypeAlias = "int | tuple[int, ...]"
Pairs: TypeAlias = "tuple[tuple[int, int], ...]"
Padding: TypeAlias = "str | int | Sequence[int] | Sequence[Sequence[int]]"


@dataclass(frozen=True)
class Window:
    """A window that slides: its size, stride, dilation and padding, and all shape arithmetic that follows.

    Parameters
    ----------
    size : int or tuple of int
        Taps per axis, at least 1. An int serves any number of axes.
    stride, dilation : int or tuple of int, default 1
        Steps between window positions, and between the taps of one window; at least 1.
    padding : default "valid"
        "valid", "same", "same_lower", "full", an int for both ends of every axis, one `(before, after)` pair for
        every axis, or one pair per axis. Negative numbers crop.

        With ``reach = dilation * (size - 1) + 1``, "same" gives ``out = ceil(n / stride)`` by a total of
        ``max((out - 1) * stride + reach - n, 0)``, the odd one at the end (TensorFlow SAME, ONNX SAME_UPPER);
        "same_lower" puts the odd one at the start (ONNX SAME_LOWER); "full" pads ``reach - 1`` at both ends.

    Raises
    ------
    ArgumentError
        A size, stride or dilation below 1, an unknown padding, or a number of axes that disagrees.

    Examples
    --------
    >>> import sash
    >>> window = sash.Window(3, stride=2, padding="same")
    >>> window.output_shape((127, 128))
    (64, 64)
    >>> window.input_shapes((64,))
    (range(127, 129),)

    Sources: TensorFlow `tf.nn` notes on padding; ONNX operators `Conv`, `ConvTranspose`; Dumoulin & Visin 2016,
    arXiv:1603.07285.
    """

    size: Ints
    _: KW_ONLY
    stride: Ints = 1
    dilation: Ints = 1
    padding: str | int | Pairs = "valid"

    def __post_init__(self) -> None:
        for name in ("size", "stride", "dilation"):
            object.__setattr__(self, name, _positive(name, getattr(self, name)))
        object.__setattr__(self, "padding", settle_padding(self.padding))
        counts = {name: len(v) for name in ("size", "stride", "dilation", "padding") if isinstance(v := getattr(self, name), tuple)}
        if "padding" in counts and counts["padding"] == 1:
            del counts["padding"]
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name} for {n}" for name, n in counts.items())
            raise ArgumentError(f"Window got values for different numbers of axes: {told}; give one value, or one per axis.")

    def output_shape(self, input_shape: int | Sequence[int]) -> tuple[int, ...]:
        """The extents of the result for an input of these extents.

        >>> Window(3, padding=1, stride=2).output_shape((224, 225))
        (112, 113)
        """
        return tuple(axis.out for axis in self.over(input_shape))

    def pads(self, input_shape: int | Sequence[int]) -> Pairs:
        """The `(before, after)` padding of each axis for an input of these extents.

        >>> Window(7, stride=2, padding="same").pads((224,))
        ((2, 3),)
        """
        return tuple((-axis.start, axis.stop - axis.n) for axis in self.over(input_shape))

    def input_shapes(self, output_shape: int | Sequence[int]) -> tuple[range, ...]:
        """For each axis, every input extent with that output extent: `n in it` exactly when `output_shape(n)` is it.

        These are the shapes a transposed convolution may be asked for.

        >>> Window(3, stride=2, padding="valid").input_shapes((64,))
        (range(129, 131),)
        """
        return tuple([range(max(low, 0), max(high, -1) + 1) for low, high in self.input_bounds(output_shape)])

    def input_bounds(self, output_shape: int | Sequence[int]) -> tuple[tuple[int, int], ...]:
        """The same as bounds, both included; the lower one may be below 0, and the upper one below the lower."""
        found = []
        for i, (m, size, stride, dilation) in enumerate(self._each("output_shape", output_shape)):
            if self.padding in ("same", "same_lower"):
                found.append(((m - 1) * stride + 1, m * stride))
                continue
            if m == 0:
                found.append((0, -1))
                continue
            reach = dilation * (size - 1) + 1
            low = (m - 1) * stride + reach - sum(self._pads(i, 0, reach, stride))
            found.append((low, low + stride - 1))
        return tuple(found)

    def over(self, shape: int | Sequence[int], boundary: str = "zero", names: Sequence[int] | None = None) -> tuple[Axis, ...]:
        """The axes of this window over an input of these extents; refuses a window larger than the padded input.

        `names`: what errors call the axes; default their positions.
        """
        axes = []
        for i, (n, size, stride, dilation) in enumerate(self._each("input_shape", shape)):
            reach = dilation * (size - 1) + 1
            before, after = self._pads(i, n, reach, stride)
            axis = Axis(n, size, stride, dilation, -before, n + after, boundary)
            if n + before + after < reach and not (n == 0 and self.padding in ("same", "same_lower")):
                spread = f" ({size} taps, dilation {dilation})" if dilation > 1 else ""
                padded = f" padded to {n + before + after}" if before or after else ""
                raise ArgumentError(
                    f"The window reaches over {reach} samples{spread} of axis {names[i] if names else i}, which has {n}{padded}; "
                    f"use a smaller window or more padding (padding='same' keeps the extent)."
                )
            axes.append(axis)
        return tuple(axes)

    def _each(self, name: str, shape: int | Sequence[int]) -> list[tuple[int, int, int, int]]:
        """(extent, size, stride, dilation) per axis."""
        found = ints(name, shape)
        extents = found if isinstance(found, tuple) else (found,)
        if any(n < 0 for n in extents):
            raise ArgumentError(f"{name}={extents} has a negative extent; extents count samples.")
        for label in ("size", "stride", "dilation", "padding"):
            value = getattr(self, label)
            one_for_all = label == "padding" and len(value) == 1 if isinstance(value, tuple) else True
            if not one_for_all and len(value) != len(extents):
                raise ArgumentError(f"{name}={extents} has {len(extents)} axes, but {label} is given for {len(value)}; they must agree.")

        def of(value: Ints, i: int) -> int:
            return value[i] if isinstance(value, tuple) else value

        return [(n, of(self.size, i), of(self.stride, i), of(self.dilation, i)) for i, n in enumerate(extents)]

    def _pads(self, i: int, n: int, reach: int, stride: int) -> tuple[int, int]:
        padding = self.padding
        if isinstance(padding, tuple):
            return padding[i] if len(padding) > 1 else padding[0]
        if isinstance(padding, int):
            return padding, padding
        if padding == "valid":
            return 0, 0
        if padding == "full":
            return reach - 1, reach - 1
        total = max((-(-n // stride) - 1) * stride + reach - n, 0)
        small, large = total // 2, total - total // 2
        return (small, large) if padding == "same" else (large, small)


def ints(name: str, value: object) -> Ints:
    """`value` as an int, or as a tuple of ints where it is a sequence; True and False are no numbers here."""
    try:
        return _index(value)
    except TypeError:
        pass
    try:
        return tuple([_index(v) for v in value])  # type: ignore[attr-defined]
    except TypeError:
        raise KindError(f"{name}={value!r} must be an int, or one int per axis.") from None


def _index(value: object) -> int:
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, int) or type(value).__name__ == "SymInt":  # of a symbol, index would make a constant
        return value  # type: ignore[return-value]
    return index(value)  # type: ignore[arg-type]


def _positive(name: str, value: object) -> Ints:
    found = ints(name, value)
    for v in found if isinstance(found, tuple) else (found,):
        if v < 1:
            raise ArgumentError(f"{name}={value!r} must be at least 1 on every axis, got {v}.")
    return found


def settle_padding(value: object) -> str | int | Pairs:
    """A name, an int, or a tuple of (before, after) pairs: one for all axes, or one per axis."""
    if isinstance(value, str):
        if value not in PADDINGS:
            raise unknown("padding", value, PADDINGS)
        return value
    try:
        return _index(value)
    except TypeError:
        pass
    try:
        rows = [ints("padding", row) for row in value]  # type: ignore[attr-defined]
        if len(rows) == 2 and all(isinstance(row, int) for row in rows):
            rows = [tuple(rows)]  # type: ignore[arg-type]
        return tuple((before, after) for before, after in rows)  # type: ignore[misc]
    except (TypeError, ValueError):
        raise ArgumentError(
            f"padding={value!r} is not an int, one (before, after) pair, one pair per axis, or one of "
            f"{', '.join(map(repr, PADDINGS))}; for different axes write ((1, 1), (2, 2))."
        ) from None
