"""`sash demo`: the main job on real data, beside the usual way of doing it.

Imports: jobs, samples, pictures, match, terminal.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Column, Table

import sash
from sash.cli import samples
from sash.cli.extras import needed
from sash.cli.files import FileError
from sash.cli.match import best
from sash.cli.terminal import console, say, waiting
from sash.plans import duration

if TYPE_CHECKING:  # the peers bring SciPy
    from sash.cli.jobs import Job

Array = NDArray[Any]

DIFFERS = 1
"""Exit code of a demo whose answers are not those of the usual way."""


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the pictures.")] = Path("sash-demo"),
) -> None:
    """Do the main job on real photographs and a real brain.

    Blurs a brain volume, looks for vessels in the photograph
    of an eye with a strided kernel, and finds a face though it
    is noisy and badly lit. Each is done by sash and in the
    usual way; the plan, the times and the largest difference
    are shown, and pictures are written.

    Takes at most a minute, 20 seconds the second time.
    Exit code 1: an answer differs from the usual way's.

    [bold]Examples[/]
      sash demo
      sash demo --out pictures
    """
    with needed("The pictures of the demo"), waiting("opening the pictures"):
        from sash.cli import jobs, pictures

        brain = samples.brain().astype(np.float32)
        eye = samples.retina()[..., 1].astype(np.float32) / 255
        photo = samples.astronaut()
    make(out)
    face = photo[jobs.FACE]
    noisy, dim = jobs.noisy(face), jobs.badly_lit(face)
    kernel = jobs.vessels()
    told = [
        do(1, jobs.blur(brain)),
        do(2, jobs.stride(eye, kernel)),
        do(3, jobs.match(photo, noisy, "sad", "with noise")),
        do(4, jobs.match(photo, dim, "zncc", "noisy and badly lit")),
    ]
    maps = {metric: sash.similarity(photo, dim, metric=metric, channel_axis=2) for metric in ("sad", "zncc")}
    found = sought(photo, {"as it was cut": face, "with noise": noisy, "badly lit too": dim})
    pictures.brain(out / "brain.png", brain, told[0][0])
    pictures.strided(out / "strided.png", eye, kernel, told[1][0])
    pictures.matched(out / "match.png", photo, dim, jobs.FACE, maps)
    say(f"\nPictures: {out / 'brain.png'}, {out / 'strided.png'}, {out / 'match.png'}")
    if not (found and all(agreed for _, agreed in told)):
        say("Some answers differ from the usual way's by more than their tolerance.")
        raise typer.Exit(DIFFERS)


def make(folder: Path) -> None:
    """The folder for the pictures; those of an earlier demo in it are replaced."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as failed:
        raise FileError(f"--out {folder} cannot be a folder ({failed.strerror}); choose another.") from None


def do(number: int, job: Job) -> tuple[Array, bool]:
    """Do a job both ways and show them; the answer, and whether the usual ways agree with it."""
    say(f"\n{number}. {job.title}\n   sash.{job.call}\n")
    with waiting(f"sash.{job.call}"):
        _, first = timed(job.run, runs=1)
        result, ours = timed(job.run)
    say(str(job.plan))
    table = Table(Column("", overflow="fold"), "time", "ratio", "difference", box=None, pad_edge=False, header_style="bold")
    table.add_row("sash, the first call", duration(first), "", "")
    table.add_row("sash", duration(ours), "1", "")
    worst = 0.0
    for peer in job.peers:
        with waiting(peer.name):
            mine, seconds = (result, ours) if peer.ours is None else timed(peer.ours)
            theirs, took = timed(peer.run)
        difference = float(np.max(np.abs(mine - theirs)))
        worst = max(worst, difference if np.isfinite(difference) else np.inf)
        table.add_row(peer.name, duration(took), f"{took / seconds:.3g}", f"{difference:.1e}")
    say("")
    console().print(table)
    agreed = worst <= job.tolerance
    say(f"Largest difference {worst:.1e}, {'within' if agreed else 'ABOVE'} the {job.tolerance:.1e} allowed.")
    return result, agreed


def timed(run: Callable[[], Array], runs: int = 5, budget: float = 1.0) -> tuple[Array, float]:
    """The answer, and the least time in seconds of a few runs that fit the budget."""
    least, spent = np.inf, 0.0
    for _ in range(runs):
        start = perf_counter()
        answer = run()
        took = perf_counter() - start
        least, spent = min(least, took), spent + took
        if spent + took > budget:
            break
    return answer, float(least)


def sought(photo: Array, templates: dict[str, Array]) -> bool:
    """Where each metric puts each template; whether ZNCC finds all of them, and SAD those that are well lit."""
    from sash.cli.jobs import FACE

    true = tuple(side.start for side in FACE)
    table = Table("the face", "SAD", "ZNCC", box=None, pad_edge=False, header_style="bold")
    right = True
    for name, template in templates.items():
        row = []
        for metric in ("sad", "zncc"):
            at, score = best(sash.similarity(photo, template, metric=metric, channel_axis=2), 1)
            row.append(f"found, {score:.3f}" if at == true else f"missed, {score:.3f} at {at[0]}, {at[1]}")
            right &= at == true or (metric == "sad" and "lit" in name)
        table.add_row(name, *row)
    say(f"\nThe face is at {true[0]}, {true[1]}. Best places and their scores:")
    console().print(table)
    return right
