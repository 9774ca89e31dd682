"""Images are read ahead in threads, in their order, and the caller's own thread counts stay as they were."""

from __future__ import annotations

import mmap
import platform
import subprocess
import sys
import threading
from collections.abc import Iterator

import cv2
import pytest
import torch

from idfer.inference.threads import ahead, network_threads


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(2)
    cv2.setNumThreads(2)
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_and_are_not_all_made_before_the_first_is_used(workers: int) -> None:
    taken: list[int] = []
    results = ahead(lambda x: -x, (taken.append(i) or i for i in range(100)), workers)
    assert next(results) == 0
    assert len(taken) == (1 if workers == 1 else 2 * workers)
    assert list(results) == [-i for i in range(1, 100)]


def test_several_are_worked_on_at_once() -> None:
    """Each waits for the other: one after the other they would wait for ever."""
    meeting = threading.Barrier(2, timeout=20)
    assert len(list(ahead(lambda _: meeting.wait(), range(4), 2))) == 4


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_the_work_raises_comes_after_the_results_before_it(error: type[BaseException]) -> None:
    def work(x: int) -> int:
        if x == 5:
            raise error
        return x

    seen = []
    with pytest.raises(error):
        for x in ahead(work, range(50), 3):
            seen.append(x)  # noqa: PERF402 - a list() would lose them
    assert seen == [0, 1, 2, 3, 4]
    assert cv2.getNumThreads() == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_what_the_items_raise_comes_after_the_results_before_it(workers: int) -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise OSError("unplugged")

    seen: list[int] = []
    with pytest.raises(OSError, match="unplugged"):
        seen.extend(ahead(lambda i: i, items(), workers))
    assert seen == list(range(5))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's memory is kept")
@pytest.mark.parametrize("workers", [1, 2])
def test_memory_of_the_images_before_is_used_again(workers: int) -> None:
    """In a process of its own, for what one test sets of the memory lasts."""
    code = """
import resource
from idfer.inference.threads import ahead
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work(_): return len([b'x' * (1 << 20) for _ in range(30)])
before = faults()
assert list(ahead(work, range(40), WORKERS)) == [30] * 40
print((faults() - before) / 40)
"""
    code = code.replace("WORKERS", str(workers))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 0.1 * 30 * (1 << 20) / mmap.PAGESIZE, "pages are taken anew each time"


def test_opencv_has_one_thread_while_ours_work() -> None:
    one, other = (ahead(lambda _: cv2.getNumThreads(), range(9), 2) for _ in range(2))
    assert next(one) == 1
    assert next(other) == 1
    one.close()
    assert next(other) == 1, "the other still works"
    other.close()
    assert cv2.getNumThreads() == 2


def test_a_small_batch_is_worth_one_thread_of_torch() -> None:
    with network_threads(64 * 64):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(ValueError), network_threads(64 * 64):
        raise ValueError
    assert torch.get_num_threads() == 2
    with network_threads(64 * 224 * 224):
        assert torch.get_num_threads() == 2
