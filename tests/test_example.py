"""The RGB-D example: rays against formulas, a sensor against its source, runs that resume exactly, a real pair that is read right."""

from __future__ import annotations

import csv
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from rgbd import kinect, metrics, scenes, stereo
from rgbd.shapes import Box, Camera, Plane, Sphere, first, visible

SIZE = (24, 32)
EYE = np.zeros(3)


def camera(**pose) -> Camera:
    return Camera(SIZE, 30.0, **{"position": (0.3, 1.4, -0.2), **pose})


def pixels(view: Camera):
    """(x, y) of each pixel on the plane at depth 1, from the definition."""
    H, W = view.size
    return [((j - (W - 1) / 2) / view.focal, (i - (H - 1) / 2) / view.focal) for i in range(H) for j in range(W)]


def lifted(scene: scenes.Scene):
    """Each pixel's point in the world, from its exact depth."""
    return np.array(scene.camera.position) + scene.exact.reshape(-1, 1) * scene.camera.rays()


@pytest.mark.parametrize("pitch", (0.0, 0.4, -0.2))
def test_depth_of_a_floor_is_the_formula(pitch):
    view = camera(pitch=pitch)
    got = Plane((0, 1, 0), 0).reach(np.array(view.position), view.rays())
    for (_, y), z in zip(pixels(view), got, strict=True):
        falls = y * np.cos(pitch) + np.sin(pitch)  # per metre of depth
        assert z == pytest.approx(1.4 / falls if falls > 0 else np.inf)


def test_depth_of_a_wall_straight_ahead_is_its_distance_everywhere():
    view = camera(yaw=0.0)
    assert Plane((0, 0, -1), -3.0).reach(np.array(view.position), view.rays()) == pytest.approx(3.2)


def test_a_turned_camera_looks_along_its_axis():
    view = camera(yaw=0.7, pitch=0.3, roll=0.2)
    assert view.axes() @ view.axes().T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(view.axes() * [[1], [-1], [1]]) == pytest.approx(1), "x right, y down, z ahead; the world's y is up"
    assert view.axes()[2] == pytest.approx([np.sin(0.7) * np.cos(0.3), -np.sin(0.3), np.cos(0.7) * np.cos(0.3)])
    assert camera(roll=0.1).axes()[0][1] < 0, "rolled clockwise, right is lower"


def test_depth_of_a_sphere_is_the_formula():
    """By the angle between ray and centre: hit where it is below asin(radius / distance), at d cos a - sqrt(r² - d² sin² a)."""
    view, ball = camera(yaw=0.1), Sphere((0.6, 1.3, 2.5), 0.5)
    eye = np.array(view.position)
    to, rays = np.array(ball.centre) - eye, view.rays()
    d = np.linalg.norm(to)
    cos = rays @ to / d / np.linalg.norm(rays, axis=-1)
    hit = np.arccos(cos) < np.arcsin(ball.radius / d)
    along = d * cos - np.sqrt(np.where(hit, ball.radius**2 - d**2 * (1 - cos**2), 0))
    got = ball.reach(eye, rays)
    assert (np.isfinite(got) == hit).all()
    assert 10 < hit.sum() < hit.size
    assert got[hit] == pytest.approx((along / np.linalg.norm(rays, axis=-1))[hit])


@pytest.mark.parametrize("turn", (0.0, 0.5, 2.0))
def test_a_ray_enters_a_box_where_it_is_hit_and_nowhere_before(turn):
    view, box = camera(pitch=0.2), Box((0.1, 0.6, 2.5), (0.5, 0.6, 0.3), turn)
    eye, rays = np.array(view.position), view.rays()
    cos, sin = np.cos(turn), np.sin(turn)

    def inside(points):
        x, y, z = (points - np.array(box.centre)).T
        return (np.abs(cos * x + sin * z) < 0.5) & (np.abs(y) < 0.6) & (np.abs(cos * z - sin * x) < 0.3)

    got = box.reach(eye, rays)
    hit = np.isfinite(got)
    assert 50 < hit.sum() < hit.size
    assert inside(eye + (got[hit, None] + 1e-6) * rays[hit]).mean() > 0.99, "but for rays along an edge"
    for part in np.linspace(0, 1 - 1e-6, 50):
        assert not inside(eye + part * np.where(hit, got, 6)[:, None] * rays).any()
    points = eye + got[hit, None] * rays[hit]
    normal = box.normal(points)
    assert (np.sum(normal * rays[hit], axis=-1) < 0).all(), "the side that is seen looks at the eye"
    assert not inside(points + 1e-6 * normal).any()


def test_the_nearest_wins_and_hides_what_is_behind():
    shapes = [Plane((0, 0, -1), -3.0), Sphere((0.0, 0.0, 2.0), 0.5)]
    t, which = first(shapes, EYE, np.array([[0.0, 0, 1], [1.0, 0, 1]]))
    assert t == pytest.approx([1.5, 3.0])
    assert which.tolist() == [1, 0]
    assert visible(shapes, EYE, np.array([[0.0, 0, 3], [3.0, 0, 3]])).tolist() == [False, True]


@pytest.mark.parametrize("seed", range(8))
def test_labels_are_what_stands_there(seed):
    made = scenes.scene(seed, size=SIZE)
    points, labels = lifted(made), np.array(scenes.LABELS)[made.labels.flatten()]
    height = points[:, 1]
    assert height[labels == "floor"] == pytest.approx(0, abs=1e-9)
    top = height[labels == "ceiling"]
    assert top == pytest.approx(top[:1].repeat(top.size))
    assert height.min() > -1e-9
    assert (height[labels != "ceiling"] < (top[0] if top.size else 3.2) + 1e-9).all()
    assert (made.exact > 0).all()
    assert np.isfinite(made.exact).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_same_seed_is_the_same_scene(seed):
    one, same, other = scenes.scene(seed, 3), scenes.scene(seed, 3), scenes.scene(seed, 4)
    for name, kind in (("image", np.float32), ("depth", np.float32), ("exact", np.float64), ("labels", np.uint8)):
        assert getattr(one, name).dtype == kind
        assert np.array_equal(getattr(one, name), getattr(same, name))
        assert not np.array_equal(getattr(one, name), getattr(other, name))
    assert one.focal == same.focal != other.focal
    assert one.image.shape == (3, *scenes.SIZE)
    assert 0 <= one.image.min() < one.image.max() <= 1


def test_colour_does_not_name_the_label():
    """The best guess from a pixel's colour alone is hardly better than the commonest label."""
    views = [scenes.scene(50, index, size=SIZE) for index in range(60)]
    bins = np.concatenate([np.ravel_multi_index((view.image * 3.999).astype(int), (4, 4, 4)).ravel() for view in views])
    labels = np.concatenate([view.labels.ravel() for view in views])
    table = np.zeros((64, len(scenes.LABELS)))
    np.add.at(table, (bins, labels), 1)
    assert (table.sum(0) > 0.01 * table.sum()).all(), "every label occurs"
    assert table.max(1).sum() / table.sum() < table.sum(0).max() / table.sum() + 0.05


def test_steps_of_depth_grow_with_its_square():
    levels = np.unique(kinect.quantised(np.linspace(0.5, 5, 200_001)))
    for below, above in pairwise(levels):
        assert above - below == pytest.approx(kinect.STEP * below * above)
    near, far = (np.diff(levels)[np.searchsorted(levels, z)] for z in (1.0, 4.0))
    assert far / near == pytest.approx(16, rel=0.05)
    assert np.diff(levels)[-1] == pytest.approx(0.07, abs=0.003), "7 cm at 5 m, as in the source"


def test_the_sensor_keeps_to_its_steps_and_loses_what_it_cannot_see():
    rng = np.random.default_rng(0)
    exact = np.tile(np.linspace(0.3, 6.0, 400), (50, 1))
    exact[:, 200:] += 0.5
    cosine, lit = np.ones_like(exact), np.ones(exact.shape, bool)
    cosine[0], lit[1] = 0.05, False
    depth = kinect.measured(exact, cosine, lit, rng)
    assert not depth[:2].any()
    assert not depth[:, (exact[0] < 0.5) | (exact[0] > 5)].any()
    assert 0 < (depth[2:, 199:201] == 0).mean() < 1, "some of an edge"
    there = depth > 0
    steps = 1 / (kinect.STEP * depth[there].astype(float))
    assert steps == pytest.approx(np.rint(steps), abs=1e-3)
    error = (1 / depth[there] - 1 / exact[there]) / kinect.STEP
    assert error.std() == pytest.approx(np.hypot(kinect.NOISE, 12**-0.5), rel=0.03), "noise and rounding, in steps"
    assert error.mean() == pytest.approx(0, abs=0.03)


def test_a_scene_has_holes_like_those_of_a_sensor():
    views = [scenes.scene(60, index) for index in range(12)]
    assert 0.01 < np.mean([(view.depth == 0).mean() for view in views]) < 0.25
    for view in views:
        there = view.depth > 0
        assert (np.abs(view.depth - view.exact)[there] < 3 * kinect.STEP * view.exact[there] ** 2).all()


def test_measures_of_counts():
    told = metrics.measures(np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]]), ("a", "b", "c"))
    assert told["iou_a"] == pytest.approx(3 / 6)
    assert told["iou_b"] == pytest.approx(4 / 7)
    assert np.isnan(told["iou_c"])
    assert told["mean_iou"] == pytest.approx((3 / 6 + 4 / 7) / 2), "a label that never occurs is not counted"
    assert told["accuracy"] == pytest.approx(0.7)


def test_spread_over_seeds():
    rows = [{"variant": v, "mean_iou": x} for v, x in (("rgb", 0.4), ("planes", 0.6), ("rgb", 0.5))]
    rgb, planes = metrics.spreads(rows)
    assert (rgb.variant, planes.variant) == ("rgb", "planes")
    assert str(rgb) == "45.0 ± 7.1 %"
    assert str(planes) == "60.0 % (one seed)"


def test_a_disparity_is_a_depth_by_the_calibration():
    pytest.importorskip("skimage")
    from skimage.data import stereo_motorcycle

    left, right, disparity = stereo_motorcycle()
    pair = stereo.motorcycle()
    missing = ~np.isfinite(disparity)
    assert np.array_equal(pair.depth == 0, missing)
    assert pair.missing == pytest.approx(0.0735, abs=1e-4)
    assert pair.depth[~missing] == pytest.approx(994.978 * 0.193001 / (disparity[~missing] + 31.086))
    assert 2 < pair.depth[~missing].min() < pair.depth.max() < 5.1
    row, column = np.nonzero(~missing & (np.arange(741) > np.where(missing, 0, disparity)))
    shifts = [0, np.rint(disparity[row, column]).astype(int)]
    apart = [np.abs(left[row, column] / 255 - right[row, column - by] / 255).mean() for by in shifts]
    assert apart[1] < 0.25 * apart[0], "the disparity leads from the left image to the right one"


def test_thinning_averages_colour_and_picks_depth():
    image = np.arange(3 * 6 * 7, dtype=np.float32).reshape(3, 6, 7)
    depth = np.zeros((6, 7), np.float32)
    depth[1, 4] = 2.5
    thin = stereo.Pair(image, depth).thinned(3)
    assert thin.image == pytest.approx(
        np.stack([[[c[:3, :3].mean(), c[:3, 3:6].mean()], [c[3:, :3].mean(), c[3:, 3:6].mean()]] for c in image])
    )
    assert thin.depth.tolist() == [[0, 2.5], [0, 0]]
    assert (thin.spacing, thin.focal) == (3, 994.978)


# What is trained.


@pytest.fixture(scope="module")
def script():
    pytest.importorskip("torch")
    pytest.importorskip("sash.nn")
    import rgbd_segmentation
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tests run side by side
    yield rgbd_segmentation
    torch.set_num_threads(threads)


TINY = ("train", "--seeds=1", "--epochs=3", "--scenes=6", "--tests=3", "--batch=4", "--width=4", "--variants", "rgb", "planes")


def table(folder: Path):
    """The rows of metrics.csv but for the seconds."""
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def whole(script, tmp_path_factory):
    """A folder of runs that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert script.main([*TINY, "--out", str(folder)]) == 0
    return folder


def test_training_leaves_rows_checkpoints_and_a_figure(whole):
    assert sorted(path.name for path in whole.iterdir()) == ["metrics.csv", "planes-0.pt", "rgb-0.pt", "segmentation.png"]
    rows = table(whole)
    assert [(row["variant"], row["epoch"]) for row in rows] == [(v, str(e)) for v in ("rgb", "planes") for e in (1, 2, 3)]
    assert all(0 <= float(row["mean_iou"]) <= 1 and float(row["loss"]) > 0 for row in rows)


@pytest.mark.parametrize("when", ("before", "after", "within"))
@pytest.mark.parametrize("at", (2, 4))
def test_a_stopped_run_ends_as_if_it_had_not_been_stopped(script, whole, tmp_path, monkeypatch, capsys, when, at):
    """Stopped between the row and the checkpoint, after the checkpoint, and in the middle of an epoch; in the first run and the second."""
    import torch

    monkeypatch.setattr(script.figures, "compared", lambda *_: None)
    with monkeypatch.context() as patch:
        seen = []
        name = "epoch" if when == "within" else "save"
        method = getattr(script.Run, name)

        def stop(*_):
            raise KeyboardInterrupt

        def stopping(run, *arguments):
            seen.append(run)
            if len(seen) == at and when == "before":
                stop()
            if len(seen) == at and when == "within":
                arguments = (*arguments[:2], stop)
            result = method(run, *arguments)
            if len(seen) == at:
                stop()
            return result

        patch.setattr(script.Run, name, stopping)
        assert script.main([*TINY, "--out", str(tmp_path)]) == script.STOPPED
    assert "goes on from the last whole epoch" in capsys.readouterr().err
    assert script.main([*TINY, "--out", str(tmp_path)]) == 0
    assert table(tmp_path) == table(whole)
    for name in ("rgb-0.pt", "planes-0.pt"):
        one, other = (torch.load(folder / name, weights_only=True)["network"] for folder in (whole, tmp_path))
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_finished_run_is_not_done_again_and_others_keep_their_rows(script, whole, monkeypatch):
    monkeypatch.setattr(script.Run, "epoch", None)
    monkeypatch.setattr(script.figures, "compared", lambda *_: None)
    before = table(whole)
    for variants in (("rgb", "planes"), ("planes",)):
        assert script.main([*TINY[:-2], *variants, "--out", str(whole)]) == 0
        assert table(whole) == before


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(script, tmp_path, monkeypatch):
    import torch

    run = script.Run("rgb", 0, script.Settings(width=4), tmp_path)
    run.save()
    before = run.path.read_bytes()

    def full(_, path):
        Path(path).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        run.save()
    assert run.path.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((*TINY, "--width=5"), "was trained with width 4, not 5; say the same again, or choose another --out."),
        (("stereo", "--checkpoint", "nowhere.pt"), "There is no checkpoint nowhere.pt; `train` writes one"),
        (("stereo", "--checkpoint", "{whole}/metrics.csv"), "cannot be read as a checkpoint"),
        (("stereo", "--checkpoint", "{whole}/planes-0.pt", "--thin", "200"), "--thin 200 leaves 2 × 3 pixels; take at most 80."),
    ],
)
def test_refusals_are_sentences_with_a_way_out(script, whole, capsys, words, sentence):
    assert script.main([*(word.format(whole=whole) for word in words), "--out", str(whole)]) == script.REFUSED
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert "Traceback" not in said


@pytest.mark.parametrize("words", [("train", "--seeds", "0"), ("train", "--rate", "-1"), ("train", "--variants", "depth"), ("stereo",), ()])
def test_wrong_words_are_refused(script, capsys, words):
    with pytest.raises(SystemExit) as refused:
        script.main(words)
    assert refused.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_a_file_cannot_be_the_folder(script, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert script.main([*TINY, "--out", str(tmp_path / "file")]) == script.REFUSED
    assert "cannot be a folder" in capsys.readouterr().err


@pytest.mark.parametrize("variant", ("rgb", "planes"))
def test_the_real_pair_is_looked_at(script, whole, tmp_path, capsys, variant):
    pytest.importorskip("skimage")
    assert script.main(["stereo", "--checkpoint", str(whole / f"{variant}-0.pt"), "--thin", "12", "--out", str(tmp_path)]) == 0
    from matplotlib.image import imread

    assert len(np.unique(imread(tmp_path / "stereo.png"))) > 100
    said = capsys.readouterr()
    assert "there is no truth to hold it to" in said.out + said.err


def test_without_depth_a_network_with_planes_is_a_plain_one(script):
    """missing="center" reads the middle plane everywhere; the others may hold anything."""
    import torch
    from rgbd.network import Segmenter

    torch.manual_seed(0)
    planes, plain = Segmenter("planes", 4).eval(), Segmenter("rgb", 4).eval()
    state = planes.state_dict()
    plain.load_state_dict({name: value[1] if value.ndim == 5 else value for name, value in state.items()})
    for value in state.values():
        if value.ndim == 5:
            value[[0, 2]] = 1e6
    image, nothing, focal = torch.rand(2, 3, 21, 26), torch.zeros(2, 21, 26), torch.tensor([30.0, 40.0])
    nothing[:, ::2] = torch.inf
    nothing[:, :, ::3] = torch.nan
    nothing[:, 0, 0] = 2.0  # it sees itself in the middle
    with torch.inference_mode():
        assert torch.allclose(planes(image, nothing, focal), plain(image, nothing, focal), rtol=1e-4, atol=1e-5)


def test_spacing_is_focal_turned_round(script):
    """A calibrated focal with its spacing, or the focal of the thin image: the same planes."""
    import torch
    from rgbd.network import Segmenter

    torch.manual_seed(0)
    network = Segmenter("planes", 4).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.3)
    image, depth = torch.rand(1, 3, 20, 24), torch.rand(1, 20, 24) + 2
    with torch.inference_mode():
        one, other = network(image, depth, torch.tensor([800.0]), 8), network(image, depth, torch.tensor([100.0]))
    assert torch.allclose(one, other)
