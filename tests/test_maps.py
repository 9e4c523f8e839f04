"""Maps of which method wins, as records, files and drawings; they are made by a clock that is told the time."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.image import imread

import clock
import sash
from clock import SMALL
from sash import crossovers, methods, plots


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> crossovers.Crossover:
    return clock.faked(monkeypatch)


# --- files -------------------------------------------------------------------------------------------------------------


def test_json_makes_the_record_again(tmp_path: Path) -> None:
    found = sash.crossover("correlate", [(16, 16, 5), (8, 8, 5)], [(3, 3, 5), (9, 9, 5)], stride=(2, 2, 1), padding="valid", **SMALL)
    found.save(tmp_path / "map.json")
    read = json.loads((tmp_path / "map.json").read_text())
    assert sash.Crossover.from_dict(read) == found
    assert read["winner"] == [list(row) for row in found.winner]
    assert read["regret"] == [list(row) for row in found.regret]
    assert found.settings == {"separable": False, "stride": (2, 2, 1), "padding": "valid"}
    with pytest.raises(sash.SashError, match="lacks"):
        sash.Crossover.from_dict({"verb": "correlate"})


def test_the_machine_is_told(faked: crossovers.Crossover) -> None:
    assert faked.machine["cores"] >= 1
    assert faked.machine["sash"] == sash.__version__
    assert {"processor", "date", "numpy", "python", "threads"} <= set(faked.machine)


def test_csv_has_a_line_per_cell_and_method(tmp_path: Path, faked: crossovers.Crossover) -> None:
    faked.save(tmp_path / "map.csv")
    with open(tmp_path / "map.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 4 * len(faked.methods)
    (line,) = [row for row in lines if (row["input"], row["kernel"], row["method"]) == ("64x64", "9x9", "gemm")]
    assert (line["state"], float(line["seconds"]), line["winner"]) == ("measured", 1.0, "1")
    assert float(line["predicted"]) == faked.predicted["gemm"][1][1]
    (line,) = [row for row in lines if (row["input"], row["kernel"], row["method"]) == ("8x8", "9x9", "gemm")]
    assert (line["state"], line["seconds"], line["winner"]) == ("impossible", "", "0")
    assert sum(row["chosen"] == "1" for row in lines) == 3


def test_pictures_are_whole(tmp_path: Path, faked: crossovers.Crossover) -> None:
    faked.save(tmp_path / "map.png")
    faked.save(tmp_path / "map.SVG")
    assert min(imread(tmp_path / "map.png").shape[:2]) > 300
    assert ElementTree.parse(tmp_path / "map.SVG").getroot().tag.endswith("svg")
    with pytest.raises(sash.SashError, match="did you mean"):
        faked.save(tmp_path / "map.jsn")
    assert sorted(os.listdir(tmp_path)) == ["map.SVG", "map.png"]


def test_files_are_whole_or_as_they_were(tmp_path: Path, faked: crossovers.Crossover, monkeypatch: pytest.MonkeyPatch) -> None:
    class Torn:
        def savefig(self, path: Path, **_: object) -> None:
            path.write_bytes(b"half")
            raise KeyboardInterrupt

    (tmp_path / "map.png").write_bytes(b"before")
    monkeypatch.setattr(plots, "draw", lambda found: Torn())
    with pytest.raises(KeyboardInterrupt):
        faked.save(tmp_path / "map.png")
    assert os.listdir(tmp_path) == ["map.png"]
    assert (tmp_path / "map.png").read_bytes() == b"before"


# --- drawing -----------------------------------------------------------------------------------------------------------


def everything(figure) -> str:
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_the_drawing_tells_winner_choice_and_regret(faked: crossovers.Crossover) -> None:
    words = everything(faked.plot())
    for method in faked.methods:
        assert method in words
    for _, _, regret in faked.disagreements:
        assert f"{regret:.2g}x" in words
    assert faked.disagreements
    assert "kernel larger than input" in words
    assert "too large" not in words


def test_the_drawing_labels_what_did_not_fit() -> None:
    found = sash.crossover("correlate", [32, 4096], [3], memory=5_000_000, **SMALL)
    assert "too\nlarge" in everything(found.plot())


def test_methods_have_colours_of_their_own() -> None:
    assert len({plots.colour(name) for name in methods.names()}) == len(methods.names())


def test_the_choice_is_outlined(faked: crossovers.Crossover) -> None:
    from matplotlib.colors import same_color
    from matplotlib.patches import Rectangle

    outlined = [p for p in faked.plot().findobj(Rectangle) if same_color(p.get_edgecolor(), plots.OUTLINE) and not p.get_fill()]
    assert len([p for p in outlined if p.axes is not None]) == 3  # one per possible cell, in the panel of the chosen method


def test_a_map_of_one_cell_and_one_of_none_are_drawn(tmp_path: Path) -> None:
    sash.crossover("correlate", [(16, 20)], [(3, 5)], **SMALL).save(tmp_path / "one.png")
    sash.crossover("correlate", [64], [3], memory=1).save(tmp_path / "none.png")
    assert len(os.listdir(tmp_path)) == 2


def test_pictures_without_matplotlib_say_the_cure(faked: crossovers.Crossover, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(sash.SashError, match=r"sash\[plot\]"):
        faked.plot()
    faked.to_dict()
