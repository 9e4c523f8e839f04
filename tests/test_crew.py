"""Threads that share work: every box once, errors raised, nobody waits for what never began, nothing is kept."""

import gc
import os
import subprocess
import sys
import threading
import weakref
from time import perf_counter, process_time, sleep

import numpy as np
import pytest

import sash
from sash import crew
from sash.kernels.cpu import bell
from sash.machine import usable_cores


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_every_box_is_done_once(threads, count):
    done = []
    crew.share(done.append, list(range(count)), threads)
    assert sorted(done) == list(range(count))


def test_several_threads_take_part_and_no_more_than_asked():
    names, wait = set(), threading.Barrier(3, timeout=20)

    def one(_):
        names.add(threading.current_thread().name)
        wait.wait()

    crew.share(one, range(3), 3)
    assert len(names) == 3
    names.clear()
    crew.share(lambda _: names.add(threading.current_thread().name), range(200), 2)
    assert len(names) <= 2


@pytest.mark.parametrize("here", [True, False])
def test_an_error_of_any_thread_is_raised_and_ends_the_work(here):
    """Whether the calling thread meets it or another one does."""
    caller, both, done = threading.current_thread(), threading.Barrier(2, timeout=20), []

    def one(box):
        if box < 2:
            both.wait()
            if (threading.current_thread() is caller) == here:
                raise ValueError("a box that cannot be done")
        sleep(1e-3)
        done.append(box)

    with pytest.raises(ValueError, match="cannot be done"):
        crew.share(one, range(2000), 2)
    assert len(done) < 500


def test_a_call_does_not_wait_for_threads_that_work_for_others():
    """Its own thread does all of it meanwhile."""
    held, free, done = threading.Event(), threading.Event(), []

    def block(_):
        held.set()
        assert free.wait(30)

    others = [threading.Thread(target=crew.share, args=(block, range(2), 2)) for _ in range(4)]
    [t.start() for t in others]
    assert held.wait(20)
    crew.share(done.append, range(5), 2)
    assert sorted(done) == list(range(5)) and not free.is_set()
    free.set()
    [t.join() for t in others]


def test_a_call_that_nobody_joined_is_not_kept_either():
    """Its job waits in the queue, behind one that takes long, and knows nothing any more."""
    held, free, alive = threading.Event(), threading.Event(), []

    def block(_):
        if threading.current_thread() is other:
            held.wait(20)
        else:
            held.set()
            assert free.wait(30)

    other = threading.Thread(target=crew.share, args=(block, range(2), 2))
    others = [threading.Thread(target=crew.share, args=(lambda _: free.wait(30), range(2), 2)) for _ in range(4)]
    [t.start() for t in (other, *others)]
    assert held.wait(20)
    for _ in range(5):
        x = np.zeros(1000)
        alive.append(weakref.ref(x))
        crew.share(lambda _, x=x: None, range(2), 2)
        del x
    gc.collect()
    assert not any(a() is not None for a in alive)
    free.set()
    [t.join() for t in (other, *others)]


def test_boxes_may_share_work_themselves():
    done = []
    crew.share(lambda a: crew.share(lambda b: done.append((a, b)), range(4), 3), range(4), 3)
    assert sorted(done) == [(a, b) for a in range(4) for b in range(4)]


def test_nothing_of_a_call_is_kept_after_it():
    x = np.zeros(1000)
    alive, both = weakref.ref(x), threading.Barrier(2, timeout=20)

    def one(_, x=x):
        both.wait()
        x.sum()

    crew.share(one, range(2), 2)
    crew.share(lambda _: both.wait(), range(2), 2)  # the other thread has gone on
    del x, one
    gc.collect()
    assert alive() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own():
    x, w = np.random.default_rng(0).random((300, 300)), np.ones((9, 9))
    expected = sash.correlate(x, w)
    child = os.fork()
    if not child:
        both = threading.Barrier(2, timeout=20)
        try:
            crew.share(lambda _: both.wait(), range(2), 2)
            os._exit(0 if np.array_equal(sash.correlate(x, w), expected) else 3)
        finally:
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# --- awake -----------------------------------------------------------------------------------------


@pytest.fixture
def watch():
    if not bell.watches():
        pytest.skip("this processor has no pause")
    return bell.watch


def counter():
    return np.zeros(1, np.int64)


def test_a_watch_ends_with_news_or_with_its_time(watch):
    news, told = counter(), counter()
    assert watch(news, 1, 1 << 40, 0, told)  # there were news before
    start = perf_counter()
    assert not watch(news, 0, 1_000_000, 0, told)
    assert 1e-4 < perf_counter() - start < 1
    assert told[0] == 2, "whoever waits for this thread was not told that it left Python"


def test_a_watch_leaves_python_to_others(watch):
    """With Python's lock held, nobody could bring the news."""
    news, told, found = counter(), counter(), []
    other = threading.Thread(target=lambda: found.append(watch(news, 0, 1 << 36, 0, told)))
    other.start()
    while not told[0]:
        sleep(1e-4)
    news[0] = 1
    other.join(20)
    assert found == [True]


def test_threads_sleep_soon_after_their_work():
    both = threading.Barrier(2, timeout=20)
    for _ in range(20):
        crew.share(lambda _: both.wait(), range(2), 2)
    start = process_time()
    sleep(0.3)
    assert process_time() - start < 0.1


@pytest.mark.parametrize("awake", [True, False])
def test_brief_work_is_shared_with_threads_that_are_awake(monkeypatch, awake):
    """And not with those that would have to be woken first."""
    monkeypatch.setattr(crew, "RECENT", 60.0)
    crew.share(lambda _: None, range(2), 2)
    monkeypatch.setattr(crew._crew, "seen", perf_counter() - (0 if awake else 61))
    names, both = set(), threading.Barrier(2 if awake else 1, timeout=20)

    def one(_):
        both.wait()
        names.add(threading.current_thread().name)

    crew.share(one, range(2), 2, crew.BRIEF / 2)
    assert len(names) == (2 if awake else 1)
    crew.share(lambda _: names.add(threading.current_thread().name), range(1), 2)
    assert perf_counter() - crew._crew.seen < 30


def test_nobody_watches_where_waiting_is_to_be_passive():
    """As OpenMP's threads do then; or where there are more threads than cores."""
    told = (
        "import threading\nimport sash.kernels.cpu.simd\nfrom sash import crew\n"
        "def share(n):\n    all_ = threading.Barrier(n, timeout=20)\n    crew.share(lambda _: all_.wait(), range(n), n)\n"
        "share(2); first = crew._crew.watch is not None; share(64); print(first, crew._crew.watch is not None)"
    )
    for policy in ("passive", "PASSIVE", "active", None):
        setting = os.environ | ({"OMP_WAIT_POLICY": policy} if policy else {})
        if policy is None:
            setting.pop("OMP_WAIT_POLICY", None)
        done = subprocess.run([sys.executable, "-c", told], env=setting, capture_output=True, text=True, timeout=120, check=True)
        first = usable_cores() > 1 and bell.watches() and (policy or "").lower() != "passive"
        assert done.stdout.split() == [str(first), "False"], policy


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system keeps threads off no core")
@pytest.mark.skipif(usable_cores() < 2, reason="one core")
def test_threads_keep_off_the_core_of_the_caller(monkeypatch):
    """Where they would wait for it; also when it has moved. The caller may go where it could."""
    mine, both = os.sched_getaffinity(os.getpid()), threading.Barrier(2, timeout=20)
    crew.share(lambda _: both.wait(), range(2), 2)
    for core in sorted(mine)[:2] * 2:
        monkeypatch.setattr(crew, "current_core", lambda core=core: core)
        crew.share(lambda _: both.wait(), range(2), 2)
        assert [os.sched_getaffinity(thread.native_id) for thread in crew._crew.threads] == [mine - {core}] * crew._crew.size
    monkeypatch.undo()
    crew.share(lambda _: both.wait(), range(2), 2)
    assert crew._crew.core not in os.sched_getaffinity(crew._crew.threads[0].native_id)
    assert os.sched_getaffinity(os.getpid()) == mine
    seen = []
    crew.share(lambda _: (both.wait(), crew.share(lambda _: seen.append(usable_cores()), range(4), 2)), range(2), 2)
    assert set(seen) == {len(mine)}, "a thread that keeps off a core counts one less"


def test_threads_that_call_at_once_share_the_cores(monkeypatch):
    """Two callers on two cores: each does its own work."""
    monkeypatch.setattr(crew, "usable_cores", lambda: 2)
    held, free, names = threading.Event(), threading.Event(), set()

    def block(_):
        held.set()
        assert free.wait(30)

    other = threading.Thread(target=crew.share, args=(block, range(1), 2))
    other.start()
    assert held.wait(20)
    crew.share(lambda _: (sleep(1e-3), names.add(threading.current_thread().name)), range(30), 2)
    free.set()
    other.join()
    assert names == {threading.current_thread().name}
    assert not crew._crew.calling
