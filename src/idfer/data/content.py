"""What faces are, whatever their files are called: keys of content, to compare runs and find faces again."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idfer.data.images import open_regular
from idfer.data.landmarks import landmarks_of
from idfer.data.manifest import Manifest
from idfer.errors import IdferError

_HEAD, _TAIL = 1 << 14, 1 << 12  # bytes read of a file; a photograph's first 16 KB are its own


def image_keys(manifest: Manifest) -> NDArray[np.int64]:
    """(N,) a number per row that names the image's content: size, first 16 KB and last 4 KB of its file.

    Equal content has equal keys under any name and in any folder. A file that cannot be read is named by its
    path, so that nothing fails here: reading it as an image will say what is wrong.
    """
    files, frames = manifest.files, manifest.frames.tolist()
    videos = dict.fromkeys(file for file, frame in zip(files, frames, strict=True) if frame >= 0)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ends = dict(zip(videos, pool.map(_ends, videos), strict=True))  # of each video once
        keys = list(pool.map(lambda file, frame: _image_key(file, frame, ends.get(file)), files, frames))
    return np.array(keys, np.int64)


def person_keys(manifest: Manifest) -> NDArray[np.int64]:
    """(N,) a number per row that names its person within its source; 0 where the person is not known."""
    pairs = list(zip(manifest.frame["source"], manifest.frame["subject"], strict=True))
    named = {pair: _number("\0".join(pair).encode()) if pair[1] else 0 for pair in set(pairs)}
    return np.array([named[pair] for pair in pairs], np.int64)


def content_digest(manifest: Manifest, keys: NDArray[np.int64]) -> str:
    """16 hex digits of faces in their order: images, boxes, labels and who is whom.

    Args:
        manifest: N faces.
        keys: (N,) of `image_keys`.
    """
    digest = hashlib.sha256(keys.tobytes())
    digest.update(manifest.targets.tobytes())
    digest.update("\0".join(manifest.frame["subject"]).encode())
    digest.update(manifest.boxes.tobytes())
    digest.update(manifest.whole.tobytes())
    return digest.hexdigest()[:16]


def landmarks_digest(manifest: Manifest) -> str:
    """16 hex digits of the landmarks that a manifest gives its faces; "" where it gives none."""
    places = landmarks_of(manifest.frame)
    if places is None or np.isnan(places).all():
        return ""
    return hashlib.sha256(places.tobytes()).hexdigest()[:16]


def _image_key(file: Path, frame: int, known: tuple[int, bytes] | None) -> int:
    size, ends = known or _ends(file)
    if size < 0:
        return _number(ends)
    return _number(f"{size}|{frame}|".encode() + ends)


def _ends(file: Path) -> tuple[int, bytes]:
    """Size, and first and last bytes of a file; -1 and its name where it cannot be read."""
    try:
        with open_regular(file) as stream:  # a pipe would never end
            size = os.fstat(stream.fileno()).st_size
            ends = stream.read(_HEAD)
            if size > _HEAD:
                stream.seek(max(_HEAD, size - _TAIL))
                ends += stream.read(_TAIL)
    except (IdferError, OSError):
        return -1, str(file).encode("utf-8", "surrogateescape")
    return size, ends


def _number(content: bytes) -> int:
    """A 63-bit number, never 0."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big") >> 1 or 1
