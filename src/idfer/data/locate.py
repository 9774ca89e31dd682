"""Where the faces of a manifest are, found as prediction finds them, so that a model sees the same crops."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from idfer.cache import Cache, open_cache
from idfer.data.columns import BOX
from idfer.data.detection import Detector
from idfer.data.digests import FileDigests
from idfer.data.faces import check_detector, load_detector
from idfer.data.landmarks import COLUMN, landmarks_of, written
from idfer.data.manifest import WHOLE, Manifest
from idfer.data.pictures import Pictures, Read
from idfer.errors import IdferError
from idfer.files import cache_dir
from idfer.progress import bar
from idfer.types import Preprocessing

NO_FACE = "no face found"
GIVEN = "box"  # what places faces whose boxes came with the data, from nobody knows which detector

_STRETCH = 256  # pictures committed to the cache at a time
_THREADS = 8  # at most: each may hold a large image

Place = tuple[float, ...]
"""x, y, width, height and, where the detector finds them, x, y of 5 landmarks in pixels of the file's upright
image; () where no face is."""


@dataclass(frozen=True)
class Located:
    """A manifest that says where each face is.

    Attributes:
        manifest: `x, y, width, height` of every row but those whose image is itself the face (`detector`
            "none") and those in `errors`; `detector` names what found a box; `landmarks` where they
            are known.
        detector: what places the faces, for the preprocessing contract: "none", "box", "yunet" or "haar"; in
            a mixture the detector that was run.
        errors: message by row that has no face or cannot be read; without its row number.
        searched: how many rows a detector was asked for.
        faceless: in how many of them it found no face.
    """

    manifest: Manifest
    detector: str
    errors: dict[int, str] = field(default_factory=dict)
    searched: int = 0
    faceless: int = 0

    @property
    def hint(self) -> str:
        """What to do where most rows have no face; "" where all is well."""
        if 2 * self.faceless <= self.searched:
            return ""
        return (
            f"no face was found in {self.faceless} of {self.searched} images; if these images are crops of "
            "faces already, give --detector none"
        )

    def rows(self, keep: np.ndarray) -> Located:
        """The rows that a boolean mask (N,) keeps, or an integer array (n,) names, with their errors."""
        chosen = np.flatnonzero(keep) if keep.dtype == bool else keep
        errors = {new: self.errors[old] for new, old in enumerate(chosen.tolist()) if old in self.errors}
        return replace(self, manifest=self.manifest.rows(chosen), errors=errors)


def locate(manifest: Manifest, detector: str = "auto", *, progress: bool = True) -> Located:
    """Say where the face of each row is: by its box, as a whole image, or as the largest face found.

    A row with a box keeps it; a row whose `detector` column is "none" is itself a face; for every other row
    the detector is asked. What it says is cached by the content of the image, so that it is asked once. Where
    all rows have a box or are faces, no image is read and no detector is loaded.

    Args:
        manifest: the faces.
        detector: as for `idfer.data.faces.load_detector`; "none" takes every row without a box as a face.
        progress: show a progress bar.

    Raises:
        UsageError: no detector of that name.
        IdferError: the detector's file is missing or broken, or the cache cannot be used.
    """
    check_detector(detector)
    given = ~np.isnan(manifest.boxes[:, 0])
    whole = ~given if detector == WHOLE else manifest.whole & ~given
    rows = np.flatnonzero(~given & ~whole)
    names = np.where(whole, WHOLE, manifest.frame["detector"].to_numpy(object))
    if not len(rows):
        frame = manifest.frame.assign(detector=names)
        return Located(replace(manifest, frame=frame), _placed_by(names[given]))

    finder = load_detector(detector)
    paths, frames = manifest.file_names, manifest.frames.tolist()
    shown = [(paths[row], frames[row]) for row in rows]
    first = dict(zip(reversed(shown), rows[::-1].tolist(), strict=True))  # the first row of each picture
    found = _find(manifest, sorted(first.values()), _Search(finder, manifest), progress)
    boxes, errors, faceless = manifest.boxes.copy(), {}, 0
    landmarks = landmarks_of(manifest.frame)
    landmarks = np.full((len(manifest), 5, 2), np.nan) if landmarks is None else landmarks
    for row, picture in zip(rows.tolist(), shown, strict=True):
        place = found[first[picture]]
        if isinstance(place, str):
            errors[row] = place
        elif not place:
            number = f"frame {picture[1]}: " if picture[1] >= 0 else ""
            errors[row] = f"{picture[0]}: {number}{NO_FACE}"
            faceless += 1
        else:
            boxes[row] = place[:4]
            if len(place) > 4:
                landmarks[row] = np.reshape(place[4:], (5, 2))
    names[rows] = finder.name
    frame = manifest.frame.assign(detector=names)
    frame[list(BOX)] = boxes
    if not np.isnan(landmarks).all():
        frame[COLUMN] = written(landmarks)
    return Located(replace(manifest, frame=frame), finder.name, errors, len(rows), faceless)


def locate_for(
    faces: Manifest, preprocess: Preprocessing, detector: str | None = None, *, progress: bool = True
) -> Located:
    """`locate`, as a model's contract wants its faces.

    Args:
        faces: the manifest.
        preprocess: the model's contract; somebody else's without a detector takes whole images.
        detector: in place of the contract's; where that was boxes, "auto" by default.
        progress: show a progress bar.

    Raises:
        UsageError, IdferError: as `locate`.
    """
    contract = getattr(preprocess, "detector", WHOLE)
    return locate(faces, detector or ("auto" if contract == "box" else contract), progress=progress)


def _placed_by(detectors: np.ndarray) -> str:
    """What placed faces whose boxes are given: the detector, where the manifest names one for all of them."""
    # "yunet/track": between two looks of the detector, `idfer predict` follows the faces that it found
    names = {str(name).removesuffix("/track") for name in detectors.tolist()}
    if not names:
        return WHOLE
    name = names.pop()
    return name if not names and name in ("yunet", "haar") else GIVEN


def _find(manifest: Manifest, rows: Sequence[int], search: _Search, progress: bool) -> dict[int, Place | str]:
    """By row, the largest face in its picture, or why that cannot be read."""
    places: dict[int, Place | str] = {}
    with (
        open_cache(cache_dir() / "faces.sqlite", "face") as cache,
        bar("finding faces", len(rows), progress) as advance,
        Pictures(manifest, min(os.cpu_count() or 1, _THREADS)) as pictures,
        _pool() as pool,
    ):
        wanted = set(rows)
        ordered = [row for row in pictures.order.tolist() if row in wanted]
        for start in range(0, len(ordered), _STRETCH):
            stretch = ordered[start : start + _STRETCH]
            places.update(_find_stretch(stretch, search, cache, pictures, pool))
            advance(len(stretch))
    return places


def _find_stretch(
    rows: Sequence[int], search: _Search, cache: Cache, pictures: Pictures, pool: ThreadPoolExecutor
) -> dict[int, Place | str]:
    """Look some pictures up, search those that are not known, and commit what was found."""
    keys: dict[int, bytes] = {}
    places: dict[int, Place | str] = {}
    for row, key in zip(rows, pool.map(search.key, rows), strict=True):
        if isinstance(key, str):
            places[row] = key
        else:
            keys[row] = key
    cached = cache.find(list(keys.values()))
    unknown = [row for row, key in keys.items() if key not in cached]
    searched = dict(pictures.each(unknown, search.largest))
    cache.add({keys[row]: _packed(place) for row, place in searched.items() if not isinstance(place, str)})
    for row, key in keys.items():
        places[row] = searched[row] if row in searched else _unpacked(cached[key])
    return places


def _packed(place: Place) -> bytes:
    return struct.pack(f"<{len(place)}d", *place)


def _unpacked(value: bytes) -> Place:
    return struct.unpack(f"<{len(value) // 8}d", value)


class _Search:
    """Searches the pictures of a manifest; several threads may ask at once."""

    def __init__(self, finder: Detector, manifest: Manifest):
        self._finder = finder
        self._identity = finder.fingerprint.encode()
        self._files, self._frames = manifest.file_names, manifest.frames.tolist()
        self._digests = FileDigests()

    def key(self, row: int) -> bytes | str:
        """32 bytes that name a picture's content and the detector, or why its file cannot be read."""
        frame = self._frames[row]
        try:
            content = self._digests.of(self._files[row], video=frame >= 0).digest()
        except IdferError as error:
            return str(error)
        number = f"|{frame}".encode() if frame >= 0 else b""
        return hashlib.sha256(content + self._identity + number).digest()

    def largest(self, row: int, read: Read) -> Place | str:
        """Box of the largest face, () where there is none, or why the picture cannot be had."""
        import cv2

        try:
            image, factor = read()
            faces = self._finder(image)
        except IdferError as error:
            return str(error)
        except (MemoryError, cv2.error) as error:
            reason = " ".join(str(error).split())[:200] or "out of memory"
            return f"{self._files[row]}: cannot be searched for faces ({reason}); scale it down."
        if not faces:
            return ()
        points = () if faces[0].landmarks is None else faces[0].landmarks.ravel().tolist()
        return tuple(float(factor * value) for value in (*faces[0].box, *points))


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for a `with` block; an interrupt does not wait for the files that are still to come."""
    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, _THREADS))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
