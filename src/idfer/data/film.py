"""Frames of one video, asked for by number: each is decoded once, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np

from idfer.data.frames import Frame, VideoFile
from idfer.errors import IdferError


class Film:
    """A video that is read forwards, as far as it is asked to be.

    Nothing is opened before the first frame is asked for. Frames in between are decoded, since others are
    made of them, but not converted.

    Args:
        path: the file.
        stopped: whether nobody waits for frames any longer, so that the way to a distant one is not gone.

    Attributes:
        path: as given.
        asked: the number asked for last.
    """

    def __init__(self, path: str, stopped: Callable[[], bool] = lambda: False) -> None:
        self.path = path
        self._stopped = stopped
        self.asked = 0
        self._last = Frame(-1, 0.0, None)
        self._file: VideoFile | None = None
        self._frames: Iterator[Frame] | None = None
        self._broken = ""  # why the file cannot be opened
        self._over = False

    def frame(self, number: int) -> np.ndarray:
        """The picture of a frame, (H, W, 3) uint8 RGB, upright.

        Args:
            number: of the frame, from 0, as `VideoFile` counts; not below the one asked for before.

        Raises:
            IdferError: the video cannot be opened, has no such frame, or the frame cannot be decoded.
            ValueError: a number below the one before.
        """
        if number < self.asked:
            raise ValueError(f"{self.path}: frame {number} is asked for after frame {self.asked}")
        self.asked = number
        self._open()
        assert self._frames is not None
        while self._last.number < number and not self._over:
            if self._stopped():
                raise IdferError(f"{self.path}: reading was stopped.")
            frame = next(self._frames, None)
            if frame is None:
                self._over = True
                self._end()
            else:
                self._last = frame
        last = self._last
        if last.number == number and last.image is not None:
            return last.image
        if last.error:
            reason = last.error.removeprefix(f"{self.path}: ")
            raise IdferError(f"{self.path}: frame {number}: {reason}")
        raise IdferError(
            f"{self.path}: frame {number}: there is no such frame, the last is {last.number}, the first 0;"
            " check the number, or copy or download the video again."
        )

    def _open(self) -> None:
        if self._broken:
            raise IdferError(self._broken)
        if self._file is None:
            try:
                self._file = VideoFile(self.path)
            except IdferError as error:
                text = str(error)
                self._broken = text if self.path in text else f"{self.path}: {text}"
                raise IdferError(self._broken) from error
            self._frames = self._file.frames(lambda number: number == self.asked)

    def _end(self) -> None:
        """Let go of the file; what was seen last is still known."""
        if self._file is not None:
            self._file.close()

    def close(self) -> None:
        """Let go of the file, once no more frames are asked for."""
        with suppress(Exception):
            self._end()
        self._over, self._frames = True, self._frames or iter(())
