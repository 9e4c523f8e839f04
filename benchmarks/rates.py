"""Make a machine file: sash's own calibration with all the time it wants, and how well the rates predict the samples.

    python -m benchmarks.rates [FILE] [--mean]        default: src/sash/machines/default.json

With --mean each rate is the geometric mean of what is measured and what the file held: a file that two processors made.
What no sample reaches (PyTorch's own convolution, `gather`) stays as it was.

Imports: calibration, samples (which problems, how they are timed, how rates are fitted).
"""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path

import numpy as np

from sash.calibration import crew, fit, losses, ratios, sampled
from sash.machine import SHIPPED, shipped
from sash.samples import problems

SECONDS = 300.0
LONGEST = 0.12
"""Seconds: a sample that is predicted to take longer is left out."""


def main(path: Path, mean: bool) -> None:
    guess = shipped()
    lost = losses() if guess.cores > 1 else []
    samples = sampled(tuple(problems()), guess, SECONDS, longest=LONGEST)
    rates = fit(samples, guess.rates)
    if guess.cores > 1:
        rates |= crew(rates, lost + losses())
    record = json.loads(Path(SHIPPED).read_text(encoding="utf-8"))
    if mean:
        reached = {name for sample in samples for name, amount in sample.work.items() if amount} | {"crew"}
        before = record["rates"]
        rates = {name: float(f"{(rates[name] * rate) ** 0.5:.4g}") if name in reached else rate for name, rate in before.items()} | {
            name: rate for name, rate in rates.items() if name not in before
        }
    record |= {"date": date.today().isoformat(), "rates": dict(sorted(rates.items()))}
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    found = np.array(ratios(samples, rates))
    for name in sorted({sample.method for sample in samples}):
        mine = found[[sample.method == name for sample in samples]]
        print(f"{name:10} {len(mine):4} samples; predicted / measured: " + ", ".join(f"{v:.2f}" for v in np.percentile(mine, (5, 50, 95))))
    for i in np.argsort(-np.abs(np.log(found)))[:12]:
        sample = samples[i]
        p = sample.problem
        axes = [(a.n, a.size, a.stride) for a in p.axes]
        print(f"  {sample.method:10} {found[i]:6.2f}  {sample.seconds * 1e3:8.3f} ms  {p.dtype} {p.source} {p.reduce} rank {p.rank} {axes}")


if __name__ == "__main__":
    files = [argument for argument in sys.argv[1:] if argument != "--mean"]
    main(Path(files[0] if files else SHIPPED), "--mean" in sys.argv)
