"""method="measure": the likely methods are tried on the first call, the fastest is remembered, and wisdom comes and goes as JSON."""

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import problems
import problems_networks
import sash
import tolerance
from sash import calibration, machine, methods, planning, race, running, wisdom
from sash.arrays.weights import Weights
from sash.cli.app import app
from sash.ops import gaussian
from sash.samples import problems as samples
from sash.wisdom import Choice, recall, remember

RNG = np.random.default_rng(0)
X, K = RNG.random((60, 70), np.float32), RNG.random((7, 7), np.float32)
LONG = RNG.random((300, 400), np.float32), RNG.random((15, 15), np.float32)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """No test learns from another, and none takes longer than it must."""
    monkeypatch.setattr(race, "ENOUGH", 0.0)
    sash.forget_wisdom()
    yield
    sash.forget_wisdom()


@pytest.fixture
def ran(monkeypatch):
    """The plans that are carried out, one after the other."""
    found, execute = [], running.execute

    def spy(plan, *args):
        found.append(plan)
        execute(plan, *args)

    monkeypatch.setattr(running, "execute", spy)
    return found


@pytest.fixture
def clock(monkeypatch):
    """A clock that runs only while a method does: `takes` seconds by its name, or else 1; `ran` are the names.

    Those of `fails` raise their error, `after` some runs that went well.
    """
    told = SimpleNamespace(takes={}, now=0.0, ran=[], fails={}, after=0)
    execute = running.execute

    def spy(plan, *args):
        told.ran.append(plan.method)
        if plan.method in told.fails and told.ran.count(plan.method) > told.after:
            raise told.fails[plan.method]
        execute(plan, *args)
        told.now += told.takes.get(plan.method, 1.0)

    monkeypatch.setattr(running, "execute", spy)
    monkeypatch.setattr(race, "perf_counter", lambda: told.now)
    return told


def rivals(shape, size, **settings):
    """The predicted best, and the others that are worth a trial."""
    found = planning.choose(sash.plan("correlate", shape, size, **settings).problem, "auto", settings.get("max_memory"), 2)
    return (found.method, *found.rivals)


# --- the answer ----------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", range(4))
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


def test_what_does_not_fit_is_not_tried_however_fast(ran):
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


# --- wisdom out and in ---------------------------------------------------------------------------


def learnt(clock, winner=1):
    """Wisdom of two problems; the predicted best is not the fastest."""
    clock.takes = {rivals(X.shape, K.shape)[winner]: 0.5}
    sash.correlate(X, K, method="measure", separable=False)
    sash.correlate(X[:40], K, method="measure", separable=False, max_memory=10_000_000)
    return sash.export_wisdom()


def test_what_is_exported_is_plain_and_comes_back_whole(clock, tmp_path):
    known = learnt(clock)
    assert known["format"] == 1 and known["sash"] == sash.__version__ and known["signature"] == machine.signature()
    assert [entry["max_memory"] for entry in known["entries"]] == [None, 10_000_000]
    assert known["entries"][0]["description"].startswith("60x70 float32, 7x7 taps")
    path = tmp_path / "wisdom.json"
    assert sash.export_wisdom(path) == known == json.loads(path.read_text())
    assert [p.name for p in tmp_path.iterdir()] == ["wisdom.json"]
    for source in (known, json.loads(json.dumps(known)), path, str(path)):
        sash.forget_wisdom()
        assert not sash.export_wisdom()["entries"]
        assert sash.import_wisdom(source) == 2
        assert sash.export_wisdom() == known
        clock.ran.clear()
        sash.correlate(X, K, method="measure", separable=False)
        assert clock.ran == [known["entries"][0]["method"]], "it was tried again"


def test_every_kind_of_problem_survives():
    """The key is exact: all fields of the samples, as numbers and words."""
    kept = {}
    for problem in [*samples(), *(p._replace(home=home) for p in [*samples()][::9] for home in ("torch", "cuda"))]:
        for limit in (None, 1 << 40):
            plan = planning.choose(problem, "auto", limit, 1)
            kept[problem, limit] = Choice(plan.method, {plan.method: 1e-3, "shift_add": 2e-3})
            remember(problem, limit, kept[problem, limit])
    problem = sash.plan("conv_transpose", (2, 4, 9, 9), (4, 3, 3, 3), stride=2, padding=1).problem
    assert problem.upsampled
    kept[problem, None] = Choice("direct", {"direct": 1e-3})
    remember(problem, None, kept[problem, None])
    text = json.dumps(sash.export_wisdom())
    sash.forget_wisdom()
    assert sash.import_wisdom(json.loads(text)) == len(kept)
    assert all(recall(*key) == choice for key, choice in kept.items())


def test_what_comes_in_replaces_what_is_known_of_the_same_problem_only(clock):
    known = learnt(clock)
    sash.forget_wisdom()
    clock.takes = {rivals(X.shape, K.shape)[0]: 0.5}
    sash.correlate(X, K, method="measure", separable=False)
    sash.correlate(X[:30], K, method="measure", separable=False)
    before = sash.export_wisdom()["entries"]
    assert before[0]["method"] != known["entries"][0]["method"]
    assert sash.import_wisdom({**known, "entries": known["entries"][:1]}) == 1
    assert sash.export_wisdom()["entries"] == [known["entries"][0], before[1]]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(clock, tmp_path, monkeypatch):
    path = tmp_path / "wisdom.json"
    path.write_text("old")
    learnt(clock)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError, match="no"):
        sash.export_wisdom(path)
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["wisdom.json"]


def changed(**fields):
    return lambda record: record["entries"][1].update(fields)


def of_problem(**fields):
    return lambda record: record["entries"][1]["problem"].update(fields)


def of_axis(**fields):
    return lambda record: record["entries"][1]["problem"]["axes"][0].update(fields)


FAULTS = {
    "a future format": (lambda record: record.update(format=2), ("format 2", "format 1", sash.__version__)),
    "another machine": (
        lambda record: record.update(signature={"processor": "Z80", "instructions": "", "cores": 1}),
        ("Z80", machine.signature()["processor"], "foreign=True"),
    ),
    "no entries": (lambda record: record.pop("entries"), ("export_wisdom",)),
    "no signature": (lambda record: record.pop("signature"), ("export_wisdom",)),
    "an entry that is none": (lambda record: record["entries"].append(7), ("entry 3 of 3", "problem")),
    "an entry without a method": (lambda record: record["entries"][1].pop("method"), ("entry 2 of 2", "method")),
    "an unknown method": (changed(method="ftt"), ("entry 2 of 2", "'ftt'", "'fft'")),
    "a method that is no text": (changed(method=[3]), ("[3]", "unknown")),
    "an unknown method among the times": (changed(seconds={"direkt": 1.0}), ("'direkt'", "'direct'")),
    "a method that was not the fastest": (
        changed(method="direct", seconds={"direct": 2.0, "gemm": 1.0}),
        ("'direct'", "fastest", "2.0", "1.0"),
    ),
    "a method that was not timed": (changed(method="direct", seconds={}), ("'direct'", "fastest")),
    "a method that refuses": (
        changed(method="separable", seconds={"separable": 1.0}),
        ("'separable'", "cannot do this", "nothing was taken"),
    ),
    "a method that needs more": (changed(max_memory=2), ("max_memory=2 ", "entry 2 of 2")),
    "a limit of 0": (changed(max_memory=0), ("max_memory=0",)),
    "a limit that is true": (changed(max_memory=True), ("max_memory=True",)),
    "times in words": (changed(seconds={"direct": "fast"}), ("'fast'",)),
    "a negative time": (changed(seconds={"direct": -1.0}), ("-1.0",)),
    "times that are no number": (changed(seconds={"direct": float("nan")}), ("nan",)),
    "a problem that is none": (changed(problem=3), ("Problem", "fields")),
    "no axes": (of_problem(axes=[]), ("axes",)),
    "a field too few": (lambda record: record["entries"][1]["problem"].pop("rank"), ("Problem", "rank")),
    "a field too many": (of_problem(colour="red"), ("Problem", "fields")),
    "a batch in words": (of_problem(batch="two"), ("batch='two'", "int")),
    "a batch that is true": (of_problem(batch=True), ("batch=True", "int")),
    "a flag that is 1": (of_problem(finite=1), ("finite=1", "bool")),
    "an unknown reduction": (of_problem(reduce="sum"), ("reduce='sum'", "product")),
    "an unknown type": (of_problem(source="float31"), ("float31",)),
    "an unknown home": (of_problem(home="numpi"), ("'numpi'", "'numpy'")),
    "groups that do not divide": (of_problem(groups=2), ("groups=2", "1 inputs")),
    "a stride of 0": (of_axis(stride=0), ("stride=0", "at least 1")),
    "a negative extent": (of_axis(n=-1), ("n=-1", "at least 0")),
    "an unknown boundary": (of_axis(boundary="reflect"), ("reflect",)),
    "a window that does not fit": (of_axis(size=99), ("size=99", "no window")),
    "nothing to extend": (of_axis(n=0, boundary="mirror"), ("no window",)),
}


@pytest.mark.parametrize("as_file", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_wisdom_is_one_sentence_and_none_of_it_is_taken(fault, as_file, clock, tmp_path):
    change, words = FAULTS[fault]
    record = learnt(clock)
    change(record)
    sash.forget_wisdom()
    source = record
    if as_file:
        source = tmp_path / "wisdom.json"
        source.write_text(json.dumps(record))
        words = (*words, "wisdom.json")
    with pytest.raises(sash.SashError) as caught:
        sash.import_wisdom(source)
    text = str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert all(word in text for word in words), text
    assert "\n" not in text and text.endswith(".") and len(text) < 500 + 20 * len(str(tmp_path)), text
    assert not sash.export_wisdom()["entries"]


@pytest.mark.parametrize("text", [b"", b'{"format": 1, "entr', b"\xff\xfe\x00", b"[" * 100_000, b"[1, 2]", b"3"])
def test_a_file_that_is_no_wisdom_is_told_of(text, tmp_path):
    path = tmp_path / "wisdom.json"
    path.write_bytes(text)
    with pytest.raises(sash.SashError, match=r"wisdom\.json (is broken|holds no wisdom).*export"):
        sash.import_wisdom(path)


def test_what_is_no_source():
    with pytest.raises(TypeError, match="a path, or the dict"):
        sash.import_wisdom(3)
    with pytest.raises(FileNotFoundError):
        sash.import_wisdom("nowhere.json")


def test_wisdom_of_another_machine_is_taken_where_that_is_asked_for(clock):
    known = learnt(clock)
    sash.forget_wisdom()
    assert sash.import_wisdom({**known, "signature": {}}, foreign=True) == 2
    assert sash.export_wisdom() == known


def test_calibrating_anew_forgets_no_wisdom(clock):
    """Measured beats predicted; only the blocks are made as the machine is now known to like them."""
    winner = learnt(clock)["entries"][0]["method"]
    calibration.forget()
    clock.ran.clear()
    sash.correlate(X, K, method="measure", separable=False)
    assert clock.ran == [winner]


# --- what is said --------------------------------------------------------------------------------


def test_a_plan_tells_what_will_be_tried_and_then_what_was_measured(clock):
    names = rivals(X.shape, K.shape)
    plan = sash.plan("correlate", X.shape, K.shape, method="measure")
    assert plan.method == names[0]
    assert plan.reason.endswith(f"as predicted; the first call tries {', '.join(names[:-1])} and {names[-1]}")
    clock.takes = {names[1]: 0.5}
    sash.correlate(X, K, method="measure", separable=False)
    plan = sash.plan("correlate", X.shape, K.shape, method="measure")
    assert plan.method == names[1]
    assert re.fullmatch(r"measured: 2 times faster than the next \(\w+\)", plan.reason)
    assert {c.name: c.measured for c in plan.candidates if c.measured} == {n: 0.5 if n == names[1] else 1.0 for n in names}
    assert [c.name for c in plan.candidates] == list(methods.names())
    told = json.loads(json.dumps(plan.to_dict()))
    assert {c["name"]: c.get("measured") for c in told["candidates"]}[names[1]] == 0.5
    title, choice, _, head, *rows = str(plan).splitlines()
    assert head.split() == ["method", "predicted", "measured", "scratch"] and choice.startswith(f"-> {names[1]}, measured: 2 times")
    (row,) = [row for row in rows if row.startswith(">")]
    assert row.split()[1] == names[1] and "500 ms" in row
    assert "measured" not in str(sash.plan("correlate", X.shape, K.shape))  # "auto" is what it was
    sash.forget_wisdom()
    assert sash.plan("correlate", X.shape, K.shape, method="measure").method == names[0]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "complex64"])
def test_a_plan_finds_what_only_the_values_make_different(dtype, clock):
    """Shapes do not tell how large integers are, nor how an array lies in memory."""
    x, k = problems.values(RNG, (300, 301), dtype), problems.values(RNG, (7, 7), dtype, 9)
    sash.correlate(x, k, method="measure", separable=False)
    if sash.export_wisdom()["entries"] and dtype != "int16":
        assert sash.plan("correlate", x.shape, k.shape, input_dtype=dtype, method="measure").reason.startswith("measured")


@pytest.mark.parametrize("verb", ["conv", "conv_transpose", "conv2_5d"])
def test_plans_of_networks_tell_it_too(verb, clock):
    x, w, told = RNG.random((1, 4, 60, 61), np.float32), RNG.random((4, 4, 3, 3), np.float32), {"stride": 2, "padding": 1}
    if verb == "conv2_5d":
        w, told = RNG.random((3, 4, 4, 3, 3), np.float32), {"focal": 20.0, **told}
        sash.conv2_5d(x, 1 + x[:, 0], w, method="measure", **told)
    else:
        getattr(sash, verb)(x, w, method="measure", **told)
    if sash.export_wisdom()["entries"]:
        assert sash.plan(verb, x.shape, w.shape, method="measure", **told).reason.startswith("measured")


def test_similarity_tells_it_too():
    image, template = RNG.random((90, 95), np.float32), RNG.random((15, 15), np.float32)
    for metric in ("sad", "zncc"):
        for _ in range(3):
            sash.similarity(image, template, metric=metric, method="measure")
        plan = sash.plan("similarity", image.shape, template.shape, metric=metric, method="measure")
        assert plan.reason.startswith("measured") or not sash.export_wisdom()["entries"], plan


def test_an_unknown_method_is_told_of_this_one():
    with pytest.raises(sash.SashError, match="did you mean 'measure'"):
        sash.correlate(X, K, method="mesure")
    with pytest.raises(sash.SashError, match="'auto', 'measure'"):
        sash.plan("correlate", (9, 9), (3, 3), method="nothing")


def test_the_command_line_takes_it(tmp_path):
    x = tmp_path / "x.npy"
    np.save(x, X)
    done = CliRunner().invoke(app, ["blur", str(x), str(tmp_path / "y.npy"), "-s", "1", "--method", "measure"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), sash.gaussian_blur(X, 1), atol=1e-5)
    done = CliRunner().invoke(app, ["plan", "correlate", "60,70", "7,7", "--method", "measure"], catch_exceptions=False)
    assert done.exit_code == 0 and "first call tries" in " ".join(done.output.split())


def test_a_lookup_is_all_that_it_costs(monkeypatch):
    """Once it is remembered nothing is planned, timed or looked for: one look-up, and the plan of the method."""
    for _ in range(2):
        sash.correlate(X, K, method="measure", separable=False)
    for name in ("remember", "race"):
        monkeypatch.setattr(race if name == "remember" else running, name, lambda *_: pytest.fail("raced again"))
    asked = []
    monkeypatch.setattr(running, "recall", lambda *key: asked.append(key) or wisdom.recall(*key))
    before = planning.choose.cache_info()
    sash.correlate(X, K, method="measure", separable=False)
    after = planning.choose.cache_info()
    assert len(asked) == 1 and (after.hits, after.misses) == (before.hits + 1, before.misses)
