"""What a decoder learns from, gathered in one pass over a manifest: pictures that may be more than memory."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from idfer.capacity import available_memory, free_disk, gibibytes
from idfer.data import loader
from idfer.decoding.reading import Reading, check_enough, read_faces
from idfer.decoding.train import Faces
from idfer.errors import IdferError, UsageError
from idfer.progress import bar

if TYPE_CHECKING:
    from idfer.data.manifest import Manifest
    from idfer.training.checkpoint import Checkpoint


def gather(
    trained: Checkpoint,
    faces: Manifest,
    size: int,
    folder: Path,
    identity: Checkpoint | None = None,
    progress: bool = True,
) -> tuple[Faces, Manifest]:
    """Read faces once: their pictures as they are to be drawn, and what a run reads from them, mirrored too.

    Only a batch of faces is held at the run's own size. Pictures are held in memory where they fit (see
    `room`); features always are, 8 (2 D + A E) bytes a face.

    Args:
        trained: the run.
        faces: N faces, cut as its contract says.
        size: side of the pictures.
        folder: where pictures lie that do not fit into memory.
        identity: the run whose identity features are taken; None is the same.
        progress: show bars.

    Returns:
        The n faces that can be read, and their rows of the manifest.

    Raises:
        UsageError: neither memory nor disk has room for the pictures.
        IdferError: fewer than two faces can be read, or the disk cannot be written to.
    """
    from idfer.data.locate import locate_for

    placed = locate_for(faces, trained.preprocess, progress=progress)
    total = len(placed.manifest)
    pictures, rows = room((total, size, size, 3), folder), list[int]()
    straight = mirrored = None
    batches = loader.face_batches(placed.manifest, trained.preprocess, errors=placed.errors)
    with bar("reading faces", total, progress) as advance:
        for read, pixels, unread in batches:
            if len(read):
                crops = pixels.permute(0, 2, 3, 1).numpy()
                said = read_faces(trained, crops, identity)
                turned = read_faces(trained, np.ascontiguousarray(crops[:, :, ::-1]), identity)
                if straight is None or mirrored is None:
                    straight, mirrored = (Reading.room(total, part) for part in (said, turned))
                straight.put(len(rows), said)
                mirrored.put(len(rows), turned)
                small = shrunk(pixels, size).permute(0, 2, 3, 1).numpy()
                pictures[len(rows) : len(rows) + len(read)] = small
                rows.extend(read.tolist())
            advance(len(read) + len(unread))
    check_enough(len(rows), placed.hint)
    assert straight is not None and mirrored is not None  # there are faces
    kept = placed.manifest.rows(np.array(rows))
    person = torch.from_numpy(np.unique(kept.subjects, return_inverse=True)[1].ravel())
    target = torch.from_numpy(pictures[: len(rows)]).permute(0, 3, 1, 2)
    known = slice(len(rows))
    both = not trained.network.mirror  # else a face and its mirror image read alike
    return Faces(target, straight.rows(known), mirrored.rows(known) if both else None, person), kept


def shrunk(pixels: Tensor, size: int) -> Tensor:
    """(N, 3, S, S) uint8 -> (N, 3, size, size) uint8."""
    if pixels.shape[-1] == size:
        return pixels
    return F.interpolate(pixels.float(), (size, size), mode="area").round().byte()


def room(shape: tuple[int, int, int, int], folder: Path) -> NDArray[np.uint8]:
    """Room for N pictures (N, S, S, 3), in memory or in a file.

    Memory takes up to `loader.MEMORY_LIMIT`, and half of what is free. The file lies in a folder, and is gone
    when nobody uses it any longer, however the process ends.

    Raises:
        UsageError: the disk has less room.
        IdferError: it cannot be written to.
    """
    count, side, needed = shape[0], shape[1], int(np.prod(shape))
    memory, disk = available_memory(), free_disk(folder)
    if loader.fits_memory(count, side) and (memory is None or needed <= memory // 2):
        return np.empty(shape, np.uint8)
    if disk is not None and needed > disk:
        raise UsageError(
            f"{count:,} pictures of {side} pixels a side need {gibibytes(needed)}, more than memory should "
            f"hold, and {gibibytes(disk)} of disk are free at {folder}; choose another --out, a smaller "
            "--size or fewer faces."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            _reserve(file.fileno(), needed)
            file.truncate(needed)
            return np.memmap(file, np.uint8, "r+", shape=shape)
    except OSError as error:
        raise IdferError(f"{folder}: pictures cannot be kept there ({error.strerror or error}).") from error


def _reserve(file: int, size: int) -> None:
    """Take the disk's room now: a full disk is an error here, not a crash at some picture."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        if error.errno not in (
            errno.EOPNOTSUPP,
            errno.EINVAL,
        ):  # file systems that cannot (ZFS, some networks')
            raise
