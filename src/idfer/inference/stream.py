"""Many images in, tables of predictions out: constant memory, faces batched across images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.data.faces import Detector
from idfer.data.images import read_image
from idfer.errors import IdferError
from idfer.inference.output import table

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from idfer.attributes.reader import ClipReader
    from idfer.training.checkpoint import Checkpoint

NO_FACE = "no face found"
_WAITING = 256  # rows kept back at most, so that long stretches without a face are written too


@dataclass
class _Queued:
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
class Stream:
    """One run of a model over images; the rows keep the images' order, whatever the batch size.

    Attributes:
        checkpoint: network, preprocessing contract.
        detector: finds the faces.
        detach: strength by attribute; None detaches all of the model's.
        batch_size: faces per pass through the network.
        reader: infers identity attributes, where asked for.
        vectors: retrieves ID vectors, where the network reads them.
        attach: (1, A, D) identity features, of another face, to attach.
        unreadable: images that could not be read so far.
        first_error: what was wrong with the first of them.
    """

    checkpoint: Checkpoint
    detector: Detector
    detach: Mapping[str, float] | None
    batch_size: int
    reader: ClipReader | None = None
    vectors: ClipReader | None = None
    attach: Tensor | None = None
    unreadable: int = 0
    first_error: str = ""
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _faces: list[_Queued] = field(default_factory=list)

    @property
    def extra(self) -> tuple[str, ...]:
        """Columns beyond `output.COLUMNS`: one per attribute level, where attributes are inferred."""
        return self.reader.columns if self.reader else ()

    def run(self, files: Iterable[Path]) -> Iterator[pd.DataFrame]:
        """Yield tables as of `output.table`, each of some images."""
        for file in files:
            self._queue(file)
            if len(self._faces) >= self.batch_size or len(self._rows) >= _WAITING:
                yield self._flush()
        if self._rows:
            yield self._flush()

    def _queue(self, file: Path) -> None:
        """Read one image and queue its faces."""
        import cv2

        row: dict[str, Any] = {"input": _printable(str(file)), "frame": 0}
        try:
            image = read_image(file)
            faces = self.detector(image)
        except IdferError as error:
            self._fail(row, str(error))
            return
        except (MemoryError, cv2.error) as error:
            self._fail(
                row, f"{file}: cannot be searched for faces ({error or 'out of memory'}); scale it down."
            )
            return
        row["detector"] = self.detector.name
        if not faces:
            self._rows.append(row | {"error": NO_FACE})
        for number, face in enumerate(faces):
            box = None if self.detector.name == "none" else face.box
            place = {"x": face.x, "y": face.y, "width": face.width, "height": face.height}
            self._rows.append(row | place | {"face_id": number, "face_score": face.score})
            crop = self.checkpoint.preprocess.crop(image, box)
            prepared = self.reader.prepare(image, box) if self.reader else None
            seen = self.vectors.prepare(image, box) if self.vectors else None
            self._faces.append(_Queued(self._rows[-1], crop, prepared, seen))

    def _fail(self, row: dict[str, Any], reason: str) -> None:
        reason = _printable(" ".join(reason.split()))
        self.unreadable += 1
        self.first_error = self.first_error or reason
        self._rows.append(row | {"error": reason})

    def _flush(self) -> pd.DataFrame:
        """Predict the queued faces and hand out all queued rows."""
        for start in range(0, len(self._faces), self.batch_size):
            batch = self._faces[start : start + self.batch_size]
            for face, (valence, arousal) in zip(batch, self._predict(batch), strict=True):
                if np.isfinite([valence, arousal]).all():
                    face.row.update(valence=valence, arousal=arousal)
                else:
                    face.row["error"] = "the model's output is not a number; its weights may be damaged"
            if self.reader:
                prepared = [face.prepared for face in batch if face.prepared is not None]
                for face, levels in zip(batch, self.reader.posteriors(prepared), strict=True):
                    face.row.update(zip(self.extra, levels, strict=True))
        rows, self._rows, self._faces = self._rows, [], []
        return table(rows, self.extra)

    def _predict(self, batch: list[_Queued]) -> np.ndarray:
        """Valence and arousal (B, 2) of B faces."""
        import torch

        network = self.checkpoint.network
        crops = torch.from_numpy(np.stack([face.crop for face in batch])).permute(0, 3, 1, 2)
        with torch.inference_mode():
            pixels = self.checkpoint.preprocess.normalise(crops.to(next(network.parameters()).device))
            seen = [face.seen for face in batch if face.seen is not None]
            retrieved = self.vectors.vectors(seen) if self.vectors else None
            prediction = network(pixels, self.detach, retrieved=retrieved, attach=self.attach)
            found: np.ndarray = prediction.valence_arousal.double().cpu().numpy()
        return found


def _printable(text: str) -> str:
    """Text that can be encoded: file names of unknown encoding hold bytes that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
