"""Files in and out of the command line: what comes back, what is refused, and what a failed write leaves behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from sash.cli import files
from sash.cli.files import FileError


def content(array: np.ndarray) -> files.Content:
    return files.Content(array, tuple(range(array.ndim)))


def refused(path: Path) -> str:
    with pytest.raises(FileError) as caught:
        files.read(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


KEPT = [
    (".png", np.uint8, (5, 6)),
    (".png", np.uint16, (5, 6)),
    (".png", np.uint8, (5, 6, 3)),
    (".png", np.uint8, (5, 6, 4)),
    (".PNG", np.uint8, (4, 5, 3)),
    (".tif", np.uint8, (5, 6)),
    (".tif", np.uint16, (5, 6, 3)),
    (".tif", np.float32, (4, 5, 6)),
    (".tiff", np.int64, (5, 6)),
    (".tif", np.float64, (2, 3, 4, 5)),
    (".tif", np.complex64, (5, 6)),
    (".npy", np.float16, (5, 6)),
    (".npy", np.dtype(">i2"), (2, 3, 4)),
    (".npy", np.bool_, (7,)),
    (".npz", np.complex128, (2, 2)),
    (".nii", np.int16, (3, 4, 5)),
    (".nii", np.dtype(">f4"), (3, 4, 5)),
    (".nii.gz", np.float32, (3, 4, 5, 2)),
    (".nii.gz", np.int64, (3, 4)),
]


@pytest.mark.parametrize(("suffix", "dtype", "shape"), KEPT)
def test_what_is_written_comes_back(tmp_path: Path, suffix: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 2 if dtype == np.bool_ else 100, shape).astype(dtype)
    path = tmp_path / f"a{suffix}"
    files.write(path, content(array), force=False)
    back = files.read(path).array
    assert back.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(back, array)
    assert os.listdir(tmp_path) == [path.name]


def test_a_jpeg_comes_back_nearly(tmp_path: Path) -> None:
    ramp = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    files.write(tmp_path / "a.jpg", content(ramp), force=False)
    back = files.read(tmp_path / "a.jpg").array
    assert back.dtype == np.uint8
    assert np.abs(back.astype(int) - ramp).max() <= 4


def test_colour_and_time_are_not_space(tmp_path: Path) -> None:
    files.write(tmp_path / "a.png", content(np.zeros((4, 5, 3), np.uint8)), force=False)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 3, 4, 5), np.float32), photometric="minisblack", metadata={"axes": "TZYX"})
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((7, 4, 5), np.uint16))
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 4, 5, 6), np.float32), np.eye(4)), tmp_path / "a.nii")
    spaces = [files.read(tmp_path / name).space for name in ("a.png", "a.tif", "b.tif", "a.nii")]
    assert spaces == [(0, 1), (1, 2, 3), (0, 1, 2), (0, 1, 2)]


def test_a_photograph_stands_upright(tmp_path: Path) -> None:
    picture = Image.fromarray(np.zeros((4, 6), np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6  # turned by a quarter
    picture.save(tmp_path / "a.jpg", exif=exif)
    assert files.read(tmp_path / "a.jpg").array.shape == (6, 4)


def test_palettes_and_bits_become_numbers(tmp_path: Path) -> None:
    Image.fromarray(np.eye(4, dtype=bool)).save(tmp_path / "bits.png")
    Image.new("P", (4, 5), 3).save(tmp_path / "palette.png")
    bits = files.read(tmp_path / "bits.png").array
    np.testing.assert_array_equal(bits, np.eye(4, dtype=np.uint8) * 255)
    assert files.read(tmp_path / "palette.png").array.shape == (5, 4, 3)


def test_nifti_scale_and_size(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([2.0, 3.0, 4.0, 1.0]))
    image.header.set_slope_inter(0.5, 10)
    image.header.set_xyzt_units("micron")
    image.header["descrip"] = b"kept"
    nibabel.save(image, tmp_path / "a.nii")
    read = files.read(tmp_path / "a.nii")
    assert read.array.dtype == np.float32
    np.testing.assert_allclose(read.array, nibabel.load(tmp_path / "a.nii").get_fdata())
    np.testing.assert_allclose(read.spacing, (2e-3, 3e-3, 4e-3))
    files.write(tmp_path / "b.nii.gz", read, force=False)
    back = nibabel.load(tmp_path / "b.nii.gz")
    np.testing.assert_allclose(back.get_fdata(), read.array)
    np.testing.assert_array_equal(back.affine, image.affine)
    assert back.header["descrip"] == b"kept"
    assert back.header.get_xyzt_units()[0] == "micron"


def test_tiff_axes_are_kept(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 3, 4, 5), np.float32), photometric="minisblack", metadata={"axes": "TZYX"})
    files.write(tmp_path / "b.tif", files.read(tmp_path / "a.tif"), force=False)
    assert files.read(tmp_path / "b.tif").space == (1, 2, 3)


@pytest.mark.parametrize("shape", [(3, 20, 30), (20, 30, 4), (5, 20, 30, 3), (2, 3, 20, 30)])
def test_tiff_colours_in_any_order_come_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    colours = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    planes = "separate" if shape[-1] == 30 else "contig"
    tifffile.imwrite(tmp_path / "a.tif", colours, photometric="rgb", planarconfig=planes)
    read = files.read(tmp_path / "a.tif")
    files.write(tmp_path / "b.tif", read, force=False)
    back = files.read(tmp_path / "b.tif")
    np.testing.assert_array_equal(back.array, colours)
    assert back.space == read.space
    assert len(read.space) == len(shape) - 1


# --- what cannot be read ---------------------------------------------------------------------------------------------


def test_missing(tmp_path: Path) -> None:
    (tmp_path / "photo.png").touch()
    assert "does not exist; did you mean photo.png?" in refused(tmp_path / "phto.png")
    assert "does not exist" in refused(tmp_path / "no" / "a.png")


def test_folder_empty_and_unknown(tmp_path: Path) -> None:
    assert "is a folder" in refused(tmp_path)
    (tmp_path / "a.png").touch()
    assert "is empty (0 bytes)" in refused(tmp_path / "a.png")
    (tmp_path / "a.bmp").write_bytes(b"BM")
    assert "known are " + ", ".join(files.FORMATS) in refused(tmp_path / "a.bmp")


@pytest.mark.parametrize("suffix", list(files.FORMATS))
def test_garbage(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(b"this is no picture at all" * 40)
    assert "get a whole copy" in refused(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("suffix", list(files.FORMATS))
def test_cut_short(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    path = tmp_path / f"a{suffix}"
    files.write(path, content(noise), force=False)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "get a whole copy" in refused(path)


def test_a_stack_that_lost_pages(tmp_path: Path) -> None:
    """tifffile would return the first page and only log the loss."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((5, 60, 70), np.uint16), compression="zlib")
    path.write_bytes(path.read_bytes()[:600])
    assert "damaged or cut short" in refused(path)


def test_a_gzip_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    files.write(path, content(np.random.default_rng(0).normal(size=(20, 20, 20))), force=False)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    path.write_bytes(whole)
    assert "get a whole copy" in refused(path)


def test_pickles_and_words(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    np.savez(tmp_path / "two.npz", image=np.ones(3), mask=np.ones(3))
    np.save(tmp_path / "none.npy", np.ones((0, 3)))
    assert "Object arrays cannot be loaded" in refused(tmp_path / "objects.npy")
    assert "elements of type <U1" in refused(tmp_path / "words.npy")
    assert "holds 2 arrays (image, mask)" in refused(tmp_path / "two.npz")
    assert "holds no sample: its shape is (0, 3)" in refused(tmp_path / "none.npy")


def test_sixteen_bits_of_colour_in_png_are_not_halved(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    cv2.imwrite(str(tmp_path / "a.png"), np.full((5, 6, 3), 1000, np.uint16))
    assert "16 bits per colour channel" in refused(tmp_path / "a.png")


def test_closed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.ones(3))

    def closed(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(np, "load", closed)
    assert "is closed to you" in refused(path)


# --- what cannot be written ------------------------------------------------------------------------------------------

UNFIT = [
    (
        ".png",
        np.float32,
        (5, 6),
        "PNG holds uint8 (grey uint16 too), and the result is float32; write .tif or .npy instead",
    ),
    (".png", np.int64, (5, 6), "the result is int64"),
    (".png", np.uint16, (5, 6, 3), "the result is uint16 in colour"),
    (".png", np.uint8, (5, 6, 7), "1 to 4 channels, and the result has shape (5, 6, 7)"),
    (".jpg", np.uint16, (5, 6), "JPEG holds uint8, and the result is uint16; write .png or .tif or .npy instead"),
    (".jpg", np.uint8, (5, 6, 4), "1 or 3 channels, and the result has shape (5, 6, 4)"),
    (".nii", np.float16, (5, 6), "the result is float16"),
    (".nii.gz", np.bool_, (5, 6), "the result is bool"),
    (".tif", np.float32, (0, 6), "the result has shape (0, 6); write .npy instead"),
]


@pytest.mark.parametrize(("suffix", "dtype", "shape", "said"), UNFIT)
def test_a_format_that_cannot_hold_it(tmp_path: Path, suffix: str, dtype: type, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(FileError) as caught:
        files.write(tmp_path / f"a{suffix}", content(np.zeros(shape, dtype)), force=False)
    assert said in str(caught.value)
    assert not os.listdir(tmp_path)


def test_targets_that_must_not_be_written(tmp_path: Path) -> None:
    there = tmp_path / "there.npy"
    there.write_bytes(b"precious")
    (tmp_path / "folder.npy").mkdir()
    for name, said in (
        ("there.npy", "exists and is kept; add --force"),
        ("no/a.npy", "there is no folder"),
        ("folder.npy", "is a folder"),
        ("a", "is of no kind"),
    ):
        with pytest.raises(FileError, match=said):
            files.allow(tmp_path / name, force=name != "there.npy")
    assert there.read_bytes() == b"precious"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    files.write(tmp_path / "real.npy", content(np.zeros(3)), force=False)
    (tmp_path / "link.npy").symlink_to("real.npy")
    files.write(tmp_path / "link.npy", content(np.ones(3)), force=True)
    assert (tmp_path / "link.npy").is_symlink()
    np.testing.assert_array_equal(np.load(tmp_path / "real.npy"), np.ones(3))


def test_the_mode_is_the_users(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        files.write(tmp_path / "a.npy", content(np.zeros(3)), force=False)
        assert (tmp_path / "a.npy").stat().st_mode & 0o777 == 0o644
        (tmp_path / "a.npy").chmod(0o600)
        files.write(tmp_path / "a.npy", content(np.ones(3)), force=True)
        assert (tmp_path / "a.npy").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    target = tmp_path / "a.npy"
    if there:
        target.write_bytes(b"precious")

    def full(path: Path, *_: object, **__: object) -> None:
        Path(path).write_bytes(b"the first half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(FileError, match=r"No space left on device; .* MB free there\) and is as it was; free some space"):
        files.write(target, content(np.ones(3)), force=True)
    assert os.listdir(tmp_path) == (["a.npy"] if there else [])
    assert not there or target.read_bytes() == b"precious"


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path, *_: object, **__: object) -> None:
        Path(path).write_bytes(b"the first half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write(tmp_path / "a.npy", content(np.ones(3)), force=False)
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are POSIX")
@pytest.mark.parametrize("suffix", list(files.FORMATS))
def test_a_disk_that_takes_no_more(tmp_path: Path, suffix: str) -> None:
    """A real limit of the system, hit in the middle of a write, for the writer of every format."""
    target = tmp_path / f"a{suffix}"
    target.write_bytes(b"precious")
    script = (
        "import resource, sys, numpy as np; from pathlib import Path; from sash.cli import files\n"
        f"x = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8); p = Path({str(target)!r})\n"
        "files._format(p); resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: files.write(p, files.Content(x, (0, 1)), force=True)\n"
        "except files.FileError as refused: print(refused)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert "could not be written" in done.stdout, done.stderr
    assert os.listdir(tmp_path) == [target.name]
    assert target.read_bytes() == b"precious"
