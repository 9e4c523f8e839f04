"""How the house stands: floors, file sizes, names, docstrings that run, and an import that loads NumPy alone."""

import ast
import doctest
import importlib
import inspect
import os
import pkgutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import sash
from sash import methods

ROOT = Path(sash.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
FLOORS = {
    **dict.fromkeys(("errors", "accuracy"), 0),
    **dict.fromkeys(("window", "axis", "problem", "machine", "heap"), 1),
    "arrays": 2,
    "kernels": 3,
    **dict.fromkeys(("methods", "crew"), 4),
    **dict.fromkeys(("plans", "planning", "wisdom"), 5),
    **dict.fromkeys(("tiles", "bound", "race", "chunked", "gradients"), 6),
    "running": 7,
    "ops": 8,
    **dict.fromkeys(("nn", "crossovers", "timings", "trials", "plots", "calibration", "ahead", "samples", "cli", "__main__"), 9),
}
INTEGERS_ONLY = ("errors", "accuracy", "window", "axis", "problem", "machine")
HEAVY = (
    "scipy",
    "numba",
    "llvmlite",
    "torch",
    "dask",
    "matplotlib",
    "skimage",
    "nibabel",
    "imageio",
    "tifffile",
    "typer",
    "rich",
)


def module_name(file):
    return ".".join(("sash", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


def room(name):
    """The part of a module's name that has a floor: sash.methods.fft is in methods."""
    return name.split(".")[1] if "." in name else ""


def imports(file):
    """Every module that a file imports, wherever in it the import stands."""
    here = module_name(file).split(".")
    package = here if file.name == "__init__.py" else here[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            origin = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                deeper = f"{origin}.{alias.name}"
                yield deeper if deeper in MODULES else origin


MODULES = {module_name(file) for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_a_module_imports_from_lower_floors_only(file):
    """Or from a neighbour in its own room or on its own floor; cycles are another test's matter."""
    name = module_name(file)
    if name == "sash":
        return
    assert room(name) in FLOORS, f"{name} has no floor: give it one here and in CONTRIBUTING.md"
    mine = FLOORS[room(name)]
    for origin in imports(file):
        if origin == "sash":  # the public names: for those who stand above them all
            assert mine == 9, f"{name} (floor {mine}) imports sash itself"
        elif origin.startswith("sash."):
            assert FLOORS[room(origin)] <= mine, f"{name} (floor {mine}) imports {origin} (floor {FLOORS[room(origin)]})"


def test_no_two_modules_need_each_other():
    needs = {
        module_name(file): {origin for origin in imports(file) if origin in MODULES and origin != "sash"} - {module_name(file)}
        for file in FILES
        if file != ROOT / "__init__.py"
    }
    done: set[str] = set()
    while needs.keys() - done:
        ready = {name for name in needs.keys() - done if needs[name] <= done}
        assert ready, f"a circle among {sorted(needs.keys() - done)}"
        done |= ready


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_files_are_short_and_open_with_their_idea(file):
    text = file.read_text(encoding="utf-8")
    assert text.count("\n") <= 400, "past 400 lines there are two ideas in it"
    assert not set(file.relative_to(ROOT).with_suffix("").parts) & {
        "utils",
        "util",
        "helpers",
        "helper",
        "common",
        "misc",
    }
    opening = ast.get_docstring(ast.parse(text))
    assert not text.strip() or (opening and len(opening) > 20), "the first lines say what idea lives here"


@pytest.mark.parametrize("room", INTEGERS_ONLY)
def test_geometry_is_integers_only(room):
    assert not {origin.split(".")[0] for origin in imports(ROOT / f"{room}.py")} & {"numpy", *HEAVY}


def test_the_names_of_methods_are_written_once():
    """Docs, CLI choices and error texts read the index."""
    for file in FILES:
        if file.parent.name == "methods":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
                texts = {e.value for e in node.elts if isinstance(e, ast.Constant)}
                assert len(texts & set(methods.names())) < 2, f"{file.name}:{node.lineno} lists methods"


def test_costs_live_in_machine_files():
    """No method holds a bare float constant smaller than a millionth: seconds per unit are measured, with a date."""
    for file in (ROOT / "methods").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, float):
                assert node.value == 0 or abs(node.value) > 1e-6, f"{file.name}:{node.lineno}: {node.value}"


# --- import --------------------------------------------------------------------------------------


def child(code):
    """What a fresh interpreter prints; it may keep its byte code, whatever this one was told."""
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


NAMES = "import sys, sash; [getattr(sash, name) for name in sash.__all__]; "
LOADED = "print(*{name.split('.')[0] for name in sys.modules})"


@pytest.mark.parametrize("code", ["import sys, sash; ", NAMES, NAMES + "sash.plan('correlate', (99, 99), (5, 5)); "])
def test_neither_import_nor_names_nor_plans_load_anything_heavier_than_numpy(code):
    loaded = set(child(code + LOADED).split())
    assert "sash" in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize("code", ["import sash", "import sash; sash.correlate, sash.gaussian_blur, sash.similarity, sash.plan"])
def test_import_takes_at_most_half_as_long_again_as_numpys(code):
    """Children in turns, so that a busy moment hits both; the least of each or the middle one, since noise only adds.

    More of them where nine do not say so: the least of each can only come nearer to the truth.
    """
    clock = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
    child(code)
    ours, theirs = [], []
    for _ in range(4):
        for _ in range(9):
            theirs.append(float(child(clock.format("import numpy"))))
            ours.append(float(child(clock.format(code))))
        ratios = min(ours) / min(theirs), statistics.median(ours) / statistics.median(theirs)
        if min(ratios) <= 1.5:
            break
    assert min(ratios) <= 1.5, ratios


# --- words ---------------------------------------------------------------------------------------

PUBLIC = {
    name: value
    for name, value in ((name, getattr(sash, name)) for name in sash.__all__)
    if callable(value) and not (isinstance(value, type) and issubclass(value, Exception))
}
VERBS = [name for name, value in PUBLIC.items() if not isinstance(value, type)]


def test_everything_that_is_public_is_listed():
    expected = {
        "Window", "correlate", "convolve", "separable_filter", "separate", "gaussian_kernel", "gaussian_blur",
        "similarity", "windows", "plan", "threads", "SashError",
    }  # fmt: skip
    assert expected <= set(sash.__all__), expected - set(sash.__all__)
    assert sash.__version__
    assert set(sash.__all__) <= set(dir(sash))


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_explained(name):
    text = inspect.getdoc(PUBLIC[name]) or ""
    assert len(text.splitlines()[0]) > 20
    if name in VERBS or name == "Window":
        for part in ("Parameters", "Raises", "Examples", ">>>"):
            assert part in text, f"the docstring of {name} lacks {part}"
    if name in VERBS:
        for parameter in inspect.signature(PUBLIC[name]).parameters.values():
            assert parameter.name in text, f"the docstring of {name} does not mention {parameter.name}"


@pytest.mark.parametrize("name", VERBS)
def test_settings_are_keywords_and_mean_the_same_everywhere(name):
    parameters = inspect.signature(PUBLIC[name]).parameters
    defaults = {
        "method": "auto",
        "accuracy": "normwise",
        "max_memory": None,
        "stride": 1,
        "dilation": 1,
        "cval": 0.0,
        "axes": None,
    }
    for setting, default in defaults.items():
        if setting in parameters:
            assert parameters[setting].kind is inspect.Parameter.KEYWORD_ONLY, setting
            assert parameters[setting].default == default, setting


def needs_torch(name):
    """Whether a module, or the package of this name, is about PyTorch."""
    file = next(file for file in FILES if module_name(file).removesuffix(".__init__") == name)
    return "torch" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(info.name for info in pkgutil.walk_packages([str(ROOT)], "sash.") if "__main__" not in info.name))
def test_examples_run(name):
    if needs_torch(name):
        pytest.importorskip("torch", reason="PyTorch is not installed")
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert found.failed == 0


def test_the_readme_runs():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    readme = ROOT.parents[1] / "README.md"
    assert doctest.testfile(str(readme), module_relative=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).failed == 0


def test_typed():
    assert (ROOT / "py.typed").exists()
