"""The `sash` command: its help, what `shape` and `plan` say, and that every refusal is one sentence with exit code 2."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import sash
from command import call, done, furnished, refused
from sash import methods
from sash.axis import BOUNDARIES
from sash.cli import terminal, values
from sash.cli.app import COMMANDS
from sash.errors import ArgumentError
from sash.ops.similarity import METRICS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return furnished(tmp_path, monkeypatch)


# --- help --------------------------------------------------------------------------------------------------------------

NAMES = [command.__name__ for command in COMMANDS]


@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("command", [None, *NAMES])
def test_help_fits_the_terminal(command: str | None, width: int) -> None:
    text = call(*filter(None, (command,)), "--help", width=width).stdout
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    if command not in (None, "demo"):
        assert "Examples" in text
        assert f"sash {command} " in text


def test_help_lists_all_commands() -> None:
    text = call("--help").stdout
    assert all(f" {name} " in text for name in NAMES)
    assert call().exit_code in (0, 2)


def test_the_version_is_the_librarys() -> None:
    assert done("--version") == f"sash {sash.__version__}\n"


def test_help_reads_the_indexes() -> None:
    def words(*command: str) -> set[str]:
        return set(re.findall(r"[\w]+", call(*command, "--help", width=400).stdout))

    assert {*BOUNDARIES, *methods.names()} <= words("blur")
    assert set(METRICS) <= words("match")
    assert {"correlate", "convolve", "gaussian_blur", "similarity"} <= words("plan")


@pytest.mark.parametrize("command", [name for name in NAMES if name != "demo"])
def test_the_examples_of_the_help_are_understood(command: str, folder: Path) -> None:
    """Every example runs as far as its files allow: none is refused for its options."""
    text = call(command, "--help", width=200).stdout
    for line in re.findall(rf"^ +sash ({command} .*?) *$", text, re.MULTILINE):
        words = [word.strip("'") for word in line.split()]
        result = call(*words)
        assert result.exit_code == 0 or "does not exist" in result.stderr, (line, result.stderr)


# --- shape and plan ----------------------------------------------------------------------------------------------------


def test_shape_forward_and_back() -> None:
    found = json.loads(done("shape", "224,7", "--size", 3, "--stride", 2, "--padding", "same", "--json"))
    window = sash.Window(3, stride=2, padding="same")
    assert found["input"] == [224, 7]
    assert found["output"] == list(window.output_shape((224, 7)))
    assert found["pads"] == [list(pair) for pair in window.pads((224, 7))]
    assert found["input_shapes"] == [list(r) for r in window.input_shapes(window.output_shape((224, 7)))]
    assert found["transposed"] == [list(r) for r in window.input_shapes((224, 7))]
    text = done("shape", "64", "--size", 3, "--stride", 2, "--padding", "same")
    assert "127 to 128" in text
    assert "0, 1" in text


def test_plan_is_the_librarys() -> None:
    assert done("plan", "correlate", "512,512", "9,9", "--stride", 2).rstrip() == str(sash.plan("correlate", (512, 512), (9, 9), stride=2))
    found = json.loads(done("plan", "gaussian_blur", "99,99,99", "--sigma", 2, "--json", "--max-memory", "1GB"))
    assert found == json.loads(json.dumps(sash.plan("gaussian_blur", (99, 99, 99), sigma=2, max_memory=10**9).to_dict()))
    found = json.loads(
        done(
            "plan",
            "similarity",
            "3,99,99",
            "3,9,9",
            "--channel-axis",
            0,
            "--metric",
            "zncc",
            "--dtype",
            "uint8",
            "--json",
        )
    )
    assert found["method"] in methods.names()


# --- refusals ----------------------------------------------------------------------------------------------------------

BAD = {
    "a kernel larger than the input": (
        ("correlate", "x.npy", "[[[1]*11]]".replace("[1]*11", str([1] * 11)), "o.npy"),
        "11 samples",
    ),
    "too many axes": (("correlate", "grey.png", "[[[[1]]]]", "o.npy"), "axes"),
    "stride 0": (("correlate", "grey.png", "[[1]]", "o.npy", "--stride", "0"), "stride=0 must be at least 1"),
    "negative dilation": (
        ("correlate", "grey.png", "[[1]]", "o.npy", "--dilation", "-1"),
        "dilation=-1 must be at least 1",
    ),
    "stride of words": (
        ("correlate", "grey.png", "[[1]]", "o.npy", "--stride", "two"),
        "--stride='two' is not a whole number",
    ),
    "ragged kernel": (("correlate", "grey.png", "[[1],[1,2]]", "o.npy"), "rows of one length"),
    "kernel of words": (("correlate", "grey.png", "['a']", "o.npy"), "is not an array of numbers"),
    "kernel file missing": (("correlate", "grey.png", "k.npy", "o.npy"), "k.npy does not exist"),
    "unknown padding": (("correlate", "grey.png", "[[1]]", "o.npy", "--padding", "sam"), "did you mean 'same'?"),
    "bad padding": (("correlate", "grey.png", "[[1]]", "o.npy", "--padding", "1:2:3"), "--padding='1:2:3' is not"),
    "bad cval": (("correlate", "grey.png", "[[1]]", "o.npy", "--cval", "x"), "--cval='x' is not a number"),
    "axes twice": (("correlate", "grey.png", "[[1]]", "o.npy", "--axes", "0,-2"), "must be different axes"),
    "no such axis": (("blur", "grey.png", "o.png", "-s", "1", "--axes", "2"), "from -2 to 1"),
    "reflect": (("blur", "grey.png", "o.png", "-s", "1", "--boundary", "reflect"), "means two different things"),
    "unknown boundary": (("blur", "grey.png", "o.png", "-s", "1", "--boundary", "wrp"), "did you mean 'wrap'?"),
    "unknown method": (("blur", "grey.png", "o.png", "-s", "1", "--method", "separble"), "did you mean 'separable'?"),
    "unknown metric": (("match", "grey.png", "grey.png", "--metric", "znc"), "did you mean 'zncc'?"),
    "unknown verb": (("plan", "corelate", "9,9", "3,3"), "did you mean 'correlate'?"),
    "bad sigma": (("blur", "grey.png", "o.png", "-s", "much"), "--sigma='much' is not a length"),
    "negative sigma": (("blur", "grey.png", "o.png", "-s", "-2"), "sigma"),
    "sigmas of another number": (("blur", "grey.png", "o.png", "-s", "1,2,3"), "--sigma has 3 values for the 2 axes"),
    "mm without a voxel size": (("blur", "grey.png", "o.png", "-s", "2mm"), "gives no voxel size"),
    "bad memory": (
        ("blur", "grey.png", "o.png", "-s", "1", "--max-memory", "lots"),
        "--max-memory='lots' is not a size",
    ),
    "too little memory": (("blur", "x.npy", "o.npy", "-s", "1", "--max-memory", "1"), "max_memory=1"),
    "missing input": (("blur", "gray.png", "o.png", "-s", "1"), "gray.png does not exist; did you mean grey.png?"),
    "unknown kind": (("blur", "grey.png", "o.bmp", "-s", "1"), "o.bmp is of no kind"),
    "output there": (("blur", "grey.png", "photo.png", "-s", "1"), "photo.png exists and is kept; add --force"),
    "no folder": (("blur", "grey.png", "no/o.png", "-s", "1"), "there is no folder"),
    "a volume as a picture": (("blur", "x.npy", "o.png", "-s", "1"), "write .tif or .npy instead"),
    "template larger": (("match", "x.npy", "large.npy"), "13"),
    "grey against colour": (("match", "photo.png", "grey.png"), "must have the same axes"),
    "drawing on a volume": (("match", "x.npy", "x.npy", "--out", "o.png"), "drawn on a flat picture"),
    "window too large": (("shape", "2", "--size", "5"), "5 samples"),
    "shape of words": (("shape", "a,b", "--size", "5"), "SHAPE='a,b' is not a whole number"),
    "axes that disagree": (("shape", "2,3", "--size", "1,1,1"), "must agree"),
    "a plan that cannot be": (("plan", "correlate", "5,5", "9,9"), "9 samples"),
}


@pytest.mark.parametrize("case", BAD)
def test_refusals(folder: Path, case: str) -> None:
    words, said = BAD[case]
    np.save("large.npy", np.zeros((13, 3, 3), np.float32))
    before = {name: Path(name).read_bytes() for name in os.listdir()}
    assert said in refused(*words)
    assert {name: Path(name).read_bytes() for name in os.listdir()} == before


def test_targets_are_refused_before_any_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("the work was begun")

    for verb in ("gaussian_blur", "correlate", "similarity"):
        monkeypatch.setattr(sash, verb, work)
    refused("blur", "photo.png", "grey.png", "-s", "1")
    refused("blur", "photo.png", "o.jpg", "-s", "1", "--order", "1")
    refused("correlate", "photo.png", "[[1]]", "o.png")
    refused("match", "grey.png", "grey.png", "--out", "photo.png")


def test_a_library_that_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nibabel", None)
    monkeypatch.delitem(sys.modules, "sash.cli.files.nifti", raising=False)
    assert 'need nibabel: pip install "sash[nifti]"' in refused("blur", "brain.nii.gz", "o.npy", "-s", "1")


def test_unknown_options_suggest(folder: Path) -> None:
    result = call("blur", "grey.png", "o.png", "--sgma", "1")
    assert result.exit_code == 2
    assert "--sigma" in result.stderr


# --- values, waiting, real processes -----------------------------------------------------------------------------------


def test_values() -> None:
    assert values.padding("-1") == -1
    assert values.padding("1:2,0,3") == ((1, 2), (0, 0), (3, 3))
    assert values.number("--cval", "1+2j") == 1 + 2j
    assert values.size_in_bytes("--max-memory", "1.5 GB") == 1_500_000_000
    for text in ("1e", "-5", "12 parsecs", "nan", ""):
        with pytest.raises(ArgumentError):
            values.size_in_bytes("--max-memory", text)
    with pytest.raises(ArgumentError):
        values.numbers("KERNEL", "__import__('os')")


def test_waiting_speaks_after_two_seconds_only(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal.waiting("a moment"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(terminal, "PATIENCE", 0.05)
    with terminal.waiting("slow work"):
        time.sleep(0.4)
    assert capsys.readouterr().err == "slow work ...\n"


def shell(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "sash", *words], capture_output=True, text=True, timeout=120, cwd=cwd)


def test_a_real_process(folder: Path) -> None:
    assert shell("blur", "photo.png", "out.png", "--sigma", "1", cwd=folder).returncode == 0
    again = shell("blur", "photo.png", "out.png", "--sigma", "1", cwd=folder)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == "sash: out.png exists and is kept; add --force to replace it, or choose another name.\n"


def test_without_the_extra_the_cure_is_said(tmp_path: Path) -> None:
    script = "import sys; sys.modules['typer'] = None; from sash.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr == 'sash: The commands of sash need typer: pip install "sash[cli]"\n'
