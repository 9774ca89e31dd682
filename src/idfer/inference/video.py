"""Videos and cameras in, rows out: decoding, finding faces and predicting each in threads of their own.

Memory does not grow with a video's length: what waits is a few frames and one batch of faces.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from idfer.data.frames import Frame, Frames, VideoFile, is_video, pyav
from idfer.errors import IdferError, UsageError
from idfer.files import check_writable
from idfer.inference.ahead import ahead
from idfer.inference.failure import Tally, naming
from idfer.inference.notices import say
from idfer.inference.output import table
from idfer.inference.resume import Kept
from idfer.inference.smoothing import COLUMNS as SMOOTH
from idfer.inference.smoothing import Smoother
from idfer.inference.stream import NO_FACE, Queued, Stream, noted, printable
from idfer.inference.threads import ahead as ahead_in_threads
from idfer.inference.threads import workers_for
from idfer.inference.tracks import FOLLOWED, Tracker
from idfer.progress import bar, track

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from idfer.data.detection import Face
    from idfer.inference.annotate import Annotator
    from idfer.inference.inputs import Source
    from idfer.inference.plot import Plot

_WAITING = 256  # rows kept back at most
_PIXELS = 64 << 20  # bytes of frames that wait to be drawn on, at most
_PATIENCE = 1.0  # seconds that the rows of a camera may wait
_SAME = 2e-3  # valence and arousal of the same frame by the same model, as far as text files tell them


@dataclass(frozen=True)
class VideoOptions:
    """How videos are predicted on.

    Attributes:
        detect_every: the detector looks at every so many frames; between them faces are followed by their
            pictures (their rows' `detector` then ends in "/track"), and where one is lost it looks at once.
        smooth: seconds of causal smoothing, see `smoothing.Smoother`; None adds no columns.
        annotate: an .mp4 or .mkv to write: the video with boxes, numbers, valence and arousal drawn on it.
        plot: a .png, .svg or .pdf to write: valence and arousal over time, a line per face.

    Raises:
        UsageError: a value out of its range, or a suffix that is none of these.
    """

    detect_every: int = 1
    smooth: float | None = None
    annotate: str | Path | None = None
    plot: str | Path | None = None

    def __post_init__(self) -> None:
        if self.detect_every < 1:
            raise UsageError(f"--detect-every is {self.detect_every}; it must be 1 or more frames.")
        if self.smooth is not None and not (math.isfinite(self.smooth) and self.smooth > 0):
            raise UsageError(f"--smooth is {self.smooth:g}; it must be seconds above 0.")
        for option, file, known in (
            ("--annotate", self.annotate, (".mp4", ".mkv")),
            ("--plot", self.plot, (".png", ".svg", ".pdf")),
        ):
            if file is not None and Path(file).suffix.lower() not in known:
                raise UsageError(f"{option} {file}: cannot tell the format; end it with {', '.join(known)}.")

    def check(self, sources: Sequence[Source], resume: bool = False) -> None:
        """Refuse what makes no sense for these inputs.

        Raises:
            UsageError: an option that takes one video and something else is given, or the video itself would
                be written over.
            IdferError: a file to draw cannot be written, or a video is given and PyAV not installed.
        """
        videos = [source.path for source in sources if _is_film(source)]
        if videos:
            pyav()
        one = len(sources) == len(videos) == 1
        for option, given in (("--annotate", self.annotate), ("--plot", self.plot), ("--resume", resume)):
            if given and not one:
                raise UsageError(
                    f"{option} takes one video, and {len(sources)} input(s) are given; name one."
                )
        if not videos and (self.smooth is not None or self.detect_every > 1):
            raise UsageError("--smooth and --detect-every are for videos, and no input is one.")
        if self.annotate is not None and videos and Path(self.annotate).resolve() == videos[0].resolve():
            raise UsageError(f"--annotate {self.annotate}: is the input itself; give another name.")
        self.check_files()

    def check_files(self) -> None:
        """Refuse files to draw that cannot be written, whatever is drawn.

        Raises:
            UsageError: one is a folder.
            IdferError: nothing can be written there, or a video is to be drawn and PyAV not installed.
        """
        if self.annotate is not None:
            pyav()
        for option, file in (("--annotate", self.annotate), ("--plot", self.plot)):
            if file is not None:
                try:
                    folder = Path(file).is_dir()
                    check_writable(Path(file).absolute().parent)
                except (OSError, ValueError) as error:
                    raise IdferError(f"{option} {file}: cannot be written ({error}).") from error
                if folder:
                    raise UsageError(f"{option} {file}: is a folder; give the name of a file.")


def _is_film(source: Source) -> bool:
    """Whether it is a video file; an image in memory may be named as it likes."""
    return is_video(source.path) and not source.error and source.read is None


def _finished(row: dict[str, Any]) -> bool:
    """Whether a row has its numbers, or the reason why it has none."""
    return "error" in row or "valence" in row


class _Searched(NamedTuple):
    """A frame that the detector has seen, or that is to be followed first.

    Attributes:
        frame: the frame.
        faces: those in it; None where it was not searched.
        failure: why it could not be searched, if so.
    """

    frame: Frame
    faces: list[Face] | None = None
    failure: IdferError | None = None


class _Seen(NamedTuple):
    """A frame whose faces were found.

    Attributes:
        frame: the frame.
        rows: its rows, to be filled with numbers.
        faces: those of its faces that wait for numbers.
        written: whether its rows are in the output already.
    """

    frame: Frame
    rows: list[dict[str, Any]]
    faces: list[Queued]
    written: bool = False


@dataclass
class Footage:
    """Predictions on a list of images and videos, in their order.

    Attributes:
        stream: the model with all that a request asks for.
        options: how videos are predicted on.
        kept: the rows of an earlier run, where one is taken up.
        broken: frames and videos that could not be read.
        videos: how many videos were begun.
        frames: how many frames were there.
    """

    stream: Stream
    options: VideoOptions = field(default_factory=VideoOptions)
    kept: Kept | None = None
    broken: Tally = field(default_factory=Tally)
    videos: int = 0
    frames: int = 0

    @property
    def extra(self) -> tuple[str, ...]:
        """Columns beyond those of every table."""
        return self.stream.extra + (SMOOTH if self.options.smooth is not None else ())

    def run(self, sources: Sequence[Source], progress: bool = False) -> Iterator[pd.DataFrame]:
        """Yield tables of all inputs; a video that cannot be opened is a row with `error`."""
        for film, group in groupby(sources, key=_is_film):
            some = list(group)
            if not film:
                images = track(some, "predict", len(some), progress)
                smoothed = self.extra[len(self.stream.extra) :]
                for made in self.stream.run(images, workers_for(len(some))):
                    yield made.reindex(columns=[*made.columns, *smoothed]) if smoothed else made
                continue
            for source in some:
                try:
                    with naming(source.path):
                        frames = VideoFile(source.path)
                except IdferError as error:
                    self.videos += 1
                    row = {"input": printable(str(source.path)), "frame": 0}
                    yield table([row | {"error": noted(self.broken, error)}], self.extra)
                    continue
                yield from self.watch(frames, progress)

    def watch(
        self, frames: Frames, progress: bool = False, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[pd.DataFrame]:
        """Yield tables of one video or camera, which is closed at the end.

        Whatever ends it early, the rows made until then are yielded before the error is raised. Of a camera
        Ctrl-C is the end.

        Args:
            frames: of the video or camera.
            progress: show a bar.
            stopped: whether to end here, as `interrupt.noticed` says of Ctrl-C.
        """
        self.videos += 1
        with ExitStack() as stack:
            stack.callback(frames.close)
            shot = _Shot(self, frames, stack)
            advance = stack.enter_context(bar(Path(frames.name).name, frames.expected, progress))
            seen = stack.enter_context(closing(ahead(shot.found(ahead(frames)), stopped=stopped)))  # type: ignore[type-var]
            try:
                for one in seen:
                    shot.waiting.append(one)
                    self.frames += 1
                    advance()
                    if shot.full():
                        yield from shot.flush()
                yield from shot.flush()
            except KeyboardInterrupt:
                if not frames.live:
                    yield from shot.made()
                    raise
                yield from shot.flush()
            except Exception:
                yield from shot.made()
                raise
            shot.finish()


class _Shot:
    """The state of one video's prediction."""

    def __init__(self, footage: Footage, frames: Frames, stack: ExitStack) -> None:
        options, stream = footage.options, footage.stream
        self.waiting: list[_Seen] = []
        self._used = 0  # of those that wait: smoothed, plotted and drawn
        self._footage, self._stream, self._frames = footage, stream, frames
        self._name = printable(frames.name)
        self._every = options.detect_every
        self._tracker = Tracker()
        self._smoother = Smoother(options.smooth) if options.smooth is not None else None
        self._flushed = time.monotonic()
        self._any = False
        self._annotator: Annotator | None = None
        self._plot: Plot | None = None
        self._kept = footage.kept.frames(self._name) if footage.kept else None
        if options.annotate is not None:
            from idfer.inference.annotate import Annotator

            self._annotator = stack.enter_context(Annotator.to(options.annotate, frames.rate))
        if options.plot is not None:
            from idfer.inference.plot import Plot

            self._plot = Plot(Path(options.plot), smooth=options.smooth)

    def found(self, frames: Iterator[Frame]) -> Iterator[_Seen]:
        """Frames with the faces in them; in a thread of its own."""
        with closing(frames):  # type: ignore[type-var]
            for frame in frames:
                written = next(self._kept, None) if self._kept is not None else None
                if written is None:
                    self._kept = None
                    rest = chain([frame], frames)
                    # a camera's frames would wait for each other
                    workers = 1 if self._frames.live else workers_for(_WAITING)
                    searching = ahead_in_threads(self._search, rest, workers)
                    with closing(searching):  # type: ignore[type-var]  # its threads end before the frames do
                        for searched in searching:
                            yield self._look(searched)
                    return
                self._recall(frame, written)
                yield _Seen(frame, written, [], written=True)
            if self._kept is not None and next(self._kept, None) is not None:
                raise IdferError(
                    f"{self._name}: is shorter than when its kept rows were made; delete the partial file to "
                    "begin anew."
                )

    def _search(self, frame: Frame) -> _Searched:
        """Search a frame, where it is known beforehand that it will be; several threads may do so at once."""
        if frame.image is None or frame.number % self._every:
            return _Searched(frame)
        try:
            with naming(self._path(frame)):
                return _Searched(frame, self._stream.detector(frame.image))
        except IdferError as failure:
            return _Searched(frame, failure=failure)

    def _path(self, frame: Frame) -> Path:
        """What messages call a frame."""
        return Path(f"{self._name}: frame {frame.number}")

    def _recall(self, frame: Frame, rows: list[dict[str, Any]]) -> None:
        """Take a frame whose rows an earlier run wrote: everything after it must go on from them."""
        if rows[0]["frame"] != frame.number:
            raise IdferError(
                f"{self._name}: the rows kept are of frame {rows[0]['frame']} where the video has "
                f"{frame.number}; delete the partial file to begin anew."
            )
        for row in rows:
            if (error := row.get("error")) and error != NO_FACE:
                self._footage.broken.add(error)
        faces = [row for row in rows if row.get("face_id") is not None]
        found_by = rows[0]["detector"] or ""
        if frame.image is not None and found_by:  # else it was not searched, and the tracker never saw it
            boxes = [(row["x"], row["y"], row["width"], row["height"]) for row in faces]
            numbers = [row["face_id"] for row in faces]
            followed = found_by.endswith(FOLLOWED)
            self._tracker.remember(boxes, numbers, frame.image, frame.time, followed)

    def _look(self, searched: _Searched) -> _Seen:
        """Number a frame's faces, and cut them out."""
        frame, name = searched.frame, self._path(searched.frame)
        row: dict[str, Any] = {"input": self._name, "frame": frame.number, "time": frame.time}
        if frame.image is None:
            error = noted(self._footage.broken, IdferError(frame.error))
            return _Seen(frame, [row | {"error": error}], [])
        try:
            with naming(name):
                numbered, detector = self._numbered(searched)
        except IdferError as failure:
            return _Seen(frame, [row | {"error": noted(self._footage.broken, failure)}], [])
        row["detector"] = detector
        if not numbered:
            return _Seen(frame, [row | {"error": NO_FACE}], [])
        seen = _Seen(frame, [], [])
        for number, face in numbered:
            place = dict(zip(("x", "y", "width", "height"), face.box, strict=True))
            seen.rows.append(row | place | {"face_id": number, "face_score": face.score})
            try:
                seen.faces.append(self._stream.cut(name, frame.image, face, seen.rows[-1]))
            except IdferError as failure:
                seen.rows[-1]["error"] = noted(self._stream.unpredicted, failure)
        return seen

    def _numbered(self, searched: _Searched) -> tuple[list[tuple[int, Face]], str]:
        """The faces of a frame with their numbers, ascending, and what found them."""
        frame, faces, detector = searched.frame, searched.faces, self._stream.detector
        assert frame.image is not None
        if searched.failure is not None:
            raise searched.failure
        if detector.name == "none":  # each frame is one face, the same throughout
            return list(enumerate(detector(frame.image) if faces is None else faces)), detector.name
        if faces is None:
            followed = self._tracker.follow(frame.image, frame.time)
            if followed is not None:
                return sorted(followed, key=lambda pair: pair[0]), detector.name + FOLLOWED
            faces = detector(frame.image)
        numbers = self._tracker.update(faces, frame.image, frame.time)
        return sorted(zip(numbers, faces, strict=True), key=lambda pair: pair[0]), detector.name

    def full(self) -> bool:
        """Whether what waits should be predicted and handed out."""
        rows = sum(len(seen.rows) for seen in self.waiting)
        faces = sum(len(seen.faces) for seen in self.waiting)
        if faces >= self._stream.batch_size or rows >= _WAITING:
            return True
        if self._frames.live and time.monotonic() - self._flushed >= _PATIENCE:
            return True
        if self._annotator is None:
            last = self.waiting[-1]  # pixels are needed no more
            self.waiting[-1] = last._replace(frame=last.frame._replace(image=None))
            return False
        pixels = sum(s.frame.image.nbytes for s in self.waiting if s.frame.image is not None)
        return pixels >= _PIXELS

    def flush(self) -> Iterator[pd.DataFrame]:
        """Predict the faces that wait and hand out their rows.

        Where it is interrupted all still wait, and another call goes on, using no frame twice.
        """
        self._stream.answer([face for s in self.waiting for face in s.faces if not _finished(face.row)])
        for seen in self.waiting[self._used :]:
            self._used += 1
            self._use(seen)
        rows = [row for seen in self.waiting if not seen.written for row in seen.rows]
        made = table(rows, self._footage.extra) if rows else None
        self.waiting, self._used = [], 0
        self._flushed = time.monotonic()
        if made is not None:
            yield made

    def _use(self, seen: _Seen) -> None:
        """All that is done with a frame's finished rows beside writing them."""
        if self._footage.kept is not None and not seen.written:
            try:
                self._footage.kept.compare(seen.rows, _SAME)
            except IdferError:
                self.waiting = []  # another model's rows do not follow those kept
                raise
        for row in seen.rows:
            self._any |= row.get("face_id") is not None
            if self._smoother is not None:
                self._smoother.add(row)
            if self._plot is not None:
                self._plot.add(row)
        if self._annotator is not None and seen.frame.image is not None:
            self._annotator.add(seen.frame, seen.rows)

    def made(self) -> Iterator[pd.DataFrame]:
        """The rows of whole frames that wait and are finished already, when work ends early."""
        waiting, self.waiting = self.waiting, []
        rows: list[dict[str, Any]] = []
        for seen in waiting:
            if not all(_finished(row) for row in seen.rows):
                break
            if not seen.written:
                for row in seen.rows:
                    if self._smoother is not None and SMOOTH[0] not in row:
                        self._smoother.add(row)
                rows += seen.rows
        if rows:
            yield table(rows, self._footage.extra)

    def finish(self) -> None:
        """Say what should be known of the video, and draw its figure."""
        for note in self._frames.notes():
            say(note)
        if not self._any:
            say(f"{self._name}: no face was found in any frame.")
        if self._plot is not None:
            self._plot.write(self._name)
