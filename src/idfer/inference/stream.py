"""Many images in, tables of predictions out: constant memory, faces batched across images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.attributes.trust import top_posteriors
from idfer.data.detection import Detector, Face
from idfer.errors import IdferError
from idfer.inference.cutting import cut
from idfer.inference.failure import Tally, naming, out_of_memory
from idfer.inference.inputs import Source
from idfer.inference.output import table
from idfer.inference.threads import ahead, network_threads

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from idfer.attributes.reader import ClipReader
    from idfer.training.checkpoint import Checkpoint

NO_FACE = "no face found"
_WAITING = 256  # rows kept back at most, so that long stretches without a face are written too


@dataclass
class Queued:
    """A face that waits for its batch.

    Attributes:
        row: of the table.
        crop: (S, S, 3) uint8.
        prepared: what CLIP wants of it to infer attributes, where asked for.
        seen: what CLIP wants of it to retrieve ID vectors, where the network reads them.
    """

    row: dict[str, Any]
    crop: np.ndarray
    prepared: Tensor | None
    seen: Tensor | None


@dataclass
class _Looked:
    """What one image shows, before the network sees it.

    Attributes:
        rows: of the table.
        faces: those that can be predicted; their rows are among `rows`.
        unreadable: why the image cannot be read, if so.
        unpredicted: why some faces cannot be predicted.
    """

    rows: list[dict[str, Any]]
    faces: list[Queued] = field(default_factory=list)
    unreadable: IdferError | None = None
    unpredicted: list[IdferError] = field(default_factory=list)


@dataclass
class Stream:
    """One run of a model over images; the rows keep the images' order, whatever the batch size.

    Attributes:
        checkpoint: network, preprocessing contract.
        detector: finds the faces.
        detach: strength by attribute; None detaches all of the model's.
        batch_size: faces per pass through the network.
        reader: infers identity attributes, where asked for.
        vectors: retrieves ID vectors, where the network reads them.
        attach: (1, A, D) or, of evidence, (1, A, 3): what another face gives, to attach.
        unreadable: inputs that could not be read so far.
        unpredicted: faces so far that have no prediction.
    """

    checkpoint: Checkpoint
    detector: Detector
    detach: Mapping[str, float] | None
    batch_size: int
    reader: ClipReader | None = None
    vectors: ClipReader | None = None
    attach: Tensor | None = None
    unreadable: Tally = field(default_factory=Tally)
    unpredicted: Tally = field(default_factory=Tally)
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _faces: list[Queued] = field(default_factory=list)
    _tops: np.ndarray | None = None  # (A,) sum of the most probable levels' posteriors
    _read: int = 0  # faces in that sum

    @property
    def extra(self) -> tuple[str, ...]:
        """Columns beyond `output.COLUMNS`: one per attribute level, where attributes are inferred."""
        return self.reader.columns if self.reader else ()

    @property
    def certainty(self) -> np.ndarray | None:
        """(A,) mean posterior of each attribute's most probable level over the faces so far; None without."""
        return None if self._tops is None else self._tops / self._read

    def run(self, sources: Iterable[Source], workers: int = 1) -> Iterator[pd.DataFrame]:
        """Yield tables as of `output.table`, each of some images.

        Whatever ends it early, the rows made until then are yielded before the error is raised.

        Args:
            sources: the images.
            workers: threads that read images and find faces ahead of the network, see `threads.ahead`; with 1
                an image is taken when the one before it is done.
        """
        try:
            for looked in ahead(self._look, sources, workers):
                self._queue(looked)
                if len(self._faces) >= self.batch_size or len(self._rows) >= _WAITING:
                    yield self._flush()
            if self._rows:
                yield self._flush()
        except (KeyboardInterrupt, Exception):
            made = [row for row in self._rows if "error" in row or "valence" in row]
            if made:
                yield table(made, self.extra)
            raise

    def _look(self, source: Source) -> _Looked:
        """Read one image, find its faces and cut them out; several threads may do so at once."""
        row: dict[str, Any] = {"input": printable(str(source.path)), "frame": 0}
        try:
            with naming(source.path):
                image, factor = source.image()
                faces = self.detector(image)
        except IdferError as error:
            return _Looked([row], unreadable=error)
        row["detector"] = self.detector.name
        if not faces:
            return _Looked([row | {"error": NO_FACE}])
        looked = _Looked([])
        for number, face in enumerate(faces):
            x, y, width, height = (factor * value for value in face.box)
            place = {"x": x, "y": y, "width": width, "height": height}
            looked.rows.append(row | place | {"face_id": number, "face_score": face.score})
            try:
                looked.faces.append(self.cut(source.path, image, face, looked.rows[-1]))
            except IdferError as error:
                looked.rows[-1]["error"] = _one_line(error)
                looked.unpredicted.append(error)
        return looked

    def cut(self, name: Path, image: np.ndarray, face: Face, row: dict[str, Any]) -> Queued:
        """A face, cut out for all that will look at it.

        Args:
            name: of the image, for messages.
            image: (H, W, 3) uint8, RGB.
            face: where it is.
            row: to be filled with numbers.
        """
        with naming(name, prefix=True):
            found = cut(image, face, self.detector, self.checkpoint.preprocess)
            prepared = self.reader.prepare(image, found.box) if self.reader else None
            seen = self.vectors.prepare(image, found.box) if self.vectors else None
            return Queued(row, found.crop, prepared, seen)

    def _queue(self, looked: _Looked) -> None:
        """Queue what one image shows for the network."""
        if looked.unreadable is not None:
            looked.rows[0]["error"] = noted(self.unreadable, looked.unreadable)
        for error in looked.unpredicted:
            noted(self.unpredicted, error)
        self._rows.extend(looked.rows)
        self._faces.extend(looked.faces)

    def _flush(self) -> pd.DataFrame:
        """Predict the queued faces and hand out all queued rows."""
        self.answer(self._faces)
        rows, self._rows, self._faces = self._rows, [], []
        return table(rows, self.extra)

    def answer(self, faces: list[Queued]) -> None:
        """Fill the rows of faces, a batch at a time."""
        for start in range(0, len(faces), self.batch_size):
            self._answer(faces[start : start + self.batch_size])

    def _answer(self, batch: list[Queued]) -> None:
        """Fill the rows of some faces, each with numbers or with an error."""
        try:
            answers = self._predict(batch)
            posteriors = self._posteriors(batch)
        except Exception as error:
            if not out_of_memory(error):
                raise
            short = (
                f"out of memory in a batch of {len(batch)} faces; lower --batch_size or use another device"
            )
            for face in batch:
                face.row["error"] = noted(self.unpredicted, IdferError(f"{face.row['input']}: {short}."))
            return
        for face, (valence, arousal), levels in zip(batch, answers, posteriors, strict=True):
            face.row.update(zip(self.extra, levels, strict=True))
            if np.isfinite([valence, arousal]).all():
                face.row.update(valence=valence, arousal=arousal)
            else:
                broken = "the model's output is not a number; its weights may be damaged"
                face.row["error"] = noted(self.unpredicted, IdferError(broken))

    def _predict(self, batch: list[Queued]) -> np.ndarray:
        """Valence and arousal (B, 2) of B faces."""
        crops = np.stack([face.crop for face in batch])
        seen = [face.seen for face in batch if face.seen is not None]
        retrieved = self.vectors.vectors(seen).cpu().numpy() if self.vectors else None
        with network_threads(crops[..., 0].size):
            outputs = self.checkpoint.predict(crops, self.detach, retrieved=retrieved, attach=self.attach)
        return outputs.valence_arousal

    def _posteriors(self, batch: list[Queued]) -> np.ndarray:
        """Level posteriors (B, K) of B faces; K = 0 where no attributes are inferred."""
        if self.reader is None:
            return np.empty((len(batch), 0))
        posteriors = self.reader.posteriors([face.prepared for face in batch if face.prepared is not None])
        tops = top_posteriors(posteriors, self.reader.levels).sum(axis=0, dtype=np.float64)
        self._tops = tops if self._tops is None else self._tops + tops
        self._read += len(batch)
        return posteriors


def noted(tally: Tally, error: IdferError) -> str:
    """An error as its row shows it, counted."""
    reason = _one_line(error)
    tally.add(reason)
    return reason


def _one_line(error: IdferError) -> str:
    return printable(" ".join(str(error).split()))


def printable(text: str) -> str:
    """Text that can be encoded: file names of unknown encoding hold bytes that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
