"""method="measure": the likely methods are tried on the first call, and the fastest is remembered."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import problems
import problems_networks
import sash
import tolerance
from races import LONG, K, X, rivals
from sash import methods, planning, race
from sash.arrays.weights import Weights
from sash.ops import gaussian
from sash.wisdom import Choice, remember

RNG = np.random.default_rng(0)
pytestmark = pytest.mark.usefixtures("forgotten")

# --- the answer ----------------------------------------------------------------------------------


@pytest.fixture
def many_rivals(monkeypatch):
    """Of little problems too, where one method is predicted to be far ahead."""
    monkeypatch.setattr(planning, "NEAR", 16.0)
    planning.choose.cache_clear()
    yield
    planning.choose.cache_clear()


@pytest.mark.parametrize("chunk", range(4))
@pytest.mark.usefixtures("many_rivals")
def test_the_answer_is_the_winners_bit_for_bit_and_nothing_that_went_in_is_written_to(clock, chunk):
    """Random problems of every type and layout, read-only ones among them; any of the likely methods wins."""
    tried = set()
    for seed in range(chunk * 75, chunk * 75 + 75):
        case, rng = problems.case(seed), np.random.default_rng(seed)
        before = case.x.tobytes(), case.kernel.tobytes()
        clock.takes = {name: rng.uniform(0.4, 1.0) for name in methods.names()}
        found = sash.correlate(case.x, case.kernel, method="measure", **case.settings)
        assert before == (case.x.tobytes(), case.kernel.tobytes()), f"{case}: an input was written to"
        exact = case.answer()
        tolerance.check(found, exact, tolerance.normwise(case, found.dtype), f"measure on {case}")
        if not clock.ran:
            continue
        winner = clock.ran[-1]
        tried |= set(clock.ran)
        clock.ran.clear()
        again = sash.correlate(case.x, case.kernel, method="measure", **case.settings)
        assert set(clock.ran) <= {winner}, f"{case}: tried again, or another method taken"
        named = sash.correlate(case.x, case.kernel, method=winner, separable=False, **case.settings)
        for other, told in ((again, "the second call"), (named, winner)):
            np.testing.assert_array_equal(found, other, err_msg=f"{told} on {case}")
        clock.ran.clear()
    assert len(tried) >= 3, tried


def test_networks_too(clock):
    for seed in range(60):
        for verb, make in (("conv", problems_networks.conv_case), ("conv_transpose", problems_networks.transposed_case)):
            case, rng = make(seed), np.random.default_rng(seed)
            clock.takes = {name: rng.uniform(0.4, 1.0) for name in methods.names()}
            for _ in range(2):
                case.check(getattr(sash, verb)(case.x, case.weight, case.bias, method="measure", **case.settings), "measure")
        case = problems_networks.depth_case(seed)
        case.check(sash.conv2_5d(case.x, case.depth, case.weight, case.bias, method="measure", **case.settings, **case.optics), "measure")
    assert len({entry["method"] for entry in sash.export_wisdom()["entries"]}) >= 3


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_similarity_is_measured_sum_by_sum(metric, dtype, ran):
    image, template = problems.values(RNG, (150, 140), dtype), problems.values(RNG, (9, 11), dtype)
    wanted = sash.similarity(image, template, metric=metric)
    for _ in range(4):  # blocks that are made at once do not race at once: each has its turn within a few calls
        np.testing.assert_allclose(sash.similarity(image, template, metric=metric, method="measure"), wanted, atol=1e-5)
    ran.clear()
    once = sash.similarity(image, template, metric=metric, method="measure")
    calls = len(ran)
    ran.clear()
    np.testing.assert_array_equal(once, sash.similarity(image, template, metric=metric, method="measure"))
    sash.similarity(image, template, metric=metric)
    assert len(ran) == 2 * calls
    assert sash.plan("similarity", image.shape, template.shape, metric=metric, input_dtype=dtype, method="measure").method


def test_other_filters(clock):
    """The outer product and the blur know that they are one, so separable takes part."""
    clock.takes = {"separable": 0.5}
    kernels = [RNG.random(5, np.float32), RNG.random(6, np.float32)]
    dense = np.multiply.outer(*kernels)
    np.testing.assert_allclose(sash.separable_filter(X, kernels, method="measure"), sash.correlate(X, dense, method="direct"), rtol=1e-4)
    np.testing.assert_array_equal(sash.convolve(X, K, method="measure"), sash.convolve(X, K, method=clock.ran[-1]))
    photo = np.tile(X, (2, 2))
    blurred = sash.gaussian_blur(photo, 1.5, method="measure")
    assert clock.ran[-1] == "separable"
    np.testing.assert_array_equal(blurred, sash.gaussian_blur(photo, 1.5, method="separable"))
    photo = (255 * photo).astype(np.uint8)
    rounded = sash.gaussian_blur(photo, 1.5, dtype="uint8", method="measure")
    np.testing.assert_array_equal(rounded, sash.gaussian_blur(photo, 1.5, dtype="uint8", method=clock.ran[-1]))


def test_a_kernel_is_looked_through_as_for_auto(ran):
    """A product that nobody told of is found where there is much to do, and then separable is among those that are tried."""
    x, k = np.tile(X, (10, 10)), np.multiply.outer(K[0], K[1])
    sash.correlate(x, k, method="measure")
    assert {plan.problem.rank for plan in ran} == {1} and any(plan.method == "separable" for plan in ran)


def test_any_number_of_threads_gives_the_same_bits():
    x, k = LONG
    first = sash.correlate(x, k, method="measure")
    for n in (1, 2, 3):
        with sash.threads(n):
            np.testing.assert_array_equal(sash.correlate(x, k, method="measure"), first)
    assert len(sash.export_wisdom()["entries"]) == 1


# --- the race ------------------------------------------------------------------------------------


def test_all_likely_methods_are_tried_once_and_the_fastest_is_taken_from_then_on(clock):
    names = rivals(X.shape, K.shape)
    assert 2 <= len(names) <= 4
    for winner in names:
        sash.forget_wisdom()
        clock.takes, clock.ran = {winner: 0.5}, []
        sash.correlate(X, K, method="measure", separable=False)
        assert {name: clock.ran.count(name) for name in names} == {name: 3 + (name == winner) for name in names}
        assert clock.ran[-1] == winner
        clock.ran.clear()
        for _ in range(3):
            sash.correlate(X, K, method="measure", separable=False)
        assert clock.ran == [winner] * 3
        (entry,) = sash.export_wisdom()["entries"]
        assert (entry["method"], entry["seconds"]) == (winner, {name: 0.5 if name == winner else 1.0 for name in names})


def test_the_least_of_several_runs_counts_and_the_first_which_compiles_does_not(clock, monkeypatch):
    names, many = rivals(X.shape, K.shape), 2 * race.TURNS
    monkeypatch.setattr(race, "ENOUGH", 1e9)
    monkeypatch.setattr(race, "MOST", many)
    each = {name: iter([9.0, *RNG.uniform(1, 2, many), 1.5]) for name in names}
    took = {name: [] for name in names}

    class Takes(dict):
        def get(self, name, default):
            took[name].append(next(each[name]))
            return took[name][-1]

    clock.takes = Takes()
    sash.correlate(X, K, method="measure", separable=False)
    assert all(clock.ran.count(name) in (many + 1, many + 2) for name in names)
    (entry,) = sash.export_wisdom()["entries"]
    for name, seconds in entry["seconds"].items():
        assert seconds == pytest.approx(min(took[name][1 : many + 1]), rel=1e-3)


def test_what_is_far_behind_in_its_first_run_is_not_run_again(clock):
    first, second, *_ = rivals(X.shape, K.shape)
    clock.takes = {second: 3.5}
    sash.correlate(X, K, method="measure", separable=False)
    assert clock.ran.count(second) == 2 and clock.ran.count(first) >= 3
    clock.takes, clock.ran = {first: 3.5}, []
    sash.forget_wisdom()
    sash.correlate(X, K, method="measure", separable=False)
    assert clock.ran[-1] != first and clock.ran.count(first) == 3  # nothing was known to be faster when it ran


def test_where_nothing_else_is_near_nothing_is_timed(ran):
    x, k = np.ones((500, 500), np.float32), np.ones((2, 2), np.float32)
    assert rivals(x.shape, k.shape) == ("direct",)
    for _ in range(2):
        sash.correlate(x, k, method="measure", separable=False)
    assert len(ran) == 2 and not sash.export_wisdom()["entries"]
    assert "no other is near enough" in sash.plan("correlate", x.shape, k.shape, method="measure").reason


def test_the_limit_holds_while_methods_are_tried(ran):
    x, k = LONG
    names = rivals(x.shape, k.shape)
    needs = {c.name: c.scratch for c in sash.plan("correlate", x.shape, k.shape).candidates if not c.refusal}
    assert "fft" in names and needs["direct"] < needs["fft"]
    for limit in (needs["direct"], needs["direct"] + 50_000, needs["fft"], 4 * needs["fft"]):
        ran.clear()
        found = sash.correlate(x, k, method="measure", separable=False, max_memory=limit)
        assert ran and all(plan.scratch <= limit for plan in ran)
        assert {plan.method for plan in ran} == set(rivals(x.shape, k.shape, max_memory=limit)), "each limit is a question of its own"
        np.testing.assert_array_equal(found, sash.correlate(x, k, method=ran[-1].method, separable=False, max_memory=limit))
    with pytest.raises(sash.SashError, match="max_memory=1 bytes is too little"):
        sash.correlate(x, k, method="measure", separable=False, max_memory=1)
    assert {entry["max_memory"] for entry in sash.export_wisdom()["entries"]} <= {*range(needs["direct"], 4 * needs["fft"] + 1)}


def test_what_does_not_fit_is_not_tried_however_fast(ran, many_rivals):
    with pytest.raises(sash.SashError) as refusal:
        sash.plan("correlate", X.shape, (3, 3), method="direct", max_memory=1)
    limit = refusal.value.least - 1
    assert sash.plan("correlate", X.shape, (3, 3)).method == "direct"
    found = sash.correlate(X, K[:3, :3], method="measure", max_memory=limit)
    assert len({plan.method for plan in ran}) > 1 and all(plan.method != "direct" and plan.scratch <= limit for plan in ran)
    np.testing.assert_allclose(found, sash.correlate(X, K[:3, :3]), rtol=1e-5)


def test_what_losers_make_of_a_kernel_is_not_kept(clock, monkeypatch):
    """The kernels of a blur are kept between calls: the dense one, and its spectrum, would stay with them."""
    clock.takes = {"separable": 0.5}
    seen, trial = [], Weights.dense.fget
    monkeypatch.setattr(Weights, "dense", property(lambda w: seen.append(w) or trial(w)))
    sash.gaussian_blur(RNG.random((80, 81), np.float32), 1.503, method="measure")
    kept = gaussian._weights(gaussian._settle_all(1.503, 0, 4.0, None, 2), (0, 1), 2)
    assert clock.ran[-1] == "separable" and len(set(clock.ran)) > 1
    assert seen and kept.array is None and all(w is not kept for w in seen)


def test_a_method_that_runs_out_of_memory_is_out_of_the_race(clock):
    names = rivals(X.shape, K.shape)
    for name in names:
        for clock.after in (0, 2):  # at once, or when it was the fastest already
            sash.forget_wisdom()
            clock.fails, clock.takes, clock.ran = {name: MemoryError("no")}, {name: 0.5}, []
            sash.correlate(X, K, method="measure", separable=False)
            assert clock.ran.count(name) == clock.after + 1 and name not in sash.export_wisdom()["entries"][0]["seconds"]
    sash.forget_wisdom()
    clock.after, clock.fails = 0, dict.fromkeys(names, MemoryError("no"))
    with pytest.raises(MemoryError, match="no"):
        sash.correlate(X, K, method="measure", separable=False)
    assert not sash.export_wisdom()["entries"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_race_that_is_broken_off_leaves_nothing_behind(clock, error):
    clock.fails = {rivals(X.shape, K.shape)[1]: error()}
    with pytest.raises(error):
        sash.correlate(X, K, method="measure", separable=False)
    assert not sash.export_wisdom()["entries"]
    clock.fails = {}
    sash.correlate(X, K, method="measure", separable=False)
    assert len(sash.export_wisdom()["entries"]) == 1


def test_what_no_longer_fits_is_tried_anew(ran):
    """As after a calibration that found another cache, and made blocks larger."""
    x, k = LONG
    with pytest.raises(sash.SashError) as refusal:
        sash.plan("correlate", x.shape, k.shape, method="fft", max_memory=1)
    limit = refusal.value.least - 1
    problem = sash.plan("correlate", x.shape, k.shape).problem
    remember(problem, limit, Choice("fft", {"fft": 1.0}))
    found = sash.correlate(x, k, method="measure", separable=False, max_memory=limit)
    assert ran and all(plan.method != "fft" and plan.scratch <= limit for plan in ran)
    np.testing.assert_array_equal(found, sash.correlate(x, k, method=ran[-1].method, separable=False, max_memory=limit))
    assert sash.plan("correlate", x.shape, k.shape, method="measure", max_memory=limit).method != "fft"


# --- threads -------------------------------------------------------------------------------------


def test_many_threads_at_once_are_all_right():
    cases = [problems.case(seed) for seed in (1, 2, 3, 4, 5, 6, 7, 8)] * 4
    exact = {case.seed: case.answer() for case in cases}
    gate = threading.Barrier(8)

    def one(case):
        if case in cases[:8]:
            gate.wait(60)
        found = sash.correlate(case.x, case.kernel, method="measure", **case.settings)
        if case.seed % 3 == 0:
            sash.forget_wisdom()
        sash.import_wisdom(sash.export_wisdom())
        tolerance.check(found, exact[case.seed], tolerance.normwise(case, found.dtype), f"measure on {case}")

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(one, replace(case)) for case in cases]:
            done.result(120)


def test_while_another_thread_races_nobody_waits_and_nothing_is_remembered(clock):
    racing, over = threading.Event(), threading.Event()

    def hold():
        with race._turn:
            racing.set()
            over.wait(60)

    other = threading.Thread(target=hold)
    other.start()
    racing.wait(60)
    sash.correlate(X, K, method="measure", separable=False)
    over.set()
    other.join(60)
    assert clock.ran == [rivals(X.shape, K.shape)[0]] and not sash.export_wisdom()["entries"]
    sash.correlate(X, K, method="measure", separable=False)
    assert sash.export_wisdom()["entries"]
