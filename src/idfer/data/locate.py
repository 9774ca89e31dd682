"""Where the faces of a manifest are, found as prediction finds them, so that a model sees the same crops."""

from __future__ import annotations

import hashlib
import math
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

_OVERLAP = 0.3  # least overlap of a given box and a face that is found, to be one face [ours]
_STRETCH = 256  # pictures committed to the cache at a time
_THREADS = 8  # at most: each may hold a large image

Place = tuple[float, ...]
"""x, y, width, height and, where the detector finds them, x, y of 5 landmarks in pixels of the file's upright
image; () where no face is. Of every face of a picture 14 numbers each, one after the other."""


@dataclass(frozen=True)
class Located:
    """A manifest that says where each face is.

    Attributes:
        manifest: `x, y, width, height` of every row but those whose image is itself the face (`detector`
            "none") and those in `errors`; `detector` names what found a box; `landmarks` where they
            are known.
        detector: what places the faces, for the preprocessing contract: "none", "box", "yunet" or "haar"; in
            a mixture, and where it found landmarks alone, the detector that was run.
        errors: message by row that has no face or landmarks, or cannot be read; without its row number.
        searched: how many rows a detector was asked for a box of.
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


def locate(
    manifest: Manifest, detector: str = "auto", *, alignment: str = "none", progress: bool = True
) -> Located:
    """Say where the face of each row is: by its box, as a whole image, or as the largest face found.

    A row with a box keeps it; a row whose `detector` column is "none" is itself a face; for every other row
    the detector is asked. What it says is cached by the content of the image, so that it is asked once. Where
    all rows have a box or are faces, no image is read and no detector is loaded.

    Faces that are aligned need landmarks: for a row with a box and without them the detector is asked too,
    and gives those of the face that overlaps the box most, by at least .3 of the area that both cover.

    Args:
        manifest: the faces.
        detector: as for `idfer.data.faces.load_detector`; "none" takes every row without a box as a face.
        alignment: of the preprocessing contract, "none" or "landmarks".
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
    aligned = alignment != "none"
    landmarks = landmarks_of(manifest.frame) if aligned or len(rows) else None
    landmarks = np.full((len(manifest), 5, 2), np.nan) if landmarks is None else landmarks
    bare = np.isnan(landmarks).any(axis=(1, 2)) & aligned
    boxed = np.flatnonzero(given & bare & (detector != WHOLE))
    errors = _without_landmarks(manifest, np.flatnonzero(bare & (whole | (detector == WHOLE))), detector)
    if not len(rows) and not len(boxed):
        frame = manifest.frame.assign(detector=names)
        return Located(replace(manifest, frame=frame), _placed_by(names[given]), errors)

    finder = load_detector(detector)
    shown = list(zip(manifest.file_names, manifest.frames.tolist(), strict=True))
    boxes, faceless = manifest.boxes.copy(), 0
    for row, place in _by_row(manifest, rows, shown, _Search(finder, manifest), progress):
        if isinstance(place, str):
            errors[row] = place
        elif not place:
            errors[row] = f"{_named(shown[row])}: {NO_FACE}"
            faceless += 1
        else:
            boxes[row] = place[:4]
            if len(place) > 4:
                landmarks[row] = np.reshape(place[4:], (5, 2))
    names[rows] = finder.name
    for row, place in _by_row(manifest, boxed, shown, _Search(finder, manifest, every=True), progress):
        found = place if isinstance(place, str) else _nearest(boxes[row], place)
        if isinstance(found, str):
            errors[row] = found
        elif found is None:
            errors[row] = (
                f"{_named(shown[row])}: no face that {finder.name} finds overlaps the box of this row "
                f"({', '.join(f'{v:g}' for v in boxes[row])}), so it has no landmarks to align it by; mend "
                "the box, or give a column `landmarks`"
            )
        else:
            landmarks[row] = found
    frame = manifest.frame.assign(detector=names)
    if len(rows):
        frame[list(BOX)] = boxes
    if not np.isnan(landmarks).all():
        frame[COLUMN] = written(landmarks)
    return Located(replace(manifest, frame=frame), finder.name, errors, len(rows), faceless)


def locate_for(
    faces: Manifest, preprocess: Preprocessing, detector: str | None = None, *, progress: bool = True
) -> Located:
    """`locate`, as a model's contract wants its faces, with landmarks where it aligns them.

    Args:
        faces: the manifest.
        preprocess: the model's contract; somebody else's without a detector takes whole images.
        detector: in place of the contract's; where that was boxes, "auto" by default.
        progress: show a progress bar.

    Raises:
        UsageError, IdferError: as `locate`.
    """
    contract = getattr(preprocess, "detector", WHOLE)
    chosen = detector or ("auto" if contract == "box" else contract)
    return locate(faces, chosen, alignment=getattr(preprocess, "alignment", "none"), progress=progress)


def _placed_by(detectors: np.ndarray) -> str:
    """What placed faces whose boxes are given: the detector, where the manifest names one for all of them."""
    # "yunet/track": between two looks of the detector, `idfer predict` follows the faces that it found
    names = {str(name).removesuffix("/track") for name in detectors.tolist()}
    if not names:
        return WHOLE
    name = names.pop()
    return name if not names and name in ("yunet", "haar") else GIVEN


def _without_landmarks(manifest: Manifest, rows: np.ndarray, detector: str) -> dict[int, str]:
    """The messages of rows that are to be aligned, have no landmarks, and are not searched."""
    why = (
        "--detector none finds none; give another --detector"
        if detector == WHOLE
        else "its `detector` none says that the whole image is the face; empty that"
    )
    files = manifest.file_names
    return {
        row: f"{files[row]}: has no landmarks to align it by, and {why}, or give a column `landmarks`"
        for row in rows.tolist()
    }


def _named(picture: tuple[str, int]) -> str:
    """A picture in a message: its file, and which frame of it."""
    file, frame = picture
    return f"{file}: frame {frame}" if frame >= 0 else file


def _nearest(box: np.ndarray, faces: Place) -> np.ndarray | None:
    """(5, 2) landmarks of that of several faces which overlaps a box most; None where none does enough."""
    found = np.reshape(faces, (-1, 14))
    if not len(found):
        return None
    low = np.maximum(found[:, :2], box[:2])
    high = np.minimum(found[:, :2] + found[:, 2:4], box[:2] + box[2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    overlap = shared / (found[:, 2:4].prod(axis=1) + box[2:].prod() - shared)
    best = int(overlap.argmax())
    return found[best, 4:].reshape(5, 2) if overlap[best] >= _OVERLAP else None


def _by_row(
    manifest: Manifest, rows: np.ndarray, shown: Sequence[tuple[str, int]], search: _Search, progress: bool
) -> Iterator[tuple[int, Place | str]]:
    """Each row with what is found in its picture; a picture of several rows is searched once."""
    first: dict[tuple[str, int], int] = {}
    for row in rows.tolist():
        first.setdefault(shown[row], row)
    if not first:
        return
    found = _find(manifest, sorted(first.values()), search, progress)
    for row in rows.tolist():
        yield row, found[first[shown[row]]]


def _find(manifest: Manifest, rows: Sequence[int], search: _Search, progress: bool) -> dict[int, Place | str]:
    """By row, the faces in its picture that are asked for, or why that cannot be read."""
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
    searched = dict(pictures.each(unknown, search.faces))
    cache.add({keys[row]: _packed(place) for row, place in searched.items() if not isinstance(place, str)})
    for row, key in keys.items():
        places[row] = searched[row] if row in searched else _unpacked(cached[key])
    return places


def _packed(place: Place) -> bytes:
    return struct.pack(f"<{len(place)}d", *place)


def _unpacked(value: bytes) -> Place:
    return struct.unpack(f"<{len(value) // 8}d", value)


class _Search:
    """Searches the pictures of a manifest for the largest or every face; several threads may ask at once."""

    def __init__(self, finder: Detector, manifest: Manifest, every: bool = False):
        self._finder, self._every = finder, every
        self._identity = finder.fingerprint.encode() + (b"|every" if every else b"")
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

    def faces(self, row: int, read: Read) -> Place | str:
        """The largest face or every face, () where there is none, or why the picture cannot be had."""
        import cv2

        try:
            image, factor = read()
            faces = self._finder(image)
        except IdferError as error:
            return str(error)
        except (MemoryError, cv2.error) as error:
            reason = " ".join(str(error).split())[:200] or "out of memory"
            return f"{self._files[row]}: cannot be searched for faces ({reason}); scale it down."
        numbers: list[float] = []
        for face in faces if self._every else faces[:1]:
            absent = [math.nan] * 10 if self._every else []
            points = absent if face.landmarks is None else face.landmarks.ravel().tolist()
            numbers += [float(factor * value) for value in (*face.box, *points)]
        return tuple(numbers)


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for a `with` block; an interrupt does not wait for the files that are still to come."""
    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, _THREADS))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
