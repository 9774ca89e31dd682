"""Whatever fails on one image is that image's failure: one line that names it, and the next image's turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from idfer.errors import IdferError, UsageError


@dataclass
class Tally:
    """Failures of one kind.

    Attributes:
        count: how many.
        first: what was wrong in the first of them.
    """

    count: int = 0
    first: str = ""

    def add(self, reason: str) -> None:
        """Count one more."""
        self.count += 1
        self.first = self.first or reason


@contextmanager
def naming(file: Path, prefix: bool = False) -> Iterator[None]:
    """Turn every failure of the work on one image into an `IdferError` that names the image.

    Decoders, OpenCV and Pillow raise nearly anything where an image is damaged, odd or too large for memory.

    Args:
        file: the image.
        prefix: whether errors that idfer raises in the work do not name the file yet, as those of a crop.

    Raises:
        UsageError: as it came: a request that is wrong for one image is wrong for all.
        IdferError: everything else.
    """
    try:
        yield
    except UsageError:
        raise
    except IdferError as error:
        raise IdferError(f"{file}: {error}" if prefix else str(error)) from error
    except MemoryError as error:
        raise IdferError(f"{file}: is too large (out of memory); scale it down.") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise IdferError(f"{file}: cannot be worked on ({reason}); convert it or scale it down.") from error


def out_of_memory(error: Exception) -> bool:
    """Whether an error of the network's pass says that memory is short, here or on the device."""
    words = ("out of memory", "not enough memory", "allocate memory")  # torch has no class for all devices
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(w in str(error) for w in words)
    )
