"""Image embeddings of a whole manifest, cached by content, so that a stopped run goes on where it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from idfer.cache import Cache, open_cache
from idfer.data.digests import FileDigests
from idfer.data.images import LARGEST_FILE
from idfer.data.pictures import Pictures, Read
from idfer.data.preprocess import Box
from idfer.errors import IdferError
from idfer.files import cache_dir
from idfer.progress import bar

if TYPE_CHECKING:
    from torch import Tensor

    from idfer.attributes.clip import Clip
    from idfer.data.manifest import Manifest

_NO_KEY = (
    f"changed while it was read, or has more than {LARGEST_FILE >> 20} MiB; run again, or save it smaller."
)


def encode_manifest(
    clip: Clip, manifest: Manifest, batch_size: int, num_workers: int, progress: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Embed every face of a manifest.

    Batches are fixed stretches of the manifest, each committed whole, so that a run that was stopped and
    started again gives the model the same batches, and so the same floats, as one that was not.

    Returns:
        (N, E) float32 embeddings of unit length, rounded to float16 as they are cached, NaN where an image
        cannot be read; and (N,) messages, "" = fine.

    Raises:
        IdferError: no image can be read, or the cache cannot be written (what is in it is kept).
    """
    count = len(manifest)
    embedding = np.full((count, clip.dim), np.nan, np.float32)
    errors = np.full(count, "", object)
    path = cache_path(clip.fingerprint)
    with (
        _open(path, clip.dim) as cache,
        bar("retrieving", count, progress) as advance,
    ):
        before: dict[bytes, np.ndarray] = {}
        for rows, batch in _read_ahead(clip, manifest, path, batch_size, num_workers):
            # The batch before may have been committed only after this one was looked up.
            encoded = _encode(clip, {key: image for key, image in batch.images.items() if key not in before})
            cache.add(encoded)
            known = before | batch.cached | encoded
            for row, key, error in zip(rows, batch.keys, batch.errors, strict=True):
                errors[row] = error
                if key is not None:
                    embedding[row] = known[key]
            before = {key: known[key] for key in batch.keys if key in known}
            advance(len(rows), "" if encoded else "from the cache")
    if (errors != "").all():
        raise IdferError(f"none of the {count} images can be read; the first: {errors[0]}")
    return embedding, errors


def cache_path(fingerprint: str) -> Path:
    """The SQLite file that holds the embeddings of one encoder."""
    return cache_dir() / "retrieval" / f"{fingerprint}.sqlite"


def content_key(digests: FileDigests, file: str, frame: int, box: Box | None) -> bytes | None:
    """32 bytes that name what an encoder is shown: the file's content, the frame and the face box.

    None where there is no content: nothing to open, not a regular file (a pipe would wait for ever, a device
    never end), or more bytes than an image has.
    """
    try:
        digest = digests.of(file, video=frame >= 0)
    except IdferError:
        return None
    digest.update(f"|{frame}|{None if box is None else [float(v) for v in box]}".encode())
    return digest.digest()


def _encode(clip: Clip, images: dict[bytes, Tensor]) -> dict[bytes, np.ndarray]:
    """Embed what is not cached yet, as float16."""
    if not images:
        return {}
    import torch

    values = clip.encode_for_retrieval(torch.stack(list(images.values())))
    return dict(zip(images, values, strict=True))


@dataclass(frozen=True)
class _Batch:
    """A stretch of rows, read and waiting for the model.

    Attributes:
        keys: content key per row, None where the image could not be read.
        errors: message per row, "" = fine.
        cached: embeddings found in the cache, by key.
        images: (3, S, S) inputs of all others, by key.
    """

    keys: list[bytes | None]
    errors: list[str]
    cached: dict[bytes, np.ndarray]
    images: dict[bytes, Tensor]


class _Reader:
    """Reads rows of a manifest as the encoder wants them, in reading order."""

    def __init__(self, clip: Clip, manifest: Manifest, pictures: Pictures, pool: ThreadPoolExecutor):
        self._clip, self._pictures, self._pool = clip, pictures, pool
        self._digests = FileDigests()
        self._boxes = [None if box[0] != box[0] else tuple(box) for box in manifest.boxes.tolist()]

    def batch(self, rows: Sequence[int], cache: _Embeddings) -> _Batch:
        """Hash a stretch's files, look them up, and decode those that are not in the cache."""
        keys = list(self._pool.map(self._key, rows))
        cached = cache.find([key for key in keys if key is not None])
        shown: dict[bytes, int] = {}  # the row of each content that is decoded
        for row, key in zip(rows, keys, strict=True):
            if key is not None and key not in cached:
                shown.setdefault(key, row)
        once = set(shown.values())
        wanted = [row for row, key in zip(rows, keys, strict=True) if key is None or row in once]
        decoded = dict(self._pictures.each(wanted, self._image))
        images = {key: image for key, row in shown.items() if not isinstance(image := decoded[row], str)}
        errors = [""] * len(rows)
        for position, (row, key) in enumerate(zip(rows, keys, strict=True)):
            if key not in cached and key not in images:
                errors[position] = self._error(row, row if key is None else shown[key], decoded)
                keys[position] = None
        return _Batch(keys, errors, cached, images)

    def _key(self, row: int) -> bytes | None:
        return content_key(
            self._digests, self._pictures.files[row], self._pictures.frames[row], self._boxes[row]
        )

    def _image(self, row: int, read: Read) -> Tensor | str:
        """The encoder's input, or why there is none."""
        import cv2

        file, box = self._pictures.files[row], self._boxes[row]
        try:
            image, factor = read()
        except IdferError as error:
            return str(error)
        except MemoryError:
            return f"{file}: is too large to be read (out of memory); scale it down."
        try:
            return self._clip.preprocess(image, box if box is None else [v / factor for v in box])
        except IdferError as error:
            return f"{file}: {error}"
        except (MemoryError, cv2.error) as error:
            reason = " ".join(str(error).split()) or "out of memory"
            return f"{file}: cannot be cropped for CLIP ({reason}); scale it down."

    def _error(self, row: int, shown: int, decoded: Mapping[int, Tensor | str]) -> str:
        """Why a row has no image; `shown` is the row of the same content that was decoded."""
        file, said = self._pictures.files[row], decoded[shown]
        if not isinstance(said, str):
            return f"{file}: {_NO_KEY}"
        return said.replace(self._pictures.files[shown], file, 1)  # same content, another name


def _read_ahead(
    clip: Clip, manifest: Manifest, path: Path, size: int, num_workers: int
) -> Iterator[tuple[Sequence[int], _Batch]]:
    """Yield each stretch of `size` rows, read while the model is busy with the one before."""
    with (
        _open(path, clip.dim) as cache,  # made here, used in one other thread, never in both at once
        Pictures(manifest, num_workers) as pictures,
        ThreadPoolExecutor(max(1, num_workers)) as pool,
        ThreadPoolExecutor(1) as ahead,
    ):
        reader, order = _Reader(clip, manifest, pictures, pool), pictures.order.tolist()
        stretches = [order[start : start + size] for start in range(0, len(order), size)]

        def start(rows: Sequence[int]) -> Future[_Batch]:
            return ahead.submit(reader.batch, rows, cache)

        coming = start(stretches[0])
        for number, rows in enumerate(stretches):
            batch = coming.result()
            if number + 1 < len(stretches):
                coming = start(stretches[number + 1])
            yield rows, batch


class _Embeddings:
    """Embeddings by content key, float16, in the cache of one encoder."""

    def __init__(self, cache: Cache, dim: int):
        self._cache, self._dim = cache, dim

    def add(self, values: dict[bytes, np.ndarray]) -> None:
        """Commit a batch, all of it or nothing."""
        self._cache.add({key: value.tobytes() for key, value in values.items()})

    def find(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """The embeddings of those keys that are there."""
        return {key: self._embedding(value) for key, value in self._cache.find(keys).items()}

    def _embedding(self, value: object) -> np.ndarray:
        if not isinstance(value, bytes) or len(value) != 2 * self._dim:
            raise sqlite3.DatabaseError("an embedding is not as it was written")
        return np.frombuffer(value, np.float16)


@contextmanager
def _open(path: Path, dim: int) -> Iterator[_Embeddings]:
    with open_cache(path, "embedding") as cache:
        yield _Embeddings(cache, dim)
