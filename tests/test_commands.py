"""`sash blur`, `correlate` and `match`: what they write of photographs, arrays and volumes."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from scipy import ndimage

import sash
from command import AFFINE, GREY, PHOTO, RNG, VOLUME, done, furnished, read, refused
from sash.cli import files
from sash.ops.similarity import METRICS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return furnished(tmp_path, monkeypatch)


# --- blur --------------------------------------------------------------------------------------------------------------


def test_blur_leaves_colours_apart(folder: Path) -> None:
    assert "out.png: 40 × 50 × 3 uint8" in done("blur", "photo.png", "out.png", "--sigma", 2)
    expected = ndimage.gaussian_filter(PHOTO.astype(float), (2, 2, 0))
    np.testing.assert_allclose(read("out.png"), expected, atol=0.5001)


def test_blur_per_axis_and_options(folder: Path) -> None:
    done(
        "blur",
        "x.npy",
        "out.npy",
        "-s",
        "1,0.5,2",
        "--boundary",
        "wrap",
        "--truncate",
        3,
        "--threads",
        1,
        "--max-memory",
        "64MiB",
    )
    expected = ndimage.gaussian_filter(VOLUME, (1, 0.5, 2), mode="wrap", truncate=3)
    np.testing.assert_allclose(read("out.npy"), expected, rtol=1e-5)
    done("blur", "x.npy", "out.npy", "-s", "1", "--axes=-1", "--order", 1, "--boundary", "constant", "--cval", "7", "-f")
    expected = ndimage.gaussian_filter1d(VOLUME, 1, order=1, mode="constant", cval=7)
    np.testing.assert_allclose(read("out.npy"), expected, atol=1e-4)


def test_blur_in_millimetres(folder: Path) -> None:
    done("blur", "brain.nii.gz", "out.nii.gz", "--sigma", "3mm")
    out = nibabel.load("out.nii.gz")
    np.testing.assert_allclose(out.get_fdata(), ndimage.gaussian_filter(VOLUME, (1.5, 2, 0.75)), rtol=1e-5)
    np.testing.assert_allclose(out.affine, AFFINE)
    assert out.get_data_dtype() == np.float32


def test_blur_does_not_mix_time(folder: Path) -> None:
    series = RNG.normal(size=(6, 7, 8, 5)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(series, AFFINE), "bold.nii")
    done("blur", "bold.nii", "out.nii", "--sigma", "2mm,1,2mm")
    np.testing.assert_allclose(read("out.nii"), ndimage.gaussian_filter(series, (1, 1, 0.5, 0)), atol=1e-5)


def test_derivatives_of_integers_are_floats(folder: Path) -> None:
    done("blur", "grey.png", "slope.tif", "-s", 1, "--order", "0,1")
    assert read("slope.tif").dtype == np.float32
    assert "the result is float32; write .tif or .npy" in refused("blur", "grey.png", "slope.png", "-s", 1, "--order", "0,1")


# --- correlate ---------------------------------------------------------------------------------------------------------


def test_correlate_with_numbers_and_files(folder: Path) -> None:
    kernel = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]])
    np.save("kernel.npy", kernel)
    done("correlate", "grey.png", str(kernel.tolist()), "a.npy", "--stride", "2,1", "--padding", "1:0,1")
    done("correlate", "grey.png", "kernel.npy", "b.tif", "--stride", "2,1", "--padding", "1:0,1")
    expected = ndimage.correlate(GREY.astype(np.int64), kernel, mode="constant")[:39:2]
    np.testing.assert_array_equal(read("a.npy"), expected)
    np.testing.assert_array_equal(read("b.tif"), expected)
    assert read("a.npy").dtype == np.int64


def test_correlate_goes_over_space(folder: Path) -> None:
    done("correlate", "photo.png", "[[1, 1], [1, 2]]", "a.npy")
    done("correlate", "photo.png", "[[1, 1], [1, 2]]", "c.npy", "--convolve", "--axes", "0,1")
    expected = sash.correlate(PHOTO, np.array([[1, 1], [1, 2]]), axes=(0, 1))
    np.testing.assert_array_equal(read("a.npy"), expected)
    np.testing.assert_array_equal(read("c.npy"), sash.convolve(PHOTO, np.array([[1, 1], [1, 2]]), axes=(0, 1)))
    assert expected.shape == (39, 49, 3)


def test_clip_keeps_a_photograph_one(folder: Path) -> None:
    done("correlate", "photo.png", "[[0.5,0.5]]", "soft.png", "--clip", "--padding", "same")
    assert (read("soft.png").dtype, read("soft.png").shape) == (np.uint8, PHOTO.shape)
    done("correlate", "grey.png", "[[3,-1]]", "sharp.png", "--clip")
    expected = np.clip(3 * GREY[:, :-1].astype(int) - GREY[:, 1:], 0, 255)
    np.testing.assert_array_equal(read("sharp.png"), expected)
    said = refused("correlate", "photo.png", "[[1,-1]]", "out.png")
    assert "PNG holds uint8 (grey uint16 too), and the result is int64; write .tif or .npy instead, or add --clip" in said


def test_a_strided_volume_stays_in_its_place(folder: Path) -> None:
    """The centre of each window, through the affine, is where the result says it lies."""
    nibabel.save(nibabel.Nifti1Image(VOLUME, AFFINE), "v.nii")
    np.save("k.npy", np.ones((3, 5, 1), np.float32))
    done("correlate", "v.nii", "k.npy", "out.nii", "--stride", "2,3,1", "--padding", "1:0,0,0")
    out = nibabel.load("out.nii")
    first = np.array([0.0, 2.0, 0.0, 1.0])  # windows start at -1 and 0; their centres lie 1 and 2 further
    np.testing.assert_allclose(out.affine @ [0, 0, 0, 1], AFFINE @ first)
    np.testing.assert_allclose(out.affine @ [1, 1, 1, 1], AFFINE @ (first + [2, 3, 1, 0]))
    np.testing.assert_allclose(out.header.get_zooms(), (4, 4.5, 4))


# --- match -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_match_finds_a_cut(folder: Path, metric: str) -> None:
    files.write(Path("cut.png"), files.Content(PHOTO[11:20, 23:31], (0, 1)), force=False)
    found = json.loads(done("match", "photo.png", "cut.png", "--metric", metric, "--json"))
    assert (found["position"], found["size"], found["metric"]) == ([11, 23], [9, 8], metric)
    assert found["score"] == pytest.approx(1, abs=1e-5)
    assert "best match at 11, 23" in done("match", "photo.png", "cut.png", "--metric", metric)


def test_match_counts_in_samples_of_the_image(folder: Path) -> None:
    np.save("cut.npy", VOLUME[4:8, 6:9, 2:7])
    found = json.loads(done("match", "x.npy", "cut.npy", "--stride", "2,3,1", "--json", "--metric", "sad", "--data-range", 200))
    assert found["position"] == [4, 6, 2]


def test_match_draws_the_place(folder: Path) -> None:
    files.write(Path("cut.png"), files.Content(GREY[11:20, 23:31], (0, 1)), force=False)
    done("match", "grey.png", "cut.png", "--out", "found.png")
    drawn = read("found.png")
    inside = np.zeros(GREY.shape, bool)
    inside[11:20, 23:31] = True
    around = ndimage.binary_dilation(inside, np.ones((3, 3))) & ~inside
    assert (drawn[around] == (255, 60, 0)).all()
    np.testing.assert_array_equal(drawn[~around], np.repeat(GREY[..., None], 3, -1)[~around])
    assert "found.png exists and is kept" in refused("match", "grey.png", "cut.png", "--out", "found.png")


def test_a_picture_and_an_array_are_matched_as_pictures(folder: Path) -> None:
    np.save("cut.npy", PHOTO[11:20, 23:31])
    assert json.loads(done("match", "photo.png", "cut.npy", "--json"))["position"] == [11, 23]


def test_four_channels_of_floats_are_no_transparency(folder: Path) -> None:
    bands = RNG.normal(size=(20, 30, 4)).astype(np.float32)
    tifffile.imwrite("bands.tif", bands, photometric="minisblack", planarconfig="contig", metadata={"axes": "YXS"})
    tifffile.imwrite("cut.tif", bands[3:9, 4:10], photometric="minisblack", planarconfig="contig", metadata={"axes": "YXS"})
    assert json.loads(done("match", "bands.tif", "cut.tif", "--json"))["position"] == [3, 4]


def test_match_with_nan(folder: Path) -> None:
    x = VOLUME[:, :, 0].copy()
    np.save("cut.npy", x[5:9, 2:6])
    x[0, 0] = np.nan
    np.save("holes.npy", x)
    assert json.loads(done("match", "holes.npy", "cut.npy", "--json"))["position"] == [5, 2]
    np.save("cut.npy", np.full((3, 3), np.nan))
    assert "None of the" in refused("match", "holes.npy", "cut.npy")


def test_match_drops_what_alpha_does_not_say(folder: Path) -> None:
    opaque = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 255, np.uint8)])
    files.write(Path("a.png"), files.Content(opaque, (0, 1)), force=False)
    files.write(Path("cut.png"), files.Content(PHOTO[5:9, 5:9], (0, 1)), force=False)
    assert json.loads(done("match", "a.png", "cut.png", "--json"))["position"] == [5, 5]
    opaque[0, 0, 3] = 0
    files.write(Path("a.png"), files.Content(opaque, (0, 1)), force=True)
    assert "transparent" in refused("match", "a.png", "cut.png")
