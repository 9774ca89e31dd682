"""A manifest's faces as trials read them: placed once, every row usable, kept beside the trials under a hash.

All methods learn from and are tested on the same rows, so rows that one could not use are left out for all,
counted by reason. Images stay where they are; what is kept is the table.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idfer.errors import IdferError
from idfer.files import atomic

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.locate import Located
    from idfer.data.manifest import Manifest
    from idfer.training.settings import Settings

FACES, ATTRIBUTES, ABOUT = "manifest.parquet", "attributes.parquet", "about.json"
NO_ATTRIBUTES = "attributes could not be retrieved"
NO_FACE, UNREADABLE = "no face found", "image could not be read or cut"


@dataclass(frozen=True)
class LeftOut:
    """Rows that are left out for one reason.

    Attributes:
        reason: in a few words.
        count: how many.
        first: what was said of the first of them.
    """

    reason: str
    count: int
    first: str


@dataclass(frozen=True)
class Faces:
    """N faces that every method can use.

    Attributes:
        manifest: the faces, placed.
        table: their retrieved attributes, row by row; None where none were given.
        digest: names them by content: images, labels, people, boxes, attributes.
        left_out: rows of the user's manifest that are not among them.
    """

    manifest: Manifest
    table: AttributeTable | None
    digest: str
    left_out: tuple[LeftOut, ...] = ()


def prepare(
    manifest: str | Path | Manifest,
    attributes: str | Path | AttributeTable | None,
    runs: Path,
    settings: Settings,
    progress: bool = True,
) -> Faces:
    """Place and check the faces of a manifest, or read what an earlier command of the same faces kept.

    Args:
        manifest: the faces, or their path.
        attributes: retrieved for all of them, or None.
        runs: folder of the experiment; the faces go to RUNS/faces/DIGEST.
        settings: how faces are found and cut: `detector`, `alignment`, `margin`, `size`.
        progress: show bars.

    Raises:
        IdferError: the manifest or the table cannot be used, a face is not in the table, or no row is left.
    """
    from idfer.attributes.table import AttributeTable
    from idfer.data.content import content_digest, image_keys
    from idfer.data.locate import locate
    from idfer.data.manifest import Manifest

    whole = manifest if isinstance(manifest, Manifest) else Manifest.read(manifest)
    table = AttributeTable.read(attributes) if isinstance(attributes, (str, Path)) else attributes
    if table is not None:
        try:
            table = table.align(whole)
        except IdferError as error:
            named = attributes if isinstance(attributes, (str, Path)) else "the attribute table"
            raise IdferError(f"{named}: is of other faces: {error}") from error
    placed = locate(whole, settings.detector, alignment=settings.alignment, progress=progress)
    content = content_digest(placed.manifest, image_keys(placed.manifest))
    digest = _digest(content, placed, table, settings)
    folder = runs / "faces" / digest
    if table is not None:  # a trial finds a face in it by the box that it has now
        table = replace(table, box=_boxes(placed.manifest))
    about = _read_about(folder)
    if about is None:
        left_out, rows = _write(folder, placed, table, settings, progress)
    else:
        left_out, rows = tuple(LeftOut(**each) for each in about["left_out"]), about["rows"]
    # where the images lie today: a folder that was moved costs no trial
    root = whole.root.resolve()
    told = {"root": str(root), "left_out": [asdict(each) for each in left_out], "rows": rows}
    with atomic(folder / ABOUT) as temporary:
        temporary.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    # the user's own columns as they are now, which divide the faces and are no part of the digest
    keep = np.setdiff1d(np.arange(len(whole)), rows)
    kept = replace(placed.manifest, root=root).rows(keep)
    return Faces(kept, None if table is None else table.rows(keep), digest, left_out)


def read(runs: Path, digest: str) -> tuple[Manifest, AttributeTable | None]:
    """Faces that `prepare` kept, and their attributes row by row.

    Raises:
        IdferError: they have disappeared or cannot be read.
    """
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest

    folder = runs / "faces" / digest
    about = _read_about(folder)
    if about is None:
        raise IdferError(f"{folder}: the faces of this experiment have disappeared; run the command again.")
    manifest = replace(Manifest.read(folder / FACES), root=Path(about["root"]))
    file = folder / ATTRIBUTES
    return manifest, AttributeTable.read(file) if file.is_file() else None


def _boxes(faces: Manifest) -> tuple[tuple[float, float, float, float] | None, ...]:
    """The box of each face as an attribute table has it."""
    return tuple(None if x != x else (x, y, w, h) for x, y, w, h in faces.boxes.tolist())


def _write(
    folder: Path, placed: Located, table: AttributeTable | None, settings: Settings, progress: bool
) -> tuple[tuple[LeftOut, ...], list[int]]:
    """Keep the rows that can be used; returns what is left out, and the numbers of those rows."""
    problems = _problems(placed, table, settings, progress)
    keep = np.array([row not in problems for row in range(len(placed.manifest))])
    if not keep.any():
        first = next(iter(problems.values()))[1]
        raise IdferError(f"no row of the manifest can be used; the first: {first} {placed.hint}".rstrip())
    placed.manifest.rows(keep).write(folder / FACES, keep_paths=True)  # `about.json` says their root
    if table is not None:
        table.rows(keep).write(folder / ATTRIBUTES)
    found: dict[str, list[str]] = {}
    for _, (reason, message) in sorted(problems.items()):
        found.setdefault(reason, []).append(message)
    told = tuple(LeftOut(reason, len(messages), messages[0]) for reason, messages in found.items())
    return told, sorted(problems)


def _problems(
    placed: Located, table: AttributeTable | None, settings: Settings, progress: bool
) -> dict[int, tuple[str, str]]:
    """By row that cannot be used, the reason and the message. Every image is read once."""
    from idfer.data import locate
    from idfer.data.loader import face_batches
    from idfer.data.preprocess import Preprocess
    from idfer.progress import bar

    problems: dict[int, tuple[str, str]] = {}
    if table is not None:
        for row in np.flatnonzero(table.errors != "").tolist():
            problems[row] = (NO_ATTRIBUTES, f"row {row}: {table.errors[row]}")
    for row, message in placed.errors.items():
        faceless = message.endswith(locate.NO_FACE)
        problems[row] = (NO_FACE if faceless else UNREADABLE, f"row {row}: {message}")
    contract = Preprocess(settings.size or 64, settings.margin, settings.alignment, detector=placed.detector)
    with bar("checking faces", len(placed.manifest), progress) as advance:
        for rows, _, messages in face_batches(placed.manifest, contract, errors=placed.errors):
            for row, message in messages.items():
                problems.setdefault(row, (UNREADABLE, message))
            advance(len(rows) + len(messages))
    return problems


def _digest(content: str, placed: Located, table: AttributeTable | None, settings: Settings) -> str:
    """16 hex digits of all that trials read of these faces, the settings that cut them included."""
    frame = placed.manifest.frame
    digest = hashlib.sha256(content.encode())
    how = [placed.detector, settings.alignment, settings.margin]
    digest.update(json.dumps([how, sorted(placed.errors)]).encode())
    digest.update("\0".join(frame["path"]).encode())  # a sampled feature's draw hangs on it
    for name in sorted(column for column in frame.columns if column.startswith("factor.")):
        digest.update(f"\0{name}\0".encode() + "\0".join(frame[name].astype(str)).encode())
    if "landmarks" in frame.columns and settings.alignment != "none":
        digest.update("\0".join(frame["landmarks"].astype(str)).encode())
    if table is not None:
        digest.update(json.dumps(table.levels, sort_keys=False).encode())
        for values in (table.posteriors, table.text):
            digest.update(_bytes(values))
        digest.update("\0".join(table.errors.astype(str)).encode())
    return digest.hexdigest()[:16]


def _bytes(values: NDArray[np.floating]) -> bytes:
    return np.ascontiguousarray(values, np.float32).tobytes()


def _read_about(folder: Path) -> dict[str, Any] | None:
    """What stands beside kept faces; None where they are not whole."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise IdferError(f"{folder / ABOUT}: cannot be read ({error}); delete {folder}.") from error
    whole = isinstance(about, dict) and "rows" in about and (folder / FACES).is_file()
    return about if whole else None
