"""Plans: made from shapes alone, told in full, kept to by the verbs, and never short of memory."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import problems
import sash
import tolerance
from sash import bound, machine, methods, planning, running
from sash.methods import direct, gated
from sash.ops import filters

METHODS = methods.names()


def same_problem(rng, shape, kernel, dtype):
    return problems.values(rng, shape, dtype), problems.values(rng, kernel, dtype)


PROBLEMS = [
    ((512, 512), (3, 3), {}),
    ((512, 512), (31, 31), {"padding": "same", "boundary": "mirror"}),
    ((300, 301), (9, 9), {"stride": 2, "padding": 1}),
    ((64, 65, 66), (5, 5, 5), {"stride": (1, 2, 2)}),
    ((100_000,), (501,), {"boundary": "wrap", "padding": "same"}),
    ((20, 200, 30), (7, 7), {"axes": (1, 2), "dilation": 2}),
]


# --- what a plan tells ---------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "kernel", "settings"), PROBLEMS)
def test_a_plan_shows_every_method_with_its_numbers_or_why_not(shape, kernel, settings):
    plan = sash.plan("correlate", shape, kernel, **settings)
    text = str(plan)
    assert [c.name for c in plan.candidates] == list(METHODS)
    assert plan.method in METHODS
    assert plan.method in text
    for candidate in plan.candidates:
        (line,) = [line for line in text.splitlines() if line.split()[:2] and candidate.name in line.split()[:2]]
        if candidate.refusal:
            assert candidate.refusal in line
            assert len(candidate.refusal.split()) >= 4, candidate.refusal
        else:
            assert candidate.seconds > 0 and candidate.scratch >= 0
            assert any(unit in line for unit in (" us", " ms", " s")) and "B" in line, line
    willing = [c for c in plan.candidates if not c.refusal]
    assert plan.seconds == min(c.seconds for c in willing)
    assert repr(plan)


def test_threads_do_not_share_what_python_does_for_each_block(monkeypatch):
    """However many there are; and where it is most of the work, one thread does all."""
    here = replace(machine.shipped(), cores=8)
    blocks, sums = {"fft.block": 200, "fft.call": 400}, {"direct.rows.product.float32": 1e9}
    for crew in (2, 8, 64):
        assert here.shared(blocks | sums, crew, 1.0) > here.seconds(blocks)
        assert here.shared(sums, crew, 1.0) < here.seconds(sums)
    assert here.shared(blocks, 2, 1.0) > here.seconds(blocks)
    monkeypatch.setattr(planning, "machine", lambda home="numpy": here)
    planning.choose.cache_clear()
    many = planning.choose(sash.plan("correlate", (200_000,), (101,), stride=2).problem, "polyphase", 500_000, 8)
    few = planning.choose(sash.plan("correlate", (2048, 2048), (9, 9)).problem, "direct", None, 8)
    planning.choose.cache_clear()
    assert many.workers == 1 and len(many.boxes) > 8 and few.workers == 8


def test_a_plan_of_a_named_method_is_of_that_method():
    for method in METHODS:
        try:
            plan = sash.plan("correlate", (200, 200), (5, 5), method=method)
        except sash.SashError as refusal:
            assert method in ("separable", "polyphase") or method not in problems.filtering()
            assert method in str(refusal)
            continue
        assert plan.method == method


@pytest.mark.parametrize(("shape", "kernel", "settings"), PROBLEMS)
def test_a_plan_is_plain_numbers(shape, kernel, settings):
    plan = sash.plan("correlate", shape, kernel, **settings)
    record = json.loads(json.dumps(plan.to_dict()))
    assert record["method"] == plan.method
    assert [c["name"] for c in record["candidates"]] == list(METHODS)
    assert record["seconds"] == plan.seconds and record["scratch"] == plan.scratch


def test_every_verb_can_be_planned():
    for plan in (
        sash.plan("correlate", (100, 100), (5, 5)),
        sash.plan("convolve", (100, 100), (5, 5), stride=2),
        sash.plan("gaussian_blur", (64, 64, 64), sigma=2),
        sash.plan("similarity", (3, 100, 100), (3, 9, 9), metric="sad", channel_axis=0, stride=2),
        sash.plan("similarity", (100, 100), (9, 9), metric="zncc"),
    ):
        assert str(plan)
    with pytest.raises(sash.SashError, match="correlate"):
        sash.plan("corelate", (100, 100), (5, 5))


def test_planning_makes_no_array():
    """Petabytes can be planned."""
    plan = sash.plan("correlate", (10**6, 10**6, 1000), (3, 3, 3))
    assert plan.seconds > 1
    plan = sash.plan("correlate", (10**5, 10**5), (999, 999), input_dtype="float64")
    assert plan.method in METHODS


# --- the verbs keep to it ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize(("shape", "kernel", "settings"), PROBLEMS)
def test_a_verb_runs_what_the_plan_from_shapes_says(shape, kernel, settings, dtype, monkeypatch):
    ran = []
    execute = running.execute

    def spy(plan, *args):
        ran.append(plan)
        execute(plan, *args)

    monkeypatch.setattr(running, "execute", spy)
    monkeypatch.setattr(running, "at_once", lambda *told: False)
    monkeypatch.setattr(filters, "again", lambda *told: None)
    rng = np.random.default_rng(0)
    x, k = problems.values(rng, shape, dtype, 99), problems.values(rng, kernel, dtype, 99)
    sash.correlate(x, k, separable=False, **settings)
    plan = sash.plan("correlate", shape, kernel, input_dtype=dtype, **settings)
    if dtype == "int32":  # the plan knows the type only, the verb the data: fewer bits may make more methods willing
        assert ran[0].method in METHODS
    else:
        assert (ran[0].method, ran[0].scratch, ran[0].problem) == (plan.method, plan.scratch, plan.problem)


def test_the_choice_follows_the_problem():
    """Few taps are summed where they stand, thousands go through the frequency domain, outer products in passes."""
    assert sash.plan("correlate", (1024, 1024), (3, 3)).method not in ("fft", "polyphase")
    assert sash.plan("correlate", (1024, 1024), (255, 255)).method in ("fft", "polyphase")
    assert sash.plan("gaussian_blur", (128, 128, 128), sigma=3).method == "separable"


# --- memory --------------------------------------------------------------------------------------


def test_max_memory_puts_aside_what_needs_more_and_says_so():
    free = sash.plan("correlate", (2000, 2000), (63, 63))
    limit = free.scratch // 3
    tight = sash.plan("correlate", (2000, 2000), (63, 63), max_memory=limit)
    assert tight.scratch <= limit
    for candidate in tight.candidates:
        if candidate.cost is not None and candidate.scratch > limit:
            assert candidate.refusal and "max_memory" in candidate.refusal
    assert tight.seconds >= free.seconds * 0.999


SMALL = [
    ((50, 51), (3, 3), {}),
    ((40, 41), (11, 11), {"padding": "same", "boundary": "mirror"}),
    ((40, 41), (9, 9), {"stride": 2, "padding": 1}),
    ((2000,), (51,), {"boundary": "wrap", "padding": "same"}),
    ((3, 20, 6), (7, 7), {"axes": (0, 1), "dilation": 2, "padding": 9}),
]


@pytest.mark.parametrize(("shape", "kernel", "settings"), SMALL)
def test_where_none_is_left_the_error_names_the_least_that_would_do(shape, kernel, settings):
    import re

    with pytest.raises(sash.SashError) as caught:
        sash.plan("correlate", shape, kernel, max_memory=1, **settings)
    assert isinstance(caught.value, (MemoryError, ValueError))
    text = str(caught.value)
    assert "max_memory=1 " in text
    least = max(int(number.replace(",", "")) for number in re.findall(r"([\d,]+) bytes", text))
    plan = sash.plan("correlate", shape, kernel, max_memory=least, **settings)
    assert plan.scratch <= least
    with pytest.raises(sash.SashError):
        sash.plan("correlate", shape, kernel, max_memory=least - 1, **settings)
    rng = np.random.default_rng(1)
    x, k = same_problem(rng, shape, kernel, "float32")
    with pytest.raises(sash.SashError):
        sash.correlate(x, k, separable=False, max_memory=1, **settings)
    case = problems.Case(
        -1,
        x,
        k,
        "C",
        {"axes": None, "stride": 1, "dilation": 1, "padding": "valid", "boundary": "constant", "cval": 0, **settings},
    )
    found = sash.correlate(x, k, separable=False, max_memory=least, **settings)
    tolerance.check(found, case.answer(), tolerance.normwise(case, np.float32), f"{least} bytes, {case}")


MEASURE = Path(__file__).with_name("resident.py")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures resident memory through /proc")
@pytest.mark.parametrize(
    ("call", "method"),
    [
        *(("dense", method) for method in problems.filtering() if method != "separable"),
        *(("strided", method) for method in problems.filtering() if method != "separable"),
        *(("limited", method) for method in problems.filtering() if method != "separable"),
        *((call, method) for call in ("channels", "channels limited") for method in ("direct", "gemm", "indirect")),
        ("planes", "gated"),
        ("large", "fft"),  # blocks far beyond the slack
        ("large strided", "polyphase"),
        ("blur", "auto"),
        ("bytes", "auto"),
        ("match", "auto"),
        ("colours", "auto"),
    ],
)
def test_no_more_memory_is_taken_than_predicted(call, method):
    """In a child process: the highest resident size during the call, less what was there before, less the result."""
    done = subprocess.run([sys.executable, MEASURE, call, method], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    if "refused" in told:
        assert method in told["refused"] and "strided" not in call
        return
    slack = 4 << 20  # thread stacks, and pages that the allocator keeps
    assert told["taken"] <= told["predicted"] + slack, told
    if call == "limited":
        assert told["predicted"] <= told["limit"]
    if call == "colours":
        assert told["predicted"] < 50e6, "the patch array would be 93 GB"


def test_an_array_in_place_of_a_shape_is_told_what_to_give_and_not_printed():
    with pytest.raises(TypeError, match=r"^plan\('correlate'\) takes shapes, got an array; give its \.shape, \(300, 300\)\.$"):
        sash.plan("correlate", np.zeros((300, 300)), (3, 3))


def test_squares_of_integers_are_expanded_where_their_exact_sums_take_longer():
    """Summed as differences they need float64, which is what the other way is compared with."""
    stack, template = (64, 512, 512), (1, 32, 32)
    assert sash.plan("similarity", stack, template, metric="ssd", input_dtype=np.int16).problem.reduce == "product"
    assert sash.plan("similarity", (64, 64), (3, 3), metric="ssd", input_dtype=np.uint8).problem.reduce == "squared"


def test_passes_over_bytes_move_less_memory():
    """2160 x 3840 bytes with sigma 0.7 took 10 ms by two-dimensional sums and 5 by passes, which were predicted to take 11."""
    seconds = []
    for dtype in ("uint8", "uint16", "float32"):
        plan = sash.plan("gaussian_blur", (2160, 3840), input_dtype=dtype, sigma=0.7, dtype=dtype)
        seconds.append(next(c.seconds for c in plan.candidates if c.name == "separable"))
    assert seconds[0] < seconds[1] < seconds[2], seconds


def test_blocks_that_blas_shares_are_made_one_after_the_other():
    """Two calls of BLAS at once wait for each other: 3 ms became 13 and more."""
    x, w = (1, 256, 56, 56), (512, 256, 3, 3)
    found = sash.plan("conv", x, w, method="gemm")
    assert found.chosen.workers == 1
    torch = pytest.importorskip("torch")
    assert sash.plan("conv", x, w, method="gemm", input_dtype=torch.float32).chosen.workers == 1  # tensors are arrays to it
    assert sash.plan("conv", x, w, method="gemm", input_dtype="int64").chosen.workers == machine.machine().cores


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("taps", [3, 60])
@pytest.mark.parametrize("stride", [1, 2])
def test_windows_laid_out_as_columns_or_rows_give_the_same_sums(groups, taps, stride):
    """Rows of 40 results by 3 taps are columns, rows of few by 60 are rows."""
    rng = np.random.default_rng(taps)
    x = rng.integers(-4, 5, (2, 4, 6, 40 + taps)).astype(np.float32)
    w = rng.integers(-4, 5, (6, 4 // groups, 3, taps)).astype(np.float32)
    settings = {"groups": groups, "stride": (1, stride), "padding": ((1, 1), (0, 0))}
    np.testing.assert_array_equal(sash.conv(x, w, method="gemm", **settings), sash.conv(x, w, method="direct", **settings))
    np.testing.assert_array_equal(
        sash.conv(x, w, method="gemm", max_memory=1 << 16, **settings), sash.conv(x, w, method="direct", **settings)
    )


@pytest.mark.parametrize("cores", [2, 4])
def test_blocks_of_a_direct_convolution_are_for_all_cores(monkeypatch, cores):
    """One long row is cut, short work is one block a core, long work several; with one core it is cut for no thread."""

    def blocks(x, w, **settings):
        problem, count = sash.plan("conv", x, w, method="direct", **settings).problem, []
        for cores_here in (cores, 1):
            here = replace(machine.shipped(), cores=cores_here)
            for module in (planning, direct):
                monkeypatch.setattr(module, "machine", lambda home="numpy", here=here: here)
            for kept in (planning.choose, direct.boxes_of):
                kept.cache_clear()
            count.append(len(planning.choose(problem, "direct", None, cores_here).boxes) or 1)
        return count

    try:
        assert blocks((1, 64, 4096), (64, 64, 3))[0] >= cores, "one long row"
        assert blocks((1, 3, 224, 224), (16, 3, 3, 3), padding=1, stride=2)[0] == cores, "short work"
        assert blocks((1, 3, 224, 224), (16, 3, 3, 3), padding=1, stride=2)[1] == 1
        assert blocks((1, 32, 224, 224), (64, 32, 3, 3), padding=1)[0] > cores, "long work"
    finally:
        for kept in (planning.choose, direct.boxes_of):
            kept.cache_clear()


def test_vectors_that_are_made_together_count_as_whole_turns():
    """Of three: four take as long as six."""
    wide = replace(machine.shipped(), vector=64)
    work = [direct.cost(sash.plan("conv", (1, 160, rows, 16), (96, 160, 1, 1)).problem, wide, float("inf")).work for rows in (1, 3, 4, 6)]
    one, three, four, six = [found["direct.bank.product.float32"] for found in work]
    assert one == three and four == six == 2 * three


def test_bands_of_derivatives_are_larger_where_memory_allows():
    problem = sash.plan("conv2_5d", (1, 3, 480, 640), (3, 16, 3, 3, 3), focal=500.0, padding=1).problem
    little, roomy = [gated._rows(problem, 480, 640, more) for more in (False, True)]
    assert little <= roomy <= -(-480 // gated.BANDS) and roomy >= 4 * little


def test_little_memory_binds_few_blocks():
    """What Python keeps of each is held to a part of `max_memory`; without a limit all are bound."""
    x, w = (1, 32, 160, 160), (1, 32, 3, 3)
    problem = sash.plan("conv", x, w, stride=3, method="direct").problem
    kept = [bound.bind(problem, "direct", limit, 2) for limit in (None, 100_000)]
    blocks = len(planning.choose(problem, "direct", 100_000, 2).boxes)
    assert kept[0] is not None and blocks > direct.kept_blocks(100_000) and kept[1] is None
