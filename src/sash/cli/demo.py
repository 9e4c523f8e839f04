"""`sash demo`: the main job on real data, beside the usual way of doing it.

Imports: samples, peers, pictures, terminal, values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

import sash
from sash.cli import samples
from sash.cli.extras import needed
from sash.cli.files import FileError
from sash.cli.match import best
from sash.cli.terminal import console, say, waiting
from sash.cli.values import by
from sash.plan import Plan, duration, size

Array = NDArray[Any]
DIFFERS = 1
"""Exit code of a demo whose answers are not those of the usual way."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The usual way to do a job, on `piece` of it where the whole would not fit the demo's time or memory."""

    name: str
    run: Callable[[], Array]
    ours: Callable[[], Array] | None = None
    piece: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One job: the call, what was planned for it, and the same done the usual way."""

    title: str
    call: str
    plan: Plan
    run: Callable[[], Array]
    peers: tuple[Peer, ...]
    tolerance: float
    """Largest difference from a peer that is still the same answer."""


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the pictures.")] = Path("sash-demo"),
) -> None:
    """Do the main job on real photographs and a real brain.

    Blurs an MNI152 brain volume, slides a blob detector over
    a photograph with a stride, and finds a face in another
    one though it is noisy and badly lit. Each is done by sash
    and in the usual way; times and the largest difference are
    shown, and pictures are written.

    Takes at most a minute, 20 seconds the second time.
    Exit code 1: an answer differs from that of the usual way.
    """
    with needed("The pictures of the demo"):
        from sash.cli import pictures
    with waiting("opening the pictures"):
        brain = samples.brain().astype(np.float32)
        eye = samples.retina()[..., 1].astype(np.float32) / 255
        photo = samples.astronaut()
    _folder(out)
    agreed = True

    result, same = _do(1, _blur(brain))
    agreed &= same
    pictures.brain(out / "brain.png", brain, result)

    kernel = blob(sigma=3.0)
    result, same = _do(2, _stride(eye, kernel))
    agreed &= same
    pictures.strided(out / "strided.png", eye, kernel, result)

    face = photo[FACE]
    dim = badly_lit(face)
    maps = {}
    for number, (metric, template) in enumerate((("sad", noisy(face)), ("zncc", dim)), start=3):
        maps[metric], same = _do(number, _match(photo, template, metric))
        agreed &= same
    agreed &= _found(photo, {"as it was cut": face, "with noise": noisy(face), "noise, badly lit": dim})
    pictures.matched(out / "match.png", photo, dim, FACE, {m: sash.similarity(photo, dim, metric=m, channel_axis=2) for m in maps})

    say(f"Pictures: {', '.join(str(out / name) for name in ('brain.png', 'strided.png', 'match.png'))}")
    if not agreed:
        say("Some answers differ from those of the usual way by more than their tolerance.")
        raise typer.Exit(DIFFERS)


def _blur(brain: Array) -> Job:
    from sash.cli import peers

    return Job(
        f"Blur a brain: MNI152 T1, {by(brain.shape)} voxels",
        "gaussian_blur(brain, sigma=2)",
        sash.plan("gaussian_blur", brain.shape, sigma=2),
        lambda: sash.gaussian_blur(brain, sigma=2),
        (Peer("scipy.ndimage gaussian_filter", lambda: peers.gaussian_filter(brain, 2)),),
        tolerance=1e-5 * float(brain.max()),
    )


def _stride(eye: Array, kernel: Array) -> Job:
    from sash.cli import peers

    patches = size(float(kernel.size) * len(range(0, eye.shape[0] - kernel.shape[0] + 1, 4)) ** 2 * eye.itemsize)
    return Job(
        f"Slide a blob detector with a stride: photograph, {by(eye.shape)}; kernel, {by(kernel.shape)}",
        "correlate(eye, kernel, stride=4)",
        sash.plan("correlate", eye.shape, kernel.shape, stride=4),
        lambda: sash.correlate(eye, kernel, stride=4),
        (
            Peer(f"strided view and tensordot (copies {patches} of windows)", lambda: peers.tensordot(eye, kernel, 4)),
            Peer("scipy.signal fftconvolve, sliced", lambda: peers.fftconvolve(eye, kernel, 4)),
        ),
        tolerance=1e-5 * float(np.abs(kernel).sum()),
    )


def _match(photo: Array, template: Array, metric: str) -> Job:
    from sash.cli import peers

    def ours(image: Array) -> Array:
        return sash.similarity(image, template, metric=metric, channel_axis=2)

    if metric == "sad":
        piece = np.ascontiguousarray(photo[PIECE])
        peer = Peer("windows unfolded", lambda: peers.unfolded_sad(piece, template), lambda: ours(piece), f"on a piece of {by(piece.shape)}")
    else:
        peer = Peer("skimage match_template", lambda: peers.match_template(photo, template))
    state = "noisy" if metric == "sad" else "noisy and badly lit"
    return Job(
        f"Find a face, {state}, by {metric.upper()}: photograph, {by(photo.shape)}; template, {by(template.shape)}",
        f'similarity(photo, face, metric="{metric}", channel_axis=2)',
        sash.plan("similarity", photo.shape, template.shape, input_dtype="uint8", metric=metric, channel_axis=2),
        lambda: ours(photo),
        (peer,),
        tolerance=1e-4,
    )


FACE = (slice(60, 150), slice(180, 260))
"""Where the face is in the astronaut's photograph: rows, columns."""
PIECE = (slice(40, 170), slice(160, 280))
"""What of the photograph the unfolded way is given: all its windows would take gigabytes."""


def blob(sigma: float) -> Array:
    """A Laplacian of a Gaussian: answers to dark lines and blobs a few sigma wide."""
    g, gg = (np.asarray(sash.gaussian_kernel(sigma, order=n)) for n in (0, 2))
    return (np.multiply.outer(g, gg) + np.multiply.outer(gg, g)).astype(np.float32)


def noisy(x: Array, deviation: float = 20.0) -> Array:
    """The picture with the noise of a bad camera."""
    noise = np.random.default_rng(7).normal(0, deviation, x.shape)
    return np.clip(np.rint(x + noise), 0, 255).astype(np.uint8)


def badly_lit(x: Array) -> Array:
    """The picture at 40 % contrast and brighter, with the same noise."""
    return noisy(np.clip(0.4 * x + 120, 0, 255))


def _folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as failed:
        raise FileError(f"--out {out} cannot be a folder ({failed.strerror}); choose another.") from None


def _timed(run: Callable[[], Array], budget: float = 1.0) -> tuple[Array, float]:
    """The answer and the best time of at most five runs that fit the budget."""
    best_time, spent = float("inf"), 0.0
    for _ in range(5):
        start = perf_counter()
        answer = run()
        took = perf_counter() - start
        best_time, spent = min(best_time, took), spent + took
        if spent + took > budget:
            break
    return answer, best_time


def _do(number: int, job: Job) -> tuple[Array, bool]:
    """Do the job both ways and show them; the answer, and whether they agree."""
    say(f"\n{number}. {job.title}")
    say(f"   sash.{job.call}\n")
    start = perf_counter()
    with waiting("sash", job.plan.seconds):
        result = job.run()
    first = perf_counter() - start
    result, seconds = _timed(job.run)
    say(str(job.plan))
    table = Table("", "time", "sash is", "largest difference", box=None, pad_edge=False, header_style="bold")
    table.add_row("sash", duration(seconds), "", "")
    agreed = True
    for peer in job.peers:
        ours, time = (result, seconds) if peer.ours is None else _timed(peer.ours)
        with waiting(peer.name):
            answer, took = _timed(peer.run)
        difference = float(np.max(np.abs(ours - answer)))
        same = difference <= job.tolerance
        agreed &= same
        sign = "<=" if same else "ABOVE"
        table.add_row(f"{peer.name} {peer.piece}".rstrip(), duration(took), f"{took / time:.3g} x faster", f"{difference:.1e} {sign} {job.tolerance:.1e}")
    console().print(table)
    say(f"First call: {duration(first)}, with compiling or loading the compiled code.")
    return result, agreed


def _found(photo: Array, templates: dict[str, Array]) -> bool:
    """Where each metric puts each template; whether each is found where it was cut as far as it should be."""
    true = tuple(s.start for s in FACE)
    table = Table("the face", "by SAD", "by ZNCC", box=None, pad_edge=False, header_style="bold")
    right = True
    for name, template in templates.items():
        cells = []
        for metric in ("sad", "zncc"):
            at, score = best(sash.similarity(photo, template, metric=metric, channel_axis=2), 1)
            cells.append(f"{'found' if at == true else f'missed: {at}'}, {score:.3f}")
            right &= at == true or (metric == "sad" and "lit" in name)
        table.add_row(name, *cells)
    say("")
    console().print(table)
    return right
