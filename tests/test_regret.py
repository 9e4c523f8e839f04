"""The benchmark of choices: cells are as they should be, and a few tiny ones go through from end to end."""

import json
from itertools import islice
from math import prod

from benchmarks import command, regret
from benchmarks.cells import TYPES, draws

from sash import calibration, machine, planning
from sash.methods import names


def test_cells_are_of_all_kinds_and_the_same_every_time():
    cells = list(islice(draws(0), 400))
    assert cells == list(islice(draws(0), 400)) != list(islice(draws(1), 400))
    assert {c.dtype for c in cells} == set(TYPES)
    assert {c.stride for c in cells} == {1, 2, 3, 4, 5}
    assert {len(c.shape) for c in cells} == {1, 2, 3}
    assert {c.rank for c in cells} == {0, 1} and {c.memory is None for c in cells} == {True, False}
    assert min(prod(c.shape) for c in cells) < 3e3 and max(prod(c.shape) for c in cells) > 3e7
    assert {c.single for c in cells} == {True, False} and not any(c.rank for c in cells if not c.single)
    assert {c.channels[2] == 1 for c in cells if not c.single} == {True, False}
    assert min(prod(c.size) for c in cells) < 6 and max(prod(c.size) for c in cells) > 4e3


def test_tiny_cells_go_through_from_end_to_end(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(calibration, "calibrate", lambda store: machine.shipped())
    asked = ["regret", "--cells", "3", "--seconds", "0.05", "--largest", "5e3", "--out", str(tmp_path)]
    assert command.main(asked) == 0
    told = capsys.readouterr().out
    for words in ("median", "95th percentile", "worst", "scipy choose_conv_method", "predicted", "left out", "not timed"):
        assert words in told
    record = json.loads((tmp_path / "regret.json").read_text())
    assert len(record["cells"]) == 3
    for cell in record["cells"]:
        assert cell["chosen"] in cell["seconds"] and set(cell["predicted"]) <= set(names())
        assert all(seconds > 0 for seconds in cell["seconds"].values())
    assert planning.machine is machine.machine


def test_regret_is_the_chosen_beside_the_fastest():
    cell = regret.Cell("", "direct", "fft", {}, {}, {"direct": 3.0, "fft": 2.0})
    assert cell.regret(cell.chosen) == 1.5 and cell.regret(cell.other) == 1.0
    assert regret.percentiles([1.0, 1.0, 2.0]) == "median 1.00, 95th percentile 1.90, worst 2.00  (3 cells)"
