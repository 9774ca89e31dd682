"""Memory that threads free and want again at once, kept by this process."""

from __future__ import annotations

import ctypes
from functools import cache

_TRIM, _MAP = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
_KEPT = 128 << 20  # bytes free at an arena's end before they go back to the system
_OWN = 32 << 20  # bytes from which an allocation is a mapping of its own; glibc's upper bound


@cache
def keep_freed() -> bool:
    """Have glibc keep freed images for the next ones, for the rest of this process; elsewhere do nothing.

    Its threads hand a large image's pages back to the system as soon as it is freed, and the next image takes
    them anew, a page at a time: 17 MB an image of 1350 x 1350 pixels, a quarter of `predict`'s time on two
    threads (benchmarks/predict.py). Up to `_KEPT` bytes a thread are kept for it. What MALLOC_TRIM_THRESHOLD_
    or MALLOC_MMAP_THRESHOLD_ say is overridden.

    Returns:
        whether it was done.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another libc; Windows takes no None
        return False
    return bool(mallopt(_MAP, _OWN)) and bool(mallopt(_TRIM, _KEPT))
