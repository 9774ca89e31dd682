"""`idfer crop`: the faces of a manifest cut out once, as files, so that training need not find them again."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.data.columns import BOX, STILL
from idfer.data.landmarks import COLUMN
from idfer.data.locate import Located, locate
from idfer.data.manifest import WHOLE, Manifest
from idfer.data.pictures import Pictures, Read
from idfer.data.preprocess import ALIGNMENTS, Preprocess
from idfer.errors import IdferError, UsageError, unknown
from idfer.files import atomic, check_writable
from idfer.progress import bar

if TYPE_CHECKING:
    from idfer.data.loader import FaceDataset

FORMATS = ("png", "webp", "jpeg")
MANIFEST, LEFT_OUT = "manifest.parquet", "left_out.csv"
_THREADS = 8  # at most: each may hold a large image


def crop(
    manifest: str | Path | Manifest,
    out: str | Path | None = None,
    size: int = 224,
    margin: float = 0.1,
    alignment: str = "none",
    detector: str = "auto",
    format: str = "png",
    quality: int = 95,
    progress: bool = True,
) -> Manifest:
    """Cut out the faces of a manifest once, and write a manifest of the crops.

    Faces are placed and cut as `idfer fit` does with the same options, so that a model trained on PNG crops
    of its own size sees the same pixels. In the new manifest each image is itself the face (detector none),
    `original` names the image or video it came from (`original_frame` says which frame), and all other
    columns stay.

    Crops lie in DIR/crops/XX/, named by what they depend on: a run that is interrupted or killed goes on
    where it was, and one with other options, or with images that have changed, makes new crops. Rows without
    a face and images that cannot be read are left out, counted, and listed in DIR/left_out.csv with the
    reason.

    A model trained on crops takes each image as one whole face: to predict on photographs give --detector,
    and expect framing to be alike only with the margin used here.

    Args:
        manifest: the faces: a manifest's path or folder, or a `Manifest`.
        out: folder of the crops.
        size: side of the square crops in pixels.
        margin: context around a face box, as a fraction of its longer side, on each side.
        alignment: none, or landmarks: turn and scale each face so that eyes, nose and mouth corners lie on a
            template, as for `idfer fit`.
        detector: what finds faces that the manifest does not place, as for `idfer fit`.
        format: png (exact), webp or jpeg (smaller).
        quality: of webp and jpeg, 1 to 100.
        progress: show a progress bar.

    Returns:
        The manifest of the crops, written as DIR/manifest.parquet.

    Raises:
        UsageError: an option that does not exist or is out of its range.
        IdferError: no face at all, or the folder cannot be written.
    """
    from idfer.data.loader import FaceDataset

    if out is None:
        raise UsageError("crops need a folder; give one with -o.")
    if format not in FORMATS:
        raise unknown("format", format, list(FORMATS))
    if alignment not in ALIGNMENTS:
        raise unknown("alignment", alignment, list(ALIGNMENTS))
    if not 1 <= quality <= 100:
        raise UsageError(f"--quality is {quality}; it must be from 1 to 100.")
    try:
        contract = Preprocess(size, margin, alignment)
    except IdferError as error:
        raise UsageError(str(error)) from error
    faces = manifest if isinstance(manifest, Manifest) else Manifest.read(manifest)
    root = _folder(Path(out), faces)
    located = locate(faces, detector, alignment=alignment, progress=progress)
    names = [_name(located, row, contract, format, quality) for row in range(len(faces))]
    reasons = _write(root, FaceDataset(located.manifest, contract, located.errors), names, quality, progress)
    return _finish(root, located, names, reasons)


def _folder(root: Path, faces: Manifest) -> Path:
    """The output folder, which must not hold the manifest that is read."""
    try:
        check_writable(root)
        root.mkdir(parents=True, exist_ok=True)
        same = root.samefile(faces.root)
    except (OSError, ValueError) as error:
        raise IdferError(f"{root}: cannot be written ({error}); choose another -o.") from error
    if same:
        raise UsageError(f"{root}: holds the manifest itself; choose another folder for the crops.")
    return root


def _name(located: Located, row: int, contract: Preprocess, format: str, quality: int) -> str:
    """A crop's path in the folder, by all that decides its pixels."""
    faces = located.manifest
    file = faces.root / faces.frame["path"].iloc[row]
    try:
        status = file.stat()
        version = [status.st_size, status.st_mtime_ns]
    except (OSError, ValueError):  # reading it says why
        version = []
    marks = faces.frame[COLUMN].iloc[row] if COLUMN in faces.frame.columns else None
    told: list[Any] = [str(faces.frame["path"].iloc[row]), version, faces.box(row), str(marks)]
    if (number := int(faces.frames[row])) >= 0:
        told.append(number)
    text = json.dumps([*told, contract.to_dict(), format, None if format == "png" else quality])
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    return f"crops/{digest[:2]}/{digest}.{format}"


def _write(
    root: Path, dataset: FaceDataset, names: list[str], quality: int, progress: bool
) -> dict[int, str]:
    """Write the crops that are not there yet; why some rows have none, by row."""
    reasons: dict[int, str] = {}

    def write(row: int, read: Read) -> None:
        try:
            _save(root / names[row], dataset.cut(row, read), quality)
        except IdferError as error:
            reasons[row] = str(error).removeprefix(f"row {row}: ")

    with (
        bar("cutting out", len(names), progress) as advance,
        Pictures(dataset.manifest, min(os.cpu_count() or 1, _THREADS), dataset.unusable) as pictures,
    ):
        try:
            left = [
                row
                for row in pictures.order.tolist()
                if row in dataset.unusable or not _is_there(root / names[row])
            ]
            advance(len(names) - len(left))
            for _ in pictures.each(left, write):
                advance()
        except OSError as error:
            reason = error.strerror or error
            raise IdferError(
                f"cannot write to {root}: {reason}. Free some space; the crops made until then are kept, and "
                "the same command goes on from there."
            ) from error
    return reasons


def _is_there(target: Path) -> bool:
    return target.is_file() and target.stat().st_size > 0


def _save(target: Path, face: np.ndarray, quality: int) -> None:
    """Write one crop, whole or not at all; without the wait for the disk that `files.atomic` has."""
    from PIL import Image

    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.{id(face)}")
    kind = target.suffix[1:]
    options: dict[str, Any] = {"jpeg": {"subsampling": 0}, "png": {"compress_level": 3}}.get(kind, {})
    try:
        with part.open("wb") as stream:
            Image.fromarray(face).save(stream, kind, quality=quality, **options)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _finish(root: Path, located: Located, names: list[str], reasons: dict[int, str]) -> Manifest:
    """Write the manifest of the crops that are there, and the list of rows that have none."""
    import pandas as pd

    total = len(names)
    if len(reasons) == total:
        raise IdferError(f"no face can be cut out; the first: {reasons[0]} {located.hint}".rstrip())
    frame = located.manifest.frame
    keep = np.array([row not in reasons for row in range(total)])
    gone = (*BOX, "box", COLUMN, "original_frame")  # the last of crops that are cut again
    crops = frame.drop(columns=[c for c in gone if c in frame.columns])
    crops = crops.assign(path=names, frame=STILL, detector=WHOLE, original=frame["path"])
    if (frame["frame"] != STILL).any():
        crops = crops.assign(original_frame=frame["frame"])
    crops = crops[keep]
    left = sorted(reasons)
    with atomic(root / LEFT_OUT) as temporary:
        listed = pd.DataFrame({"path": frame["path"].iloc[left], "reason": [reasons[row] for row in left]})
        listed.to_csv(temporary, index_label="row")
    made = Manifest.from_frame(crops, root, name=str(root / MANIFEST))
    made.write(root / MANIFEST)
    if left:
        print(
            f"idfer: {len(left)} of {total} rows have no crop (first: {reasons[left[0]]}); all are listed in "
            f"{root / LEFT_OUT}. {located.hint}".rstrip(),
            file=sys.stderr,
        )
    return made
