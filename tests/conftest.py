"""Memory that sash asks for starts as NaN (integers: a value no answer has), so that an unwritten corner shows."""

import importlib
import os
import pkgutil
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import pytest

import sash
from sash import race, running

# The user's cache folder is neither read nor written, by these tests or by their children.
_cache = tempfile.TemporaryDirectory(prefix="sash-tests-")
os.environ["XDG_CACHE_HOME"] = _cache.name

for _, name, _ in pkgutil.walk_packages([str(Path(sash.__file__).parent)], "sash."):
    if name.split(".")[1] in ("arrays", "methods", "ops", "running", "tiles"):
        try:
            importlib.import_module(name)  # else those that load on first use would get NumPy itself
        except ModuleNotFoundError as missing:  # modules about PyTorch, where it is not installed: their tests skip by name
            if missing.name != "torch":
                raise


class Poisoned(types.ModuleType):
    """NumPy, but what `empty` gives is never luckily right."""

    def __init__(self):
        super().__init__("numpy")

    def __getattr__(self, name):
        return getattr(np, name)

    @staticmethod
    def empty(*args, **kwargs):
        return poison(np.empty(*args, **kwargs))

    @staticmethod
    def empty_like(*args, **kwargs):
        return poison(np.empty_like(*args, **kwargs))


def poison(array):
    if array.dtype.kind in "fc":
        array.fill(np.nan)
    elif array.dtype.kind in "iu":
        array.fill(np.iinfo(array.dtype).max - 12345 % np.iinfo(array.dtype).max)
    return array


@pytest.fixture(autouse=True)
def poisoned_memory(monkeypatch):
    """In every module of sash that takes memory; kernels are left alone: Numba compiles their `np`."""
    for name, module in list(sys.modules.items()):
        if name.startswith("sash.") and not name.startswith("sash.kernels") and getattr(module, "np", None) is np:
            monkeypatch.setattr(module, "np", Poisoned())


@pytest.fixture(autouse=True)
def shipped_rates(monkeypatch):
    """Tests plan with the rates that are shipped, on systems too that have another idea of a cache folder."""
    monkeypatch.setattr("sash.machine.calibration_file", lambda: Path(os.environ["XDG_CACHE_HOME"], "machine.json"))


@pytest.fixture
def forgotten(monkeypatch):
    """No test learns from another, and none takes longer than it must."""
    monkeypatch.setattr(race, "ENOUGH", 0.0)
    sash.forget_wisdom()
    yield
    sash.forget_wisdom()


@pytest.fixture
def ran(monkeypatch):
    """The plans that are carried out, one after the other."""
    found, execute = [], running.execute

    def spy(plan, *args):
        found.append(plan)
        execute(plan, *args)

    monkeypatch.setattr(running, "execute", spy)
    monkeypatch.setattr(running, "at_once", lambda *told: False)  # what is bound has its plan behind it
    return found


@pytest.fixture
def clock(monkeypatch):
    """A clock that runs only while a method does: `takes` seconds by its name, or else 1; `ran` are the names.

    Those of `fails` raise their error, `after` some runs that went well.
    """
    told = types.SimpleNamespace(takes={}, now=0.0, ran=[], fails={}, after=0)
    execute = running.execute

    def spy(plan, *args):
        told.ran.append(plan.method)
        if plan.method in told.fails and told.ran.count(plan.method) > told.after:
            raise told.fails[plan.method]
        execute(plan, *args)
        told.now += told.takes.get(plan.method, 1.0)

    monkeypatch.setattr(running, "execute", spy)
    monkeypatch.setattr(running, "at_once", lambda *told: False)  # what is bound has its plan behind it
    monkeypatch.setattr(race, "perf_counter", lambda: told.now)
    return told
