"""The frames of a video file or a camera, one at a time, each with its timestamp and upright in RGB."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import numpy as np

from idfer.data import budget
from idfer.data.columns import VIDEO
from idfer.data.images import open_regular
from idfer.errors import IdferError

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

_RATE = 25.0  # frames a second where a file does not say
_GAP = 3  # frames; a longer time between two is told
_LATE = 0.25  # seconds that a whole file may end before the time its header claims
# FFmpeg's readers of files that hold their own pictures: a playlist would name other files and addresses.
_FORMATS = (
    "3g2,3gp,asf,avi,dv,flv,h264,hevc,ivf,m4a,m4v,matroska,mj2,mov,mp4,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,"
    "rm,webm,y4m,yuv4mpegpipe"
)


class Frame(NamedTuple):
    """One frame.

    Attributes:
        number: from 0, in the order in which frames are shown.
        time: seconds from the start of the file, as a player shows them; NaN where nothing tells.
        image: (H, W, 3) uint8, RGB, upright; None where it cannot be had.
        error: why there is no image; "" where there is one.
    """

    number: int
    time: float
    image: np.ndarray | None
    error: str = ""


class Frames(Protocol):
    """A source of frames: `VideoFile` or `Camera`.

    Attributes:
        name: what rows call it.
        rate: frames a second, on average.
        expected: how many frames there will be, where that is known.
        live: whether frames come as they happen.
    """

    name: str
    rate: float
    expected: int | None
    live: bool

    def __iter__(self) -> Iterator[Frame]:
        """The frames, once."""

    def notes(self) -> list[str]:
        """What a user should know of the frames so far, a sentence each."""

    def close(self) -> None:
        """Let go of the file or the camera."""


def is_video(path: str | Path) -> bool:
    """Whether a name is that of a video, by its suffix."""
    return Path(path).suffix.lower().removeprefix(".") in VIDEO


def pyav() -> Any:
    """The module `av`, which reads and writes videos.

    Raises:
        IdferError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise IdferError("videos need PyAV; install it with `pip install idfer[video]`.") from error
    return av


class VideoFile:
    """A video file, decoded frame by frame in memory that does not grow with its length.

    Rotation and non-square pixels that the file notes are applied, so that boxes are in pixels of the picture
    as it is shown. A frame's time is its timestamp, counted from the start of the file: rates may vary. A
    frame without a timestamp gets the time before it plus one frame. A packet that cannot be decoded, a frame
    that its decoder calls damaged, one beyond the limit of pixels and the end of a file that is cut off are
    frames without an image: nothing is dropped in silence.

    Args:
        path: the file. What it is its content tells, not its name; playlists are refused.

    Raises:
        IdferError: PyAV is not installed, or the file is missing, empty, no video, without a video stream, of
            a codec that cannot be decoded, or has more pixels than `idfer.data.budget.max_pixels`.
    """

    live = False

    def __init__(self, path: str | Path) -> None:
        self.name = str(path)
        self._av = pyav()
        self._limit = budget.max_pixels()
        self._stream_of_bytes = open_regular(path)
        self._filled = self._backwards = self._marked = self._gaps = 0
        self._early = 0.0  # seconds between the last frame's end and the end that the header claims
        self._widest = (0.0, 0.0)  # seconds of the longest gap, and where it begins
        try:
            if not self._stream_of_bytes.peek(1):
                raise IdferError(f"{path}: is empty (0 bytes); copy or download it again.")
            self._container: InputContainer = self._open()
            self._stream = self._best()
        except BaseException:
            self._stream_of_bytes.close()
            raise
        average = self._stream.average_rate or self._stream.guessed_rate
        self.rate = float(average) if average else _RATE
        seconds = self._claimed_end()
        if seconds is None and self._container.duration:
            seconds = self._container.duration / self._av.time_base
        self.expected = self._stream.frames or (
            None if seconds is None else max(1, round(seconds * self.rate))
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()
        self._stream_of_bytes.close()

    def notes(self) -> list[str]:
        """What a user should know of the timestamps so far, a sentence each."""
        told = []
        if self._filled:
            told.append(
                f"{self.name}: {self._filled} frame(s) have no timestamp; their times are filled in at "
                f"{self.rate:g} frames a second."
            )
        if self._backwards:
            told.append(
                f"{self.name}: {self._backwards} frame(s) have a timestamp before the frame they follow; "
                "times are as the file says."
            )
        if self._gaps:
            long, at = self._widest
            told.append(
                f"{self.name}: {self._gaps} gap(s) of more than {_GAP} frames in its times, the longest of "
                f"{long:.3g} s at {at:.2f} s: nothing was filmed there, or the file has lost it."
            )
        if self._early:
            told.append(f"{self.name}: ends {self._early:.2f} s before its header says; the end may be lost.")
        if self._marked:
            told.append(f"{self.name}: {self._marked} packet(s) are marked as damaged by the file's reader.")
        return told

    def __iter__(self) -> Iterator[Frame]:
        """The frames in the order in which they are shown."""
        return self.frames(lambda number: True)

    def frames(self, wanted: Callable[[int], bool]) -> Iterator[Frame]:
        """The frames in the order in which they are shown; those not `wanted` by number without an image.

        To turn a decoded frame into RGB takes longer than to decode it, so what is not wanted is left as it
        is.
        """
        number, last, end, packets = 0, -math.inf, 0.0, 0
        broken = ""
        demuxed = self._container.demux(self._stream)
        while True:
            try:
                packet = next(demuxed, None)
            except self._av.error.FFmpegError as error:
                broken = _reason(error)
                break
            if packet is None:
                break
            packets += packet.size > 0
            self._marked += packet.is_corrupt
            for decoded, stamp, why in self._decoded(packet):
                image = None
                if decoded is not None and wanted(number):
                    image, why = self._converted(decoded)
                at = last + 1 / self.rate if stamp is None and number else (stamp or 0.0)
                self._filled += stamp is None
                self._backwards += at < last
                if number and at - last > _GAP / self.rate:
                    self._gaps += 1
                    self._widest = max(self._widest, (at - last, last))
                last, end = at, max(end, at)
                yield Frame(number, at, image, why)
                number += 1
        if number == 0:
            broken = broken or "its stream is empty or cannot be decoded"
            yield Frame(0, math.nan, None, f"{self.name}: holds no frame ({broken}).")
        elif lost := self._lost(packets, end) or broken:
            text = f"{self.name}: is damaged or cut off after frame {number - 1} ({lost})"
            yield Frame(number, math.nan, None, f"{text}; copy or download it again.")

    def times(self) -> list[float]:
        """Seconds at which its frames are shown, in order, as the packets say: nothing is decoded.

        To be asked for in the place of the frames. A packet without a timestamp counts one frame after the
        one before it.
        """
        stamps: list[float] = []
        with suppress(self._av.error.FFmpegError):  # cut off: what is there
            for packet in self._container.demux(self._stream):
                if packet.size and not packet.is_discard:
                    stamp = self._seconds(packet.pts)
                    last = stamps[-1] + 1 / self.rate if stamps else 0.0
                    stamps.append(last if stamp is None else stamp)
        return sorted(stamps)

    def _open(self) -> InputContainer:
        try:
            opened: InputContainer = self._av.open(
                self._stream_of_bytes,
                container_options={"format_whitelist": _FORMATS, "protocol_whitelist": "file"},
                metadata_errors="replace",
            )
        except self._av.error.FFmpegError as error:
            raise IdferError(
                f"{self.name}: is not a video that can be read, or is cut off ({_reason(error)}); copy it "
                "again or convert it to MP4."
            ) from error
        return opened

    def _best(self) -> VideoStream:
        """The file's video stream; a cover picture of a song is none."""
        picture = self._av.stream.Disposition.attached_pic
        streams = [s for s in self._container.streams.video if not s.disposition & picture]
        if not streams:
            raise IdferError(f"{self.name}: holds no video stream; give a file with pictures.")
        stream = max(streams, key=lambda s: s.disposition & self._av.stream.Disposition.default)
        context = stream.codec_context
        if context is None:
            raise IdferError(f"{self.name}: its codec cannot be decoded; convert it to H.264.")
        if (pixels := context.width * context.height) > self._limit:
            what = f"{self.name}: has frames of {context.width} x {context.height} pixels,"
            raise budget.too_large(what, pixels, self._limit)
        context.options = {"max_pixels": str(self._limit)}
        # So that damaged frames come out and are counted; the decoder would leave them out unsaid.
        context.flags |= self._av.codec.context.Flags.output_corrupt
        return stream

    def _decoded(self, packet: Packet[VideoStream]) -> Iterator[tuple[VideoFrame | None, float | None, str]]:
        """Frame, time and error of the frames that one packet completes."""
        try:
            frames = packet.decode()
        except (self._av.error.FFmpegError, MemoryError) as error:
            why = f"{self.name}: a frame cannot be decoded ({_reason(error)})."
            yield None, self._seconds(packet.pts), why
            return
        for frame in frames:
            stamp = self._seconds(frame.pts)
            if frame.is_corrupt:
                yield None, stamp, f"{self.name}: the data of a frame are damaged; it is left out."
            else:
                yield frame, stamp, ""

    def _converted(self, frame: VideoFrame) -> tuple[np.ndarray | None, str]:
        """Image and error of a decoded frame."""
        try:
            return self._upright(frame), ""
        except (self._av.error.FFmpegError, MemoryError, ValueError) as error:
            return None, f"{self.name}: a frame cannot be converted ({_reason(error)})."

    def _seconds(self, pts: int | None) -> float | None:
        base = self._stream.time_base
        if pts is None or base is None:
            return None
        start: int = self._container.start_time or 0
        return float(pts * base - Fraction(start, self._av.time_base))

    def _upright(self, frame: VideoFrame) -> np.ndarray:
        """(H, W, 3) uint8 RGB as a player shows it."""
        ratio = self._stream.sample_aspect_ratio or Fraction(1)
        wide = max(1, round(frame.width * ratio)) if Fraction(1, 4) <= ratio <= 4 else frame.width
        image: Any = frame.to_ndarray(format="rgb24", width=wide)
        if turns := round(frame.rotation / 90) % 4:  # a display matrix counts degrees counterclockwise
            image = np.ascontiguousarray(np.rot90(image, turns))
        return image  # type: ignore[no-any-return]

    def _claimed_end(self) -> float | None:
        """When the stream ends by its header, seconds; None where the header does not say."""
        stream = self._stream
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base)
        if (text := stream.metadata.get("DURATION")) is not None:  # Matroska: 00:00:02.400000000
            hours, minutes, seconds = (float(part) for part in text.strip("\0").split(":"))
            return 3600 * hours + 60 * minutes + seconds
        return None

    def _lost(self, packets: int, end: float) -> str:
        """What a file that is cut off lacks; "" of a whole one.

        Frames that an edit list leaves out are packets all the same. Formats without a length in their header
        (MPEG-TS) cannot be told to be cut off.
        """
        claimed = self._claimed_end()
        if self._stream.frames > packets > 0:
            return f"it has {packets} of the {self._stream.frames} frames it claims"
        if self._stream.frames or claimed is None:
            return ""
        early = claimed - end - 1 / self.rate
        if early > 1 / self.rate + _LATE:
            return f"it ends at {end:.2f} s and claims {claimed:.2f} s"
        self._early = early if early > 1.5 / self.rate else 0.0  # one long last frame, or a few lost
        return ""


class Camera:
    """A camera that OpenCV can open; times are seconds since its first frame.

    Args:
        number: which camera, from 0.
        capture: an opened `cv2.VideoCapture`, or what behaves alike.

    Raises:
        IdferError: there is no such camera, or it gives no picture.
    """

    live = True
    expected: int | None = None

    def __init__(self, number: int, capture: Any = None) -> None:
        import cv2

        self.name = f"camera:{number}"
        self._capture = cv2.VideoCapture(number) if capture is None else capture
        if not self._capture.isOpened():
            raise IdferError(f"camera {number} cannot be opened; check that it is connected and not in use.")
        told = float(self._capture.get(cv2.CAP_PROP_FPS) or 0.0)
        self.rate = told if 1 <= told <= 1000 else _RATE

    def __iter__(self) -> Iterator[Frame]:
        """Frames as they come, until the camera gives no more."""
        begin: float | None = None
        number = 0
        while True:
            there, picture = self._capture.read()
            now = time.monotonic()
            if not there:
                break
            begin = now if begin is None else begin
            yield Frame(number, now - begin, np.ascontiguousarray(picture[..., ::-1]))  # OpenCV gives BGR
            number += 1
        yield Frame(number, math.nan, None, f"{self.name}: gives no more pictures; check its cable.")

    def notes(self) -> list[str]:
        """Nothing."""
        return []

    def close(self) -> None:
        """Let go of the camera."""
        self._capture.release()


def _reason(error: BaseException) -> str:
    """An error of FFmpeg without its number and file."""
    return getattr(error, "strerror", None) or " ".join(str(error).split())[:160] or type(error).__name__
