"""Threads that share work: every box once, errors raised, nobody waits for what never began, nothing is kept."""

import gc
import os
import threading
import weakref
from time import sleep

import numpy as np
import pytest

import sash
from sash import crew


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
