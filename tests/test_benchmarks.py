"""The benchmark's own promises: cells well formed, answers checked, a wrong one refused, names helped. Nothing is timed here."""

import json
import sys
import threading
from dataclasses import replace
from pathlib import Path
from time import sleep

import numpy as np
import pytest
from benchmarks import clock, command, peers, report, results
from benchmarks.clock import Times, in_turns
from benchmarks.jobs import Blur, Correlate, Depth, Match, Network
from benchmarks.jobs.depth import PLANES
from benchmarks.scratch import LEAST, Scale
from benchmarks.suites import TIMED, cells
from benchmarks.trial import Cell, Entry, Limits, Outcome, attempt
from benchmarks.truth import Together, Truth, positions
from benchmarks.way import Way

import oracle_networks
from sash.kernels.cpu import bell

QUICKLY = Limits(rounds=1, patience=1e9)
TINY = {
    "blur": Blur((9, 10), 1.0),
    "bytes": Blur((9, 10, 3), 1.0, "uint8", "uint8", (0, 1)),
    "correlate": Correlate((12, 13), (3, 4), stride=2),
    "dilated": Correlate((14, 15, 13), (3, 3, 2), dilation=2),
    "product": Correlate((12, 13), (3, 5), rank=1, verb="separable_filter"),
    "convolve": Correlate((40,), (5,), "uint8", verb="convolve"),
    "sad": Match((14, 13), (4, 3), stride=2),
    "masked": Match((14, 13), (4, 3), channel_axis=0, metric="zncc", dtype="uint8", masked=True),
    "slices": Match((3, 14, 13), (1, 4, 3), 0, metric="zncc"),
    "volume": Match((7, 14, 13), (2, 4, 3), 0, metric="ssd", dtype="uint8"),
    "mirrored": Blur((9, 10), 1.0, boundary="mirror"),
    "zeros": Blur((9, 10, 8), 1.0, boundary="constant"),
    "conv": Network(3, 4, (9, 8), 3, batch=2, stride=2),
    "conv 3-D": Network(2, 3, (7, 6, 5), 3),
    "depthwise": Network(4, 4, (9, 8), 5, groups=4),
    "transposed": Network(4, 6, (5, 4), 4, batch=2, stride=2, groups=2, transposed=True),
    "transposed 3-D": Network(2, 3, (4, 3, 5), 3, stride=2, transposed=True),
}
TENSORS = {
    "conv": Network(3, 4, (9, 8), 3, tensors=True),
    "transposed": Network(4, 6, (5, 4), 3, stride=2, groups=2, transposed=True, tensors=True),
    "conv 3-D": Network(2, 3, (7, 6, 5), 3, stride=2, tensors=True),
    "depth": Depth(2, 3, (12, 16), tensors=True),
    "depth, backward": Depth(2, 3, (12, 16), stride=2, tensors=True, backward=True),
    "mirrored": TINY["mirrored"],
    "zeros": TINY["zeros"],
    "product": replace(TINY["product"], verb="correlate", stride=2),
    "dilated": TINY["dilated"],
    "slices": replace(TINY["slices"], metric="sad"),
    "volume": TINY["volume"],
}
INSTALLED = ("numpy", "scipy", "opencv", "skimage")
TORCH = ("torch", "unfold", "kornia", "monai")


@pytest.mark.parametrize("suite", TIMED)
def test_cells_are_well_formed(suite):
    names = [cell.name for cell in cells(suite)]
    assert len(set(names)) == len(names)
    assert any(cell.when == "quick" for cell in cells(suite))
    for cell in cells(suite):
        if suite != "depth" or peers.opened("torch"):
            names = [name for name in (*INSTALLED, "torch") if hasattr(peers.opened(name), cell.job.kind)]
            assert names, f"{cell.name} has no peer"
        assert all(n > 0 for n in getattr(cell.job, "out", ())), f"{cell.name} has no output"
        assert len(suite) + len(cell.name) < 64, "the line of a cell must fit 80 columns"


@pytest.mark.parametrize("name", TINY)
def test_a_cell_runs_from_end_to_end(name, tmp_path):
    outcome = attempt("tiny", Cell(name, TINY[name]), INSTALLED, QUICKLY)
    assert outcome.ours.times and len(outcome.entries) > 1
    for entry in outcome.entries:
        assert entry.times and not entry.wrong, entry
    printed = "\n".join((*report.lines(outcome, 1e9), *report.summary("tiny", [outcome])))
    assert max(map(len, printed.splitlines())) <= 80
    told = json.loads(results.write(tmp_path, results.timed({}, "tiny", [outcome])).read_text())
    assert told["won"] + told["lost"] == 1


@pytest.mark.parametrize("name", TENSORS)
def test_a_cell_of_tensors_runs_from_end_to_end(name):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    outcome = attempt("tiny", Cell(name, TENSORS[name]), TORCH, QUICKLY)
    assert outcome.ours.times and len(outcome.entries) > 1
    for entry in outcome.entries:
        assert entry.refusal.startswith("left out: ") or (entry.times and not entry.wrong), entry


@pytest.mark.parametrize("name", ["conv", "conv 3-D", "depthwise", "transposed", "transposed 3-D"])
def test_the_truth_of_networks_is_the_definition(name):
    job = TINY[name]
    verb = oracle_networks.conv_transpose if job.transposed else oracle_networks.conv
    y = verb(*job.given(), stride=job.stride, padding=job.padding, groups=job.groups)
    truth = job.truth(*job.given())
    assert truth.shape == y.shape
    assert truth.error(y) < 1e-12 < truth.allowed < 1e-2


@pytest.mark.parametrize("stride", [1, 2])
def test_the_truth_of_depth_is_the_definition(stride):
    job = Depth(2, 3, (24, 32), stride=stride)
    x, depth, weight, above = job.given()
    planes = oracle_networks.depth_planes(depth, 3, focal=job.focal, stride=stride, padding=1)
    assert np.array_equal(job.planes(depth[0]), planes[0].reshape(9, *job.out))
    assert set(np.unique(planes)) == {-1, *range(PLANES)}
    y = oracle_networks.conv2_5d(x, planes, weight, stride=stride, padding=1)
    assert job.truth(x, depth, weight, above).error(y) < 1e-12
    flat = oracle_networks.conv(x, weight[PLANES // 2], stride=stride, padding=1)
    assert job.flat(x, depth, weight, above).error(flat) < 1e-12 < job.truth(x, depth, weight, above).error(flat)


@pytest.fixture(autouse=True)
def gradients():
    """The peers turn them off for the whole process."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_grad_enabled(True)


def test_the_truth_is_the_definition():
    job = TINY["correlate"]
    x, kernel, _ = job.given()
    loops = [[np.sum(x[i : i + 3, j : j + 4] * kernel, dtype=np.float64) for j in range(0, 10, 2)] for i in range(0, 10, 2)]
    assert job.truth(*job.given()).error(np.array(loops)) < 1e-6
    assert job.out == (5, 5)


@pytest.mark.parametrize(
    "spoil",
    [lambda y: y + 1e-3, lambda y: np.where(y == y.max(), np.nan, y), lambda y: y[:, :-1], lambda y: y[::-1]],
    ids=["off", "NaN", "shape", "turned"],
)
def test_a_wrong_answer_gets_no_time(spoil, monkeypatch):
    right = Correlate.ours

    def wrong(self, *given):
        run = right(self, *given)
        return lambda: spoil(run())

    monkeypatch.setattr(Correlate, "ours", wrong)
    outcome = attempt("tiny", Cell("spoilt", TINY["correlate"]), ("scipy",), QUICKLY)
    assert outcome.ours.wrong and outcome.ours.times is None
    assert not outcome.ratios() and outcome.best() is None


def test_a_run_in_which_sash_is_wrong_says_so_and_ends_with_1(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(TIMED, "small", (Cell("tiny", TINY["blur"], "quick"),))
    monkeypatch.setattr(Blur, "ours", lambda self, x: lambda: x)
    monkeypatch.setattr(command.machine, "peak", lambda: 1e9)
    assert command.main(["small", "--rounds", "1", "--peer", "scipy", "--out", str(tmp_path)]) == command.WRONG
    printed = capsys.readouterr().out
    assert "WRONG: off by" in printed
    assert max(map(len, printed.splitlines()[:-1])) <= 80
    monkeypatch.undo()
    monkeypatch.setitem(TIMED, "small", (Cell("tiny", TINY["blur"], "quick"),))
    monkeypatch.setattr(command.machine, "peak", lambda: 1e9)
    assert command.main(["small", "--rounds", "1", "--peer", "scipy", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"small.json", "small.png"}


def test_a_cell_that_no_suite_has_is_an_unknown_name(capsys):
    assert command.main(["blur", "similarity", "--cell", "no such cell", "--no-memory"]) == command.UNKNOWN
    assert "no cell of this run has 'no such cell' in its name" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["blurr"], "suite='blurr' is unknown; did you mean 'blur'?"),
        (["conf"], "suite='conf' is unknown; did you mean 'conv'?"),
        (["depht", "blur"], "suite='depht' is unknown; did you mean 'depth'?"),
        (["--peer", "kornea"], "peer='kornea' is unknown; did you mean 'kornia'?"),
        (["--peer", "opencv2"], "peer='opencv2' is unknown; did you mean 'opencv'?"),
        (["--rounds", "0"], "--rounds 0 must be at least 1."),
    ],
)
def test_unknown_names_are_helped(arguments, told, capsys):
    assert command.main(arguments) == command.UNKNOWN
    assert told in capsys.readouterr().err


def test_a_sampled_truth_looks_at_the_rows_that_are_there():
    truth = Truth((4, 3), np.array([0.0, 11.0]), 0.1, (np.array([0, 3]), np.array([0, 2])))
    y = np.arange(12.0).reshape(4, 3)
    assert truth.error(y) == 0
    assert truth.error(y[:2]) == 0
    assert truth.error(y + 1) == 1


def test_truths_together_are_as_wrong_as_the_worst():
    both = Together((Truth((2,), np.zeros(2), 0.1), Truth((1,), np.ones(1), 10.0)))
    assert both.error((np.zeros(2), np.array([6.0]))) == 0.5 < both.allowed
    assert both.error((np.full(2, 0.2), np.ones(1))) == 2
    assert both.error((np.zeros(2),)) == both.error(np.zeros(2)) == both.error((np.zeros(3), np.ones(1))) == float("inf")


def test_sampled_positions_lie_on_borders_too():
    at = np.stack(positions((50, 60, 70)), -1)
    on_border = ((at == 0) | (at == [49, 59, 69])).any(1)
    assert ((at >= 0) & (at < [50, 60, 70])).all()
    assert len(at) * 0.45 < on_border.sum() < len(at) * 0.65


def outcome_of(*entries, size=LEAST):
    """A cell with sash at one second and others as told: (name, seconds, reference)."""
    rest = (Entry(name, name, Times((seconds,)), reference=reference) for name, seconds, reference in entries)
    return Outcome("tiny", "cell", (Entry("sash", "sash", Times((1.0,))), *rest), 0.1, 1e9, size=size)


def test_a_reference_neither_wins_nor_loses():
    outcome = outcome_of(("plain", 0.5, True), ("scipy", 2.0, False))
    assert outcome.ratios() == {"scipy": 2.0} and outcome.references() == {"plain": 0.5}
    assert outcome.best() == ("scipy", 2.0)
    told = results.timed({}, "tiny", [outcome])
    assert (told["won"], told["lost"], told["references"]) == (1, 0, {"plain": 0.5})
    printed = "\n".join((*report.lines(outcome, 1e9), *report.summary("tiny", [outcome])))
    assert "(not counted)" in printed and "plain, not counted" in printed and "lost  " not in printed


def test_groups_are_summed_up():
    outcomes = [replace(outcome_of(("scipy", s, False)), name=str(s), group=g) for s, g in ((2.0, "few"), (0.5, "many"), (8.0, "few"))]
    lines = list(report.summary("tiny", outcomes))
    assert next(line for line in lines if "few" in line).split() == ["few", "2", "2", "4", "5"]
    assert next(line for line in lines if "many" in line).split() == ["many", "1", "0", "0.5", "0.5"]


@pytest.mark.parametrize(
    ("everyone", "size", "asked"),
    [(False, LEAST, ["sash", "b"]), (False, LEAST - 1, []), (True, 10, ["sash", "a", "b", "plain"])],
)
def test_whose_scratch_is_read(everyone, size, asked):
    seen = []

    class Fake:
        def taken(self, suite, cell, contender, peer):
            seen.append(contender)
            return 5_000_000

    outcome = outcome_of(("a", 3.0, False), ("b", 2.0, False), ("plain", 0.5, True), size=size)
    found = command.weighed(outcome, Fake(), everyone)
    assert seen == asked
    assert [e.name for e in found.entries if e.scratch] == asked
    assert sum("5 MB" in line for line in report.lines(found, 1e9)) == len(asked)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the mark is reset through /proc")
def test_scratch_is_read_in_another_process():
    with Scale() as scale:
        assert scale.taken("small", "no such cell", "sash", "sash") is None
        passed = scale.taken("correlate", "10⁶ float32, 11", "numpy correlate", "numpy")
    assert passed is not None and 0 <= passed < 20_000_000


def test_everyone_has_as_many_turns_as_asked():
    counts = dict.fromkeys("ab", 0)

    def run(name):
        counts[name] += 1

    times = in_turns({name: lambda name=name: run(name) for name in counts}, dict.fromkeys(counts, 1.0), 1.0, rounds=4)
    assert counts == {"a": 4, "b": 4}
    assert all(len(each.seconds) == 4 for each in times.values())


def test_nobody_is_timed_while_the_threads_of_another_still_work(monkeypatch):
    """A clock of the wall and one of the processor, which a spinning thread drives for 9 ms and a program beside it for ever."""
    now, spins = 0.0, [0.009]

    def sleep(seconds):
        nonlocal now
        now += seconds

    monkeypatch.setattr(clock, "perf_counter", lambda: now)
    monkeypatch.setattr(clock, "spent", lambda: min(now, spins[0]))
    monkeypatch.setattr(clock, "sleep", sleep)
    clock.rest()
    assert 0.009 < now < 0.009 + 3 * clock.PAUSE
    now, spins[0] = 0.0, 1.0
    clock.rest()
    assert clock.LONGEST_PAUSE <= now < clock.LONGEST_PAUSE + 2 * clock.PAUSE


@pytest.mark.skipif(not clock.THREADS.is_dir(), reason="this system does not list threads")
def test_what_a_thread_takes_is_seen_while_it_runs():
    """Of the process, Linux tells it at the next tick only: up to 10 ms later, when PyTorch's threads have gone to sleep."""
    news, told, seen = np.zeros(1, np.int64), np.zeros(1, np.int64), []
    spinning = threading.Thread(target=bell.watch, args=(news, 0, 1 << 40, 0, told))
    spinning.start()
    while not told[0]:
        sleep(1e-3)
    for _ in range(40):
        before = clock.spent()
        sleep(2e-3)
        seen.append(clock.spent() - before)
    news[0] = 1
    spinning.join()
    assert np.percentile(seen, 25) > 2e-4


def test_a_peer_that_fails_is_named_and_not_counted(monkeypatch):
    def broken():
        raise RuntimeError("no such thing")

    monkeypatch.setattr(peers.opened("scipy"), "blur", lambda job, x: iter([Way("scipy gaussian_filter", broken)]))
    outcome = attempt("tiny", Cell("tiny", replace(TINY["blur"], sigma=0.5)), ("scipy",), QUICKLY)
    assert outcome.entries[1].refusal == "failed: no such thing"
    assert not outcome.ratios()
