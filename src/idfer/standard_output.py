"""Standard output whose failure (a full disk, a reader that left) is told from that of any other file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, TextIO


class StandardOutput:
    """A stream that passes everything on and remembers the error that its writing ended with.

    Attributes:
        failure: what the last write or flush raised, None while all went well.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write as a text stream does."""
        with self._remembering():
            return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write lines as a text stream does."""
        with self._remembering():
            self._stream.writelines(lines)

    def flush(self) -> None:
        """Hand on what is buffered."""
        with self._remembering():
            self._stream.flush()

    def discard(self) -> None:
        """Send what is still buffered nowhere, so that the interpreter's own flush at exit cannot fail."""
        with suppress(OSError, ValueError):  # a stream in memory has no descriptor, and needs none
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, self._stream.fileno())
            os.close(sink)

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = error
            raise


@contextmanager
def watched() -> Iterator[StandardOutput]:
    """Put a `StandardOutput` in the place of `sys.stdout`; a closed one (`>&-`) takes everything silently."""
    if sys.stdout is None:
        with Path(os.devnull).open("w", encoding="utf-8") as sink, _in_place(sink) as output:
            yield output
        return
    with _in_place(sys.stdout) as output:
        yield output


@contextmanager
def _in_place(stream: TextIO) -> Iterator[StandardOutput]:
    output = StandardOutput(stream)
    with redirect_stdout(output):
        yield output
