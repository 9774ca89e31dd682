"""Faces of a manifest as uint8 tensors: kept in memory when they fit, streamed when they do not."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from idfer.data.images import read_reduced
from idfer.data.landmarks import landmarks_of
from idfer.data.manifest import Manifest
from idfer.errors import IdferError
from idfer.progress import track
from idfer.types import Preprocessing

if TYPE_CHECKING:
    from idfer.data.preprocess import Preprocess

MEMORY_LIMIT = 2 << 30  # bytes of decoded faces kept in memory; 64 px: 170,000 faces, 224 px: 14,000


class FaceDataset(Dataset[tuple[Tensor, int]]):
    """The cropped faces of a manifest, (3, S, S) uint8 with their row number.

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
        self.files = manifest.files
        # somebody else's preprocessing knows no alignment
        self.aligned = getattr(preprocess, "alignment", "none") != "none"
        self.landmarks = landmarks_of(manifest.frame) if self.aligned else None
        self.pixels: Tensor | None = None
        self.unusable = dict(errors or {})
        self.errors = {row: f"row {row}: {message}" for row, message in self.unusable.items()}

    def __len__(self) -> int:
        return len(self.manifest)

    def read(self, row: int) -> Tensor:
        """Decode and crop one row.

        Raises:
            IdferError: the image cannot be read or has no face; the message names file and row.
        """
        if row in self.unusable:
            raise IdferError(f"row {row}: {self.unusable[row]}")
        file, box = self.files[row], self.manifest.box(row)
        try:
            image, factor = read_reduced(file)
        except IdferError as error:
            raise IdferError(f"row {row}: {error}") from error
        try:
            placed = box if box is None else [v / factor for v in box]
            if self.aligned:
                points = None if self.landmarks is None else self.landmarks[row] / factor
                face = cast("Preprocess", self.preprocess).crop(image, placed, points)
            else:
                face = self.preprocess.crop(image, placed)
        except IdferError as error:
            raise IdferError(f"row {row}: {file}: {error}") from error
        return torch.from_numpy(face).permute(2, 0, 1)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return (self.read(row) if self.pixels is None else self.pixels[row]), row

    def __getitems__(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A whole batch at once; one indexing operation when the faces are in memory."""
        index = torch.as_tensor(rows)
        if self.pixels is not None:
            return self.pixels[index], index
        return torch.stack([self.read(int(r)) for r in rows]), index

    def fits(self) -> bool:
        """Whether all decoded faces stay under `MEMORY_LIMIT`."""
        return len(self) * 3 * self.preprocess.size**2 <= MEMORY_LIMIT

    def load(self, progress: bool = True) -> FaceDataset:
        """Decode every face into memory with a thread per core; unreadable rows go to `errors`."""
        side = self.preprocess.size
        pixels = torch.zeros(len(self), 3, side, side, dtype=torch.uint8)

        def load_row(row: int) -> None:
            try:
                pixels[row] = self.read(row)
            except IdferError as error:
                self.errors[row] = str(error)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in track(pool.map(load_row, range(len(self))), "reading faces", len(self), progress):
                pass
        self.pixels = pixels
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


def _on_one_thread(worker: int) -> None:
    """Keep OpenCV from starting a thread per core in every worker, as torch does of itself."""
    import cv2

    cv2.setNumThreads(1)


def _as_is(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return batch


def face_batches(
    manifest: Manifest,
    preprocess: Preprocessing,
    batch_size: int = 256,
    num_workers: int = 0,
    errors: Mapping[int, str] | None = None,
) -> Iterator[tuple[np.ndarray, Tensor, list[str]]]:
    """All faces of a manifest in order, in constant memory.

    Args:
        manifest: the faces.
        preprocess: the contract that crops and resizes them.
        batch_size: rows of a stretch.
        num_workers: threads that read; 0 is one per core.
        errors: message by row that is known to be unusable, as for `FaceDataset`.

    Yields:
        rows (b,) of the faces that could be read, their pixels (b, 3, S, S) uint8, and one message per row
        of this stretch that could not.
    """
    dataset = FaceDataset(manifest, preprocess, errors)
    with ThreadPoolExecutor(max(1, num_workers or (os.cpu_count() or 1))) as pool:
        for start in range(0, len(dataset), batch_size):
            rows = range(start, min(start + batch_size, len(dataset)))
            faces = list(pool.map(lambda row: _try(dataset, row), rows))
            good = [(row, face) for row, face in zip(rows, faces, strict=True) if isinstance(face, Tensor)]
            messages = [face for face in faces if isinstance(face, str)]
            if good:
                yield np.array([row for row, _ in good]), torch.stack([face for _, face in good]), messages
            elif messages:
                side = preprocess.size
                yield np.empty(0, int), torch.empty(0, 3, side, side, dtype=torch.uint8), messages


def _try(dataset: FaceDataset, row: int) -> Tensor | str:
    try:
        return dataset.read(row)
    except IdferError as error:
        return str(error)
