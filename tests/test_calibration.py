"""Calibration: what is kept is whole, fits this machine, and is used; what does not fit is told of once and left alone."""

import json
import os
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import sash
from sash import ahead, calibration, machine, planning
from sash.calibration import Sample, fit, keep, ratios
from sash.cli.app import app
from sash.errors import ArgumentError
from sash.methods import METHODS
from sash.samples import operands, problems

RUN = CliRunner()


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    """Where the calibration of these tests is kept; no plan outlives a test."""
    path = tmp_path / "machines" / "this.json"
    monkeypatch.setattr(machine, "calibration_file", lambda: path)
    machine.forget()
    yield path
    monkeypatch.undo()
    machine.forget()


def tripled():
    """A machine that is three times slower than the shipped one."""
    here = machine.shipped()
    return replace(here, name="tripled", rates={name: 3 * rate for name, rate in here.rates.items()})


def kept(file, **changed):
    keep(tripled(), file)
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))


# --- what is read --------------------------------------------------------------------------------


def test_without_a_file_the_shipped_rates_are_used_in_silence():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert machine.machine() == machine.shipped()


def test_what_is_kept_is_read_again_and_plans_are_made_with_it(file):
    before = sash.plan("correlate", (2048, 2048), (5, 5)).seconds
    keep(tripled(), file)
    machine.forget()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert machine.machine() == tripled()
        assert 2.5 * before < sash.plan("correlate", (2048, 2048), (5, 5)).seconds < 6 * before
    assert machine.machine("cuda").name == "cuda"


RATE = "direct.rows.product.float32"
FAULTS = {
    "empty": "",
    "half": '{"format": 1, "rates": {"direct',
    "list": "[1, 2]",
    "deep": "[" * 100_000,
    "no rates": "{}",
    "binary": b"\xff\xfe\x00",
    "future": {"format": machine.FORMAT + 1},
    "other version": {"sash": "99.0"},
    "foreign": {"signature": {"processor": "Z80", "instructions": "", "cores": 1}},
    "no name": {"name": None},
    "no cache": {"cache": 0},
    "lacks a rate": lambda rates: rates.pop(RATE),
    "zero": lambda rates: rates.update({RATE: 0.0}),
    "negative": lambda rates: rates.update({RATE: -1e-9}),
    "infinite": lambda rates: rates.update({RATE: float("inf")}),
    "NaN": lambda rates: rates.update({RATE: float("nan")}),
    "text": lambda rates: rates.update({RATE: "fast"}),
    "true": lambda rates: rates.update({RATE: True}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_cannot_be_used_is_told_of_once_and_left_alone(file, fault):
    what = FAULTS[fault]
    kept(file, **(what if isinstance(what, dict) else {}))
    if callable(what):
        record = json.loads(file.read_text())
        what(record["rates"])
        file.write_text(json.dumps(record))
    elif not isinstance(what, dict):
        file.write_bytes(what.encode() if isinstance(what, str) else what)
    bytes_before = file.read_bytes()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for n in (50, 60, 70):
            sash.plan("correlate", (n, n), (3, 3))
        assert machine.machine() == machine.shipped()
    (said,) = told
    assert str(file) in str(said.message) and 'run "sash calibrate"' in str(said.message)
    assert file.read_bytes() == bytes_before
    sash.correlate(np.ones(9), [1.0, 1.0])  # and it goes on


def test_a_folder_in_its_place_is_told_of_too(file):
    file.mkdir(parents=True)
    with pytest.warns(UserWarning, match="cannot be read"):
        assert machine.machine() == machine.shipped()


def test_the_file_is_named_after_machine_version_and_format(monkeypatch):
    monkeypatch.undo()
    first = machine.calibration_file()
    assert sash.__version__ in first.name and first.name.endswith(f"-{machine.FORMAT}.json")
    monkeypatch.setattr(machine, "signature", lambda: {"processor": "another", "instructions": "", "cores": 3})
    assert machine.calibration_file() != first
    assert machine.calibration_file().parent == first.parent


# --- what is written -----------------------------------------------------------------------------


WRITER = """
import sys, sash
from dataclasses import replace
from pathlib import Path
from sash import calibration, machine
here = machine.shipped()
here = replace(here, name=sys.argv[1], rates={name: float(sys.argv[1]) for name in here.rates})
for _ in range(200):
    calibration.keep(here, Path(sys.argv[2]))
"""


def test_two_that_write_at_once_leave_a_whole_file(file):
    keep(tripled(), file)
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, name, str(file)]) for name in ("1", "2")]
    seen = set()
    until = time.monotonic() + 120
    while any(w.poll() is None for w in writers) and time.monotonic() < until:
        found = machine.calibrated()  # a warning would be an error of this test
        assert found is not None
        assert len(set(found.rates.values())) == 1 or found.name == "tripled"
        seen.add(found.name)
    assert [w.wait(60) for w in writers] == [0, 0]
    assert seen & {"1", "2"}
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(file, monkeypatch):
    keep(tripled(), file)
    before = file.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError, match="no"):
        keep(machine.shipped(), file)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


# --- what is fitted ------------------------------------------------------------------------------


def samples_of(rates, every=7):
    """As if the methods took exactly what these rates say."""
    here = machine.shipped()
    jobs = [(m, p) for p in list(problems())[::every] for m in METHODS if not m.refuses(p)]
    found = []
    for method, problem in jobs:
        work = method.cost(problem, here, float("inf")).work
        found.append(Sample(method.NAME, problem, work, sum(amount * rates[name] for name, amount in work.items())))
    return found


def test_rates_are_found_again():
    here = machine.shipped()
    rng = np.random.default_rng(0)
    truth = {name: rate * float(rng.uniform(0.5, 2)) for name, rate in here.rates.items()}
    samples = samples_of(truth, every=2)
    found = fit(samples, here.rates)
    assert found.keys() == here.rates.keys()
    low, high = np.percentile(ratios(samples, found), (2, 98))
    assert low > 0.97 and high < 1.03
    assert found[RATE] == pytest.approx(truth[RATE], rel=0.03)


def test_what_no_sample_reaches_is_scaled_as_the_others_are():
    here = machine.shipped()
    samples = samples_of({name: 3 * rate for name, rate in here.rates.items()}, every=31)
    found = fit(samples, here.rates)
    assert found["native.float32"] == pytest.approx(3 * here.rates["native.float32"], rel=0.01)
    assert all(rate > 0 for rate in found.values())
    assert fit([], here.rates) == here.rates


def test_the_samples_reach_every_rate_of_arrays():
    here = machine.shipped()
    reached = {name for sample in samples_of(here.rates, every=1) for name, amount in sample.work.items() if amount}
    elsewhere = ("native.", "gather.", "crew")
    assert {name for name in here.rates if not name.startswith(elsewhere)} == reached


def test_every_method_is_measured_in_little_time():
    told = []
    here = machine.shipped()
    few = [p for p in problems() if p.samples < 30_000 and p.dtype == "float32"][::5]
    samples = calibration.sampled(few, here, 3.0, told.append)
    assert {s.method for s in samples} >= {"direct", "separable", "fft", "polyphase", "gemm", "shift_add"}
    assert all(s.seconds > 0 for s in samples)
    assert told == sorted(told) and told[0] == 0.0 and told[-1] == pytest.approx(1.0, abs=0.5)


@pytest.mark.parametrize("busy", [0, 1])
def test_a_moment_in_which_the_machine_is_busy_spoils_no_sample(monkeypatch, busy):
    """Every sample has turns far apart, of which the fastest counts; where time is up early, those that were reached."""
    few, calls = [p for p in problems() if p.samples < 3000][:6], []

    def timed(method, problem, guess, now):
        calls.append((method, problem))
        turn = calls.count((method, problem)) - 1
        return Sample(method.NAME, problem, {}, 5.0 if turn == busy else 1.0)

    monkeypatch.setattr(calibration, "timed", timed)
    found = calibration.sampled(few, machine.shipped(), 60.0)
    assert len(calls) == 2 * len(found) > 12 and calls[: len(found)] == calls[len(found) :]
    assert [(s.method, s.problem) for s in found] == [(m.NAME, p) for m, p in calls[: len(found)]]
    assert {s.seconds for s in found} == {1.0}
    assert len(calibration.sampled(few, machine.shipped(), 1e-9)) == 1


def test_operands_are_of_the_problem():
    for problem in list(problems())[::23]:
        x, weights, y = operands(problem)
        assert x.dtype == problem.source and y.dtype == problem.result
        assert y.shape == (problem.batch, problem.outputs, *problem.out)
        assert (weights.gate is not None) == (problem.planes > 0)


# --- the verb and the command --------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Measuring takes no time, and finds a machine three times slower."""
    rates = tripled().rates
    monkeypatch.setattr(calibration, "sampled", lambda *_: samples_of(rates, every=40))
    monkeypatch.setattr(calibration, "crew", lambda rates, lost: {"crew": 0.5, "crew.call": 1e-4})


def test_calibrate_keeps_what_it_finds_and_forgets_old_plans(file, quick):
    planning.choose.cache_clear()
    before = sash.plan("correlate", (512, 512), (5, 5)).seconds
    found = sash.calibrate()
    assert file.exists() and machine.machine() == found
    assert sash.plan("correlate", (512, 512), (5, 5)).seconds > 1.5 * before
    assert isinstance(found, sash.Machine)


def test_calibrate_without_storing_changes_nothing(file, quick):
    sash.calibrate(store=False)
    assert not file.exists() and machine.machine() == machine.shipped()


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "5", True, None])
def test_a_budget_that_is_none_is_refused(seconds):
    with pytest.raises(ArgumentError, match="positive number"):
        sash.calibrate(seconds=seconds)


def test_a_broken_file_is_replaced(file, quick):
    file.parent.mkdir(parents=True)
    file.write_text("{")
    with pytest.warns(UserWarning, match="sash calibrate") as warned:
        machine.machine()
    assert warned[0].filename == __file__, "the warning names a line of sash"
    sash.calibrate()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert machine.machine().rates != machine.shipped().rates


def test_the_command_says_what_changed_and_where_it_is_kept(file, quick):
    done = RUN.invoke(app, ["calibrate"])
    assert done.exit_code == 0, done.output
    assert "before" in done.output and "".join(str(file).split()) in "".join(done.output.split())
    assert file.exists()


def test_a_dry_run_keeps_nothing(file, quick):
    done = RUN.invoke(app, ["calibrate", "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "Nothing was kept" in done.output and not file.parent.exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(file, quick):
    file.parent.write_text("a file where the folder should be")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = RUN.invoke(app, ["calibrate"])
    assert done.exit_code == 2
    assert "cannot be written" in done.output


def test_what_a_second_thread_brings_is_not_told_by_a_busy_moment():
    rates = {"crew.call": 5e-5}
    assert calibration.crew(rates, [0.6, 0.04, 0.6, 0.05, 0.58, 0.04, 0.4, 0.5])["crew"] == pytest.approx(0.05, abs=0.01)
    assert calibration.crew(rates, [0.9] * 8)["crew"] == 0.6
    assert calibration.crew(rates, [-0.2] * 8) == {"crew": 0.01, "crew.call": 5e-5}


# --- compiling ahead -----------------------------------------------------------------------------


@pytest.fixture
def ran(monkeypatch):
    """What this process would compile, and what it starts."""
    jobs, started = [], []

    class Child:
        def __init__(self, told, **how):
            started.append(told)

        def wait(self, seconds=None):
            if seconds is not None:
                raise subprocess.TimeoutExpired("sash", seconds)

        def kill(self):
            started.append("killed")

    monkeypatch.setattr(calibration, "_run", lambda given, guess, until: jobs.extend(given))
    monkeypatch.setattr(subprocess, "Popen", Child)
    return jobs, started


def test_a_second_process_compiles_half_and_is_ended_when_time_is_up(ran):
    jobs, started = ran
    given, guess = tuple(problems()), replace(machine.shipped(), cores=2)
    calibration.compile_ahead(given, guess, 10.0)
    assert started[0][0] == sys.executable and "help_ahead(10.0, LOCK)" in started[0][-1] and started[1:] == ["killed"]
    mine = [problem.dtype for _, problem in jobs]
    calibration.help_ahead(10.0, os.devnull)
    theirs = [problem.dtype for _, problem in jobs[len(mine) :]]
    assert set(mine) == {"float32"} and set(theirs) == {"float64", "int64"}
    assert len(mine) + len(theirs) == calibration.AHEAD


@pytest.mark.parametrize("cores, seconds, program", [(1, 10.0, sys.executable), (2, 0.5, sys.executable), (2, 10.0, "")])
def test_one_process_compiles_all_where_two_are_no_use(ran, monkeypatch, cores, seconds, program):
    jobs, started = ran
    monkeypatch.setattr(sys, "executable", program)
    calibration.compile_ahead(tuple(problems()), replace(machine.shipped(), cores=cores), seconds)
    assert len(jobs) == calibration.AHEAD and not started


def test_every_kind_of_work_has_its_turn_among_the_first_samples():
    """Of 30 problems with channels among 4000 few would be timed, and their rate left as it was shipped."""
    guess = machine.shipped()
    first = calibration.first(tuple(problems()), guess)[:200]
    assert len({(method.NAME, problem.dtype) for method, problem in first}) > 20
    assert sum(problem.outputs > 1 for _, problem in first) > 10


def test_processes_with_one_lock_take_turns_at_the_cache(tmp_path, monkeypatch):
    """Numba reads its index, takes the next number and writes both: two at once took the same, and one was lost or misread."""
    from numba.core.caching import IndexDataCacheFile

    inside, most = [], []

    def save(cache, key, data):
        inside.append(key)
        most.append(len(inside))
        time.sleep(2e-3)
        inside.remove(key)

    monkeypatch.setattr(IndexDataCacheFile, "save", save)
    lock = tmp_path / "lock"
    lock.touch()
    with ahead.one_saves(str(lock)):
        saving = IndexDataCacheFile.save
        threads = [threading.Thread(target=saving, args=(None, i, None)) for i in range(20)]
        [t.start() for t in threads]
        [t.join() for t in threads]
    assert max(most) == 1 and len(most) == 20 and IndexDataCacheFile.save is save
