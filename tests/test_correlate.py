"""`correlate` and `convolve`: the definition, on every method, over random problems; laws; second opinions."""

import cv2
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

import oracle
import problems
import sash
import tolerance

METHODS = problems.filtering()
SEEDS = 400
SEVEN = np.array(
    [
        [2, 3, 7, 4, 6, 2, 9],
        [6, 6, 9, 8, 7, 4, 3],
        [3, 4, 8, 3, 8, 9, 7],
        [7, 8, 3, 6, 6, 3, 4],
        [4, 2, 1, 8, 3, 4, 6],
        [3, 2, 4, 1, 9, 8, 3],
        [0, 1, 3, 9, 2, 1, 4],
    ]
)
THREE = np.array([[3, 4, 4], [1, 0, 2], [-1, 0, 3]])
ANSWERS = {
    1: [
        [91, 80, 100, 84, 88],
        [99, 106, 126, 92, 77],
        [69, 98, 91, 93, 117],
        [80, 79, 87, 93, 61],
        [44, 72, 72, 63, 74],
    ],
    2: [[91, 100, 88], [69, 91, 117], [44, 72, 74]],
}


def attempt(case, method, **changes):
    """The answer of a method to a random problem, or None where it refuses in words."""
    try:
        return sash.correlate(case.x, case.kernel, method=method, **{**case.settings, **changes})
    except sash.SashError as refusal:
        text = str(refusal)
        assert method in text and len(text.split()) > 4 and text.endswith("."), f"{case}\n{text}"
        return None


# --- the definition ------------------------------------------------------------------------------


@pytest.mark.parametrize("block", range(8))
@pytest.mark.parametrize("method", METHODS)
def test_every_method_equals_the_definition(method, block):
    for seed in range(block, SEEDS, 8):
        case = problems.case(seed)
        before = case.x.tobytes(), case.kernel.tobytes()
        found = attempt(case, method)
        assert before == (case.x.tobytes(), case.kernel.tobytes()), f"{case}: an input was written to"
        if found is None:
            continue
        expected = np.int64 if case.x.dtype.kind in "biu" else case.x.dtype.newbyteorder("=")
        assert found.dtype == expected, f"{case}: {found.dtype}"
        assert not np.shares_memory(found, case.x)
        tolerance.check(found, case.answer(), tolerance.normwise(case, found.dtype), f"{method} on {case}")


@pytest.mark.parametrize("block", range(4))
def test_the_planners_choice_equals_the_definition(block):
    for seed in range(SEEDS + block, SEEDS + 200, 4):
        case = problems.case(seed)
        found = sash.correlate(case.x, case.kernel, **case.settings)
        tolerance.check(found, case.answer(), tolerance.normwise(case, found.dtype), f"auto on {case}")


def test_every_method_is_willing_often_enough_for_these_tests_to_mean_something():
    willing = dict.fromkeys(METHODS, 0)
    cases = [problems.case(seed) for seed in range(SEEDS)]
    for method in METHODS:
        willing[method] = sum(attempt(case, method) is not None for case in cases)
    assert all(count >= SEEDS // 5 for count in willing.values()), willing
    assert all(any(attempt(case, method) is not None for method in METHODS) for case in cases), "a problem that every method refuses"


@pytest.mark.parametrize("boundary", oracle.BOUNDARIES)
@pytest.mark.parametrize("method", METHODS)
def test_larger_problems_equal_the_definition(method, boundary):
    """Large enough for several tiles, several threads and whole SIMD blocks."""
    rng = np.random.default_rng(5)
    rank_one = np.multiply.outer(rng.standard_normal(9), rng.standard_normal(12))
    for shape, kernel, settings in [
        ((700, 611), rank_one, {"padding": "same"}),
        ((300, 401), rng.standard_normal((5, 5)), {"padding": "same", "stride": (2, 3)}),
        ((301, 302), rng.standard_normal((17, 23)), {"padding": ((8, 8), (30, -2)), "dilation": (1, 2)}),
        ((5000,), rng.standard_normal(301), {"padding": 150}),
        ((40, 50, 60), rng.standard_normal((3, 5, 4)), {"padding": "full"}),
    ]:
        for dtype in (np.float32, np.float64):
            x = rng.standard_normal(shape).astype(dtype)
            layout = {
                "axes": None,
                "stride": 1,
                "dilation": 1,
                "boundary": boundary,
                "cval": 0.5 if boundary == "constant" else 0,
            }
            case = problems.Case(-1, x, kernel.astype(dtype), "C", {**layout, **settings})
            found = attempt(case, method)
            if found is not None:
                tolerance.check(found, case.answer(), tolerance.normwise(case, dtype), f"{method} on {case}")


# --- answers known by heart ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.int16, np.float32, np.float64, np.complex64])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_seven_by_seven(method, stride, dtype):
    kernel = THREE if np.dtype(dtype).kind in "iu" else THREE.astype(dtype)
    try:
        found = sash.correlate(SEVEN.astype(dtype), kernel, stride=stride, method=method)
    except sash.SashError as refusal:  # not a product of 1-D kernels; nothing to split without a stride
        assert method == "separable" or (method == "polyphase" and stride == 1), refusal
        return
    if np.dtype(dtype).kind in "iu":
        assert found.dtype == np.int64
        assert found.tolist() == ANSWERS[stride]
    else:
        bound = tolerance.promise(kernel, 9, dtype)
        tolerance.check(found, np.array(ANSWERS[stride], float), bound, f"{method}, stride {stride}, {dtype}")


def test_lists_are_taken_where_numpy_would():
    assert sash.correlate([1, 2, 3], [1, 1]).tolist() == [3, 5]
    assert sash.correlate(SEVEN.tolist(), THREE.tolist(), stride=2).tolist() == ANSWERS[2]
    assert sash.correlate(((1.0, 2.0), (3.0, 4.0)), ((1.0,),)).tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_scalars_are_taken_where_numpy_would():
    assert sash.correlate(3, 2).tolist() == 6
    assert sash.correlate([1, 2, 3], 2).tolist() == [2, 4, 6]
    assert sash.gaussian_blur(5.0, 1).tolist() == 5.0
    assert sash.correlate(np.float32(3), np.float32(2)).dtype == np.float32


@pytest.mark.parametrize(
    ("x", "kernel", "result"),
    [
        ("float32", "float64", "float32"),
        ("float32", "int64", "float32"),
        ("float16", "float32", "float16"),
        ("float64", "float32", "float64"),
        ("float32", "complex64", "complex64"),
        ("float16", "complex64", "complex64"),
        ("float64", "complex64", "complex128"),
        ("complex64", "float64", "complex64"),
        ("complex64", "int32", "complex64"),
        ("uint8", "float32", "float32"),
        ("int32", "float32", "float64"),
        ("bool", "float64", "float64"),
        ("int64", "complex64", "complex128"),
        ("bool", "bool", "int64"),
        ("uint64", "uint8", "int64"),
    ],
)
def test_types_of_results(x, kernel, result):
    """Floats and complex keep their type, whatever the kernel's precision; integers become what NumPy promotes them to."""
    rng = np.random.default_rng(10)
    settings = {"axes": None, "stride": (1, 2), "dilation": 1, "padding": "same", "boundary": "symmetric", "cval": 0}
    for cval in (0, 1):
        settings = {**settings, "boundary": "constant" if cval else "symmetric", "cval": cval}
        case = problems.Case(-1, problems.values(rng, (12, 13), x, 99), problems.values(rng, (3, 4), kernel, 9), "C", settings)
        found = sash.correlate(case.x, case.kernel, **settings)
        assert found.dtype == result
        tolerance.check(found, case.answer(), tolerance.normwise(case, result), f"{x} with {kernel}: {case}")


@pytest.mark.parametrize("method", METHODS)
def test_a_complex_constant_pads_a_complex_array(method):
    rng = np.random.default_rng(11)
    for kernel in ("complex128", "float64"):
        settings = {"axes": None, "stride": 2, "dilation": 1, "padding": ((2, 3), (1, 4)), "boundary": "constant", "cval": 1.5 - 2j}
        weights = np.multiply.outer(problems.values(rng, 3, kernel), problems.values(rng, 4, kernel))
        case = problems.Case(-1, problems.values(rng, (12, 13), "complex128"), weights, "C", settings)
        found = attempt(case, method)
        if found is not None:
            tolerance.check(found, case.answer(), tolerance.normwise(case, "complex128"), f"{method} on {case}")


def test_other_axes_are_batch():
    rng = np.random.default_rng(0)
    x, k = rng.standard_normal((9, 11, 3)), rng.standard_normal((3, 4))
    found = sash.correlate(x, k, axes=(0, 1), stride=2, padding=1)
    assert found.shape == (5, 5, 3)
    for channel in range(3):
        agree(found[..., channel], oracle.correlate(x[..., channel], k, stride=2, padding=[(1, 1)] * 2), x, k)
    stack = sash.correlate(x, k[:, :3])
    assert stack.shape == (9, 9, 1)
    agree(stack[4], oracle.correlate(x[4], k[:, :3]), x, k)


def test_an_axis_may_be_named_from_the_end_and_in_any_order():
    rng = np.random.default_rng(0)
    x, k = rng.standard_normal((9, 5, 11)), rng.standard_normal((3, 4))
    np.testing.assert_array_equal(sash.correlate(x, k, axes=(0, 2)), sash.correlate(x, k, axes=(-3, -1)))
    agree(sash.correlate(x, k, axes=(2, 0)), sash.correlate(x, k.T, axes=(0, 2)), x, k)


def test_empty_batch_axes_give_empty_answers():
    for shape in ((0, 8, 9), (2, 0, 8, 9)):
        for dtype in (np.uint8, np.float16, np.float32, np.complex128):
            found = sash.correlate(np.zeros(shape, dtype), np.ones((3, 3), dtype), padding="same", stride=2)
            assert found.shape == (*shape[:-2], 4, 5)


# --- laws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_convolution_is_correlation_with_the_kernel_turned_round(method):
    for seed in range(60):
        case = problems.case(seed)
        turned = oracle.turned(case.kernel)
        try:
            found = sash.convolve(case.x, turned, method=method, **case.settings)
        except sash.SashError:
            continue
        tolerance.check(found, case.answer(), tolerance.normwise(case, found.dtype), f"convolve, {method} on {case}")


@pytest.mark.parametrize("method", METHODS)
def test_shifting_the_input_shifts_the_output(method):
    """By a period that wraps around; a shift by the stride shifts the output by one."""
    rng = np.random.default_rng(1)
    willing = 0
    for dtype in (np.int64, np.float32):
        for stride in (1, 2, (2, 3)):
            s, t = oracle.per_axis(stride, 2)
            x = rng.integers(-99, 99, (36, 30)).astype(dtype)
            k = np.multiply.outer(rng.integers(-9, 9, 4), rng.integers(-9, 9, 5)).astype(dtype)
            settings = {"padding": "same", "boundary": "wrap", "method": method, "stride": stride}
            for down, right in ((0, 1), (5, -3), (20, 40)):
                try:
                    moved = sash.correlate(np.roll(x, (down * s, right * t), (0, 1)), k, **settings)
                except sash.SashError:
                    continue
                willing += 1
                stays = np.roll(sash.correlate(x, k, **settings), (down, right), (0, 1))
                bound = 2 * tolerance.promise(k, 99, moved.dtype)
                tolerance.check(moved, stays, bound, f"{method}, stride {stride}, shift {down, right}")
    assert willing >= 6


@pytest.mark.parametrize("method", METHODS)
def test_the_answer_is_linear_in_both_operands(method):
    """Exactly, on integers; within three promises, on floats."""
    rng = np.random.default_rng(2)
    for dtype in (np.int64, np.float64):
        x, z = (rng.integers(-99, 99, (24, 25)).astype(dtype) for _ in range(2))
        k, w = (np.multiply.outer(rng.integers(-9, 9, 3), rng.integers(-9, 9, 6)).astype(dtype) for _ in range(2))
        settings = {"padding": 2, "boundary": "mirror", "stride": (1, 2), "method": method}
        try:
            whole = sash.correlate(3 * x - 2 * z, k, **settings)
        except sash.SashError:
            assert dtype is np.int64
            continue
        parts = 3 * sash.correlate(x, k, **settings) - 2 * sash.correlate(z, k, **settings)
        tolerance.check(whole, parts, 2 * tolerance.promise(k, 5 * 99, dtype), f"{method}, linear in x")
        if method != "separable":
            whole = sash.correlate(x, k + w, **settings)
            parts = sash.correlate(x, k, **settings) + sash.correlate(x, w, **settings)
            tolerance.check(whole, parts, 2 * tolerance.promise(abs(k) + abs(w), 99, dtype), f"{method}, linear in the kernel")


@pytest.mark.parametrize("boundary", oracle.BOUNDARIES)
@pytest.mark.parametrize("method", METHODS)
def test_any_memory_limit_gives_the_whole(method, boundary):
    """Ever smaller limits cut the work into ever more tiles; the answer stays within the promise, integers exact."""
    rng = np.random.default_rng(3)
    tried = 0
    for dtype, stride in ((np.float32, 1), (np.float32, 2), (np.float64, (2, 1)), (np.int16, 2)):
        x = problems.values(rng, (2, 120, 130), dtype, 200)
        k = np.multiply.outer(*(problems.values(rng, n, dtype, 20) for n in (7, 9)))
        settings = {"axes": None, "stride": stride, "dilation": 1, "padding": "same", "boundary": boundary, "cval": 0}
        case = problems.Case(-1, x, k.astype(dtype), "C", settings)
        exact = case.answer()
        for limit in (1 << 24, 1 << 19, 1 << 17, 1 << 15):
            try:
                found = sash.correlate(x, case.kernel, method=method, max_memory=limit, **settings)
            except sash.SashError as refusal:
                assert str(limit) in str(refusal).replace(",", "") or method in str(refusal), refusal
                break
            tried += 1
            tolerance.check(found, exact, tolerance.normwise(case, found.dtype), f"{method}, {limit} bytes, {case}")
    assert tried >= 4, f"{method} ran under {tried} limits only"


def test_the_choice_of_method_never_changes_integers():
    for seed in range(80):
        case = problems.case(seed, dtypes=[("uint8", "int8"), ("int16", "int16"), ("bool", "bool"), ("int32", "int16")])
        answers = [a for a in (attempt(case, m) for m in METHODS) if a is not None]
        assert len(answers) >= 2, f"{case}: fewer than two methods do integers"
        assert all(np.array_equal(a, answers[0]) for a in answers), case


# --- second opinions -----------------------------------------------------------------------------

SCIPY = {"constant": "constant", "nearest": "nearest", "symmetric": "reflect", "mirror": "mirror", "wrap": "wrap"}
OPENCV = {
    "constant": cv2.BORDER_CONSTANT,
    "nearest": cv2.BORDER_REPLICATE,
    "symmetric": cv2.BORDER_REFLECT,
    "mirror": cv2.BORDER_REFLECT_101,
}


def agree(ours, theirs, x, k):
    """Both may be off by the promise."""
    tolerance.check(ours, theirs, 2 * tolerance.promise(k, max(tolerance.magnitude(x), 1.5), ours.dtype), "a second opinion")


@pytest.mark.parametrize("size", [(3, 3), (4, 5), (2, 6), (1, 1), (7, 4)])
@pytest.mark.parametrize("boundary", oracle.BOUNDARIES)
def test_scipy_ndimage_agrees(boundary, size):
    """SciPy centres an even kernel at k//2: `same_lower` for correlate, `same` for convolve."""
    rng = np.random.default_rng(6)
    x, k = rng.standard_normal((15, 17)), rng.standard_normal(size)
    settings = {"boundary": boundary, "cval": 1.5 if boundary == "constant" else 0.0}
    scipys = {"mode": SCIPY[boundary], "cval": 1.5}
    agree(sash.correlate(x, k, padding="same_lower", **settings), scipy.ndimage.correlate(x, k, **scipys), x, k)
    agree(sash.convolve(x, k, padding="same", **settings), scipy.ndimage.convolve(x, k, **scipys), x, k)


@pytest.mark.parametrize("size", [(3, 3), (4, 5), (2, 6)])
@pytest.mark.parametrize(("boundary", "scipys"), [("constant", "fill"), ("symmetric", "symm"), ("wrap", "wrap")])
def test_scipy_signal_agrees(boundary, scipys, size):
    rng = np.random.default_rng(7)
    x, k = rng.standard_normal((15, 17)), rng.standard_normal(size)
    # "same" of correlate2d and of convolve2d centre even kernels one sample apart.
    for ours, theirs, same in (
        (sash.correlate, scipy.signal.correlate2d, "same"),
        (sash.convolve, scipy.signal.convolve2d, "same_lower"),
    ):
        for padding, mode in (("valid", "valid"), ("full", "full"), (same, "same")):
            second = theirs(x, k, mode=mode, boundary=scipys)
            agree(ours(x, k, padding=padding, boundary=boundary), second, x, k)


@pytest.mark.parametrize("size", [(3, 3), (4, 5), (2, 6), (9, 9)])
@pytest.mark.parametrize("boundary", OPENCV)
def test_opencv_agrees(boundary, size):
    rng = np.random.default_rng(8)
    x, k = rng.standard_normal((30, 41)).astype(np.float32), rng.standard_normal(size).astype(np.float32)
    theirs = cv2.filter2D(x, -1, k, borderType=OPENCV[boundary])
    ours = sash.correlate(x, k, padding="same_lower", boundary=boundary)
    agree(ours, theirs, x, k)


def test_numpy_agrees_in_one_dimension():
    rng = np.random.default_rng(9)
    x, k = rng.standard_normal(30), rng.standard_normal(7)
    for padding in ("valid", "same", "full"):
        agree(sash.correlate(x, k, padding=padding), np.correlate(x, k, padding), x, k)
        agree(sash.convolve(x, k, padding=padding), np.convolve(x, k, padding), x, k)


def test_complex_weights_are_not_conjugated():
    """SciPy and NumPy conjugate in correlate; sash multiplies, so that convolve is correlate turned round."""
    assert sash.correlate(np.array([1j, 2.0]), np.array([1j, 0.0])).tolist() == [-1.0]
    assert sash.convolve(np.array([1j, 2.0]), np.array([0.0, 1j])).tolist() == [-1.0]
