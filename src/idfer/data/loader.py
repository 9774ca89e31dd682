"""Faces of a manifest as uint8 tensors: kept in memory when they fit, streamed when they do not."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, cast

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

    def portion(self, rows: Sequence[int], share: slice = slice(None)) -> Portion:
        """A batch at once, or a share of it; one indexing operation when the faces are in memory.

        In place of a face that cannot be read stands the next of the batch that can be.

        Args:
            rows: (B,) of the whole batch.
            share: which of its places to read.
        """
        places = range(len(rows))[share]
        if self.pixels is not None:
            index = torch.as_tensor([rows[place] for place in places])
            return Portion(self.pixels[index], index, {})
        side = self.preprocess.size
        batch = np.empty((len(places), 3, side, side), np.uint8)
        shown, unread = list[int](), dict[int, str]()
        for planes, place in zip(batch, places, strict=True):
            for step in range(len(rows)):
                row = int(rows[(place + step) % len(rows)])
                if row not in unread and self._is_laid(row, planes, unread):
                    shown.append(row)
                    break
            else:
                return Portion(torch.from_numpy(batch[:0]), torch.empty(0, dtype=torch.long), unread)
        return Portion(torch.from_numpy(batch), torch.tensor(shown), unread)

    def _is_laid(self, row: int, planes: np.ndarray, unread: dict[int, str]) -> bool:
        """Read a face into its place of a batch; whether that could be done, else `unread` says why not."""
        try:
            _lay(self.cut(row, partial(self._picture, row)), planes)
        except IdferError as error:
            unread[row] = str(error)
            return False
        return True

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
        self, order: Sequence[Sequence[int]], num_workers: int = 0, share: slice = slice(None)
    ) -> Iterator[Portion]:
        """Batches, or a share of each, in the given order of row lists.

        Worker processes decode ahead unless the faces are in memory. Calling this draws a seed from torch's
        global random state, as every DataLoader does.

        Raises:
            IdferError: when its batch is due, no face of which can be read.
        """
        workers = 0 if self.pixels is not None else num_workers
        loader: DataLoader[Any] = DataLoader(
            _Portions(self, share),
            batch_sampler=order,  # type: ignore[arg-type]
            num_workers=workers,
            collate_fn=_as_is,  # type: ignore[arg-type]
            worker_init_fn=_on_one_thread,
        )
        with _opencv_on_one_thread():
            return _readable(iter(loader))


class Portion(NamedTuple):
    """Faces of a batch.

    Attributes:
        pixels: (b, 3, S, S) uint8.
        rows: (b,) whose faces they are; none where no face of the batch can be read.
        unread: message by row that could not be read, so that another stands in its place.
    """

    pixels: Tensor
    rows: Tensor
    unread: dict[int, str]


class _Portions(Dataset[Portion]):
    """A share of every batch of a dataset, as a DataLoader asks for it."""

    def __init__(self, faces: FaceDataset, share: slice) -> None:
        self.faces, self.share = faces, share

    def __getitems__(self, rows: Sequence[int]) -> Portion:
        return self.faces.portion(rows, self.share)


def _readable(portions: Iterator[Portion]) -> Iterator[Portion]:
    """The same; an error of a worker would come with its traceback, so it is raised here."""
    for portion in portions:
        if not len(portion.rows):
            first = portion.unread[min(portion.unread)]
            raise IdferError(
                f"no face of a batch of {len(portion.unread)} can be read; the first: {first} Mend the files "
                "(`idfer check` names them), and the same command goes on."
            )
        yield portion


def fits_memory(count: int, side: int) -> bool:
    """Whether so many faces of (3, S, S) uint8 stay under `MEMORY_LIMIT`."""
    return count * 3 * side**2 <= MEMORY_LIMIT


def _on_one_thread(worker: int) -> None:
    """Keep OpenCV from starting a thread per core in every worker, as torch does of itself."""
    import cv2

    if cv2.getNumThreads() != 1:  # a process that was forked has it from `_opencv_on_one_thread`
        cv2.setNumThreads(1)


@contextmanager
def _opencv_on_one_thread() -> Iterator[None]:
    """End OpenCV's threads while processes are forked, in which they are gone and would be waited for."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _as_is(batch: Portion) -> Portion:
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
