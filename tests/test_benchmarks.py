"""The benchmark's own promises: cells well formed, answers checked, a wrong one refused, names helped. Nothing is timed here."""

import json
from dataclasses import replace

import numpy as np
import pytest
from benchmarks import command, peers, results
from benchmarks.clock import in_turns
from benchmarks.jobs import Blur, Correlate, Match
from benchmarks.suites import TIMED, cells
from benchmarks.trial import Cell, Limits, attempt
from benchmarks.truth import Truth
from benchmarks.way import Way

QUICKLY = Limits(rounds=1, patience=1.0)
TINY = {
    "blur": Blur((9, 10), 1.0),
    "bytes": Blur((9, 10, 3), 1.0, "uint8", "uint8", (0, 1)),
    "correlate": Correlate((12, 13), (3, 4), stride=2),
    "dilated": Correlate((14, 15, 13), (3, 3, 2), dilation=2),
    "product": Correlate((12, 13), (3, 5), rank=1, verb="separable_filter"),
    "convolve": Correlate((40,), (5,), "uint8", verb="convolve"),
    "sad": Match((14, 13), (4, 3), stride=2),
    "masked": Match((14, 13), (4, 3), channel_axis=0, metric="zncc", dtype="uint8", masked=True),
}
INSTALLED = ("numpy", "scipy", "opencv", "skimage")


@pytest.mark.parametrize("suite", TIMED)
def test_cells_are_well_formed(suite):
    names = [cell.name for cell in cells(suite)]
    assert len(set(names)) == len(names)
    assert any(cell.when == "quick" for cell in cells(suite))
    for cell in cells(suite):
        assert any(hasattr(peers.opened(name), cell.job.kind) for name in INSTALLED if peers.opened(name)), f"{cell.name} has no peer"
        assert all(n > 0 for n in getattr(cell.job, "out", ())), f"{cell.name} has no output"
        assert len(suite) + len(cell.name) < 50, "the line of a cell must fit 80 columns"


@pytest.mark.parametrize("name", TINY)
def test_a_cell_runs_from_end_to_end(name, tmp_path):
    outcome = attempt("tiny", Cell(name, TINY[name]), INSTALLED, QUICKLY)
    assert outcome.ours.times and len(outcome.entries) > 1
    for entry in outcome.entries:
        assert entry.times and not entry.wrong, entry
    told = json.loads(results.write(tmp_path, results.timed({}, "tiny", [outcome])).read_text())
    assert told["won"] + told["lost"] == 1


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
    assert max(map(len, printed.splitlines()[3:-1])) <= 80
    monkeypatch.undo()
    monkeypatch.setitem(TIMED, "small", (Cell("tiny", TINY["blur"], "quick"),))
    monkeypatch.setattr(command.machine, "peak", lambda: 1e9)
    assert command.main(["small", "--rounds", "1", "--peer", "scipy", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"small.json", "small.png"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["blurr"], "suite='blurr' is unknown; did you mean 'blur'?"),
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


def test_everyone_has_as_many_turns_as_asked():
    counts = dict.fromkeys("ab", 0)

    def run(name):
        counts[name] += 1

    times = in_turns({name: lambda name=name: run(name) for name in counts}, dict.fromkeys(counts, 1.0), 1.0, rounds=4)
    assert counts == {"a": 4, "b": 4}
    assert all(len(each.seconds) == 4 for each in times.values())


def test_a_peer_that_fails_is_named_and_not_counted(monkeypatch):
    def broken():
        raise RuntimeError("no such thing")

    monkeypatch.setattr(peers.opened("scipy"), "blur", lambda job, x: iter([Way("scipy gaussian_filter", broken)]))
    outcome = attempt("tiny", Cell("tiny", replace(TINY["blur"], sigma=0.5)), ("scipy",), QUICKLY)
    assert outcome.entries[1].refusal == "failed: no such thing"
    assert not outcome.ratios()
