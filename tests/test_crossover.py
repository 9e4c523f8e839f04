"""Maps of which method wins: what is measured, kept and refused, on tiny grids and a clock that is told the time."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import clock
import sash
from clock import SECONDS, SMALL
from sash import crossovers, timings, trials
from sash.ops.explain import VERBS


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch):
    return partial(clock.start, monkeypatch)


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> crossovers.Crossover:
    return clock.faked(monkeypatch)


# --- what is measured --------------------------------------------------------------------------------------------------

CALLS = {
    "correlate": ([16, 24], [3, 5], {"stride": 2}),
    "convolve": ([16, 24], [3, 5], {"ndim": 1, "padding": "same"}),
    "separable_filter": ([16, 24], [3, 5], {"channels": 2}),
    "gaussian_blur": ([16, 24], [3, 5], {"ndim": 3}),
    "similarity": ([16, 24], [3, 5], {"channels": 3, "metric": "zncc"}),
    "conv": ([16, 24], [3, 5], {"channels": (4, 6), "stride": 2, "groups": 2, "data_format": "NHWC"}),
    "conv_transpose": ([8, 12], [3, 5], {"channels": (4, 6), "groups": 2, "stride": 2}),
    "conv2_5d": ([16, 24], [3, 5], {"channels": 2, "focal": 50.0}),
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_measured(verb: str) -> None:
    inputs, kernels, settings = CALLS[verb]
    found = sash.crossover(verb, inputs, kernels, **settings, **SMALL)
    assert found.complete
    assert found.methods
    for i in range(2):
        for j in range(2):
            assert found.state(i, j) == "measured"
            assert found.winner[i][j] in found.methods
            assert found.chosen[i][j] in found.methods
            assert found.regret[i][j] >= 1
    for method in found.methods:
        for times, states, predicted in zip(found.times[method], found.states[method], found.predicted[method], strict=True):
            for seconds, state, expected in zip(times, states, predicted, strict=True):
                assert (seconds is not None) == (state == "measured")
                assert seconds is None or (seconds > 0 and expected > 0)


@pytest.mark.parametrize("dtype", ["uint8", "float64", "complex64", "float16"])
def test_types(dtype: str) -> None:
    found = sash.crossover("correlate", [16], [3], input_dtype=dtype, **SMALL)
    assert (found.input_dtype, found.state(0, 0)) == (dtype, "measured")


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    found = sash.crossover("conv", [16], [3], channels=8, input_dtype=torch.float32, **SMALL)
    assert found.input_dtype == "torch.float32"
    assert found.times["native"][0][0] > 0


def test_the_choice_is_the_plans() -> None:
    found = sash.crossover("correlate", [(32, 32, 5), (64, 64, 5)], [(3, 3, 5), (9, 9, 5)], stride=2, **SMALL)
    for i, x in enumerate(found.inputs):
        for j, kernel in enumerate(found.kernels):
            assert found.chosen[i][j] == sash.plan("correlate", x, kernel, stride=2, separable=False).method


def test_separable_is_as_told() -> None:
    assert "separable" not in sash.crossover("correlate", [32], [5], **SMALL).methods
    found = sash.crossover("correlate", [32], [5], separable=True, **SMALL)
    assert found.times["separable"][0][0] > 0


def test_sizes_become_shapes() -> None:
    def shapes(verb: str, inputs: object, kernels: object, ndim: int | None = None, channels: object = None, **settings: object):
        x, k = trials.shapes(verb, inputs, kernels, ndim, channels, settings)
        return x[0], k[0]

    assert shapes("correlate", [9], [3]) == ((9, 9), (3, 3))
    assert shapes("correlate", [9], [3], 3, 2) == ((2, 9, 9, 9), (3, 3, 3))
    assert shapes("correlate", [9], [(3, 3, 5)]) == ((9, 9, 9), (3, 3, 5))
    assert shapes("correlate", [9], [3], axes=1) == ((9,), (3,))
    assert shapes("conv", [9], [3], None, (4, 6), groups=2) == ((1, 4, 9, 9), (6, 2, 3, 3))
    assert shapes("conv_transpose", [9], [3], None, (4, 6), groups=2) == ((1, 4, 9, 9), (4, 3, 3, 3))
    assert shapes("conv", [9], [3], None, (4, 6), data_format="NHWC") == ((1, 9, 9, 4), (3, 3, 4, 6))
    assert shapes("conv", [(2, 3, 9, 9, 9)], [(4, 3, 3, 3, 3)]) == ((2, 3, 9, 9, 9), (4, 3, 3, 3, 3))
    assert shapes("similarity", [9], [3], None, 3, channel_axis=-1) == ((9, 9, 3), (3, 3, 3))


def test_each_takes_the_least_of_its_runs_and_the_winner_is_the_least(faked: crossovers.Crossover) -> None:
    assert faked.times == {m: ((s, None), (s, s)) for m, s in SECONDS.items()}
    assert faked.winner == (("gemm", None), ("gemm", "gemm"))
    assert faked.state(0, 1) == "impossible"
    possible = ((0, 0), (1, 0), (1, 1))
    for i, j in possible:
        assert faked.regret[i][j] == SECONDS[faked.chosen[i][j]]
    assert {(i, j) for i, j, _ in faked.disagreements} == {(i, j) for i, j in possible if faked.chosen[i][j] != "gemm"}
    assert f"({faked.chosen[0][0]} {SECONDS[faked.chosen[0][0]]:.2g}x)" in str(faked)
    assert "of 3 cells; at worst" in faked.summary


def test_a_budget_ends_the_runs_of_a_cell(clocked) -> None:
    ticking = clocked(direct=1e-5, fft=3e-5)
    sash.crossover("correlate", [64], [9], methods=["direct", "fft"], budget=2e-4)
    count = {m: ticking.calls.count(m) for m in ("direct", "fft")}
    assert count == {"direct": 11, "fft": 4}  # 1e-4 s for each, after one run that is not counted


def test_one_run_is_enough_of_what_takes_far_too_long(clocked) -> None:
    ticking = clocked(direct=0.01, fft=60.0)
    found = sash.crossover("correlate", [64], [9], methods=["direct", "fft"], budget=0.5)
    assert ticking.calls.count("fft") == 2  # the first is not counted: it may have compiled something
    assert found.times["fft"][0][0] == pytest.approx(60)


def test_what_is_predicted_far_behind_is_not_run(clocked) -> None:
    ticking = clocked(direct=1.0, fft=1.0, gemm=1.0)
    found = sash.crossover("correlate", [512], [63], methods=["fft", "shift_add"])
    best = found.predicted["fft"][0][0]
    assert found.predicted["shift_add"][0][0] > timings.BEHIND * best
    assert found.states["shift_add"] == (("slow",),)
    assert found.times["shift_add"] == ((None,),)
    assert set(ticking.calls) == {"fft"}


def test_a_refusal_while_running_is_kept_as_one(clocked) -> None:
    clocked(direct=sash.SashError("no"), fft=MemoryError(), gemm=1.0)
    found = sash.crossover("correlate", [64], [9], methods=["direct", "fft", "gemm"])
    assert {m: found.states[m][0][0] for m in found.methods} == {"fft": "too large", "gemm": "measured"}  # direct: nowhere
    assert found.winner == (("gemm",),)


def test_cells_that_do_not_fit_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, ...]] = []
    true = trials.random
    monkeypatch.setattr(trials, "random", lambda shape, kind: made.append(shape) or true(shape, kind))
    found = sash.crossover("correlate", [32, 100_000], [3], memory=10_000_000, **SMALL)
    assert [found.state(i, 0) for i in (0, 1)] == ["measured", "too large"]
    assert found.winner[1] == (None,)
    assert found.chosen[1][0] is not None
    assert found.complete
    assert (100_000, 100_000) not in made
    assert timings.available_memory() > 0


def test_what_fits_is_run_however_far_behind_what_does_not(clocked) -> None:
    clocked(gemm=1.0)
    found = sash.crossover("correlate", [2048], [63], methods=["fft", "gemm"], memory=45_000_000)
    assert found.predicted["gemm"][0][0] > timings.BEHIND * found.predicted["fft"][0][0]
    assert {m: found.states[m][0][0] for m in found.methods} == {"fft": "too large", "gemm": "measured"}
    assert found.regret == ((None,),)


def test_max_memory_is_the_verbs_own() -> None:
    found = sash.crossover("conv", [64], [9], channels=8, max_memory=200_000, **SMALL)
    states = {m: found.states[m][0][0] for m in found.methods}
    assert states["direct"] == "measured"
    assert "too large" in states.values()


def test_progress_tells_what_is_left() -> None:
    told: list[tuple[int, int, float]] = []
    sash.crossover("correlate", [16, 24, 32], [3, 5], progress=lambda *step: told.append(step), **SMALL)
    assert [done for done, _, _ in told] == list(range(7))
    assert {total for _, total, _ in told} == {6}
    assert told[0][2] > 0
    assert told[-1][2] == pytest.approx(0, abs=1e-9)


def test_the_estimate_learns(clocked) -> None:
    """A machine far slower than predicted: half-way, the estimate is near what the rest then takes."""
    ticking = clocked(direct=0.5)
    told: list[tuple[float, float]] = []
    sash.crossover(
        "correlate", [64, 65, 66, 67], [9], methods=["direct"], progress=lambda done, total, left: told.append((ticking.now, left))
    )
    end = told[-1][0]
    assert told[0][1] < 0.1
    assert told[2][1] == pytest.approx(end - told[2][0], rel=0.3)


# --- Ctrl-C ------------------------------------------------------------------------------------------------------------


def test_ctrl_c_keeps_whole_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []
    original = trials.Trial.runs

    def until(self: trials.Trial):
        run = original(self)

        def one(method: str) -> object:
            runs.append(method)
            if self.shapes == ((24, 24), (5, 5)) and method == "gemm":
                raise KeyboardInterrupt
            return run(method)

        return one

    monkeypatch.setattr(trials.Trial, "runs", until)
    found = sash.crossover("correlate", [16, 24], [3, 5], **SMALL)
    assert not found.complete
    states = [[found.state(i, j) for j in range(2)] for i in range(2)]
    assert "measured" in states[0]
    assert states[1][1] == "not reached"
    assert all(found.times[m][1][1] is None for m in found.methods)  # direct was timed before gemm was stopped
    assert "stopped before the end" in str(found)


def test_ctrl_c_between_cells() -> None:
    def stop(done: int, total: int, left: float) -> None:
        if done == 2:
            raise KeyboardInterrupt

    found = sash.crossover("correlate", [16, 24], [3, 5], progress=stop, **SMALL)
    assert not found.complete
    assert sum(found.state(i, j) == "measured" for i in range(2) for j in range(2)) == 2


# --- refusals ----------------------------------------------------------------------------------------------------------

BAD = {
    "verb": (("corelate", [9], [3]), {}, "did you mean 'correlate'?"),
    "setting": (("correlate", [9], [3]), {"strid": 2}, "did you mean 'stride'?"),
    "value of a setting": (("correlate", [9], [3]), {"stride": 0}, "stride=0 must be at least 1"),
    "method": (("correlate", [9], [3]), {"methods": ["ftt"]}, "did you mean 'fft'?"),
    "one method": (("correlate", [9], [3]), {"method": "fft"}, "methods=('fft', ...)"),
    "no sizes": (("correlate", [], [3]), {}, "inputs is empty"),
    "a size for sizes": (("correlate", 64, [3]), {}, "inputs=64 must be a sequence"),
    "size 0": (("correlate", [9], [0]), {}, "at least 1"),
    "a size twice": (("correlate", [9, 9], [3]), {}, "twice"),
    "kernels all too large": (("correlate", [9], [11, 13]), {}, "9"),
    "shapes of several kinds": (("correlate", [(9, 9), (9, 9, 9)], [3]), {}, "2 and 3 axes"),
    "ndim": (("correlate", [9], [3]), {"ndim": 0}, "ndim=0"),
    "channels": (("conv", [9], [3]), {"channels": (1, 2, 3)}, "channels=(1, 2, 3)"),
    "channels that no axis says": (("gaussian_blur", [9], [3]), {"channels": 2}, "needs axes="),
    "budget": (("correlate", [9], [3]), {"budget": 0}, "budget=0"),
    "memory": (("correlate", [9], [3]), {"memory": -1}, "memory=-1"),
    "an array as a setting": (("similarity", [9], [3]), {"mask": np.ones((3, 3))}, "cannot be kept"),
    "type": (("correlate", [9], [3]), {"input_dtype": "float3"}, "float3"),
}


@pytest.mark.parametrize("case", BAD)
def test_refusals_come_before_measuring(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> bool:
        raise AssertionError("measuring was begun")

    monkeypatch.setattr(timings.Timings, "fill", fill)
    words, settings, said = BAD[case]
    with pytest.raises(sash.SashError) as refused:
        sash.crossover(*words, **settings)
    assert said in str(refused.value)
