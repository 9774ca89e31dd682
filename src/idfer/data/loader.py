"""Faces of a manifest as uint8 tensors: kept in memory when they fit, streamed when they do not."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from idfer.data.landmarks import landmarks_of
from idfer.data.manifest import Manifest
from idfer.data.pictures import Picture, Pictures, Read, image_of
from idfer.errors import IdferError, UsageError
from idfer.progress import track
from idfer.types import Preprocessing

if TYPE_CHECKING:
    from idfer.data.preprocess import Preprocess

MEMORY_LIMIT = 2 << 30  # bytes of decoded faces kept in memory; 64 px: 170,000 faces, 224 px: 14,000


class FaceDataset(Dataset[tuple[Tensor, int]]):
    """The cropped faces of a manifest, (3, S, S) uint8 with their row number.

    Frames of videos can be read by `load` alone, which decodes each video once; their rows cannot be read one
    by one.

    Args:
        manifest: the faces.
        preprocess: the contract that crops and resizes them.
        errors: message by row that is known to be unusable, as `idfer.data.locate` gives them; such a row is
            never read.
    """

    def __init__(
        self, manifest: Manifest, preprocess: Preprocessing, errors: Mapping[int, str] | None = None
    ):
        self.manifest, self.preprocess = manifest, preprocess
        self.files = manifest.file_names
        # somebody else's preprocessing knows no alignment
        self.aligned = getattr(preprocess, "alignment", "none") != "none"
        self.landmarks = landmarks_of(manifest.frame) if self.aligned else None
        self.pixels: Tensor | None = None
        self.unusable = dict(errors or {})
        self.errors = {row: f"row {row}: {message}" for row, message in self.unusable.items()}
        self._frames: list[int] = manifest.frames.tolist()
        self._boxes = [None if box[0] != box[0] else box for box in manifest.boxes.tolist()]

    def __len__(self) -> int:
        return len(self.manifest)

    def read(self, row: int) -> Tensor:
        """Decode and crop one row, which must be of an image file.

        Raises:
            IdferError: the image cannot be read or has no face; the message names file and row.
        """
        face = self.cut(row, partial(self._picture, row))
        return torch.from_numpy(np.require(face, requirements="W")).permute(2, 0, 1)

    def cut(self, row: int, read: Read) -> np.ndarray:
        """The face of a row, (S, S, 3) uint8, not always writable, in the picture that `read` gives.

        Raises:
            IdferError: as `read` does.
        """
        try:
            image, factor = read()
        except IdferError as error:
            raise IdferError(f"row {row}: {error}") from error
        try:
            box = self._boxes[row]
            if factor != 1 and box is not None:
                box = [v / factor for v in box]
            if not self.aligned:
                return self.preprocess.crop(image, box)
            points = None if self.landmarks is None else self.landmarks[row] / factor
            return cast("Preprocess", self.preprocess).crop(image, box, points)
        except IdferError as error:
            frame = f"frame {self._frames[row]}: " if self._frames[row] >= 0 else ""
            raise IdferError(f"row {row}: {self.files[row]}: {frame}{error}") from error

    def _picture(self, row: int) -> Picture:
        if row in self.unusable:
            raise IdferError(self.unusable[row])
        return image_of(self.files[row], self._frames[row])

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return (self.read(row) if self.pixels is None else self.pixels[row]), row

    def __getitems__(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A whole batch at once; one indexing operation when the faces are in memory."""
        index = torch.as_tensor(rows)
        if self.pixels is not None:
            return self.pixels[index], index
        side = self.preprocess.size
        batch = np.empty((len(rows), 3, side, side), np.uint8)
        for planes, row in zip(batch, rows, strict=True):
            _lay(self.cut(int(row), partial(self._picture, int(row))), planes)
        return torch.from_numpy(batch), index

    def fits(self) -> bool:
        """Whether all decoded faces stay under `MEMORY_LIMIT`."""
        return fits_memory(len(self), self.preprocess.size)

    def load(self, progress: bool = True) -> FaceDataset:
        """Decode every face into memory with a thread per core; unreadable rows go to `errors`."""
        side, count = self.preprocess.size, len(self)
        pixels = np.zeros((count, 3, side, side), np.uint8)

        def load_row(row: int, read: Read) -> None:
            try:
                _lay(self.cut(row, read), pixels[row])
            except IdferError as error:
                self.errors[row] = str(error)

        with Pictures(self.manifest, _threads(), self.unusable) as pictures:
            for _ in track(
                pictures.each(pictures.order.tolist(), load_row), "reading faces", count, progress
            ):
                pass
        self.pixels = torch.from_numpy(pixels)
        return self

    def batches(
        self, order: Sequence[Sequence[int]], num_workers: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of (uint8 (b, 3, S, S), rows (b,)) in the given order of row lists.

        Worker processes decode ahead unless the faces are in memory. Calling this draws a seed from torch's
        global random state, as every DataLoader does.
        """
        workers = 0 if self.pixels is not None else num_workers
        loader: DataLoader[Any] = DataLoader(
            self,
            batch_sampler=order,  # type: ignore[arg-type]
            num_workers=workers,
            collate_fn=_as_is,  # type: ignore[arg-type]
            worker_init_fn=_on_one_thread,
        )
        return iter(loader)


def fits_memory(count: int, side: int) -> bool:
    """Whether so many faces of (3, S, S) uint8 stay under `MEMORY_LIMIT`."""
    return count * 3 * side**2 <= MEMORY_LIMIT


def _on_one_thread(worker: int) -> None:
    """Keep OpenCV from starting a thread per core in every worker, as torch does of itself."""
    import cv2

    cv2.setNumThreads(1)


def _as_is(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return batch


def _lay(face: np.ndarray, planes: np.ndarray) -> None:
    """Write a face (S, S, 3) uint8 into its place in a batch, (3, S, S)."""
    import cv2

    if face.dtype == np.uint8 and face.shape == (*planes.shape[1:], 3):
        cv2.split(face, list(planes))  # in place; a tenth of the time of a transposed copy
    else:  # somebody else's preprocessing that keeps no promise: numpy says so
        planes[...] = face.transpose(2, 0, 1)


def _threads(asked: int = 0) -> int:
    return max(1, asked or os.cpu_count() or 1)


def face_batches(
    manifest: Manifest,
    preprocess: Preprocessing,
    batch_size: int = 256,
    num_workers: int = 0,
    errors: Mapping[int, str] | None = None,
) -> Iterator[tuple[np.ndarray, Tensor, dict[int, str]]]:
    """All faces of a manifest, read ahead, in constant memory.

    Rows come as they stand in the manifest, but the frames of a video together (`pictures.reading_order`), so
    that each video is decoded once.

    Args:
        manifest: the faces.
        preprocess: the contract that crops and resizes them.
        batch_size: rows of a stretch.
        num_workers: threads that read; 0 is one per core.
        errors: message by row that is known to be unusable, as for `FaceDataset`.

    Yields:
        rows (b,) of the faces that could be read, their pixels (b, 3, S, S) uint8 (a view of (b, S, S, 3)),
        and the message of each row of this stretch that could not.
    """
    dataset, side = FaceDataset(manifest, preprocess, errors), preprocess.size
    with Pictures(manifest, _threads(num_workers), dataset.unusable) as pictures:
        order = pictures.order.tolist()
        stretches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        place = {row: divmod(number, batch_size) for number, row in enumerate(order)}
        pixels = _Batches([(len(rows), side, side, 3) for rows in stretches])

        def cut(row: int, read: Read) -> str:
            """Put a face into its batch; why there is none."""
            try:
                face = dataset.cut(row, read)
            except IdferError as error:
                return str(error)
            if face.shape != (side, side, 3) or face.dtype != np.uint8:
                raise UsageError(
                    f"{type(preprocess).__name__}.crop gave {face.dtype} of {face.shape}; it must give uint8 "
                    f"of {(side, side, 3)}, since its size is {side}."
                )
            batch, position = place[row]
            pixels[batch][position] = face
            return ""

        made = pictures.each(order, cut, pictures.chunk)
        for number, rows in enumerate(stretches):
            messages = {row: message for row, message in islice(made, len(rows)) if message}
            batch, read = pixels.pop(number), [row not in messages for row in rows]
            if messages and any(read):
                batch = batch[read]
            usable = np.array(rows, int)[read]
            yield usable, torch.from_numpy(batch).permute(0, 3, 1, 2), messages


class _Batches:
    """Arrays that are made when a thread first writes into them."""

    def __init__(self, shapes: Sequence[tuple[int, ...]]) -> None:
        self._shapes, self._made = shapes, dict[int, np.ndarray]()
        self._lock = threading.Lock()

    def __getitem__(self, number: int) -> np.ndarray:
        with self._lock:
            if number not in self._made:
                self._made[number] = np.empty(self._shapes[number], np.uint8)
            return self._made[number]

    def pop(self, number: int) -> np.ndarray:
        """An array, which is not kept any longer."""
        with self._lock:
            return self._made.pop(number, np.empty((0, *self._shapes[number][1:]), np.uint8))
