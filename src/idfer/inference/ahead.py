"""Work ahead in a thread: one stage of a pipeline makes the next items while another uses the last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, Full, Queue
from typing import TypeVar

T = TypeVar("T")

_PAUSE = 0.1  # seconds between looks at whether the other side is still there


def ahead(items: Iterable[T], depth: int = 2, stopped: Callable[[], bool] = lambda: False) -> Iterator[T]:
    """Yield from `items`, which a thread of its own asks for the next few meanwhile.

    Worth it where the work behind `items` leaves Python's lock, as decoders and OpenCV do.

    Args:
        items: where to take from; used by that thread alone until this generator ends.
        depth: how many items may wait.
        stopped: whether to end before the items do; asked between them and while none comes.

    Raises:
        Exception: whatever `items` raises, in its place.
    """
    queue: Queue[tuple[T | None, BaseException | None, bool]] = Queue(depth)
    over = threading.Event()

    def put(entry: tuple[T | None, BaseException | None, bool]) -> None:
        while not over.is_set():
            try:
                queue.put(entry, timeout=_PAUSE)
                return
            except Full:
                continue

    def work() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                put((item, None, False))
                if over.is_set():
                    break
            put((None, None, True))
        except BaseException as error:
            put((None, error, True))
        finally:
            if hasattr(iterator, "close"):
                iterator.close()

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        while not stopped():
            try:
                item, error, last = queue.get(timeout=_PAUSE)
            except Empty:  # a wait without end would not hear Ctrl-C everywhere
                continue
            if error is not None:
                raise error
            if last:
                return
            yield item  # type: ignore[misc]
    finally:
        over.set()
        worker.join(timeout=30)
