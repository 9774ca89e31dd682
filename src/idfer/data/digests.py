"""SHA-256 of files' contents, of a video once for all of its rows."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import Protocol, Self

from idfer.data.images import LARGEST_FILE, open_regular
from idfer.errors import IdferError


class Hash(Protocol):
    """What hashlib calls a hash object: to read, or to go on with."""

    def update(self, data: bytes, /) -> None:
        """Go on with more content."""

    def digest(self) -> bytes:
        """What names the content so far."""

    def copy(self) -> Self:
        """Another that goes on from here."""


class FileDigests:
    """Hashes files; several threads may ask at once."""

    def __init__(self) -> None:
        self._kept: dict[str, Hash | IdferError] = {}
        self._lock = threading.Lock()

    def of(self, file: str, video: bool) -> Hash:
        """SHA-256 of a file's content, the caller's own to go on with.

        Args:
            file: the file.
            video: many rows may name it: its hash is remembered, and it may be of any size.

        Raises:
            IdferError: it cannot be read, or is no video and has more bytes than an image has.
        """
        if not video:
            return _hash(file, LARGEST_FILE)
        with self._lock:
            if file not in self._kept:
                try:
                    self._kept[file] = _hash(file, None)
                except IdferError as error:
                    self._kept[file] = error
            kept = self._kept[file]
        if isinstance(kept, IdferError):
            raise IdferError(str(kept))
        return kept.copy()


def _hash(file: str, limit: int | None) -> Hash:
    with open_regular(file) as stream:
        try:
            if limit is not None and os.fstat(stream.fileno()).st_size > limit:
                raise IdferError(f"{file}: has more than {limit >> 20} MiB; save it smaller.")
            return hashlib.file_digest(stream, "sha256")
        except OSError as error:  # the disk fails while it is read
            raise IdferError(
                f"{file}: cannot be read ({error.strerror or error}); check the disk."
            ) from error
