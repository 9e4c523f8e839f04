"""`conv2_5d`, `depth_planes` and `depth_report` on NumPy: the definition, the laws, and what a layer stands on."""

import numpy as np
import pytest

import oracle_networks
import sash
import tolerance
from problems_networks import depth_case, scene
from sash import methods

METHODS = methods.names()
SEEDS = 160


def attempt(case, method, **changes):
    """The answer of a method to a random problem, or None where it refuses in words."""
    try:
        return sash.conv2_5d(case.x, case.depth, case.weight, case.bias, method=method, **{**case.settings, **case.optics, **changes})
    except sash.SashError as refusal:
        text = str(refusal)
        assert method in text and len(text.split()) > 4 and text.endswith("."), f"{case}\n{text}"
        return None


def answer(case, **changes):
    told = {"x": case.x, "depth": case.depth, "weight": case.weight, "bias": case.bias, **case.settings, **case.optics, **changes}
    return sash.conv2_5d(told.pop("x"), told.pop("depth"), told.pop("weight"), told.pop("bias"), **told)


def planes_of(case, **changes):
    told = {"depth": case.depth, "size": case.size, **case.sliding, **changes}
    return sash.depth_planes(told.pop("depth"), told.pop("size"), **told)


# --- the definition ------------------------------------------------------------------------------


def test_the_problems_meet_everything_there_is():
    met = [0, 0, 0, 0]
    for seed in range(SEEDS):
        case = depth_case(seed)
        told = {name: value for name, value in case.sliding.items() if name != "missing"}
        shares = oracle_networks.depth_shares(case.depth, case.size, **told)
        for i, share in enumerate((sum(share > 0 for share in shares[:-3]) > 1, *shares[-3:])):
            met[i] += share > 0.02
    assert min(met) > SEEDS // 5, met


def test_planes_equal_the_definition():
    for seed in range(SEEDS):
        case = depth_case(seed)
        before = case.depth.tobytes()
        found = planes_of(case)
        assert case.depth.tobytes() == before, f"{case}: depth was written to"
        assert found.dtype == np.int8 and found.shape == case.plane_map.shape, f"{case}: {found.dtype} {found.shape}"
        np.testing.assert_array_equal(found, case.plane_map, err_msg=str(case))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_equals_the_definition(method):
    for seed in range(SEEDS):
        case = depth_case(seed)
        before = [a.tobytes() for a in (case.x, case.depth, case.weight)]
        found = attempt(case, method)
        assert before == [a.tobytes() for a in (case.x, case.depth, case.weight)], f"{case}: an input was written to"
        if found is None:
            continue
        assert found.dtype == case.x.dtype.newbyteorder("="), f"{case}: {found.dtype}"
        assert not np.shares_memory(found, case.x)
        case.check(found, method)


def test_the_planners_choice_equals_the_definition():
    for seed in range(SEEDS, SEEDS + 100):
        case = depth_case(seed)
        case.check(answer(case), "auto")


def test_some_method_is_always_willing():
    for seed in range(40):
        case = depth_case(seed)
        assert any(attempt(case, method) is not None for method in METHODS), case


def test_larger_problems_equal_the_definition():
    """Whole vectors of channels, several blocks and several threads."""
    rng = np.random.default_rng(1)
    for channels, outputs, groups, planes, dtype in ((32, 40, 1, 3, np.float32), (24, 24, 2, 4, np.float64), (1, 70, 1, 3, np.float32)):
        x = rng.standard_normal((2, channels, 61, 47)).astype(dtype)
        weight = rng.standard_normal((planes, outputs, channels // groups, 3, 3)).astype(dtype)
        depth = scene(rng, 2, 61, 47, 0.05).astype(np.float32)
        told = {"focal": 30.0, "padding": 1, "missing": "drop" if planes == 4 else "center"}
        plane_map = sash.depth_planes(depth, 3, planes=planes, **told)
        exact = oracle_networks.conv2_5d(x, plane_map, weight, padding=1, groups=groups)
        bound = tolerance.promise(abs(weight).max(0)[0], tolerance.magnitude(x), dtype) * 1.5
        tolerance.check(sash.conv2_5d(x, depth, weight, groups=groups, **told), exact, bound, f"{channels}, {outputs}, {groups}, {planes}")


def test_a_plane_map_stands_for_depth():
    for seed in range(60):
        case = depth_case(seed)
        told = {name: case.settings[name] for name in ("stride", "padding", "dilation", "groups")}
        found = sash.conv2_5d(case.x, planes_of(case), case.weight, case.bias, **told)
        np.testing.assert_array_equal(found, answer(case), err_msg=str(case))


# --- laws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["center", "drop"])
@pytest.mark.parametrize("planes", [1, 3, 5])
def test_flat_depth_is_a_convolution_with_the_middle_plane(planes, missing):
    """The law that a scrambled view of the windows does not pass."""
    rng = np.random.default_rng(2)
    for size, settings in (
        (3, {"padding": 1}),
        ((3, 5), {"padding": ((0, 2), (3, 1)), "stride": (2, 1)}),
        (3, {"dilation": 2, "groups": 2}),
    ):
        kh, kw = (size, size) if isinstance(size, int) else size
        x, weight = rng.standard_normal((2, 4, 9, 10)), rng.standard_normal((planes, 6, 4 // settings.get("groups", 1), kh, kw))
        depth, bias = np.full((2, 9, 10), 1.7), rng.standard_normal(6)
        inside = {} if missing == "center" else {"padding": 0}  # a centre in the padding is missing
        settings = {**settings, **inside}
        found = sash.conv2_5d(x, depth, weight, bias, focal=12.0, missing=missing, **settings)
        wanted = oracle_networks.conv(x, weight[planes // 2], bias, **settings)
        np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_equal_planes_and_nothing_outside_are_a_convolution():
    rng = np.random.default_rng(3)
    for planes in (1, 2, 3, 4):
        one, x = rng.standard_normal((1, 5, 3, 3, 3)), rng.standard_normal((2, 3, 8, 11))
        weight = np.repeat(one, planes, 0)
        depth = 2 + 0.05 * rng.random((2, 8, 11))
        found = sash.conv2_5d(x, depth, weight, focal=2.0 / planes, missing="drop")
        np.testing.assert_allclose(found, oracle_networks.conv(x, one[0]), atol=1e-12)


def test_the_unit_of_depth_does_not_matter():
    for seed in range(60):
        case = depth_case(seed)
        for scale in (8.0, 0.125):
            scaled = (case.depth * case.depth.dtype.type(scale)).astype(case.depth.dtype)
            np.testing.assert_array_equal(planes_of(case, depth=scaled), planes_of(case), err_msg=str(case))


def test_focal_and_spacing_count_by_their_ratio():
    for seed in range(30):
        case = depth_case(seed)
        twice = {"focal": np.asarray(case.optics["focal"]) * 2, "spacing": case.optics["spacing"] * 2}
        np.testing.assert_array_equal(planes_of(case, **twice), planes_of(case), err_msg=str(case))


def test_unequal_dilations_count_by_their_geometric_mean():
    rng = np.random.default_rng(4)
    depth = scene(rng, 1, 20, 21, 0.1)
    told = {"focal": 20.0, "padding": 4}
    wide = sash.depth_planes(depth, (3, 3), dilation=(1, 4), **told)
    np.testing.assert_array_equal(wide, oracle_networks.depth_planes(depth, 3, dilation=(1, 4), **told))
    same = sash.depth_planes(depth, (3, 1), dilation=(2, 1), focal=20.0, spacing=1.0, padding=0)
    other = sash.depth_planes(depth, (3, 1), dilation=(2, 2), focal=20.0, spacing=np.sqrt(0.5), padding=0)
    np.testing.assert_array_equal(same, other)


def test_a_focal_length_for_each_image():
    rng = np.random.default_rng(5)
    depth, focal = scene(rng, 3, 9, 8), np.array([5.0, 20.0, 80.0])
    whole = sash.depth_planes(depth, 3, focal=focal, padding=1)
    for n in range(3):
        np.testing.assert_array_equal(whole[n : n + 1], sash.depth_planes(depth[n : n + 1], 3, focal=focal[n], padding=1))
    assert not np.array_equal(whole[:1], sash.depth_planes(depth[:1], 3, focal=80.0, padding=1))


def test_mirroring_everything_mirrors_the_answer():
    rng = np.random.default_rng(6)
    for missing in ("center", "drop"):
        x, depth = rng.standard_normal((2, 3, 9, 11)), scene(rng, 2, 9, 11)
        weight, told = rng.standard_normal((3, 4, 3, 3, 5)), {"focal": 15.0, "padding": ((1, 1), (2, 2)), "missing": missing}
        found = sash.conv2_5d(x[..., ::-1], depth[..., ::-1], weight[..., ::-1], **told)
        np.testing.assert_allclose(found, sash.conv2_5d(x, depth, weight, **told)[..., ::-1], atol=1e-12)
        found = sash.conv2_5d(x[..., ::-1, :], depth[..., ::-1, :], weight[..., ::-1, :], **told)
        np.testing.assert_allclose(found, sash.conv2_5d(x, depth, weight, **told)[..., ::-1, :], atol=1e-12)


def test_stride_two_is_every_second_of_stride_one():
    for seed in range(50):
        case = depth_case(seed, ("float64",))
        if case.settings["padding"] in ("same", "same_lower"):
            continue
        np.testing.assert_array_equal(planes_of(case, stride=(2, 3)), planes_of(case, stride=1)[..., ::2, ::3])
        np.testing.assert_allclose(answer(case, stride=(2, 3)), answer(case, stride=1)[..., ::2, ::3], atol=1e-9, err_msg=str(case))


def test_a_tap_on_an_edge_counts_once_in_the_upper_bin():
    """Centre 8, ratio 1/4 and three planes: edges at 5, 7, 9 and 11; nothing at 11, nor below 5."""
    z = np.array([4.999, 5, 6.999, 7, 8, 8.999, 9, 10.999, 11.0])
    depth = np.full((1, 3, 3 * len(z)), 8.0)
    depth[0, 0, 1::3] = z
    planes = sash.depth_planes(depth, 3, focal=4.0, stride=(1, 3))
    assert planes[0, 0, 1, 0].tolist() == [-1, 0, 0, 1, 1, 1, 2, 2, -1]
    even = sash.depth_planes(np.where(depth == 8, 8, depth), 3, planes=2, focal=4.0, stride=(1, 3), missing="drop")  # 6, 8, 10
    assert even[0, 0, 1, 0].tolist() == [-1, -1, 0, 0, 1, 1, 1, -1, -1]
    assert even[0, 1, 1, 0].tolist() == [1] * len(z), "the centre itself stands on an edge of an even number of planes"
    for dtype in (np.float32, np.float16):
        kept = sash.depth_planes(depth.astype(dtype), 3, focal=4.0, stride=(1, 3))
        assert kept[0, 0, 1, 0, [1, 3, 4, 6, 8]].tolist() == [0, 1, 1, 2, -1]


def test_bins_are_made_in_double_precision():
    """Depth of float32 right below and on an edge that float32 arithmetic would not tell apart."""
    rng = np.random.default_rng(7)
    for _ in range(40):
        center, focal = np.float32(rng.uniform(0.5, 5)), rng.uniform(100, 900)
        edge = float(center) * (1 + 0.5 / focal)
        depth = np.full((1, 1, 3), center)
        around = np.nextafter(np.float32(edge), np.float32([0, 10]))
        for z in (around[0], np.float32(edge), around[1]):
            depth[0, 0, 0] = z
            found = sash.depth_planes(depth, (1, 3), focal=focal)
            assert found[0, 0, 0, 0, 0] == (2 if float(z) >= edge else 1)


def test_images_of_a_batch_do_not_see_each_other():
    rng = np.random.default_rng(8)
    x, depth, weight = rng.standard_normal((3, 2, 7, 7)), scene(rng, 3, 7, 7), rng.standard_normal((3, 4, 2, 3, 3))
    whole = sash.conv2_5d(x, depth, weight, focal=15.0, padding=1)
    for n in range(3):
        alone = sash.conv2_5d(x[n : n + 1], depth[n : n + 1], weight, focal=15.0, padding=1)
        np.testing.assert_allclose(whole[n : n + 1], alone, atol=1e-12)


# --- missing depth -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, -np.inf])
def test_missing_depth_at_a_tap_and_at_the_centre(value):
    depth = np.full((1, 3, 5), 8.0)
    depth[0, 0, 0], depth[0, 1, 3], depth[0, 0, 1] = value, value, 100.0
    center, drop = (sash.depth_planes(depth, 3, focal=4.0, missing=missing)[0, ..., 0, :] for missing in ("center", "drop"))
    assert center[..., 0].tolist() == [[1, -1, 1], [1, 1, 1], [1, 1, 1]]
    assert drop[..., 0].tolist() == [[-1, -1, 1], [1, 1, 1], [1, 1, 1]]
    assert center[..., 1].tolist() == [[-1, 1, 1], [1, 1, 1], [1, 1, 1]]
    assert drop[..., 1].tolist() == [[-1, 1, 1], [1, 1, -1], [1, 1, 1]]
    assert center[..., 2].tolist() == [[1] * 3] * 3, "the centre's depth is missing: an ordinary convolution"
    assert drop[..., 2].tolist() == [[-1] * 3] * 3


def test_a_centre_in_the_padding_has_no_depth():
    depth = np.full((1, 1, 3), 8.0)
    depth[0, 0, 1] = 100.0
    center, drop = (
        sash.depth_planes(depth, (1, 3), focal=4.0, missing=missing, padding=((0, 0), (2, 2))) for missing in ("center", "drop")
    )
    assert center[0, 0, :, 0].T.tolist() == [[-1, -1, 1], [-1, 1, -1], [-1, 1, -1], [-1, 1, -1], [1, -1, -1]]
    assert drop[0, 0, :, 0].T.tolist() == [[-1, -1, -1], [-1, 1, -1], [-1, 1, -1], [-1, 1, -1], [-1, -1, -1]]


def test_nan_and_infinity_in_x_touch_what_reads_them_and_nothing_else():
    rng = np.random.default_rng(9)
    for seed in range(60):
        case = depth_case(seed, ("float32", "float64"))
        x = np.array(case.x)
        x.flat[rng.integers(0, x.size, 2)] = rng.choice([np.nan, np.inf], 2)
        exact = oracle_networks.conv2_5d(x, case.plane_map, case.weight, case.bias, **case.settings)
        tolerance.check(answer(case, x=x), exact, case.bound(x.dtype), f"NaN or inf on {case}")


# --- the report ----------------------------------------------------------------------------------


def test_the_report_counts_what_taps_meet():
    for seed in range(80):
        case = depth_case(seed)
        told = {name: value for name, value in case.sliding.items() if name != "missing"}
        report = sash.depth_report(case.depth, case.size, missing=case.optics["missing"], **told)
        shares = oracle_networks.depth_shares(case.depth, case.size, **told)
        found = [*report.planes, report.outside, report.missing, report.padding]
        assert isinstance(report.planes, tuple) and len(report.planes) == len(case.weight)
        np.testing.assert_allclose(found, shares, atol=1e-12, err_msg=str(case))
        assert abs(sum(found) - 1) < 1e-12
        assert "%" in str(report) or "planes" in str(report)


@pytest.mark.parametrize("limit", [1 << 20, 1 << 17])
def test_any_memory_limit_gives_the_whole(limit):
    rng = np.random.default_rng(10)
    x, depth, weight = rng.standard_normal((2, 8, 40, 41)), scene(rng, 2, 40, 41), rng.standard_normal((3, 9, 8, 3, 3))
    whole = sash.conv2_5d(x, depth, weight, focal=15.0, padding=1)
    for method in METHODS:
        try:
            found = sash.conv2_5d(x, depth, weight, focal=15.0, padding=1, method=method, max_memory=limit)
        except sash.SashError as refusal:
            assert str(limit) in str(refusal).replace(",", "") or method in str(refusal), refusal
            continue
        np.testing.assert_allclose(found, whole, atol=1e-11, err_msg=method)
