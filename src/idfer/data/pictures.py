"""What the rows of a manifest show: image files, and frames of videos, each video decoded once a pass.

A frame can be decoded only after those before it, so rows are visited in reading order: images as they stand,
the frames of a video together, ascending, where the first of them stands. To seek to a frame costs dozens of
frames decoded in order where key frames are far apart (`benchmarks/loading.py`), so nothing here reads frames
at random.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from idfer.data.film import Film
from idfer.data.images import read_reduced
from idfer.data.manifest import Manifest
from idfer.errors import IdferError

T = TypeVar("T")

Picture = tuple[np.ndarray, int]
"""(H, W, 3) uint8 RGB upright, and by what its sides were divided: see `idfer.data.images.read_reduced`."""

Read = Callable[[], Picture]
"""Reads a row's picture, once; raises IdferError, which names the file, where it cannot be had."""

_CHUNK = 16  # small images that a thread takes at a time: handing one over costs a tenth of decoding it
_AHEAD = 32  # chunks that may be done before they are asked for
_FRAMES = 2  # decoded frames that may wait, a thread


def reading_order(manifest: Manifest) -> NDArray[np.int64]:
    """(N,) rows of a manifest in the order in which their pictures are read."""
    rows = np.arange(len(manifest))
    frames = manifest.frames
    of_video = np.flatnonzero(frames >= 0)
    if not of_video.size:
        return rows
    place = rows.copy()
    paths = manifest.frame["path"].to_numpy(object)[of_video].astype(str)
    _, first, video = np.unique(paths, return_index=True, return_inverse=True)
    place[of_video] = of_video[first][video]
    return np.lexsort((rows, frames, place))


def image_of(file: str, frame: int) -> Picture:
    """The picture of one row, which must be an image file.

    Raises:
        IdferError: it is a frame of a video, which is read in order or not at all; or as `read_reduced`.
    """
    if frame >= 0:
        raise IdferError(
            f"{file}: frames of a video cannot be read one by one, in any order; cut the faces out once with "
            "`idfer crop MANIFEST -o DIR`, and give DIR in the manifest's place."
        )
    return read_reduced(file)


class Pictures:
    """Reads the pictures of a manifest, in threads; to be closed, or used in a `with` block.

    Args:
        manifest: the faces.
        threads: that read images, or work on frames while a thread beside them decodes.
        known: message by row whose picture is not to be read.

    Attributes:
        files: of the rows.
        frames: of the rows, -1 of images.
        order: the rows in reading order.
        chunk: small images that a thread should take at a time.
    """

    def __init__(self, manifest: Manifest, threads: int, known: Mapping[int, str] | None = None) -> None:
        self.files = manifest.file_names
        self.frames: list[int] = manifest.frames.tolist()
        self.order = reading_order(manifest)
        self.chunk = max(1, min(_CHUNK, len(self.frames) // (4 * max(1, threads))))
        self._known = known or {}
        self._pool = ThreadPoolExecutor(max(1, threads))
        self._decoder = ThreadPoolExecutor(1)
        self._room = threading.Semaphore(_FRAMES * max(1, threads))
        self._closed = False
        self._film: Film | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading; what was not begun is left."""
        self._closed = True
        self._room.release()  # the decoder may wait for it
        self._pool.shutdown(cancel_futures=True)
        self._decoder.shutdown(cancel_futures=True)
        if self._film is not None:
            self._film.close()

    def each(
        self, rows: Iterable[int], work: Callable[[int, Read], T], chunk: int = 1
    ) -> Iterator[tuple[int, T]]:
        """Do something with the picture of each row, ahead of what is asked for and in several threads.

        Args:
            rows: which, in reading order; a video that is met again is decoded again.
            work: what to do with a row and its `Read`; its errors are raised here.
            chunk: images that a thread takes at a time; `chunk` of this object where work is short.

        Yields:
            Each row with what became of it, in the order given.
        """
        waiting: deque[Future[list[tuple[int, T]]]] = deque()
        try:
            for some in self._chunks(rows, chunk):
                if len(waiting) >= _AHEAD:
                    yield from waiting.popleft().result()
                waiting.append(self._begun(some, work))
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _chunks(self, rows: Iterable[int], size: int) -> Iterator[list[int]]:
        """Rows that one task takes: a few images, or one frame."""
        chunk: list[int] = []
        for row in rows:
            if self.frames[row] >= 0 and row not in self._known:
                if chunk:
                    yield chunk
                yield [row]
                chunk = []
                continue
            chunk.append(row)
            if len(chunk) == size:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    def _begun(self, chunk: Sequence[int], work: Callable[[int, Read], T]) -> Future[list[tuple[int, T]]]:
        row = chunk[0]
        if self.frames[row] < 0 or row in self._known:
            return self._pool.submit(self._images, chunk, work)
        made = self._pool.submit(_on_frame, row, self._decoder.submit(self._frame, row), work)
        made.add_done_callback(lambda _: self._room.release())
        return made

    def _images(self, chunk: Sequence[int], work: Callable[[int, Read], T]) -> list[tuple[int, T]]:
        return [(row, work(row, partial(self._image, row))) for row in chunk]

    def _image(self, row: int) -> Picture:
        if row in self._known:
            raise IdferError(self._known[row])
        return read_reduced(self.files[row])

    def _frame(self, row: int) -> np.ndarray:
        """Decode a frame; in the thread for this, which keeps the video open for the next."""
        if not self._closed:
            self._room.acquire()
        if self._closed:
            raise IdferError("reading was stopped.")
        file, number = self.files[row], self.frames[row]
        film = self._film
        if film is None or film.path != file or film.asked > number:
            if film is not None:
                film.close()
            film = self._film = Film(file, lambda: self._closed)
        return film.frame(number)


def _on_frame(row: int, frame: Future[np.ndarray], work: Callable[[int, Read], T]) -> list[tuple[int, T]]:
    return [(row, work(row, lambda: (frame.result(), 1)))]
