"""The demo: it runs on the real data, agrees with the usual ways, fits a narrow terminal, and says so when it does not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import sash
from sash.cli import demo, files, pictures, samples
from sash.cli.app import app
from sash.cli.jobs import Job, Peer

PICTURES = ("brain.png", "match.png", "strided.png")


def job(run, *peers: Peer) -> Job:
    return Job("A small job", "correlate(x, k)", sash.plan("correlate", (9, 9), (3, 3)), run, peers, tolerance=1e-3)


def test_it_runs_and_agrees(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "sash", "demo", "--out", str(tmp_path / "pictures")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == list(PICTURES)
    for name in PICTURES:
        picture = files.read(tmp_path / "pictures" / name).array
        assert picture.shape[0] > 400
        assert len(np.unique(picture)) > 100, "something is drawn"
    assert done.stdout.count("-> ") >= 4, "each job says what was chosen"
    assert len(re.findall(r"Largest difference \S+, within the \S+ allowed", done.stdout)) == 4
    assert re.search(r"badly lit too +missed, .* found, ", done.stdout)


def test_the_data_are_those_of_the_wheels() -> None:
    assert samples.brain().shape == (197, 233, 189)
    assert samples.retina().shape == (1411, 1411, 3)
    assert samples.astronaut().shape == (512, 512, 3)


def test_looking_for_the_data_imports_no_package() -> None:
    code = "import sys; from sash.cli import samples; samples.brain(); samples.retina(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120).stdout.split()
    assert not {"skimage", "nilearn"} & set(loaded)


def test_an_answer_that_differs_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    same, agreed = demo.do(1, job(lambda: np.ones(3), Peer("alike", lambda: np.ones(3) + 1e-4)))
    assert agreed
    np.testing.assert_array_equal(same, np.ones(3))
    assert "within the 1.0e-03 allowed" in capsys.readouterr().out
    for wrong in (np.ones(3) + 0.01, np.array([1, np.nan, 1])):
        assert not demo.do(1, job(lambda: np.ones(3), Peer("other", lambda wrong=wrong: wrong)))[1]
        assert "ABOVE the 1.0e-03 allowed" in capsys.readouterr().out


def test_a_difference_is_the_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "do", lambda number, job: (None, number != 3))
    monkeypatch.setattr(demo, "sought", lambda photo, templates: True)
    for picture in ("brain", "strided", "matched"):
        monkeypatch.setattr(pictures, picture, lambda *drawn: None)
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path)])
    assert result.exit_code == demo.DIFFERS, result.output
    assert "Some answers differ" in result.stdout


def test_a_piece_is_compared_with_the_same_piece(capsys: pytest.CaptureFixture[str]) -> None:
    piece = Peer("on a piece", lambda: np.zeros(2), ours=lambda: np.zeros(2))
    assert demo.do(1, job(lambda: np.ones(5), piece))[1]
    assert "on a piece" in capsys.readouterr().out


@pytest.mark.parametrize("width", [60, 100])
def test_it_fits_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    from sash.cli import terminal

    monkeypatch.setattr(
        terminal,
        "Console",
        lambda **given: Console(**given, width=width, force_terminal=True, color_system=None),
    )
    demo.do(4, job(lambda: np.ones(5), Peer("a way with a very long name, on a piece of 130 × 120", lambda: np.ones(5))))
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_a_wheel_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert result.stderr == 'sash: The pictures of the demo need nilearn: pip install "sash[demo]"\n'
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    tiny = SimpleNamespace(brain=lambda: np.ones((3, 3, 3)), retina=lambda: np.ones((3, 3, 3)), astronaut=lambda: None)
    monkeypatch.setattr(demo, "samples", tiny)
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "file")])
    assert result.exit_code == 2
    assert "cannot be a folder (File exists); choose another." in result.stderr
