"""Memory that a call had stays for the next one: counted in pages that the system had to give."""

import platform
import subprocess
import sys

import pytest

CALLS = """
import resource
import numpy as np
{before}
import sash
x, w = np.random.default_rng(0).random((512, 512), np.float32), np.random.default_rng(1).random((127, 127), np.float32)
def run():
    sash.correlate(x, w, padding="same", separable=False, method="fft")
for _ in range(4):
    run()
start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    run()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start) / 8)
"""


def pages(before=""):
    """New pages of a call, after a few to warm up."""
    code = CALLS.format(before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries manage memory in other ways")
def test_a_call_lives_on_the_memory_of_the_one_before():
    kept = pages()
    assert kept < 600
    taken = pages(before="import sash.heap\nsash.heap.keep = lambda: None")
    assert taken > kept + 400, "it is the block that was given back which does it"
