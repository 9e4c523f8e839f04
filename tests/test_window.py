"""Window geometry against the definition (count the windows), and against each framework's published formula."""

import math
import random

import pytest

import oracle
import sash

NAMES = ("valid", "same", "same_lower", "full")


def random_window(rng):
    """(n, Window, its settings per axis) where at least one window fits."""
    axes = rng.randint(1, 4)
    rows = []
    for _ in range(axes):
        n, size, stride, dilation = rng.randint(1, 40), rng.randint(1, 9), rng.randint(1, 6), rng.randint(1, 4)
        before, after = rng.randint(-3, 20), rng.randint(-3, 20)
        after += max(dilation * (size - 1) + 1 - (n + before + after), 0)
        rows.append((n, size, stride, dilation, (before, after)))
    name = rng.choice((*NAMES, "pairs", "pairs", "pairs"))
    if name == "valid":
        rows = [(n + d * (k - 1), k, s, d, p) for n, k, s, d, p in rows]
    shape, size, stride, dilation, pairs = zip(*rows, strict=True)
    padding = pairs if name == "pairs" else name
    window = sash.Window(size, stride=stride, dilation=dilation, padding=padding)
    return shape, window, [(k, s, d, p if name == "pairs" else name) for _, k, s, d, p in rows]


@pytest.mark.parametrize("seed", range(20))
def test_output_shape_and_pads_are_those_of_the_definition(seed):
    rng = random.Random(seed)
    for _ in range(50):
        shape, window, rows = random_window(rng)
        assert window.output_shape(shape) == tuple(oracle.output_extent(n, *row) for n, row in zip(shape, rows, strict=True)), (
            f"{window} on {shape}"
        )
        assert window.pads(shape) == tuple(oracle.pads(n, *row) for n, row in zip(shape, rows, strict=True)), f"{window} on {shape}"


@pytest.mark.parametrize("seed", range(20))
def test_input_shapes_are_exactly_the_extents_with_that_output(seed):
    """`n in input_shapes(m)` exactly when `output_shape(n) == m`, for every n and m in reach."""
    rng = random.Random(1000 + seed)
    for _ in range(12):
        _, window, rows = random_window(rng)
        single = sash.Window(
            window.size[0],
            stride=window.stride[0],
            dilation=window.dilation[0],
            padding=window.padding if isinstance(window.padding, str) else window.padding[0],
        )
        outputs = {}
        for n in range(90):
            try:
                outputs[n] = single.output_shape((n,))
            except sash.SashError:
                fits = oracle.output_extent(n, *rows[0]) > 0
                assert not fits, f"{single} refuses {n}, and a window fits"
        for m in range(12):
            (extents,) = single.input_shapes((m,))
            assert isinstance(extents, range)
            for n in range(90):
                assert (n in extents) == (outputs.get(n) == (m,)), f"{single}: n={n}, m={m}, {extents}"


def test_input_shapes_of_several_axes_are_those_of_each():
    window = sash.Window((3, 4), stride=(2, 3), padding=((1, 0), (0, 2)))
    rows = [(3, 2, 1, (1, 0)), (4, 3, 1, (0, 2))]
    found = window.input_shapes((5, 6))
    assert found == tuple(
        range(min(hits), max(hits) + 1)
        for row, m in zip(rows, (5, 6), strict=True)
        for hits in [[n for n in range(2, 60) if oracle.output_extent(n, *row) == m]]
    )


def test_the_extents_that_a_transposed_operation_may_be_asked_for():
    assert sash.Window(3, stride=2, padding="same").input_shapes((64,)) == (range(127, 129),)
    assert sash.Window(3, stride=2, padding="valid").input_shapes((64,)) == (range(129, 131),)
    assert list(sash.Window(3, stride=2, padding="valid").input_shapes((64,))[0]) == [129, 130]
    assert sash.Window(3, stride=2, padding="same").input_shapes((64, 64)) == (range(127, 129),) * 2


@pytest.mark.parametrize(
    ("n", "size", "stride", "dilation", "same", "same_lower"),
    [
        (13, 6, 5, 1, (1, 2), (2, 1)),  # the example in TensorFlow's notes on padding
        (224, 7, 2, 1, (2, 3), (3, 2)),  # measured with JAX 0.10.2
        (5, 1, 3, 1, (0, 0), (0, 0)),  # stride beyond the window: the total is clamped at 0
        (28, 3, 1, 2, (2, 2), (2, 2)),
        (8, 4, 1, 1, (1, 2), (2, 1)),  # even: the odd one at the end, or at the start
        (7, 2, 2, 3, (1, 2), (2, 1)),
    ],
)
def test_same_pads_known_from_the_frameworks(n, size, stride, dilation, same, same_lower):
    window = sash.Window(size, stride=stride, dilation=dilation, padding="same")
    assert window.pads((n,)) == (same,)
    assert window.output_shape((n,)) == (-(-n // stride),)
    assert sash.Window(size, stride=stride, dilation=dilation, padding="same_lower").pads((n,)) == (same_lower,)


GRID = [(n, k, s, d) for n in (1, 2, 5, 8, 13, 30) for k in (1, 2, 3, 6, 7) for s in (1, 2, 3, 5) for d in (1, 2, 3)]


def test_tensorflow_same_and_valid():
    """tf.nn notes: SAME out = ceil(n/s), total = max((out-1)*s + k_eff - n, 0); VALID out = ceil((n - k_eff + 1)/s)."""
    for n, k, s, d in GRID:
        reach = (k - 1) * d + 1
        out = math.ceil(n / s)
        total = max((out - 1) * s + reach - n, 0)
        window = sash.Window(k, stride=s, dilation=d, padding="same")
        assert (window.output_shape((n,)), window.pads((n,))) == ((out,), ((total // 2, total - total // 2),)), (
            n,
            k,
            s,
            d,
        )
        if n >= reach:
            valid = sash.Window(k, stride=s, dilation=d).output_shape((n,))
            assert valid == (math.ceil((n - reach + 1) / s),), (n, k, s, d)


def test_pytorch_formula():
    """torch.nn.Conv2d: out = floor((n + 2p - d(k-1) - 1)/s + 1)."""
    for n, k, s, d in GRID:
        for p in (0, 1, 4):
            if n + 2 * p >= d * (k - 1) + 1:
                out = math.floor((n + 2 * p - d * (k - 1) - 1) / s + 1)
                assert sash.Window(k, stride=s, dilation=d, padding=p).output_shape((n,)) == (out,), (n, k, s, d, p)


def test_onnx_auto_pad():
    """ONNX Conv: pad_shape = (out-1)*s + ((k-1)*d+1) - n; SAME_UPPER has the extra one at the end, SAME_LOWER at the start."""
    for n, k, s, d in GRID:
        out = math.ceil(n / s)
        total = max((out - 1) * s + ((k - 1) * d + 1) - n, 0)
        half, rest = total // 2, total - total // 2
        assert sash.Window(k, stride=s, dilation=d, padding="same").pads((n,)) == ((half, rest),)
        lower = sash.Window(k, stride=s, dilation=d, padding="same_lower")
        assert lower.pads((n,)) == ((rest, half),)
        assert lower.output_shape((n,)) == (out,)
        for pads in ((0, 3), (2, 1)):
            if n + sum(pads) >= (k - 1) * d + 1:
                told = sash.Window(k, stride=s, dilation=d, padding=pads).output_shape((n,))
                assert told == ((n + sum(pads) - ((k - 1) * d + 1)) // s + 1,)


def test_paddings_may_be_written_in_every_way():
    base = sash.Window((3, 5), padding=((1, 1), (1, 1)))
    for padding in (1, (1, 1), [1, 1], ((1, 1),), [[1, 1], [1, 1]]):
        assert sash.Window((3, 5), padding=padding).output_shape((9, 9)) == base.output_shape((9, 9)) == (9, 7)
    assert sash.Window(3, padding=(0, 2)).pads((7, 8)) == ((0, 2), (0, 2))
    assert sash.Window(3, padding=-1).output_shape((7,)) == (3,)


def test_a_window_is_a_frozen_value():
    window = sash.Window(3, stride=2)
    assert window == sash.Window(3, stride=2) != sash.Window(3)
    assert hash(window) == hash(sash.Window(3, stride=2))
    with pytest.raises(AttributeError):
        window.stride = 3


@pytest.mark.parametrize(
    ("make", "numbers"),
    [
        (lambda: sash.Window(0), ("size=0", "1")),
        (lambda: sash.Window(3, stride=0), ("stride=0", "1")),
        (lambda: sash.Window(3, dilation=-2), ("dilation=-2", "1")),
        (lambda: sash.Window((3, 3), stride=(1, 1, 1)), ("2", "3")),
        (lambda: sash.Window(3, padding="smae"), ("'smae'", "'same'")),
        (lambda: sash.Window(9).output_shape((7,)), ("9", "7")),
        (lambda: sash.Window(3, dilation=4).output_shape((7,)), ("9", "7")),
        (lambda: sash.Window(9, padding=-1).output_shape((10,)), ("9", "8")),
        (lambda: sash.Window((3, 3)).output_shape((7,)), ("2", "1")),
        (lambda: sash.Window(3).output_shape((-7,)), ("-7",)),
        (lambda: sash.Window(3).input_shapes((-7,)), ("-7",)),
        (lambda: sash.Window(2.5), ("2.5", "int")),
        (lambda: sash.Window(3, padding=0.5), ("0.5",)),
        (lambda: sash.Window(3, padding=(1, 2, 3)), ("(1, 2, 3)", "pair")),
        (lambda: sash.Window("three"), ("three", "int")),
    ],
)
def test_bad_windows_are_refused_with_both_numbers(make, numbers):
    with pytest.raises(sash.SashError) as caught:
        make()
    text = str(caught.value)
    assert all(number in text for number in numbers), text
    assert text.endswith(".") and "\n" not in text
    assert isinstance(caught.value, (ValueError, TypeError))
