"""`manifest` and `read`: a data set as it lies on the disk, as one checked manifest."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from idfer.data.readers.tally import Options, Reader, Tally
from idfer.data.table_files import check_suffix
from idfer.errors import IdferError, UsageError, unknown

if TYPE_CHECKING:
    import pandas as pd

    from idfer.data.manifest import Manifest

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """What became of a data set.

    Attributes:
        name: of the reader.
        manifest: its usable faces.
        dropped: rows and files left out, by reason.
        first: the first of each reason.
        path: where the manifest was written; None where it was not.
    """

    name: str
    manifest: Manifest
    dropped: Mapping[str, int] = field(default_factory=dict)
    first: Mapping[str, str] = field(default_factory=dict)
    path: Path | None = None

    def __str__(self) -> str:
        frame = self.manifest.frame
        lines = [f"{self.name}: {len(frame):,} rows"]
        for split, count in Counter(frame["split"]).most_common():
            lines.append(f"  {count:>9,}  {split or 'without a split'}")
        named = frame.loc[frame["subject"] != "", "subject"]
        kinds = sorted(set(frame.get("subject_kind", [])) - {""})
        who = "people" if kinds in ([], ["person"]) else " and ".join(f"{kind}s" for kind in kinds)
        stand_in = ", which stand in for people" if "video" in kinds else ""
        lines.append(
            f"subjects: {named.nunique():,} {who}{stand_in}" if len(named) else "subjects: not known"
        )
        if self.dropped:
            lines.append(f"left out: {sum(self.dropped.values()):,}")
            lines += [f"  {n:>9,}  {why} (first: {self.first[why]})" for why, n in self.dropped.items()]
        else:
            lines.append("left out: nothing")
        lines.append(f"written to {self.path}" if self.path else "not written; give -o manifest.parquet")
        return "\n".join(lines)


def read(
    name: str,
    root: str | Path,
    *,
    columns: Mapping[str, str] | str = "",
    range: str = "",
    images: str = "",
    follow_links: bool = False,
    progress: bool = False,
) -> Manifest:
    """Read a data set from the disk; what is left out is logged as a warning, with counts.

    Args:
        name: of `idfer.catalogue.READERS`, or `module:function` of a reader of your own.
        root: the folder that the set was unpacked into; for `table` the CSV or Parquet file.
        columns: for `table`: manifest column to column of the table, as a mapping or "path=file,valence=v".
        range: for `table`: the labels' lowest and highest value, e.g. "-10,10".
        images: folder of the images under `root`, where they are not in their usual place; not for sets that
            have one place alone.
        follow_links: read through links that leave `root`.
        progress: show a progress bar.

    Raises:
        UsageError: an unknown reader or option, or one that is not for this reader.
        IdferError: the set is not there, or no row of it can be used.
    """
    reading = manifest(
        name, root, columns=columns, range=range, images=images, follow_links=follow_links, progress=progress
    )
    for reason, count in reading.dropped.items():
        _log.warning("%s: left out %d: %s (first: %s).", name, count, reason, reading.first[reason])
    return reading.manifest


def manifest(
    name: str,
    root: str | Path,
    out: str | Path | None = None,
    columns: Mapping[str, str] | str = "",
    range: str = "",
    images: str = "",
    follow_links: bool = False,
    progress: bool = True,
) -> Reading:
    """Make a manifest of a data set on the disk: {readers}, or module:function.

    Labels are scaled to [-1, 1]; invalid frames and missing files are left out and counted; official
    splits become train, val and test. docs/data.md says what each set is and how to get it. Nothing is
    downloaded and no image is opened: `idfer check` does that.

    Args:
        name: which set.
        root: the folder that it was unpacked into; for `table` the CSV or Parquet file.
        out: the manifest to write, a .parquet or a .csv; without it only the summary is shown.
        columns: for table, which column is which, e.g. path=file,valence=v,arousal=a,subject=who.
        range: for table, the labels' range, e.g. -10,10; four numbers are valence's and arousal's.
        images: folder of the images under ROOT, where it is not the usual one; not for afew-va, folder and
            AffectNet of 2021, which have one place alone.
        follow_links: read through links that leave ROOT; otherwise what they lead to is left out.
        progress: show a progress bar.

    Raises:
        UsageError: an unknown reader or option, one that is not for this reader, or `out` is neither .parquet
            nor .csv.
        IdferError: the set is not there, no row of it can be used, or `out` cannot be written.
    """
    if out is not None:
        check_suffix(out)
    reader, folder = reader_of(name), Path(root)
    mapping = _mapping(columns)
    if name != "table" and (mapping or range):
        raise UsageError(f"--columns and --range are for the reader `table`, not for {name!r}.")
    if not folder.exists():
        raise IdferError(f"{folder}: no such file or folder; give where the set lies.")
    if name != "table" and not folder.is_dir():
        raise IdferError(f"{folder}: is a file; give the folder that the set was unpacked into.")
    low, high = _range(range)
    tally = Tally()
    try:
        table = reader(folder, Options(mapping, low, high, images, follow_links, progress), tally)
    except OSError as error:  # the disk fails, or a folder may not be listed
        raise IdferError(
            f"{error.filename or folder}: cannot be read ({error.strerror or error}); check its permissions "
            "and the disk."
        ) from error
    if not len(table):
        raise IdferError(
            f"{folder}: no row of {name} can be used: {tally}. Check that the set is whole and unpacked here."
        )
    base = folder if name != "table" else folder.parent / images
    found = _checked(table, base, name)
    if out is not None:
        found = found.seen_from(Path(out).parent)
        found.write(out)
    return Reading(name, found, dict(tally.counts), tally.first, None if out is None else Path(out))


def reader_of(name: str) -> Reader:
    """The function of a reader.

    Raises:
        UsageError: no such reader, module or function.
    """
    from idfer.catalogue import READERS
    from idfer.names import is_path, load_object

    if name not in READERS and not is_path(name):
        raise unknown("reader", name, list(READERS), "Or give a function of your own as module:function.")
    path = READERS[name].path if name in READERS else name
    reader: Reader = load_object(path, "reader")
    return reader


def _checked(table: pd.DataFrame, root: Path, name: str) -> Manifest:
    """A manifest of a reader's table, its paths relative to `root`."""
    from idfer.data.manifest import Manifest

    table = table.reset_index(drop=True)
    if "source" not in table.columns:
        table["source"] = "" if name == "table" else name
    if "label_source" not in table.columns:
        table["label_source"] = "" if name == "table" else name
    return Manifest.from_frame(table, root, f"{name} at {root}")


def _mapping(columns: Mapping[str, str] | str) -> dict[str, str]:
    """`path=file,valence=v` as a mapping."""
    if not isinstance(columns, str):
        return dict(columns)
    mapping: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in columns.split(","))):
        name, equals, column = (text.strip() for text in part.partition("="))
        if not (equals and name and column):
            raise UsageError(
                f"--columns: {part!r} is no NAME=COLUMN; write e.g. path=file,valence=v,arousal=a."
            )
        if name in mapping:
            raise UsageError(f"--columns: {name} stands twice; name one column for it.")
        mapping[name] = column
    return mapping


def _range(text: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """The lowest and the highest value of (valence, arousal)."""
    if not text:
        return (-1.0, -1.0), (1.0, 1.0)
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    values = values * 2 if len(values) == 2 else values
    if len(values) != 4 or not np.isfinite(values).all() or values[0] >= values[1] or values[2] >= values[3]:
        raise UsageError(
            f"--range is {text!r}; give LOW,HIGH, e.g. -10,10, or four numbers: valence's, then arousal's."
        )
    return (values[0], values[2]), (values[1], values[3])


def _with_names(text: str) -> str:
    from idfer.catalogue import READERS

    return text.replace("{readers}", ", ".join(READERS))


manifest.__doc__ = _with_names(manifest.__doc__ or "")
