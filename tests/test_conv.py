"""`conv` and `conv_transpose` on NumPy: the definition, on every method, over random problems; laws; second opinions."""

import numpy as np
import pytest

import oracle
import oracle_networks
import problems_networks
import sash
import tolerance
from problems_networks import conv_case, transposed_case
from sash import methods

METHODS = methods.names()
SEEDS = 180
NAMED = {"conv": conv_case, "conv_transpose": transposed_case}
WHOLE = (("int64", "int64"), ("uint8", "int8"), ("int16", "int16"))


def attempt(case, method, **changes):
    """The answer of a method to a random problem, or None where it refuses in words."""
    try:
        return getattr(sash, case.verb)(case.x, case.weight, case.bias, method=method, **{**case.settings, **changes})
    except sash.SashError as refusal:
        text = str(refusal)
        assert method in text and len(text.split()) > 4 and text.endswith("."), f"{case}\n{text}"
        return None


def uniform(rng, shape, dtype=np.float64):
    return rng.standard_normal(shape).astype(dtype)


# --- the oracle, before anything is held against it ------------------------------------------------


def test_pytorch_agrees_with_the_oracle():
    torch = pytest.importorskip("tensor_layouts").torch
    rng = np.random.default_rng(0)
    for axes in (1, 2, 3):
        forward = getattr(torch.nn.functional, f"conv{axes}d")
        back = getattr(torch.nn.functional, f"conv_transpose{axes}d")
        for _ in range(20):
            groups, stride, dilation = (int(v) for v in rng.integers(1, 4, 3))
            size, pad = rng.integers(1, 4, axes), int(rng.integers(0, 3))
            extents = dilation * (size - 1) + 1 + rng.integers(0, 6, axes)
            x, w = uniform(rng, (2, 2 * groups, *extents)), uniform(rng, (3 * groups, 2, *size))
            b, c = uniform(rng, 3 * groups), uniform(rng, 2 * groups)
            told = {"stride": stride, "padding": pad, "dilation": dilation, "groups": groups}
            y = oracle_networks.conv(x, w, b, **told)
            theirs = forward(*(torch.from_numpy(a) for a in (x, w, b)), **told)
            np.testing.assert_allclose(y, theirs.numpy(), atol=1e-12, err_msg=f"{told}")
            more = int(rng.integers(0, max(stride, dilation)))
            try:
                theirs = back(*(torch.from_numpy(a) for a in (y, w, c)), output_padding=more, **told)
            except RuntimeError:  # nothing would be left
                continue
            found = oracle_networks.conv_transpose(y, w, c, output_padding=more, **told)
            np.testing.assert_allclose(found, theirs.numpy(), atol=1e-11, err_msg=f"{told}, {more}")


def test_the_oracle_is_its_own_adjoint():
    for seed in range(60):
        case = conv_case(seed, WHOLE)
        if case.last or case.settings["cval"]:
            continue
        settings = {name: value for name, value in case.settings.items() if name not in ("cval", "data_format")}
        y = oracle_networks.conv(case.x, case.weight, work=object, **settings)
        z = np.random.default_rng(seed).integers(-9, 10, y.shape)
        back = oracle_networks.conv_transpose(z, case.weight, output_shape=case.x.shape[2:], work=object, **settings)
        assert np.sum(y * z) == np.sum(back * case.x.astype(object)), case


# --- the definition ------------------------------------------------------------------------------


@pytest.mark.parametrize("block", range(2))
@pytest.mark.parametrize("verb", NAMED)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_equals_the_definition(method, verb, block):
    for seed in range(block, SEEDS, 2):
        case = NAMED[verb](seed)
        before = case.x.tobytes(), case.weight.tobytes()
        found = attempt(case, method)
        assert before == (case.x.tobytes(), case.weight.tobytes()), f"{case}: an input was written to"
        if found is None:
            continue
        expected = np.int64 if case.exact else case.x.dtype.newbyteorder("=")
        assert found.dtype == expected, f"{case}: {found.dtype}"
        assert not np.shares_memory(found, case.x) and not np.shares_memory(found, case.weight)
        case.check(found, method)


@pytest.mark.parametrize("verb", NAMED)
def test_the_planners_choice_equals_the_definition(verb):
    for seed in range(SEEDS, SEEDS + 150):
        case = NAMED[verb](seed)
        case.check(getattr(sash, verb)(case.x, case.weight, case.bias, **case.settings), "auto")


@pytest.mark.parametrize("verb", NAMED)
def test_methods_are_willing_often_enough_for_these_tests_to_mean_something(verb):
    cases = [NAMED[verb](seed, problems_networks.REALS) for seed in range(60)]
    willing = {method: sum(attempt(case, method) is not None for case in cases) for method in METHODS}
    assert willing["direct"] + willing["gemm"] >= 60, willing
    assert sum(count >= 6 for count in willing.values()) >= 4, willing


@pytest.mark.parametrize("verb", NAMED)
@pytest.mark.parametrize("method", METHODS)
def test_larger_problems_equal_the_definition(method, verb):
    """Large enough for several tiles, several threads and whole SIMD blocks."""
    rng = np.random.default_rng(5)
    for shape, weight, told in [
        ((2, 12, 41, 47), (20, 12, 3, 3), {"padding": 1}),
        ((1, 3, 90, 81), (17, 3, 7, 7), {"padding": "same", "stride": (2, 3), "boundary": "mirror"}),
        ((1, 32, 40, 45), (32, 1, 5, 3), {"padding": ((2, 2), (1, -3)), "groups": 32, "dilation": (1, 2), "boundary": "wrap"}),
        ((3, 8, 400), (12, 4, 21), {"padding": "full", "groups": 2}),
        ((1, 5, 14, 17, 19), (7, 5, 3, 2, 3), {"padding": "same_lower", "stride": (1, 2, 1), "boundary": "symmetric"}),
    ]:
        for dtype in (np.float32, np.float64):
            settings = {"groups": 1, "boundary": "constant", "data_format": "channels_first", **told}
            x, w = uniform(rng, shape, dtype), uniform(rng, weight, dtype)
            if verb == "conv_transpose":
                x = uniform(rng, oracle_networks.conv(x[:, :], w, **without_format(settings)).shape, dtype)
                settings["output_shape"] = shape[2:]
            case = problems_networks.Case(-1, verb, x, w, None, settings)
            found = attempt(case, method)
            if found is not None:
                case.check(found, method)


def without_format(settings):
    return {name: value for name, value in settings.items() if name != "data_format"}


# --- laws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", oracle.BOUNDARIES)
@pytest.mark.parametrize("method", METHODS)
def test_the_transpose_is_the_exact_adjoint(method, boundary):
    """<conv(x, w), z> = <x, conv_transpose(z, w)>: to the last bit on integers, for every setting."""
    willing = 0
    for seed in range(70):
        case = conv_case(seed, WHOLE)
        settings = {**case.settings, "cval": 0, "boundary": boundary}
        forward = {"x": case.x, "weight": np.clip(case.weight, -100, 100), "method": method}
        try:
            y = sash.conv(**forward, **settings)
            z = np.random.default_rng(seed).integers(-99, 99, y.shape)
            del settings["cval"]
            extents = case.x.shape[1:-1] if case.last else case.x.shape[2:]
            back = sash.conv_transpose(z, forward["weight"], output_shape=extents, method=method, **settings)
        except sash.SashError as refusal:
            assert method in str(refusal), f"{case}\n{refusal}"
            continue
        willing += 1
        assert back.dtype == np.int64 and back.shape == case.x.shape, case
        assert np.sum(y.astype(object) * z) == np.sum(back.astype(object) * case.x), f"{method}, {boundary}: {case}"
    assert willing >= 12 or method not in ("direct", "gemm", "shift_add"), f"{method} is willing {willing} times"


@pytest.mark.parametrize("method", METHODS)
def test_groups_are_convolutions_that_do_not_see_each_other(method):
    rng = np.random.default_rng(1)
    x, w, b = rng.integers(-99, 99, (2, 12, 9, 10)), rng.integers(-9, 9, (6, 4, 3, 2)), rng.integers(-9, 9, 6)
    settings = {"stride": (1, 2), "padding": ((2, 0), (1, 1)), "boundary": "symmetric", "method": method}
    for kind in (np.int64, np.float64):
        try:
            whole = sash.conv(x.astype(kind), w.astype(kind), b.astype(kind), groups=3, **settings)
        except sash.SashError as refusal:
            assert method in str(refusal)
            continue
        parts = [
            oracle_networks.conv(x[:, 4 * g : 4 * g + 4], w[2 * g : 2 * g + 2], b[2 * g : 2 * g + 2], **no_method(settings))
            for g in range(3)
        ]
        np.testing.assert_allclose(whole, np.concatenate(parts, 1), atol=1e-9)


def no_method(settings):
    return {name: value for name, value in settings.items() if name != "method"}


def test_depthwise_outputs_are_ordered_channel_by_channel():
    x, w = np.arange(3.0).reshape(1, 3, 1, 1) + 1, np.array([1.0, 10, 100, 1000, 10000, 100000]).reshape(6, 1, 1, 1)
    assert sash.conv(x, w, groups=3).ravel().tolist() == [1, 10, 200, 2000, 30000, 300000]


@pytest.mark.parametrize("verb", NAMED)
def test_channels_last_is_the_same_moved(verb):
    for seed in range(80):
        case = NAMED[verb](seed)
        if case.last:
            continue
        axes = case.x.ndim - 2
        first = getattr(sash, verb)(case.x, case.weight, case.bias, **case.settings)
        for name in problems_networks.LAST[axes]:
            x, w = oracle_networks.channels_last(case.x), oracle_networks.channels_last(case.weight, weight=True)
            for order in (np.ascontiguousarray, np.asarray):
                found = getattr(sash, verb)(order(x), order(w), case.bias, **{**case.settings, "data_format": name})
                wanted = oracle_networks.channels_last(first)
                bound = 2 * oracle_networks.channels_last(np.broadcast_to(case.bound(found.dtype), first.shape))
                if case.exact:
                    np.testing.assert_array_equal(found, wanted)
                else:
                    tolerance.check(found, wanted, bound + 2e-3 * abs(wanted) * (found.dtype == np.float16), f"{name}: {case}")


@pytest.mark.parametrize("method", METHODS)
def test_shifting_the_input_shifts_the_output(method):
    rng = np.random.default_rng(2)
    for dtype in (np.int64, np.float32):
        for s, t in ((1, 1), (2, 3)):
            x, w = rng.integers(-99, 99, (2, 3, 24, 18)).astype(dtype), rng.integers(-9, 9, (4, 3, 3, 4)).astype(dtype)
            settings = {"padding": "same", "boundary": "wrap", "method": method, "stride": (s, t)}
            try:
                moved = sash.conv(np.roll(x, (2 * s, -3 * t), (2, 3)), w, **settings)
            except sash.SashError as refusal:
                assert method in str(refusal)
                continue
            stays = np.roll(sash.conv(x, w, **settings), (2, -3), (2, 3))
            tolerance.check(moved, stays, 2 * tolerance.promise(w[0], 99, moved.dtype) * 2, f"{method}, stride {s, t}")


@pytest.mark.parametrize("verb", NAMED)
@pytest.mark.parametrize("method", METHODS)
def test_any_memory_limit_gives_the_whole(method, verb):
    rng = np.random.default_rng(3)
    for dtype, boundary in ((np.float32, "constant"), (np.float64, "mirror"), (np.int16, "wrap")):
        x, w = rng.integers(-99, 99, (2, 4, 40, 36)).astype(dtype), rng.integers(-9, 9, (4, 2, 5, 3)).astype(dtype)
        settings = {"stride": 1, "padding": ((2, 2), (1, 1)), "groups": 2, "boundary": boundary, "data_format": "channels_first"}
        case = problems_networks.Case(-1, verb, x, w, None, settings)
        for limit in (1 << 22, 1 << 18, 1 << 16, 1 << 14):
            try:
                found = getattr(sash, verb)(x, w, method=method, max_memory=limit, **settings)
            except sash.SashError as refusal:
                assert str(limit) in str(refusal).replace(",", "") or method in str(refusal), refusal
                break
            case.check(found, f"{method}, {limit} bytes")


def test_the_bits_do_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(4)
    x, w = uniform(rng, (2, 16, 65, 64), np.float32), uniform(rng, (16, 16, 3, 3), np.float32)
    for verb in NAMED:
        for boundary in ("constant", "symmetric"):
            answers = []
            for count in (1, 2, 3):
                with sash.threads(count):
                    answers.append(getattr(sash, verb)(x, w, padding=1, boundary=boundary).tobytes())
            assert len(set(answers)) == 1, (verb, boundary)


def test_pads_may_be_written_in_several_ways():
    rng = np.random.default_rng(6)
    x, w = uniform(rng, (1, 2, 8, 9)), uniform(rng, (3, 2, 3, 3))
    for same in ([1, (1, 1), ((1, 1), (1, 1)), [1, 1]], ["valid", 0, (0, 0)], ["full", 2, ((2, 2),)], [(2, 1), ((2, 1), (2, 1)), [[2, 1]]]):
        for verb in NAMED:
            weight = w if verb == "conv" else w.swapaxes(0, 1)
            answers = [getattr(sash, verb)(x, weight, padding=padding).tobytes() for padding in same]
            assert len(set(answers)) == 1, (verb, same)


def test_the_extents_are_those_of_the_window():
    for seed in range(100):
        case = conv_case(seed)
        extents = case.x.shape[1:-1] if case.last else case.x.shape[2:]
        sizes = case.weight.shape[:-2] if case.last else case.weight.shape[2:]
        window = sash.Window(sizes, **{name: case.settings[name] for name in ("stride", "dilation", "padding")})
        found = sash.conv(case.x, case.weight, **case.settings).shape
        assert (found[1:-1] if case.last else found[2:]) == window.output_shape(extents)


# --- NaN and infinity ----------------------------------------------------------------------------


@pytest.mark.parametrize("verb", NAMED)
@pytest.mark.parametrize("method", METHODS)
def test_nan_and_infinity_touch_what_covers_them_and_nothing_else(method, verb):
    rng = np.random.default_rng(7)
    for seed in range(70):
        case = NAMED[verb](seed, problems_networks.REALS)
        x = np.array(case.x)
        if not x.size:
            continue
        x.flat[rng.integers(0, x.size, 2)] = rng.choice([np.nan, np.inf, -np.inf], 2)
        case = problems_networks.Case(seed, verb, x, case.weight, case.bias, case.settings)
        found = attempt(case, method)
        if found is not None:
            case.check(found, f"{method}, NaN or inf")


@pytest.mark.parametrize("method", METHODS)
def test_infinite_weights_of_a_transposed_convolution_touch_what_their_taps_meet(method):
    """Nothing lies beside what is spread: no zero is multiplied with them, where windows end least of all."""
    rng = np.random.default_rng(8)
    tried = 0
    for seed in range(120):
        case = NAMED["conv_transpose"](seed, problems_networks.REALS)
        weight = np.array(case.weight)
        if weight.dtype.kind not in "fc":
            continue
        weight.flat[rng.integers(0, weight.size, 2)] = rng.choice([np.nan, np.inf, -np.inf], 2)
        finite, case = case, problems_networks.Case(seed, "conv_transpose", case.x, weight, case.bias, case.settings)
        found = attempt(case, method)
        if found is not None:
            tried += bool(case.x.size)
            tolerance.check(found, case.exactly, finite.bound(found.dtype), f"{method}, infinite weights on {case}")
    assert tried > 20 or method not in ("direct", "shift_add")


def test_infinite_weights_where_no_window_reaches():
    x, w = np.ones((1, 2, 5, 5), "float32"), np.ones((2, 3, 3, 3), "float32")
    w[0, 0, 0, 0] = np.inf
    for stride in (1, 2):
        y = sash.conv_transpose(x, w, stride=stride)
        assert not np.isnan(y).any() and np.isinf(y).sum() == 25
    with pytest.raises(sash.errors.MemoryLimit, match=r"infinite or NaN take \d+ bytes"):
        sash.conv_transpose(np.ones((1, 2, 500, 500), "float32"), w, max_memory=100_000)
