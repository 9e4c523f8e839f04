"""Wisdom comes and goes as JSON, and plans tell what was measured."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

import problems
import sash
from races import K, X, rivals
from sash import machine, methods, planning, race, running, wisdom
from sash.cli.app import app
from sash.samples import problems as samples
from sash.wisdom import Choice, recall, remember

RNG = np.random.default_rng(0)
pytestmark = pytest.mark.usefixtures("forgotten")

# --- wisdom out and in ---------------------------------------------------------------------------


def learnt(clock, winner=1):
    """Wisdom of two problems; the predicted best is not the fastest."""
    clock.takes = {rivals(X.shape, K.shape)[winner]: 0.5}
    sash.correlate(X, K, method="measure", separable=False)
    sash.correlate(X[:56], K, method="measure", separable=False, max_memory=10_000_000)
    return sash.export_wisdom()


def test_what_is_exported_is_plain_and_comes_back_whole(clock, tmp_path):
    known = learnt(clock)
    assert known["format"] == 1 and known["sash"] == sash.__version__ and known["signature"] == machine.signature()
    assert [entry["max_memory"] for entry in known["entries"]] == [None, 10_000_000]
    assert known["entries"][0]["description"].startswith("90x100 float32, 31x31 taps")
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
    sash.correlate(X[:56], K, method="measure", separable=False)
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
    machine.forget()
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
    done = CliRunner().invoke(app, ["plan", "correlate", "90,100", "31,31", "--method", "measure"], catch_exceptions=False)
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
