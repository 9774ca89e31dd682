"""Cores shared between decoding, detection and the network, which would each take all of them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

from idfer.allocator import keep_freed
from idfer.workers import cores

T = TypeVar("T")
R = TypeVar("R")

_MOST = 4  # threads that look ahead: each may hold a large image
_WORTH = 1 << 18  # pixels of a batch that are worth one more thread: 64 faces of 64 x 64, 5 of 224 x 224


def workers_for(images: int) -> int:
    """How many threads should read so many images and find faces in them: 1 for the caller's own."""
    return min(cores(), _MOST, max(1, images))


def ahead(work: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """The results of some work in the items' order, made ahead in threads; with 1 worker when asked for.

    At most `workers` items are worked on at a time, and twice as many taken from `items` before their turn.
    What the work or `items` raises is raised in its turn, after the results before it.
    """
    if workers == 1:
        for number, item in enumerate(items):
            if number == 1:  # of one image nothing is wanted again
                keep_freed()
            yield work(item)
        return
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(workers)
    _opencv.limit()
    keep_freed()
    failure: Exception | None = None
    left = iter(items)
    try:
        while True:
            try:
                item = next(left)
            except StopIteration:
                break
            except Exception as error:
                failure = error
                break
            waiting.append(pool.submit(work, item))
            if len(waiting) == 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(cancel_futures=True)
        _opencv.release()


class _OpenCV:
    """OpenCV's own threads, which it has for the whole process: one while ours share the cores."""

    def __init__(self) -> None:
        self._lock, self._users, self._before = Lock(), 0, 0

    def limit(self) -> None:
        import cv2

        with self._lock:
            if not self._users:
                self._before = cv2.getNumThreads()
                cv2.setNumThreads(1)
            self._users += 1

    def release(self) -> None:
        import cv2

        with self._lock:
            self._users -= 1
            if not self._users:
                cv2.setNumThreads(self._before)


_opencv = _OpenCV()


@contextmanager
def network_threads(pixels: int) -> Iterator[None]:
    """Let torch's CPU kernels use as many threads as a batch of so many pixels is worth.

    Threads that wait for each other at every layer of a small network cost more than they bring, above all
    beside OpenCV's: one face of 64 x 64 pixels takes 0.6 ms on one thread and up to 400 on two that other
    work displaces. Only the calling thread is limited.
    """
    import torch

    before = torch.get_num_threads()
    worth = min(before, max(1, math.ceil(pixels / _WORTH)))
    if worth == before:
        yield
        return
    torch.set_num_threads(worth)
    try:
        yield
    finally:
        torch.set_num_threads(before)
