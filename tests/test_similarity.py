"""`similarity`: four definitions, by loops; masks, banks, channels, batches; bright images; second opinions."""

import numpy as np
import pytest
import skimage.feature

import oracle
import problems
import sash
import tolerance
from sash import methods, running
from sash.ops import moments

METRICS = ("sad", "ssd", "ncc", "zncc")


@pytest.fixture(params=["bound", "general"], autouse=True)
def way(request, monkeypatch):
    """Little images go a way of their own; here the way of large ones is tried on them too."""
    if request.param == "general":
        monkeypatch.setattr(moments.bound, "windows", lambda *told: None)
        monkeypatch.setattr(running, "bind", lambda *told: None)


def slack(image, template, metric, data_range=1.0):
    """What rounding may do to a score.

    sad and ssd: the promise for the sum, over n*R or n*R^2. ncc and zncc: quotients near 1, of sums that each keep the
    promise relative to the norms; float64 inside, so that single precision data has its own eps to spare.
    """
    dtype = np.result_type(image, template)
    eps = tolerance.eps(dtype) or tolerance.eps("float32")
    if metric == "sad":
        largest = (tolerance.magnitude(image) + tolerance.magnitude(template)) / data_range
        return 4 * eps * np.sqrt(template.size) * max(largest, 1)
    if metric == "ssd":
        largest = ((tolerance.magnitude(image) + tolerance.magnitude(template)) / data_range) ** 2
        return 4 * eps * np.sqrt(template.size) * max(largest, 1)
    return 4 * eps * np.sqrt(template.size)


def compare(image, template, metric, told="", **settings):
    found = sash.similarity(image, template, metric=metric, **settings)
    data_range = settings.get("data_range")
    exact_range = data_range or (np.iinfo(image.dtype).max - np.iinfo(image.dtype).min if image.dtype.kind in "iu" else 1)
    named = {key: settings[key] for key in ("stride", "channel_axis", "mask", "bank") if key in settings}
    exact = oracle.similarity(image, template, metric, data_range=float(exact_range), **named)
    tolerance.check(found, exact, slack(image, template, metric, exact_range), f"{metric}, {settings}, {told}")
    return found


# --- the definition ------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("sides", "template", "stride"),
    [
        ((99, 100), (9, 10), 1),
        ((100, 101), (11, 9), 2),
        ((101, 99), (10, 11), 3),
        ((99, 99), (11, 11), (1, 3)),
        ((101, 101), (9, 9), (2, 1)),
        ((100, 100), (10, 10), 3),
    ],
)
def test_the_definition_by_loops(sides, template, stride, metric):
    rng = np.random.default_rng(0)
    image = rng.random(sides, np.float32)
    part = image[20 : 20 + template[0], 30 : 30 + template[1]].copy()
    found = compare(image, part, metric, stride=stride)
    if stride == 1:
        assert found[20, 30] == pytest.approx(1, abs=1e-5)
        assert np.unravel_index(np.argmax(found), found.shape) == (20, 30)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float16", "float32", "float64", "bool"])
def test_element_types(metric, dtype):
    rng = np.random.default_rng(1)
    image = problems.values(rng, (30, 31), dtype)
    template = problems.values(rng, (5, 6), dtype)
    settings = {"data_range": 1.0} if dtype == "bool" else {}
    found = sash.similarity(image, template, metric=metric, **settings)
    assert found.dtype == {"float64": np.float64, "float16": np.float16}.get(dtype, np.float32) or found.dtype == np.float64
    span = 1.0 if np.dtype(dtype).kind in "fb" else float(int(np.iinfo(dtype).max) - int(np.iinfo(dtype).min))
    exact = oracle.similarity(image, template, metric, data_range=span)
    tolerance.check(found, exact, slack(image, template, metric, span), f"{metric}, {dtype}")


@pytest.mark.parametrize("metric", METRICS)
def test_every_method_that_is_willing_gives_the_same(metric):
    rng = np.random.default_rng(2)
    image, template = rng.random((3, 60, 61), np.float32), rng.random((3, 8, 9), np.float32)
    willing = 0
    for method in methods.names():
        try:
            compare(image, template, metric, channel_axis=0, stride=2, method=method)
        except sash.SashError as refusal:
            assert method in str(refusal)
            continue
        willing += 1
    assert willing >= 2


@pytest.mark.parametrize("metric", METRICS)
def test_masks_are_weights(metric):
    rng = np.random.default_rng(3)
    image, template = rng.random((25, 26)), rng.random((7, 8))
    for mask in (rng.random((7, 8)) < 0.5, rng.random((7, 8)), (rng.random((7, 8)) * 3).astype(np.float32)):
        compare(image, template, metric, mask=mask, stride=(1, 2))
    ones = sash.similarity(image, template, metric=metric, mask=np.ones((7, 8)))
    tolerance.check(ones, sash.similarity(image, template, metric=metric), 2 * slack(image, template, metric), "mask of ones")
    hidden = template.copy()
    mask = np.ones((7, 8))
    mask[2:4, 3:5] = 0
    hidden[2:4, 3:5] = 99  # under a weight of 0 nothing counts
    found = sash.similarity(image, hidden, metric=metric, mask=mask)
    tolerance.check(found, oracle.similarity(image, template, metric, mask=mask), slack(image, hidden, metric), "hidden")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("channel_axis", [0, -1, 2])
def test_channels_are_summed_not_slid_over(metric, channel_axis):
    rng = np.random.default_rng(4)
    image, template = rng.random((20, 21, 3)), rng.random((5, 4, 3))
    if channel_axis == 0:
        image, template = np.moveaxis(image, -1, 0), np.moveaxis(template, -1, 0)
    found = compare(image, template, metric, channel_axis=channel_axis)
    assert found.shape == (16, 18)
    mask = rng.random(template.shape)
    compare(image, template, metric, channel_axis=channel_axis, mask=mask)


@pytest.mark.parametrize("metric", METRICS)
def test_leading_axes_are_batch(metric):
    rng = np.random.default_rng(5)
    image, template = rng.random((2, 4, 15, 16)), rng.random((4, 5))
    found = compare(image, template, metric, stride=2)
    assert found.shape == (2, 4, 6, 6)
    image, template = rng.random((2, 3, 15, 16)), rng.random((3, 4, 5))
    assert compare(image, template, metric, channel_axis=0).shape == (2, 12, 12)
    assert sash.similarity(np.zeros((0, 15, 16)), rng.random((4, 5)), metric=metric).shape == (0, 12, 12)


@pytest.mark.parametrize("metric", METRICS)
def test_a_bank_is_each_of_its_templates(metric):
    rng = np.random.default_rng(6)
    image, bank = rng.random((20, 21)), rng.random((4, 5, 6))
    found = compare(image, bank, metric, bank=True, stride=2)
    assert found.shape == (4, 8, 8)
    image, bank = rng.random((3, 20, 21)), rng.random((2, 3, 5, 6))
    assert compare(image, bank, metric, bank=True, channel_axis=0).shape == (2, 16, 16)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("channel_axis", [None, 0, -1])
@pytest.mark.parametrize("lead", [(2,), (2, 3)])
def test_a_bank_on_a_batch(lead, channel_axis, metric):
    """(*batch, templates, *output extents): each score is that of its image and its template."""
    rng = np.random.default_rng(18)
    one, sides = {None: ((3, 2), (9, 8)), 0: ((2, 3, 2), (2, 9, 8)), -1: ((3, 2, 2), (9, 8, 2))}[channel_axis]
    image, bank, masks = rng.random((*lead, *sides)), rng.random((4, *one)), rng.random((4, *one))
    for mask in (None, masks[0], masks):
        found = compare(image, bank, metric, bank=True, stride=(2, 1), channel_axis=channel_axis, mask=mask)
        assert found.shape == (*lead, 4, 4, 7)
        for batch in np.ndindex(lead):
            for t in range(4):
                weights = mask if mask is None or mask.ndim == len(one) else mask[t]
                exact = oracle.similarity(image[batch], bank[t], metric, stride=(2, 1), channel_axis=channel_axis, mask=weights)
                tolerance.check(found[batch][t], exact, slack(image, bank, metric), f"{metric}, image {batch}, template {t}")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("ndim", [1, 3])
def test_lines_and_volumes(metric, ndim):
    rng = np.random.default_rng(7)
    image, template = rng.random((90,) if ndim == 1 else (14, 13, 12)), rng.random((9,) if ndim == 1 else (4, 3, 5))
    compare(image, template, metric, stride=2)


def test_data_range():
    rng = np.random.default_rng(8)
    image, template = rng.integers(0, 1024, (30, 31), np.uint16), rng.integers(0, 1024, (5, 5), np.uint16)
    for metric in ("sad", "ssd"):
        compare(image, template, metric, data_range=1023)
        compare(image, template, metric)
    wide = sash.similarity(image, template, metric="sad")
    narrow = sash.similarity(image, template, metric="sad", data_range=1023)
    np.testing.assert_allclose((1 - narrow) * 1023, (1 - wide) * 65535, rtol=1e-4)


# --- answers known by heart ----------------------------------------------------------------------


def test_black_on_black_is_one():
    for dtype in (np.uint8, np.float32, np.float64):
        image, template = np.zeros((3, 40, 50), dtype), np.zeros((3, 5, 5), dtype)
        for metric in ("sad", "ssd"):
            found = sash.similarity(image, template, metric=metric, channel_axis=0, stride=2)
            assert found.shape == (18, 23)
            assert np.all(found == 1)


def test_white_on_black_is_zero():
    image, template = np.zeros((40, 50), np.uint8), np.full((5, 5), 255, np.uint8)
    for metric in ("sad", "ssd"):
        assert np.all(abs(sash.similarity(image, template, metric=metric)) <= 1e-6)


def test_sides_without_variance_score_zero():
    rng = np.random.default_rng(9)
    noise, flat = rng.random((30, 31)), np.full((30, 31), 0.1)
    assert np.all(sash.similarity(noise, flat[:5, :5], metric="zncc") == 0)
    assert np.all(sash.similarity(flat, noise[:5, :5], metric="zncc") == 0)
    assert np.all(sash.similarity(flat.astype(np.float32), noise[:5, :5].astype(np.float32), metric="zncc") == 0)
    half = noise.copy()
    half[:, :15] = 0.1
    found = sash.similarity(half, noise[:5, :5], metric="zncc")
    assert np.all(found[:, :11] == 0) and np.all(abs(found[:, 20:]) > 0)


def test_scores_never_leave_their_range():
    """A window that is the template scores 1 up to rounding, and rounding must not take it beyond."""
    rng = np.random.default_rng(10)
    for dtype in (np.uint8, np.float32, np.float64):
        for size in (3, 5, 8, 11):
            image = (rng.random((40, 40)) * 255).astype(dtype)
            for top in range(0, 25, 4):
                template = image[top : top + size, 2 * size : 3 * size].copy()
                for metric in ("ncc", "zncc"):
                    found = sash.similarity(image, template, metric=metric)
                    assert np.all(abs(found) <= 1), f"{metric}, {dtype}, {size}, {top}: {abs(found).max()!r}"
                    assert found[top, 2 * size] == pytest.approx(1, abs=1e-6)
                    opposite = sash.similarity(image, template.max() - template, metric=metric)
                    assert np.all(abs(opposite) <= 1)


# --- bright images, NaN --------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 100, 1000, 10_000])
def test_a_bright_image_does_not_hurt(level):
    """Noise of deviation 1 on a level, float32: OpenCV is off by 1.1 and scikit-image by 18.6 at 10 000."""
    rng = np.random.default_rng(11)
    image = (rng.standard_normal((120, 121)) + level).astype(np.float32)
    template = image[40:71, 50:81].copy()
    found = sash.similarity(image, template, metric="zncc")
    exact = skimage.feature.match_template(image.astype(np.float64), template.astype(np.float64))
    assert np.max(abs(found - exact)) <= 1e-3
    assert found[40, 50] == pytest.approx(1, abs=1e-4)
    other = (template + 500).astype(np.float32)  # a template from a brighter picture
    np.testing.assert_allclose(sash.similarity(image, other, metric="zncc"), exact, atol=2e-3)


@pytest.mark.parametrize("level", [1e5, 1e7, 1e9])
@pytest.mark.parametrize("metric", ["zncc", "ssd"])
def test_a_bright_image_in_double_precision_does_not_hurt(metric, level):
    """At 1e9 the mean square is 1e18 times the variance: nothing is left of it unless the mean goes first."""
    rng = np.random.default_rng(17)
    image = rng.standard_normal((90, 91))
    template = image[40:60, 50:70].copy()
    exact = oracle.similarity(image, template, metric)
    found = sash.similarity(image + level, template + level, metric=metric)
    tolerance.check(found, exact, 1e-5 if metric == "zncc" else 1e-4, f"{metric} on {level}")


def test_a_level_that_changes_over_the_picture_does_not_hurt():
    """Dark left, bright right: one mean for the whole picture is not enough."""
    rng = np.random.default_rng(12)
    image = rng.standard_normal((80, 160))
    image[:, 80:] += 10_000
    image = image.astype(np.float32)
    template = image[20:36, 20:36].copy()
    found = sash.similarity(image, template, metric="zncc")
    exact = oracle.similarity(image, template, "zncc")
    tolerance.check(found, exact, 1e-3, "a step of 10 000")


@pytest.mark.parametrize("metric", METRICS)
def test_one_nan_hides_its_own_windows_only(metric):
    """scikit-image: 28 456 of 29 205 windows that do not touch the NaN are wrong."""
    rng = np.random.default_rng(13)
    image = rng.random((100, 101))
    template = image[50:60, 20:32].copy()
    clean = sash.similarity(image, template, metric=metric)
    image[30, 40] = np.nan
    found = sash.similarity(image, template, metric=metric)
    covered = oracle.covered(np.isnan(image), template.shape)
    np.testing.assert_array_equal(np.isnan(found), covered)
    tolerance.check(found[~covered], clean[~covered], 2 * slack(image, template, metric), metric)


# --- second opinions -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(60, 70), (20, 21, 22)])
def test_skimage_agrees_on_zncc(shape):
    rng = np.random.default_rng(14)
    image, template = rng.random(shape), rng.random((5, 8, 7)[: len(shape)])
    found = sash.similarity(image, template, metric="zncc")
    tolerance.check(found, skimage.feature.match_template(image, template), 1e-9, "match_template")


def test_opencv_agrees_on_all_but_sad():
    import cv2

    rng = np.random.default_rng(15)
    image, template = rng.random((60, 70), np.float32), rng.random((9, 8), np.float32)
    for metric, theirs in (("ncc", cv2.TM_CCORR_NORMED), ("zncc", cv2.TM_CCOEFF_NORMED)):
        tolerance.check(sash.similarity(image, template, metric=metric), cv2.matchTemplate(image, template, theirs), 1e-4, metric)
    squares = cv2.matchTemplate(image, template, cv2.TM_SQDIFF)
    tolerance.check(sash.similarity(image, template, metric="ssd"), 1 - squares / template.size, 1e-4, "ssd")


# --- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_no_patch_array_is_ever_built(metric):
    """3x1080x1920 with a 3x64x64 template: the patches would be 93 GB (`test_plan.py` measures it)."""
    plan = sash.plan("similarity", (3, 1080, 1920), (3, 64, 64), metric=metric, channel_axis=0)
    assert plan.scratch < 50e6


@pytest.mark.parametrize("metric", METRICS)
def test_any_memory_limit_gives_the_whole(metric):
    rng = np.random.default_rng(16)
    image, template = rng.random((150, 160), np.float32), rng.random((11, 13), np.float32)
    tried = 0
    for limit in (None, 1 << 22, 1 << 20, 1 << 18):
        try:
            compare(image[:60, :60], template, metric, max_memory=limit)
        except sash.SashError as refusal:
            assert str(limit) in str(refusal)
            break
        tried += 1
    assert tried >= 3


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "template", "settings", "words"),
    [
        ((8, 9), (10, 3), {}, ("10", "8")),
        ((8, 9), (3, 3, 3), {}, ("3", "2")),
        ((8, 9), (3, 3), {"metric": "zncq"}, ("'zncq'", "'zncc'")),
        ((8, 9), (3, 3), {"mask": np.ones((3, 4))}, ("(3, 4)", "(3, 3)")),
        ((8, 9), (3, 3), {"mask": np.zeros((3, 3))}, ("mask",)),
        ((8, 9), (3, 3), {"mask": -np.ones((3, 3))}, ("mask", "-1")),
        ((8, 9), (3, 3), {"stride": 0}, ("stride=0",)),
        ((8, 9), (3, 3), {"data_range": 0}, ("data_range=0",)),
        ((8, 9), (3, 3), {"data_range": -1}, ("data_range=-1",)),
        ((3, 8, 9), (4, 3, 3), {"channel_axis": 0}, ("3", "4")),
        ((3, 8, 9), (3, 3, 3), {"channel_axis": 3}, ("channel_axis=3",)),
        ((8, 9), (0, 3), {}, ("0",)),
        ((8, 9), (3, 3), {"method": "ftt"}, ("'ftt'", "'fft'")),
    ],
)
def test_bad_input_is_refused(image, template, settings, words):
    with pytest.raises(sash.SashError) as caught:
        sash.similarity(np.ones(image), np.ones(template), **settings)
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert text.endswith(".") and "\n" not in text


def test_complex_images_are_refused():
    with pytest.raises(sash.SashError, match="complex"):
        sash.similarity(np.ones((8, 9), complex), np.ones((3, 3)), metric="sad")


# --- sizes at the ends of floats ------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["ncc", "zncc"])
@pytest.mark.parametrize(("dtype", "sizes"), [("float64", (1e-300, 1e-90, 1e78, 1e150, 1e300)), ("float32", (1e-36, 1e-18, 1e18, 1e36))])
@pytest.mark.parametrize("side", [20, 90])
def test_correlations_do_not_depend_on_the_unit(metric, dtype, sizes, side, way):
    rng = np.random.default_rng(7)
    image = rng.random((side, side + 3)).astype(dtype)
    template = image[4:12, 5:14].copy()
    wanted = sash.similarity(image, template, metric=metric)
    for of_image in sizes:
        for of_template in sizes:
            found = sash.similarity(image * np.dtype(dtype).type(of_image), template * np.dtype(dtype).type(of_template), metric=metric)
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 if dtype == "float32" else 1e-12)
            assert np.unravel_index(found.argmax(), found.shape) == (4, 5)


@pytest.mark.parametrize("metric", ["sad", "ssd"])
@pytest.mark.parametrize(
    ("dtype", "unit"), [("float32", 1e18), ("float32", 1e36), ("float32", 1e-30), ("float64", 1e200), ("float64", 1e-200)]
)
def test_differences_do_not_depend_on_the_unit(metric, dtype, unit, way):
    rng = np.random.default_rng(8)
    image = rng.random((60, 70)).astype(dtype)
    template = image[4:30, 5:24].copy()
    wanted = sash.similarity(image, template, metric=metric)
    unit = np.dtype(dtype).type(unit)
    with np.errstate(all="raise"):
        found = sash.similarity(image * unit, template * unit, metric=metric, data_range=float(unit))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 if dtype == "float32" else 1e-12)


def test_what_is_not_finite_stays_where_it_is_in_large_units(way):
    image = np.random.default_rng(9).random((30, 40)) * 1e200
    image[3, 4], image[20, 30] = np.nan, np.inf
    found = sash.similarity(image, image[10:15, 8:13].copy(), metric="zncc")
    touched = np.zeros(found.shape, bool)
    touched[:4, :5] = touched[16:21, 26:31] = True
    assert np.isfinite(found[~touched]).all()
    assert np.isnan(found[touched]).all()
    assert found[10, 8] == pytest.approx(1)


def test_a_template_that_is_larger_than_the_image_is_told_so():
    with pytest.raises(sash.SashError, match="template has 40 samples along axis 0 and image 30: give them the other way round"):
        sash.similarity(np.zeros((30, 30)), np.zeros((40, 40)))
