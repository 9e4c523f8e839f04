"""Training that can be stopped anywhere: one run is a variant and a seed, and goes on from its last whole epoch.

What decides the result is a Settings record and the seed; what has happened is a checkpoint, written beside and moved into
place.  A run that was stopped and went on ends with the same numbers as one that was not.   Imports: network, scenes, metrics.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from math import cos, pi
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rgbd import metrics
from rgbd.network import VARIANTS, Segmenter
from rgbd.scenes import LABELS, SIZE, scene

Row = dict[str, Any]
TESTED = 0
"""First seed of the scenes that no run trains on; those of run `seed` begin with seed + 1."""
WARM = 0.1
"""Part of the steps in which the rate rises; then it falls as a cosine, to nothing."""


class ExampleError(ValueError):
    """One sentence: what is wrong and the way out."""


@dataclass(frozen=True)
class Settings:
    """All that decides a result, but for variant and seed."""

    epochs: int = 16
    scenes: int = 320
    tests: int = 120
    batch: int = 8
    rate: float = 4e-3
    width: int = 16


@dataclass(frozen=True)
class Scenes:
    """Many views as tensors: image (N, 3, H, W), depth (N, H, W), labels (N, H, W), focal (N,)."""

    image: Tensor
    depth: Tensor
    labels: Tensor
    focal: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, which: Tensor | slice) -> Scenes:
        return Scenes(self.image[which], self.depth[which], self.labels[which], self.focal[which])

    def batches(self, size: int, order: Tensor | None = None) -> Iterator[Scenes]:
        order = torch.arange(len(self)) if order is None else order
        return (self[which] for which in order.split(size))


def generated(first: int, count: int, tell: Callable[[], None] = lambda: None) -> Scenes:
    """Scenes (first, 0) to (first, count - 1); `tell` hears of each."""
    views = []
    for index in range(count):
        views.append(scene(first, index, size=SIZE))
        tell()
    return Scenes(
        torch.from_numpy(np.stack([view.image for view in views])),
        torch.from_numpy(np.stack([view.depth for view in views])),
        torch.from_numpy(np.stack([view.labels for view in views])).long(),
        torch.tensor([view.focal for view in views]),
    )


class Run:
    """A variant in training with a seed: network, optimiser, order of the scenes, and the rows of metrics so far."""

    def __init__(self, variant: str, seed: int, settings: Settings, folder: Path) -> None:
        self.variant, self.seed, self.settings = variant, seed, settings
        self.path = folder / f"{variant}-{seed}.pt"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = Segmenter(variant, settings.width)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=settings.rate, weight_decay=1e-2)
        self.order = torch.Generator().manual_seed(seed)
        self.rows: list[Row] = []

    @property
    def name(self) -> str:
        return f"{self.variant}, seed {self.seed}"

    @property
    def done(self) -> int:
        """Epochs."""
        return len(self.rows)

    def save(self) -> None:
        """All of it, under a name that always holds a whole checkpoint."""
        state = {
            "variant": self.variant,
            "seed": self.seed,
            "settings": asdict(self.settings),
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "order": self.order.get_state(),
            "rows": self.rows,
        }
        beside = self.path.with_suffix(".part")
        torch.save(state, beside)
        os.replace(beside, self.path)

    def resume(self) -> None:
        """Go on from the checkpoint if there is one."""
        if not self.path.exists():
            return
        state = loaded(self.path)
        mine = asdict(self.settings)
        changed = [f"{name} {state['settings'].get(name)}, not {mine[name]}" for name in mine if state["settings"].get(name) != mine[name]]
        if changed:
            raise ExampleError(f"{self.path} was trained with {', '.join(changed)}; say the same again, or choose another --out.")
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.order.set_state(state["order"])
        self.rows = state["rows"]

    def epoch(self, train: Scenes, test: Scenes, tell: Callable[[str], None] = lambda _: None) -> Row:
        """Learn from every scene once, then look at the tests; `tell` hears of each batch."""
        start, settings = perf_counter(), self.settings
        steps = -(-len(train) // settings.batch)
        losses, rarity = [], rareness(train.labels)
        self.network.train()
        for step, batch in enumerate(train.batches(settings.batch, torch.randperm(len(train), generator=self.order))):
            for group in self.optimiser.param_groups:
                group["lr"] = settings.rate * share((self.done * steps + step + 1) / (settings.epochs * steps))
            loss = functional.cross_entropy(self.network(batch.image, batch.depth, batch.focal), batch.labels, rarity)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.step()
            losses.append(loss.item())
            tell(f"loss {np.mean(losses):.3f}")
        counts = confusion(self.network, test, settings.batch)
        row = {"variant": self.variant, "seed": self.seed, "epoch": self.done + 1, "loss": float(np.mean(losses))}
        row |= metrics.measures(counts.numpy(), LABELS) | {"seconds": round(perf_counter() - start, 2)}
        self.rows.append(row)
        return row


def share(part: float) -> float:
    """Of the full rate, when this part of all steps is done."""
    return min(part / WARM, (1 + cos(pi * max(part - WARM, 0) / (1 - WARM))) / 2)


def rareness(labels: Tensor) -> Tensor:
    """The weight of each label in the loss: one over the square root of its share, so that balls count beside walls."""
    share = torch.bincount(labels.flatten(), minlength=len(LABELS)) / labels.numel()
    return share.clamp(min=1e-3).rsqrt()


def loaded(path: Path) -> dict[str, Any]:
    """A checkpoint of this example; nothing in it is executed."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ExampleError(f"There is no checkpoint {path}; `train` writes one per variant and seed into its --out.") from None
    except Exception as failed:
        raise ExampleError(f"{path} cannot be read as a checkpoint ({type(failed).__name__}); remove it and train again.") from None
    if not isinstance(state, dict) or state.get("variant") not in VARIANTS:
        raise ExampleError(f"{path} holds no network of this example; give a checkpoint that `train` wrote.")
    return state


def trained(path: Path) -> Segmenter:
    """The network of a checkpoint, ready to look."""
    state = loaded(path)
    network = Segmenter(state["variant"], state["settings"]["width"])
    network.load_state_dict(state["network"])
    return network.eval()


@torch.inference_mode()
def predicted(network: Segmenter, scenes: Scenes, batch: int = 8) -> Tensor:
    """(N, H, W) labels."""
    network.eval()
    return torch.cat([network(b.image, b.depth, b.focal).argmax(1) for b in scenes.batches(batch)])


def confusion(network: Segmenter, scenes: Scenes, batch: int) -> Tensor:
    """Pixels with a true label (row) and a predicted one (column)."""
    pairs = scenes.labels * len(LABELS) + predicted(network, scenes, batch)
    return torch.bincount(pairs.flatten(), minlength=len(LABELS) ** 2).reshape(len(LABELS), -1)
