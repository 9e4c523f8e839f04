"""A file that will be written: asked for before the work, whole or untouched after it.

The bytes go to a new file beside the target, which then takes the target's name in one step.  Imports: content.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from sash.cli.files.content import FileError


def permit(path: Path, force: bool) -> None:
    """Refuse a target in a folder that is missing or closed, or one that exists and is not to be replaced."""
    folder = path.resolve().parent
    if path.is_dir():
        raise FileError(f"{path} is a folder; give the name of a file in it.")
    if not folder.is_dir():
        raise FileError(f"{path} cannot be written: there is no folder {folder}; make it first (mkdir -p).")
    if path.exists() and not force:
        raise FileError(f"{path} exists and is kept; add --force to replace it, or choose another name.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FileError(f"{path} cannot be written: the folder {folder} is closed to you; choose another.")


@contextmanager
def replacing(path: Path, suffix: str, force: bool) -> Iterator[Path]:
    """A new name beside `path`; it becomes `path` if the block ends well, and is gone if it does not."""
    target = path.resolve()  # a link stays a link: the file it points to is replaced
    beside = target.with_name(f".sash-{uuid4().hex[:12]}{suffix}")
    try:
        os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # the user's umask, not 0600
        yield beside
        with open(beside, "rb+") as written:
            os.fsync(written.fileno())  # a full disk may only show here
        permit(path, force)  # it may have appeared meanwhile
        if target.exists():
            shutil.copymode(target, beside)
        os.replace(beside, target)
    except OSError as failed:
        told = failed.strerror or str(failed)
        free = shutil.disk_usage(target.parent).free
        raise FileError(
            f"{path} could not be written ({told}; {free / 1e6:.0f} MB free there) and is as it was; "
            f"free some space or choose another folder."
        ) from failed
    finally:
        beside.unlink(missing_ok=True)
