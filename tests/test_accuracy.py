"""The promises on rounding, on NaN and infinity, and on threads: each held on every method, by data that is hard."""

import numpy as np
import pytest

import oracle
import problems
import sash
import tolerance
from sash import accuracy

METHODS = problems.filtering()
FLOATS = [(t, t) for t in (*problems.FLOATS, *problems.COMPLEX)]


def run(case, method, **changes):
    """The answer of a method, or None where it refuses."""
    try:
        return sash.correlate(case.x, case.kernel, method=method, **{**case.settings, **changes})
    except sash.SashError:
        return None


def plain(x, kernel, **settings):
    """A case that is no random one."""
    base = {"axes": None, "stride": 1, "dilation": 1, "padding": "valid", "boundary": "constant", "cval": 0}
    return problems.Case(-1, x, kernel, "C", {**base, **settings})


def longest(case, **settings):
    """The definition with more digits than any result has."""
    work = np.clongdouble if np.iscomplexobj(case.x) else np.longdouble
    return case.answer(work=work if case.x.dtype.itemsize >= 8 else None, **settings)


def test_the_constants_are_those_that_were_promised():
    assert 1 <= accuracy.NORMWISE <= 4
    assert 1 <= accuracy.ELEMENTWISE <= 24


# --- rounding ------------------------------------------------------------------------------------


def hard(rng, shape, dtype, kind):
    """Data on which sums lose digits."""
    noise = problems.values(rng, shape, dtype)
    if dtype == "float16":
        return noise
    if kind == "range":  # twelve orders of magnitude, side by side
        return noise * np.asarray(10.0 ** rng.uniform(-6, 6, shape), np.zeros(1, dtype).real.dtype)
    if kind == "offset":
        return noise + np.asarray(1e4, dtype)
    if kind == "spike":  # one enormous number: whatever shares its transform loses its small digits
        noise.flat[noise.size // 2] = 1e15
    if kind == "same":  # 0.1 has no binary form: every addition rounds the same way
        noise[...] = 0.1
    return noise


KINDS = ("range", "offset", "spike", "same")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_normwise(method, kind):
    rng = np.random.default_rng(1)
    for dtype, _ in FLOATS:
        for shape, size, settings in [
            ((500,), (64,), {}),
            ((64, 65), (7, 9), {"padding": "same", "boundary": "mirror"}),
            ((64, 65), (5, 4), {"stride": 2, "dilation": (1, 3)}),
            ((16, 17, 18), (3, 3, 5), {"padding": 2, "boundary": "wrap"}),
        ]:
            x = hard(rng, shape, dtype, kind)
            dense, flat = problems.values(rng, size, dtype), np.full(size, 0.1, dtype)
            for kernel in (dense, flat):
                case = plain(x, kernel, **settings)
                found = run(case, method)
                if found is not None:
                    tolerance.check(found, longest(case), tolerance.normwise(case, dtype), f"{method}, {kind}, {case}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_elementwise(method, kind):
    """Each output within its own sum of |kernel| * |window|: next to a spike of 1e15, too."""
    rng = np.random.default_rng(2)
    for dtype, _ in FLOATS:
        for shape, size, settings in [
            ((500,), (64,), {}),
            ((64, 65), (7, 9), {"padding": "same", "boundary": "mirror"}),
            ((64, 65), (5, 4), {"stride": 2, "dilation": (1, 3)}),
        ]:
            x = hard(rng, shape, dtype, kind)
            for kernel in (problems.values(rng, size, dtype), hard(rng, size, dtype, kind), np.full(size, 0.1, dtype)):
                case = plain(x, kernel, **settings)
                found = run(case, method, accuracy="elementwise")
                if found is not None:
                    tolerance.check(found, longest(case), tolerance.elementwise(case, dtype), f"{method}, {kind}, {case}")


def test_elementwise_rules_transforms_out_and_leaves_a_way():
    x, k = np.ones((40, 41), np.float32), np.ones((5, 5), np.float32)
    for method in ("fft", "polyphase"):
        with pytest.raises(sash.SashError, match=method):
            sash.correlate(x, k, method=method, accuracy="elementwise")
    assert np.all(sash.correlate(x, k, accuracy="elementwise") == 25)
    plan = sash.plan("correlate", (4000, 4000), (200, 200), accuracy="elementwise")
    assert plan.method not in ("fft", "polyphase")


@pytest.mark.parametrize("promise", ["normwise", "elementwise"])
@pytest.mark.parametrize("method", METHODS)
def test_many_taps_that_all_round_the_same_way(method, promise):
    """65 536 times 0.1 in float32: a running sum drifts by thousands of eps, not by the square root of the taps."""
    for shape, size in (((1 << 16) + 3, 1 << 16), ((132, 131), (128, 128))):
        case = plain(np.full(shape, 0.1, np.float32), np.ones(size, np.float32))
        found = run(case, method, accuracy=promise)
        if found is None:
            continue
        tap, taps = np.float64(np.float32(0.1)), case.kernel.size
        bound = tolerance.normwise(case, np.float32)
        if promise == "elementwise":
            bound = accuracy.ELEMENTWISE * tolerance.eps(np.float32) * tap * taps
        tolerance.check(found, np.full(found.shape, tap * taps), bound, f"{method}, {promise}, {case}")


def test_half_precision_sums_in_single():
    """2048 + 1 = 2048 in float16: a sum kept there would stop."""
    x = np.ones(5000, np.float16)
    found = sash.correlate(x, np.ones(4096, np.float16))
    assert found.dtype == np.float16
    assert np.all(found == 4096)


# --- NaN and infinity ----------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, "mixed"])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_finite_stays_under_its_windows(method, bad):
    willing = 0
    for seed in range(120):
        case = problems.case(seed, dtypes=FLOATS)
        if case.x.size == 0:
            continue
        rng = np.random.default_rng(seed)
        flag = rng.random(case.x.shape) < 1.5 / case.x.size
        flag.flat[rng.integers(flag.size)] = True
        x = case.x.copy()
        x[flag] = rng.choice([np.nan, np.inf, -np.inf], np.count_nonzero(flag)) if bad == "mixed" else bad
        case = problems.Case(case.seed, x, case.kernel, case.layout, case.settings)
        found = run(case, method)
        if found is None:
            continue
        willing += 1
        told = f"{method}, {bad} at {np.argwhere(flag).tolist()} of {case}"
        np.testing.assert_array_equal(np.isfinite(found), ~case.footprint(flag), err_msg=told)
        tolerance.check(found, case.answer(), tolerance.normwise(case, found.dtype), told)
    assert willing >= 20


@pytest.mark.parametrize("method", METHODS)
def test_an_infinity_keeps_its_sign(method):
    """What the loops give: inf where only one sign meets the window, NaN where both do or a tap is 0."""
    rng = np.random.default_rng(8)
    for shape, size, settings in [
        ((40, 41), (3, 4), {"padding": "same"}),
        ((30, 31), (5, 5), {"stride": 2, "boundary": "wrap", "padding": 3}),
    ]:
        x = rng.standard_normal(shape).astype(np.float32)
        x[rng.random(shape) < 0.01] = np.inf
        x[rng.random(shape) < 0.01] = -np.inf
        kernel = np.multiply.outer(*(rng.choice([-2, -1, 1, 3], n) for n in size)).astype(np.float32)
        holes = kernel.copy()
        holes[1, 1] = 0
        for weights in (kernel, holes) if method != "separable" else (kernel,):
            case = plain(x, weights, **settings)
            found = run(case, method)
            if found is not None:
                np.testing.assert_array_equal(np.where(np.isfinite(found), 0, found), np.where(np.isfinite(found), 0, case.answer()))


@pytest.mark.parametrize("boundary", oracle.BOUNDARIES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "size"), [(1000, 200), (20_000, 2000), (150, 2), (40, 39)])
def test_one_nan_in_a_line_whatever_the_size(method, boundary, n, size):
    """scipy.signal gives 200 NaN at n=1000, 200 taps, and 20 000 of 20 000 at n=20 000, 2000 taps."""
    rng = np.random.default_rng(3)
    for place in (0, n // 3, n - 1):
        x = rng.standard_normal(n).astype(np.float32)
        x[place] = np.nan
        case = plain(x, rng.standard_normal(size).astype(np.float32), padding="same", boundary=boundary)
        found = run(case, method)
        if found is None:
            continue
        covered = case.footprint(np.isnan(x))
        assert np.array_equal(np.isnan(found), covered), f"{method}, NaN at {place}: {np.isnan(found).sum()}, not {covered.sum()}"
        if n <= 1000:
            tolerance.check(found, case.answer(), tolerance.normwise(case, np.float32), f"{method}, NaN at {place}, {case}")


@pytest.mark.parametrize("method", METHODS)
def test_one_nan_in_a_picture(method):
    """cv2.filter2D with 15x15 makes the whole of 200x200 NaN; here 225 pixels."""
    rng = np.random.default_rng(4)
    for size in (3, 15, 31):
        x = rng.standard_normal((200, 200)).astype(np.float32)
        x[100, 90] = np.nan
        kernel = np.multiply.outer(rng.standard_normal(size), rng.standard_normal(size)).astype(np.float32)
        case = plain(x, kernel, padding="same")
        found = run(case, method)
        if found is not None:
            assert np.count_nonzero(np.isnan(found)) == size * size
            tolerance.check(found, case.answer(), tolerance.normwise(case, np.float32), f"{method} on {case}")


@pytest.mark.parametrize("cval", [np.nan, np.inf])
@pytest.mark.parametrize("method", METHODS)
def test_a_constant_that_is_not_finite_stays_in_the_windows_that_leave_the_array(method, cval):
    rng = np.random.default_rng(5)
    for dtype in (np.float32, np.float64):
        case = plain(
            rng.standard_normal((30, 31)).astype(dtype),
            np.multiply.outer(rng.standard_normal(4), rng.standard_normal(5)).astype(dtype),
            padding=((2, 1), (0, 3)),
            stride=(1, 2),
            cval=cval,
        )
        found = run(case, method)
        if found is not None:
            tolerance.check(found, case.answer(), tolerance.normwise(plain(case.x, case.kernel), dtype), f"{method} on {case}")


@pytest.mark.parametrize("method", METHODS)
def test_a_nan_in_the_kernel_is_in_every_output(method):
    x, kernel = np.ones((12, 13)), np.ones((3, 3))
    kernel[1, 1] = np.nan
    found = run(plain(x, kernel), method)
    assert found is None or np.all(np.isnan(found))


def test_a_zero_tap_still_covers():
    """0 * NaN is NaN: what a window covers does not depend on the kernel's values."""
    x = np.ones(9)
    x[4] = np.nan
    for method in METHODS:
        found = run(plain(x, np.array([1.0, 0.0, 1.0])), method)
        assert found is None or np.isnan(found).tolist() == [False, False, True, True, True, False, False], method


# --- threads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_any_number_of_threads_gives_the_same_bits(method):
    rng = np.random.default_rng(6)
    for dtype in ("float32", "float64", "int32", "float16", "complex64"):
        for shape, size, settings in [
            ((600, 610), (9, 9), {"padding": "same", "boundary": "symmetric"}),
            ((7, 200, 120), (5, 5), {"stride": 2}),
            ((100_000,), (51,), {"padding": "same", "boundary": "wrap"}),
        ]:
            kernel = np.ones((), dtype)
            for n in size:
                kernel = np.multiply.outer(kernel, problems.values(rng, n, dtype, 9))
            case = plain(problems.values(rng, shape, dtype, 999), kernel, **settings)
            answers = []
            for count in (1, 2, 3, 1):
                with sash.threads(count):
                    answers.append(run(case, method))
            if answers[0] is not None:
                assert all(a.tobytes() == answers[0].tobytes() for a in answers), f"{method} on {case}"


def test_threads_nest_and_come_back_after_an_error():
    x, k = np.ones((300, 300), np.float32), np.ones((3, 3), np.float32)
    with sash.threads(2):
        with pytest.raises(sash.SashError), sash.threads(1):
            sash.correlate(x, np.ones((400, 3)))
        assert np.all(sash.correlate(x, k) == 9)
    for bad in (0, -1, 1.5, "two"):
        with pytest.raises(sash.SashError), sash.threads(bad):
            pass


def test_several_callers_at_once():
    """Kernels are called from many Python threads: none may abort, and each gets its own answer."""
    from concurrent.futures import ThreadPoolExecutor

    rng = np.random.default_rng(7)
    inputs = [rng.standard_normal((200 + i, 150)).astype(np.float32) for i in range(12)]
    k = rng.standard_normal((5, 5)).astype(np.float32)
    alone = [sash.correlate(x, k, padding="same") for x in inputs]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda x: sash.correlate(x, k, padding="same"), inputs))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("size", [40, 130])
@pytest.mark.parametrize(("kind", "taps"), [("float64", "float16"), ("float64", "float32"), ("float32", "float16"), ("int64", "float32")])
def test_products_of_narrow_kernels_keep_the_digits_of_the_result(kind, taps, size, order):
    """1-D kernels in fewer digits than the result has: their product is made in the result's."""
    rng = np.random.default_rng(size)
    x = np.asarray((rng.standard_normal((size, size + 9)) * 50).astype(kind), order=order)
    kernels = [rng.standard_normal(7).astype(taps) for _ in range(2)]
    dense = np.multiply.outer(*[k.astype(float) for k in kernels])
    exact = oracle.correlate(x.astype(float), dense, padding="same")
    for method in ("auto", "direct", "separable", "fft"):
        found = sash.separable_filter(x, kernels, padding="same", method=method)
        bound = 4 * np.finfo(found.dtype).eps * 7 * np.abs(dense).sum() * np.abs(x).max()
        assert np.abs(found - exact).max() < bound, method
