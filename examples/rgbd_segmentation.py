"""Does depth help a small network more as a fourth channel or as planes of weights?  And what do planes look like on a real pair?

Generated rooms, three networks, several seeds each, then scikit-image's Motorcycle.  Nothing is fetched.

    python examples/rgbd_segmentation.py train --out rgbd-out                               a quarter of an hour on one core
    python examples/rgbd_segmentation.py stereo --checkpoint rgbd-out/planes-0.pt --out rgbd-out
    python examples/rgbd_segmentation.py short --out rgbd-short                             both in a minute, for a first look

Measured by the first (mean IoU, 3 seeds): 39.1 ± 1.8 % without depth, 74.9 ± 1.2 % with depth as a channel, 83.3 ± 1.6 % with
planes.  These have three times the weights; a plain network with as many and the channel has 76.5 ± 1.2 %, planes and the channel
together 87.8 ± 0.8 % (`--variants wide both`).  Planes know balls from boxes; the channel knows wall and ceiling better.
Stopped?  The same command goes on from the last whole epoch.   Needs: pip install "sash[torch,demo]".   Imports: all of rgbd.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

REFUSED, STOPPED = 2, 130

try:
    import numpy as np
    import torch
    from rgbd import figures, metrics
    from rgbd.network import COMPARED, KERNEL, VARIANTS, Geometry, weights
    from rgbd.scenes import LABELS
    from rgbd.stereo import motorcycle
    from rgbd.training import TESTED, ExampleError, Run, Settings, generated, predicted, trained
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.table import Table
except ModuleNotFoundError as missing:
    print(f'This example needs {missing.name}: pip install "sash[torch,demo]"', file=sys.stderr)
    sys.exit(REFUSED)

SHORT, SHORT_SEEDS = Settings(epochs=6, scenes=64, tests=32, width=8), 2
MEANINGS = {
    "epochs": "times that each scene is seen",
    "scenes": "rooms to learn from, others for every seed",
    "tests": "rooms to be judged on, the same for all",
    "batch": "scenes in a step",
    "rate": "the highest learning rate",
    "width": "channels at full resolution",
}
SHOWN = 3
"""Test scenes in the figure."""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="rgbd_segmentation.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    commands = p.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train every variant with every seed, and compare")
    train.add_argument("--seeds", type=count, default=3, help="runs of each variant (default: %(default)s)")
    known = "; ".join(f"{name}: {variant.title}" for name, variant in VARIANTS.items())
    train.add_argument(
        "--variants", nargs="+", metavar="NAME", choices=VARIANTS, default=COMPARED, help=f"{known} (default: {' '.join(COMPARED)})"
    )
    for field in fields(Settings):
        kind = count if field.type == "int" else positive
        train.add_argument(f"--{field.name}", type=kind, default=field.default, help=f"{MEANINGS[field.name]} (default: %(default)s)")
    stereo = commands.add_parser("stereo", help="run a trained network on scikit-image's Motorcycle")
    stereo.add_argument("--checkpoint", type=Path, required=True, help="a .pt that `train` wrote")
    stereo.add_argument("--thin", type=count, default=8, help="take every n-th pixel of the 500 × 741 (default: %(default)s)")
    short = commands.add_parser("short", help="both, small, in a minute")
    for command in (train, stereo, short):
        command.add_argument("--out", type=Path, default=Path("rgbd-out"), help="folder for checkpoints, metrics.csv and figures")
        command.add_argument("--threads", type=count, default=1, help="of torch; others may change the last digits (default: %(default)s)")
    return p


def count(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be a whole number from 1 on.")
    return int(text)


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} must be a number above 0.")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what was asked for; the exit status."""
    asked = parser().parse_args(arguments)
    torch.set_num_threads(asked.threads)
    try:
        make(asked.out)
        if asked.command == "stereo":
            stereo(asked.checkpoint, asked.thin, asked.out)
        elif asked.command == "short":
            train(COMPARED, SHORT_SEEDS, SHORT, asked.out)
            stereo(asked.out / "planes-0.pt", 8, asked.out)
        else:
            settings = Settings(**{field.name: getattr(asked, field.name) for field in fields(Settings)})
            train(tuple(dict.fromkeys(asked.variants)), asked.seeds, settings, asked.out)
    except ExampleError as refused:
        print(refused, file=sys.stderr)
        return REFUSED
    except OSError as failed:
        print(f"{failed.filename or asked.out} cannot be written ({failed.strerror or failed}); choose another --out.", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("Stopped; the same command goes on from the last whole epoch.", file=sys.stderr)
        return STOPPED
    return 0


def make(folder: Path) -> None:
    """The folder for all that is written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as failed:
        raise ExampleError(f"--out {folder} cannot be a folder ({failed.strerror}); choose another.") from None


def train(variants: Sequence[str], seeds: int, settings: Settings, out: Path) -> None:
    """Every seed has its own rooms, first weights and order; the variants of a seed share them.  Then the table and the figure."""
    runs = [Run(variant, seed, settings, out) for seed in range(seeds) for variant in variants]
    for run in runs:
        run.resume()
    table = out / "metrics.csv"
    metrics.restart(table, [row for run in runs for row in run.rows], [(run.variant, str(run.seed)) for run in runs])
    with progress() as bar:
        rooms = bar.add_task("test rooms", total=settings.tests, note="")
        test = generated(TESTED, settings.tests, lambda: bar.advance(rooms))
        for seed in range(seeds):
            todo = [run for run in runs if run.seed == seed and run.done < settings.epochs]
            if todo:
                rooms = bar.add_task(f"rooms of seed {seed}", total=settings.scenes, note="")
                scenes = generated(seed + 1, settings.scenes, lambda task=rooms: bar.advance(task))
            for run in todo:
                steps = -(-settings.scenes // settings.batch)
                task = bar.add_task(run.name, total=settings.epochs * steps, completed=run.done * steps, note="")
                while run.done < settings.epochs:
                    row = run.epoch(scenes, test, lambda note, task=task: bar.update(task, advance=1, note=note))
                    metrics.add(table, row)
                    run.save()
                bar.update(task, note=f"mean IoU {run.rows[-1]['mean_iou']:.1%}")
    report(variants, runs)
    nets = {run.variant: run.network for run in runs if run.seed == 0}
    shown = test[: min(SHOWN, len(test))]
    answers = {variant: predicted(network, shown).numpy() for variant, network in nets.items()}
    last = [run.rows[-1] for run in sorted(runs, key=lambda run: variants.index(run.variant))]
    figures.compared(out / "segmentation.png", metrics.spreads(last), {v: weights(n) for v, n in nets.items()}, shown, answers)
    say(f"{table}, {out / 'segmentation.png'}, and {len(runs)} checkpoints such as {runs[-1].path}")


def report(variants: Sequence[str], runs: Sequence[Run]) -> None:
    """Mean and standard deviation over seeds, for every label too; whichever wins."""
    shown = Table("", "weights", "mean IoU", *LABELS, "s an epoch", box=None, pad_edge=False, header_style="bold")
    for variant in variants:
        last = [run.rows[-1] for run in runs if run.variant == variant]
        network = next(run.network for run in runs if run.variant == variant)
        each = [f"{100 * metrics.spreads(last, f'iou_{label}')[0].mean:.1f}" for label in LABELS]
        pace = np.median([row["seconds"] for run in runs if run.variant == variant for row in run.rows])
        shown.add_row(VARIANTS[variant].title, f"{weights(network):,}", str(metrics.spreads(last)[0]), *each, f"{pace:.1f}")
    console().print(shown)
    seeds = len({run.seed for run in runs})
    say(f"Mean and standard deviation over {seeds} {'seeds' if seeds > 1 else 'seed'}, after the last epoch, in per cent.")


def stereo(checkpoint: Path, thin: int, out: Path) -> None:
    """A network that has seen generated rooms alone looks at a real garage."""
    network = trained(checkpoint)
    pair = motorcycle().thinned(thin)
    if min(pair.depth.shape) < 2 * KERNEL:
        raise ExampleError(f"--thin {thin} leaves {pair.depth.shape[0]} × {pair.depth.shape[1]} pixels; take at most 80.")
    image, depth, focal = torch.from_numpy(pair.image)[None], torch.from_numpy(pair.depth)[None], torch.tensor([pair.focal])
    with torch.inference_mode():
        labels = network(image, depth, focal, pair.spacing).argmax(1)[0].numpy()
    planes = network.variant.planes or 3
    reports = {str(g): g.report(depth, planes, pair.focal, pair.spacing) for g in network.geometries()}
    table = Table("taps of each geometry", *figures.TAPS, box=None, pad_edge=False, header_style="bold")
    for name, told in reports.items():
        table.add_row(name, *(f"{share:.1%}" for share in shares(told).values()))
    console().print(table)
    seen = np.bincount(labels.flatten(), minlength=len(LABELS)) / labels.size
    named = ", ".join(f"{name} {share:.1%}" for name, share in zip(LABELS, seen, strict=True))
    say(f"Seen: {named}; there is no truth to hold it to.")
    read = Geometry().map(depth, planes, focal, pair.spacing)[0].flatten(0, 1)
    taps = np.stack([(read == plane).float().mean(0).numpy() for plane in (0, 1, 2, -1)], axis=-1)
    figures.looked(out / "stereo.png", network.variant.title, pair, labels, {name: shares(told) for name, told in reports.items()}, taps)
    say(f"{out / 'stereo.png'}")


def shares(told: Any) -> dict[str, float]:
    """Of a depth report with three planes, under the figure's names."""
    near, middle, far = told.planes
    return {"near": near, "middle": middle, "far": far, "outside": told.outside, "missing": told.missing, "padding": told.padding}


@contextmanager
def progress() -> Iterator[Progress]:
    """Bars on stderr; in a log only how they ended."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console(stderr=True)) as bar:
        yield bar


def console(*, stderr: bool = False) -> Console:
    """As wide as the terminal; a log gets unbroken lines."""
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=160)


def say(text: str) -> None:
    """A result."""
    console().print(text, markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
