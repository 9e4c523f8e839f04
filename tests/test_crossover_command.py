"""`sash crossover`: what it writes and prints, its refusals before any measuring, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sash
from sash import crossovers, timings
from sash.cli import crossover as command
from sash.cli import terminal
from sash.cli.app import app


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words: object):
    return CliRunner(env={"COLUMNS": "100"}).invoke(app, ["crossover", *map(str, words)], catch_exceptions=False)


SIZES = ("--inputs", "16,32", "--kernels", "3,5", "--budget", "0.001")


def test_the_command_writes_what_is_asked(folder: Path) -> None:
    outs = [word for kind in crossovers.KINDS for word in ("--out", f"map{kind}")]
    done = call("correlate", *SIZES, "--ndim", 1, "--stride", 2, *outs)
    assert done.exit_code == 0, done.output
    found = sash.Crossover.from_dict(json.loads(Path("map.json").read_text()))
    assert (found.inputs, found.kernels, found.settings["stride"]) == (((16,), (32,)), ((3,), (5,)), 2)
    assert str(found) in done.stdout
    assert sorted(os.listdir()) == sorted(f"map{kind}" for kind in crossovers.KINDS)


def test_the_command_prints_json_and_takes_shapes(folder: Path) -> None:
    done = call("--inputs", "16x16x5,32x32x5", "--kernels", "3x3x5", "--budget", "0.001", "--methods", "direct,fft", "--json")
    found = sash.Crossover.from_dict(json.loads(done.stdout))
    assert (found.inputs, found.methods) == (((16, 16, 5), (32, 32, 5)), ("direct", "fft"))
    assert json.loads(call("conv", *SIZES, "--channels", "2,4", "--json").stdout)["inputs"] == [[1, 2, 16, 16], [1, 2, 32, 32]]


def test_the_classic_maps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [(job["inputs"][0][2:], job.get("stride", 1)) for job in command.CLASSIC.values()] == [((), 1), ((5,), 2), ((10,), 5)]
    assert all(job["kernels"][0][2:] == job["inputs"][0][2:] for job in command.CLASSIC.values())
    small = {name: job | {"inputs": job["inputs"][:1], "kernels": job["kernels"][:2]} for name, job in command.CLASSIC.items()}
    monkeypatch.setattr(command, "CLASSIC", small)
    done = call("--classic", "--out", "maps", "--budget", "0.001")
    assert done.exit_code == 0, done.output
    assert sorted(os.listdir("maps")) == sorted(f"{name}{kind}" for name in small for kind in crossovers.KINDS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("corelate", *SIZES), "did you mean 'correlate'?"),
        ((*SIZES, "--out", "map.pgn"), "did you mean '.png'?"),
        ((*SIZES, "--out", "there.json"), "exists and is kept"),
        ((*SIZES, "--out", "no/map.json"), "there is no folder"),
        ((*SIZES, "--stride", "two"), "not a whole number"),
        (("--inputs", "16,many"), "--inputs='many'"),
        ((*SIZES, "--memory", "lots"), "--memory='lots'"),
        (("--classic",), "needs one folder"),
        (("--classic", "--out", "maps", "--stride", "2"), "leave --stride away"),
        (("conv", "--classic", "--out", "maps"), "leave VERB=conv away"),
    ],
)
def test_the_command_refuses_before_measuring(folder: Path, words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("there.json").write_text("kept")
    monkeypatch.setattr(timings.Timings, "fill", lambda *_: pytest.fail("measuring was begun"))
    done = call(*words)
    assert done.exit_code == 2
    assert done.stderr.startswith("sash: ")
    assert said in done.stderr
    assert os.listdir() == ["there.json"]
    assert Path("there.json").read_text() == "kept"


def test_ctrl_c_at_the_command_writes_what_there_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true = timings.Timings._measure
    count = 0

    def measure(self: timings.Timings, i: int, j: int, budget: float) -> float:
        nonlocal count
        count += 1
        if count > 2:
            raise KeyboardInterrupt
        return true(self, i, j, budget)

    monkeypatch.setattr(timings.Timings, "_measure", measure)
    done = call(*SIZES, "--out", "map.json", "--out", "map.png")
    assert done.exit_code == 130
    assert "Stopped by Ctrl-C" in done.stdout
    read = json.loads(Path("map.json").read_text())
    assert read["complete"] is False
    assert sum(state == "measured" for row in read["states"]["direct"] for state in row) == 2
    assert Path("map.png").stat().st_size > 10_000


@pytest.mark.skipif(os.name != "posix", reason="the signal is sent as a terminal on POSIX does")
def test_a_real_ctrl_c(folder: Path) -> None:
    words = ["crossover", "--inputs", "32,33,34,35,36,37,38", "--kernels", "3,5,7,9", "--budget", "0.6", "--out", "map.json"]
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # a shell's background jobs ignore it
        "from sash import timings; timings.REPEATS = 10**7; "  # every cell takes its whole budget
        "old = timings.Timings._measure; "
        "timings.Timings._measure = lambda self, i, j, b: (print('cell', flush=True), old(self, i, j, b))[1]; "
        "from sash.cli import main; main()"
    )
    process = subprocess.Popen([sys.executable, "-c", script, *words], stdout=subprocess.PIPE, text=True, cwd=folder)
    assert process.stdout is not None
    for _ in range(2):  # the second cell is begun: one is whole
        assert process.stdout.readline() == "cell\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopped by Ctrl-C" in out
    read = json.loads((folder / "map.json").read_text())
    assert sum(state == "measured" for row in read["states"]["direct"] for state in row) == 1


def test_a_log_gets_lines_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "PATIENCE", 0.01)
    with terminal.counting("work") as tell:
        tell(0, 3, 200.0)
        time.sleep(0.02)
        tell(1, 3, 130.0)
        tell(2, 3, 5.0)
        tell(3, 3, 0.0)
    assert capsys.readouterr().err.strip() == "work: 1 of 3, about 2 min 10 s left"
