"""Pieces of work timed in turn in one process, so that what is compared meets the same machine."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Times(NamedTuple):
    """Seconds of each round."""

    cpu: list[float]
    wall: list[float]


def cpu() -> float:
    """CPU seconds so far, of this process and its finished children."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def timed(work: dict[str, Callable[[], object]], rounds: int, warm_up: int = 0) -> dict[str, Times]:
    """Times of each, in turn, after so many rounds that do not count."""
    times = {name: Times([], []) for name in work}
    for number in range(rounds + warm_up):
        for name, run in work.items():
            before = cpu(), time.perf_counter()
            run()
            if number >= warm_up:
                times[name].cpu.append(cpu() - before[0])
                times[name].wall.append(time.perf_counter() - before[1])
    return times


def ratio(first: Times, second: Times) -> dict[str, dict[str, float]]:
    """Of times measured in turn: median, least and most."""
    found = {}
    for kind in Times._fields:
        values = [a / b for a, b in zip(getattr(first, kind), getattr(second, kind), strict=True)]
        chosen = (("median", statistics.median), ("least", min), ("most", max))
        found[kind] = {name: round(of(values), 3) for name, of in chosen}
    return found
