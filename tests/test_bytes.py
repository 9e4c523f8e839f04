"""Sums of absolute differences of bytes: the bits of `direct` in float, on the kernels of old processors too, and the refusals."""

import os
import subprocess
import sys

import numpy as np
import pytest

import oracle
import sash
from sash.errors import ArgumentError, MemoryLimit
from sash.kernels.cpu import bytes_ as kernel
from sash.kernels.cpu import quads
from sash.methods import bytes_
from sash.problem import Problem


def same(image, template, told="", **settings):
    """The scores by bytes, which are those by direct sums to the last bit; squares where the processor has an instruction for them."""
    fits = quads.available() and template.size * 255**2 < 1 << 32
    for metric in ("ssd", "sad") if fits else ("sad",):
        found = sash.similarity(image, template, metric=metric, method="bytes", **settings)
        want = sash.similarity(image, template, metric=metric, method="direct", **settings)
        assert found.dtype == want.dtype and found.shape == want.shape
        np.testing.assert_array_equal(found, want, err_msg=f"{metric} {image.shape} {template.shape} {settings} {told}")
    return found


def bytes_of(rng, shape):
    """Random bytes, in half of the arrays 0 and 255 only: the largest sums there are."""
    found = rng.integers(0, 256, shape, np.uint8)
    return found if rng.random() < 0.5 else np.where(found < 128, 0, 255).astype(np.uint8)


def random_problem(rng):
    rank = int(rng.integers(1, 4))
    sizes = [int(rng.integers(1, top)) for top in ((80,), (9, 14), (4, 5, 12))[rank - 1]]
    extents = [k + int(rng.integers(0, top)) for k, top in zip(sizes, ((400,), (20, 150), (5, 9, 80))[rank - 1], strict=True)]
    settings = {
        "stride": tuple(int(rng.integers(1, 4)) for _ in sizes) if rng.random() < 0.5 else 1,
        "padding": tuple((int(rng.integers(0, k)), int(rng.integers(0, k))) for k in sizes) if rng.random() < 0.4 else "valid",
    }
    if rng.random() < 0.5:
        axis = int(rng.integers(0, rank + 1))
        channels = int(rng.integers(1, 5))
        sizes.insert(axis, channels)
        extents.insert(axis, channels)
        settings["channel_axis"] = axis
    if rng.random() < 0.3:
        extents = [int(n) for n in rng.integers(1, 4, int(rng.integers(1, 3)))] + extents
        if "channel_axis" in settings:
            settings["channel_axis"] -= len(sizes)
    if rng.random() < 0.3:
        sizes = [int(rng.integers(1, 5)), *sizes]
        settings["bank"] = True
    return bytes_of(rng, extents), bytes_of(rng, sizes), settings


def check_random(seed, count):
    rng = np.random.default_rng(seed)
    for number in range(count):
        image, template, settings = random_problem(rng)
        same(image, template, f"{seed=} {number=}", **settings)


@pytest.mark.parametrize("seed", range(4))
def test_random_problems_have_the_bits_of_direct(seed):
    check_random(seed, 40)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 63, 64, 65, 255, 256, 257, 258, 520, 1030])
def test_16_bits_never_overflow(size):
    """Sums of 255 at every term, for rows of templates on both sides of what 16 bits hold."""
    white, black = np.full((5, size + 70), 255, np.uint8), np.zeros((4, size), np.uint8)
    assert (same(white, black) == 0).all()
    assert (same(255 - white, black) == 1).all()
    white[:, ::3] = 7
    same(white, black)


@pytest.mark.parametrize("height", [1, 2, 3, 4, 5, 8])
def test_every_height_width_and_number_of_rows(height):
    """Blocks of four rows and of two, their first and last rows, words in pairs and one more; rows at a pitch of their own."""
    rng = np.random.default_rng(height)
    for width in (1, 3, 4, 7, 8, 12, 13):
        for rows in range(1, 10):
            for columns in (1, 40) if rows < 9 else (520,):
                same(bytes_of(rng, (rows + height - 1, columns + width - 1)), bytes_of(rng, (height, width)))


@pytest.mark.parametrize("width", [60, 64, 68, 252, 256, 260, 516])
def test_16_bits_never_overflow_from_row_to_row(width):
    """All terms 255 in blocks of four rows, whose sums are flushed in the midst of a template."""
    for height in (3, 4, 5, 9, 17):
        white = np.full((height + 6, width + 70), 255, np.uint8)
        assert (sash.similarity(white, np.zeros((height, width), np.uint8), method="bytes") == 0).all()
        white[:, ::3] = 254
        same(white, np.zeros((height, width), np.uint8))


def test_sums_beyond_24_bits_come_out_as_float64_sums_do():
    rng = np.random.default_rng(5)
    image, template = bytes_of(rng, (300, 310)), bytes_of(rng, (280, 290))
    same(image, template)
    exact = oracle.similarity(image, template, "sad", data_range=255.0)
    np.testing.assert_allclose(sash.similarity(image, template, method="bytes"), exact, rtol=1e-6)


def test_any_layout_is_read():
    rng = np.random.default_rng(6)
    image, template = bytes_of(rng, (60, 90, 3)), bytes_of(rng, (7, 9, 3))
    want = same(image, template, channel_axis=-1)
    for odd in (np.asfortranarray(image), np.repeat(image, 2, axis=1)[:, ::2], image[::-1].copy()[::-1]):
        np.testing.assert_array_equal(same(odd, template, channel_axis=-1), want)


def test_the_same_in_blocks_on_threads_and_within_memory():
    rng = np.random.default_rng(7)
    image, bank = bytes_of(rng, (3, 500, 700)), bytes_of(rng, (3, 3, 11, 18))
    want = same(image, bank, channel_axis=0, bank=True)
    assert want.shape == (3, 490, 683)
    with sash.threads(1):
        np.testing.assert_array_equal(same(image, bank, channel_axis=0, bank=True), want)
    for limit in (100_000, 300_000, 2_000_000):
        plan = sash.plan(
            "similarity", image.shape, bank.shape, input_dtype="uint8", channel_axis=0, bank=True, max_memory=limit, method="bytes"
        )
        assert plan.scratch <= limit
        found = sash.similarity(image, bank, channel_axis=0, bank=True, max_memory=limit, method="bytes")
        np.testing.assert_array_equal(found, want)
    with pytest.raises(MemoryLimit, match="bytes"):
        sash.similarity(image, bank, channel_axis=0, bank=True, max_memory=100, method="bytes")


multiplied = pytest.mark.skipif(not quads.available(), reason="the processor has no instruction for it")


def exact_scores(image, template, metric, *, stride=1, padding="valid", channel_axis=None, bank=False):
    """Normalised correlations in whole numbers of any size; rounded by the last root and quotient only."""
    if bank:
        told = {"stride": stride, "padding": padding, "channel_axis": channel_axis}
        return np.stack([exact_scores(image, one, metric, **told) for one in template], image.ndim - template[0].ndim)
    lead = image.ndim - template.ndim
    if channel_axis is not None:
        at = channel_axis % template.ndim
        image, template = np.moveaxis(image, lead + at, lead), np.moveaxis(template, at, 0)
    slid = template.ndim - (channel_axis is not None)
    steps = np.broadcast_to(stride, slid)
    if padding != "valid":
        image = np.pad(image, [(0, 0)] * (image.ndim - slid) + [tuple(p) for p in padding])
    windows = np.lib.stride_tricks.sliding_window_view(image, template.shape, tuple(range(lead, image.ndim))).astype(object)
    if channel_axis is not None:
        windows = windows[(slice(None),) * lead + (0,)]
    windows = windows[(slice(None),) * lead + tuple(slice(None, None, s) for s in steps)]
    t, inner, n = template.astype(object), tuple(range(-template.ndim, 0)), template.size
    once, squares, products = windows.sum(inner), (windows * windows).sum(inner), (windows * t).sum(inner)
    if metric == "zncc":
        products, power = n * products - once * t.sum(), n * (t * t).sum() - t.sum() ** 2
        squares = n * squares - once * once
    else:
        power = (t * t).sum()
    spread = np.sqrt(np.asarray(squares, np.float64)) * np.sqrt(float(power))
    return np.divide(np.asarray(products, np.float64), spread, out=np.zeros(spread.shape), where=spread > 0)


@multiplied
@pytest.mark.parametrize("seed", range(4))
def test_random_scores_are_those_of_whole_numbers(seed):
    """To the last bit of float32, whatever the layout: nothing is lost on the way."""
    rng = np.random.default_rng(60 + seed)
    for number in range(12):
        image, template, settings = random_problem(rng)
        if rng.random() < 0.3:  # windows and templates without variance
            image[...] = image.flat[0]
            image.flat[image.size // 2] ^= 1
        for metric in ("ncc", "zncc"):
            want = exact_scores(image, template, metric, **settings)
            found = sash.similarity(image, template, metric=metric, method="bytes", **settings)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, want, rtol=1.3e-7, atol=1e-9, err_msg=f"{seed=} {number=} {metric} {settings}")


@multiplied
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (200, 300), (255, 257), (256, 257)])
def test_scores_of_the_largest_sums(size):
    """All samples 255 but one: by auto too, where the last template is too large for 32 bits."""
    image = np.full((size[0] + 2, size[1] + 5), 255, np.uint8)
    image[1, 1] = 254
    template = image[: size[0], : size[1]].copy()
    ways = ["auto", "bytes"] if size[0] * size[1] * 65025 < 1 << 32 else ["auto"]
    for metric in ("ncc", "zncc"):
        want = exact_scores(image, template, metric)
        for method in ways:
            np.testing.assert_allclose(sash.similarity(image, template, metric=metric, method=method), want, atol=1e-6)


@multiplied
def test_scores_whose_products_do_not_fit_are_made_otherwise():
    """The template about 128 is as negative as can be: 66040 such products of 255 leave 32 bits, which squares do not."""
    image, template = np.full((256, 264), 255, np.uint8), np.zeros((254, 260), np.uint8)
    template.reshape(-1)[::700] = 255
    np.testing.assert_allclose(sash.similarity(image, template, metric="ncc"), exact_scores(image, template, "ncc"), atol=1e-6)
    with pytest.raises(ArgumentError, match="31 bits"):
        sash.similarity(image, template, metric="ncc", method="bytes")
    assert sash.similarity(image, template, metric="ssd", method="bytes").shape == (3, 5)


@multiplied
def test_plans_of_few_taps_say_what_is_run_in_little_memory():
    told = {"metric": "zncc", "input_dtype": "uint8"}
    for more in ({"max_memory": 10**8}, {"max_memory": 200_000}, {"method": "measure"}):
        assert sash.plan("similarity", (480, 640), (3, 3), **told, **more).method != "bytes"


@multiplied
def test_the_least_memory_that_is_named_is_that_of_bytes():
    rng = np.random.default_rng(13)
    image, template = bytes_of(rng, (40, 200)), bytes_of(rng, (24, 24))
    with pytest.raises(MemoryLimit) as refused:
        sash.similarity(image, template, metric="zncc", max_memory=100)
    assert sash.similarity(image, template, metric="zncc", max_memory=refused.value.least).shape == (17, 177)
    with pytest.raises(MemoryLimit):
        sash.similarity(image, template, metric="zncc", max_memory=refused.value.least - 1)


@multiplied
def test_scores_on_threads_and_within_memory():
    rng = np.random.default_rng(12)
    image, bank = bytes_of(rng, (3, 500, 700)), bytes_of(rng, (2, 3, 21, 18))
    told = {"channel_axis": 0, "bank": True, "metric": "zncc"}
    want = sash.similarity(image, bank, method="bytes", **told)
    np.testing.assert_array_equal(sash.similarity(image, bank, **told), want)
    with sash.threads(1):
        np.testing.assert_array_equal(sash.similarity(image, bank, **told), want)
    for limit in (200_000, 2_000_000, 20_000_000):
        plan = sash.plan("similarity", image.shape, bank.shape, input_dtype="uint8", max_memory=limit, **told)
        assert plan.method == "bytes" and plan.scratch <= limit
        np.testing.assert_array_equal(sash.similarity(image, bank, max_memory=limit, **told), want)
    with pytest.raises(MemoryLimit, match="bytes"):
        sash.similarity(image, bank, max_memory=100, **told)


@multiplied
def test_plans_tell_how_scores_are_made(monkeypatch):
    told = {"metric": "zncc", "input_dtype": "uint8"}
    plan = sash.plan("similarity", (480, 640), (24, 24), **told)
    assert plan.method == "bytes" and "whole numbers" in plan.reason
    assert {c.name for c in plan.candidates if not c.refusal} >= {"bytes", "fft", "direct"}
    assert sash.plan("similarity", (480, 640), (24, 24), method="fft", **told).method == "fft"
    few = sash.plan("similarity", (480, 640), (3, 3), **told)
    assert few.method == "direct" and "one by one" in few.reason
    monkeypatch.setattr(bytes_, "_multiplies", lambda: False)
    plan = sash.plan("similarity", (481, 640), (24, 24), **told)
    assert plan.method != "bytes" and "no instruction" in next(c for c in plan.candidates if c.name == "bytes").refusal
    with pytest.raises(ArgumentError, match="no instruction"):
        sash.similarity(np.zeros((481, 40), np.uint8), np.zeros((24, 24), np.uint8), metric="zncc", method="bytes")


@pytest.mark.parametrize("metric", ["sad", "ssd", "zncc"])
def test_scratch_is_no_more_than_planned(metric):
    """Counted as it is allocated, by one worker."""
    if metric != "sad" and not quads.available():
        pytest.skip("no instruction for it")
    import tracemalloc

    rng = np.random.default_rng(8)
    for shape, sizes, padding in (((3, 400, 600), (3, 16, 18), 0), ((1, 90, 3000), (1, 9, 9), 4), ((2, 700, 40), (2, 5, 31), "same")):
        image, template = bytes_of(rng, shape), bytes_of(rng, sizes)
        settings = {"channel_axis": 0, "padding": padding, "method": "bytes", "metric": metric}
        with sash.threads(1):
            plan = sash.plan("similarity", shape, sizes, input_dtype="uint8", **settings)
            made = sash.similarity(image, template, **settings)
            tracemalloc.start()
            sash.similarity(image, template, **settings)
            peak = tracemalloc.get_traced_memory()[1] - made.nbytes
            tracemalloc.stop()
        assert peak <= plan.scratch + 40_000, (shape, peak, plan.scratch)


def test_bytes_are_chosen_for_large_images_and_told_in_plans():
    plan = sash.plan("similarity", (3, 480, 640), (3, 24, 24), input_dtype="uint8", channel_axis=0)
    assert plan.method == "bytes" and "bytes" in str(plan)
    for kind, settings in (("float32", {}), ("uint16", {}), ("uint8", {"mask": 1}), ("float32", {"metric": "zncc"})):
        plan = sash.plan("similarity", (3, 480, 640), (3, 24, 24), input_dtype=kind, channel_axis=0, **settings)
        assert next(c for c in plan.candidates if c.name == "bytes").refusal


def test_refusals_are_sentences():
    rng = np.random.default_rng(9)
    image, template = bytes_of(rng, (30, 31)), bytes_of(rng, (5, 6))
    for settings in ({"mask": np.ones((5, 6))}, {"metric": "zncc", "mask": np.ones((5, 6))}):
        with pytest.raises(ArgumentError, match="without a mask"):
            sash.similarity(image, template, method="bytes", **settings)
    with pytest.raises(ArgumentError, match="uint8"):
        sash.similarity(image.astype(np.int16), template, method="bytes")
    axes = sash.plan("similarity", (4200, 4200), (4200, 4200), input_dtype="uint8").problem.axes
    assert "32 bits" in bytes_.refuses(Problem(axes, reduce="absolute", bytewise=True))
    axes = sash.plan("similarity", (300, 300), (260, 260), input_dtype="uint8").problem.axes
    assert "65025 do not fit 32 bits" in bytes_.refuses(Problem(axes, reduce="squared", bytewise=True))


def test_squares_of_bytes_are_chosen_where_the_processor_multiplies_them(monkeypatch):
    told = {"metric": "ssd", "input_dtype": "uint8", "channel_axis": 0}
    if quads.available():
        assert sash.plan("similarity", (3, 480, 640), (3, 24, 24), **told).method == "bytes"
    monkeypatch.setattr(bytes_, "_multiplies", lambda: False)
    bytes_problem = Problem(sash.plan("similarity", (90, 90), (8, 8)).problem.axes, reduce="squared", bytewise=True)
    assert "no instruction" in bytes_.refuses(bytes_problem)


@pytest.mark.parametrize("size", [(1, 1), (255, 257), (256, 257)])
def test_squares_that_fill_32_bits(size):
    """All differences 255; the last template is too large for them, and other methods score it."""
    white, black = np.full((size[0] + 3, size[1] + 9), 255, np.uint8), np.zeros(size, np.uint8)
    assert (sash.similarity(white, black, metric="ssd") == 0).all()
    assert (sash.similarity(black, white[: size[0], : size[1]], metric="ssd") == 0).all()
    if quads.available() and size[0] * size[1] * 65025 < 1 << 32:
        assert (sash.similarity(white, black, metric="ssd", method="bytes") == 0).all()
        assert (sash.similarity(255 - white, black, metric="ssd", method="bytes") == 1).all()


# --- other processors ----------------------------------------------------------------------------

OTHERS = {
    "generic": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
    "haswell": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+avx,+fma,+bmi2"},
    "wide without words": {"NUMBA_CPU_FEATURES": "+avx512f,-avx512bw"},
}


def runs(flags):
    """Whether this machine has the instructions that a child process would use."""
    import llvmlite.binding as llvm

    return all(llvm.get_host_cpu_features().get(flag[1:], False) for flag in flags.split(",") if flag.startswith("+"))


def check_portable():
    """Against the definition, in NumPy: the kernels of `direct` need not be compiled again."""
    rng = np.random.default_rng(11)
    assert kernel.word() == 1
    for image, template, stride in (((3, 40), (2, 300), 1), ((20, 150), (7, 13), 1), ((9, 31), (3, 4), 2), ((17, 131), (4, 1), (3, 1))):
        x = bytes_of(rng, np.add(image, template) - 1)
        t = np.zeros(template, np.uint8) if template[1] == 300 else bytes_of(rng, template)
        windows = np.lib.stride_tricks.sliding_window_view(x, template).astype(np.int64)
        steps = np.broadcast_to(stride, 2)
        sums = abs(windows - t).sum((2, 3))[:: steps[0], :: steps[1]].astype(np.float32)
        want = sums / np.float32(-t.size * 255.0) + np.float32(1)
        np.testing.assert_array_equal(sash.similarity(x, t, stride=stride, method="bytes"), want)
    white = np.full((4, 700), 255, np.uint8)
    assert (sash.similarity(white, np.zeros((2, 600), np.uint8), method="bytes") == 0).all()


@pytest.mark.parametrize("name", OTHERS)
def test_the_portable_form_in_a_process_of_its_own(name, tmp_path):
    """Compiled without the instructions that this machine may have: the same bits again."""
    if not runs(OTHERS[name]["NUMBA_CPU_FEATURES"]):
        pytest.skip("this machine has no such instructions")
    if name == "wide without words" and kernel.word() != 4:
        pytest.skip("the words are not used here anyway")
    script = "import test_bytes; test_bytes.check_portable(); print('done')"
    here = os.path.dirname(__file__)
    paths = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, **OTHERS[name], "PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=env, cwd=here, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "done" in done.stdout
