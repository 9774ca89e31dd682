"""How much memory and disk there is, to refuse a request that cannot fit before any work is done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_GROUPS = (  # of a container: its limit, what is used of it; the second is what older kernels call them
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available_memory() -> int | None:
    """Bytes of memory that a process may still fill without swapping; None where it cannot be told."""
    return min(_memory_bounds(), default=None)


def free_disk(folder: str | Path) -> int | None:
    """Bytes that are free where `folder` is, or will be once it is made; None where it cannot be told."""
    place = Path(folder).absolute()
    for existing in (place, *place.parents):
        with suppress(OSError):
            return shutil.disk_usage(existing).free
    return None


def gibibytes(size: int) -> str:
    """A number of bytes as people read it, e.g. `12,345.6 GiB`."""
    return f"{size / 2**30:,.1f} GiB"


def _memory_bounds() -> Iterator[int]:
    with suppress(OSError, ValueError):  # Linux
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, _, amount = line.partition(":")
            if name == "MemAvailable":
                yield int(amount.split()[0]) * 1024
    for limit, used in _GROUPS:
        with suppress(OSError, ValueError):  # "max" where there is none
            yield max(int(Path(limit).read_text()) - _held(Path(used)), 0)
    with suppress(OSError, ValueError, AttributeError):  # all there is: a bound on macOS too
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _held(used: Path) -> int:
    """Bytes that a container uses, without the cached files that make room for others."""
    cached = 0
    with suppress(OSError, ValueError):
        for line in used.with_name("memory.stat").read_text().splitlines():
            name, _, amount = line.partition(" ")
            if name in ("inactive_file", "total_inactive_file"):
                cached = max(cached, int(amount))
    return int(used.read_text()) - cached
