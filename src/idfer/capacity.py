"""How much memory and disk there is, to refuse a request that cannot fit before any work is done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_GROUP_LIMITS = (  # of a container; the second is what older kernels call it
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
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
    for limit in _GROUP_LIMITS:
        with suppress(OSError, ValueError):  # "max" where there is none
            yield int(Path(limit).read_text())
    with suppress(OSError, ValueError, AttributeError):  # all there is: a bound on macOS too
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
