"""A video with what the model says drawn on it: boxes, numbers of faces, valence and arousal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from idfer.data.frames import Frame, pyav
from idfer.errors import IdferError
from idfer.files import atomic
from idfer.inference.drawing import annotate
from idfer.inference.notices import say

_TICKS = 90_000  # a second; fine enough for every frame rate in use
_MPEG4_TICKS = 60_000  # MPEG-4 has at most 65535


class _NothingDrawn(Exception):
    """Ends `atomic` without a file."""


class Annotator:
    """Writes frames as a video with the timestamps they came with; its size is the first frame's."""

    def __init__(self, path: Path, rate: float) -> None:
        self._av = pyav()
        self._container = self._av.open(str(path), "w")
        self._codec = "libx264" if "libx264" in self._av.codecs_available else "mpeg4"
        self._ticks = _TICKS if self._codec == "libx264" else _MPEG4_TICKS
        self._rate = Fraction(rate).limit_denominator(1001)
        self._stream: Any = None
        self._last = -1

    @classmethod
    @contextmanager
    def to(cls, target: str | Path, rate: float) -> Iterator[Annotator]:
        """An annotator whose file appears under its name once it is whole.

        Args:
            target: an .mp4 or .mkv.
            rate: frames a second, about.

        Raises:
            IdferError: it cannot be written.
        """
        try:
            with atomic(target) as temporary:
                annotator = cls(temporary, rate)
                try:
                    yield annotator
                    if annotator._stream is None:
                        raise _NothingDrawn
                    annotator._mux(None)
                finally:
                    annotator._container.close()
        except _NothingDrawn:
            say(f"{target}: is not written, since there was no frame to draw on.")

    def add(self, frame: Frame, rows: Sequence[dict[str, Any]]) -> None:
        """Draw the rows of a frame on it and append it."""
        assert frame.image is not None
        picture = np.asarray(annotate(frame.image, rows))
        if self._stream is None:
            self._begin(picture.shape[1], picture.shape[0])
        made = self._av.VideoFrame.from_ndarray(self._fitted(picture), format="rgb24")
        made.time_base = Fraction(1, self._ticks)
        ticks = round(frame.time * self._ticks) if np.isfinite(frame.time) else self._last + 1
        made.pts = self._last = max(ticks, self._last + 1)  # players want times that grow
        self._mux(made)

    def _begin(self, width: int, height: int) -> None:
        self._stream = self._container.add_stream(self._codec, rate=self._rate)
        self._stream.width, self._stream.height = width + width % 2, height + height % 2  # yuv420p is even
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, self._ticks)
        if self._codec == "libx264":
            self._stream.options = {"crf": "20", "preset": "veryfast"}
        else:
            self._stream.bit_rate = 4_000_000

    def _fitted(self, picture: np.ndarray) -> np.ndarray:
        """The picture at the video's size: shrunk or enlarged where frames change theirs, then padded."""
        import cv2

        width, height = self._stream.width, self._stream.height
        factor = min(width / picture.shape[1], height / picture.shape[0])
        if max(abs(width - picture.shape[1]), abs(height - picture.shape[0])) > 1:
            size = (max(1, int(picture.shape[1] * factor)), max(1, int(picture.shape[0] * factor)))
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        below, right = height - picture.shape[0], width - picture.shape[1]
        if below or right:
            picture = cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REPLICATE)
        return np.ascontiguousarray(picture)

    def _mux(self, frame: Any) -> None:
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except self._av.error.FFmpegError as error:
            if isinstance(error, OSError) and error.errno in (28, 122):  # the disk is full: `atomic` says so
                raise OSError(error.errno, error.strerror) from error
            raise IdferError(f"the annotated video cannot be encoded ({error.strerror}).") from error
