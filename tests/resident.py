"""Run by test_plan.py in a process of its own: what a call takes in memory, beside what its plan predicts.

python resident.py CALL METHOD   ->   {"taken": bytes, "predicted": bytes, "limit": bytes or null, ...} or {"refused": why}
"""

import json
import sys
from pathlib import Path

import numpy as np

import sash


def status(name):
    """A line of /proc/self/status, in bytes."""
    text = Path("/proc/self/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith(name)).split()[1]) * 1024


def job(call, small):
    """(verb's name, arrays, settings); `small` is the same job on little data, to compile and to warm up."""
    rng = np.random.default_rng(0)
    side = 256 if small else 1600

    def noise(*shape):
        return rng.standard_normal(shape, np.float32)

    if call == "dense":
        return (
            "correlate",
            (noise(side, side), noise(15, 15)),
            {"padding": "same", "boundary": "mirror", "separable": False},
        )
    if call in ("large", "large strided"):
        taps = 9 if small else 301
        settings = {"padding": "same", "separable": False, "stride": 1 if call == "large" else 2}
        return "correlate", (noise(side, side), noise(taps, taps)), settings
    if call == "strided":
        return "correlate", (noise(side, side), noise(9, 9)), {"stride": 2, "padding": "same", "separable": False}
    if call == "limited":
        return (
            "correlate",
            (noise(side, side), noise(9, 9)),
            {"padding": "same", "separable": False, "max_memory": 8 << 20},
        )
    if call.startswith("channels"):
        n = 200 if small else 300
        limit = {"max_memory": 4 << 20} if call == "channels limited" else {}
        return "conv", (noise(1, 16, n, n), noise(24, 16, 3, 3)), {"padding": "same", **limit}
    if call == "planes":
        n = 24 if small else 300
        return "conv2_5d", (noise(1, 16, n, n), noise(3, 24, 16, 3, 3)), {"padding": "same", "focal": 100.0}
    if call == "blur":
        n = 40 if small else 200
        return "gaussian_blur", (noise(n, n, n),), {"sigma": 2.0}
    if call == "bytes":
        side = max(side, 800)  # light ones are copied as floats, for other kernels
        pixels = rng.integers(0, 255, (side, side), np.uint8)
        return "correlate", (pixels, np.ones((5, 5), np.uint8)), {"padding": "same", "separable": False}
    if call == "match":
        return "similarity", (noise(side // 2, side // 2), noise(33, 33)), {"metric": "zncc"}
    if call == "colours":
        shape = (3, 120, 160) if small else (3, 1080, 1920)
        return "similarity", (noise(*shape), noise(3, 64, 64)), {"metric": "sad", "channel_axis": 0}
    raise ValueError(call)


def planned(name, arrays, settings):
    known = {k: v for k, v in settings.items() if k != "separable"}
    return sash.plan(name, *[a.shape for a in arrays], input_dtype=str(arrays[0].dtype), **known)


def main(call, method):
    for small in (True, False):
        name, arrays, settings = job(call, small)
        settings["method"] = method
        try:
            if small and method == "auto":  # what will be chosen is what must be compiled
                name, others, more = job(call, False)
                settings["method"] = planned(name, others, more).method
            plan = planned(name, arrays, settings)
        except sash.SashError as refusal:
            return print(json.dumps({"refused": str(refusal)}))
        Path("/proc/self/clear_refs").write_text("5")
        before = status("VmRSS")
        if name == "conv2_5d":
            depth = 1 + np.random.default_rng(1).random((1, *arrays[0].shape[2:]), np.float32) / 50
            settings["focal"], arrays = 100.0, (arrays[0], sash.depth_planes(depth, 3, padding="same", focal=100.0), arrays[1])
            before = status("VmRSS")
        result = getattr(sash, name)(*arrays, **settings)
        taken = status("VmHWM") - before - result.nbytes
    return print(json.dumps({"taken": taken, "predicted": plan.scratch, "limit": settings.get("max_memory"), "ran": plan.method}))


if __name__ == "__main__":
    main(*sys.argv[1:])
