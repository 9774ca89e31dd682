"""Processes that work for this one: started afresh, ended with it, and missed with one clear line."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from idfer.errors import IdferError


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def processes(count: int, prepare: Callable[[], None], name: str) -> Iterator[ProcessPoolExecutor]:
    """A pool for a `with` block; at its end what is queued is dropped, and what runs is waited for.

    Each process is started afresh ("spawn": torch's threads do not survive a fork) and ends when this one is
    killed.

    Args:
        count: of processes.
        prepare: called first in each; of a module, so that another process finds it.
        name: of such a process, for people.

    Raises:
        IdferError: one died.
    """
    from multiprocessing import get_context

    pool = ProcessPoolExecutor(count, get_context("spawn"), initializer=_start, initargs=(prepare,))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise IdferError(
            f"{name} died; what was finished is kept. Often memory is short: run the same command again with "
            "fewer --workers. In a script, call it under `if __name__ == '__main__':`."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start(prepare: Callable[[], None]) -> None:
    """Prepare a process, and end it when its parent is killed."""
    import multiprocessing

    prepare()
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
