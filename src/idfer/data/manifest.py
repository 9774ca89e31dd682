"""The one table every source becomes: a row per face, a Parquet file, paths relative to it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.data import columns, table_files
from idfer.errors import IdferError, UsageError, unknown

if TYPE_CHECKING:
    import pandas as pd

REQUIRED = ("path", "valence", "arousal")
DEFAULTS: dict[str, str | int] = {
    "frame": columns.STILL, "subject": "", "source": "", "split": "", "label_source": "", "detector": ""
}  # fmt: skip
WHOLE = "none"  # `detector` of a row whose image is itself the face
LABELS = ("valence", "arousal")
_TEXTS = ("path", "subject", "source", "split", "label_source", "detector")
DRAWN = "idfer-synthetic"  # `source` of faces that idfer drew
RENDERED = "idfer-mesh"  # and of those that it rendered from a parametric head
OWN = (DRAWN, RENDERED)
FACTOR = "factor."  # prefix of ground-truth attribute columns, where a source knows them


@dataclass(frozen=True)
class Manifest:
    """Faces and their labels.

    Columns: `path` (relative to `root`), `frame` (-1 of an image; of a video the number of a frame, from 0 in
    the order in which frames are shown, as `idfer predict` writes it), `subject` (person, or the video where
    the person is not known), optionally `subject_kind` (what `subject` names: person, actor, or video, a
    stand-in), `source`, `split`, `valence`, `arousal` (both in [-1, 1]),
    `label_source`; `detector` (what placed the face: "none" says that the image is itself the face, "" that
    nobody said); optionally `x`, `y`, `width`, `height` (the face box in pixels of the upright image, NaN
    where there is none; a column `box` of lists or texts becomes these), `landmarks` and any number of
    `factor.NAME` ground-truth attributes.

    Attributes:
        frame: the table.
        root: the folder that `path` is relative to.
    """

    frame: pd.DataFrame
    root: Path

    @classmethod
    def read(cls, path: str | Path) -> Manifest:
        """Read and check a manifest (`.parquet`, or `.csv` with the same columns).

        Raises:
            IdferError: the file is missing or unreadable, a column is missing, a row's label is not a number
                in [-1, 1], its face box is none, or its frame is none of its file; the message names the
                first bad row.
        """
        table, file = read_table(path)
        return cls.from_frame(table, file.parent, name=str(file))

    @classmethod
    def from_frame(cls, table: pd.DataFrame, root: str | Path, name: str = "manifest") -> Manifest:
        """Check a table and fill in the columns that have defaults. Raises as `read` does."""
        if missing := [c for c in REQUIRED if c not in table.columns]:
            raise IdferError(
                f"{name}: column {missing[0]!r} is missing; a manifest needs {', '.join(REQUIRED)}."
            )
        if not len(table):
            raise IdferError(f"{name}: has no rows; nothing to work on.")
        table = table.reset_index(drop=True)
        for column, value in DEFAULTS.items():
            if column not in table.columns:
                table[column] = value
        for column in LABELS:
            _check_label(table, column, name)
        for column in [*_TEXTS, *({"subject_kind"} & set(table.columns))]:
            table[column] = table[column].astype(object).where(table[column].notna(), "").astype(str)
        if (empty := np.flatnonzero(table["path"].to_numpy() == "")).size:
            raise IdferError(f"{name}: row {empty[0]}: path is empty; name an image file or drop the row.")
        table["frame"] = columns.frames(table, name)
        places = columns.boxes(table, name)
        if places is not None:
            columns.check_whole(table, places, name)
            places[(table["detector"] == WHOLE).to_numpy()] = np.nan
            table = table.drop(columns="box", errors="ignore")
            table[list(columns.BOX)] = places
        manifest = cls(table, Path(root))
        manifest._check_subjects(name)
        return manifest

    def _check_subjects(self, name: str) -> None:
        """IDF001: a person in `train` and in another split makes every score too good."""
        known = self.frame[self.frame["subject"] != ""]
        trained = set(known.loc[known["split"] == "train", "subject"])
        shared = known[(known["split"] != "train") & known["subject"].isin(trained)]
        if len(shared):
            row, first = shared.index[0], shared.iloc[0]
            raise IdferError(
                f"{name}: row {row}: IDF001 subject {first['subject']!r} is in split 'train' and in "
                f"{first['split']!r}; split by person, so that scores are of unseen people."
            )

    def write(self, path: str | Path, *, keep_paths: bool = False) -> Path:
        """Write the table as Parquet, or as CSV to a .csv (atomic: whole or not at all); returns the path.

        Args:
            path: the file; where it lies in another folder than `root`, paths become those `seen_from` there.
            keep_paths: write paths as they are, relative to `root`, which the reader must know.

        Raises:
            UsageError: a suffix other than .parquet and .csv.
            IdferError: the file cannot be written, or cannot keep a column; the message names it.
        """
        target = Path(path)
        faces = self if keep_paths else self.seen_from(target.parent)
        table_files.write(faces.frame, target)
        return target

    def seen_from(self, folder: str | Path) -> Manifest:
        """The same faces with `folder` as root: paths are relative where it holds them, else absolute."""
        here, there = Path(folder).resolve(), self.root.resolve()
        if here == there:
            return replace(self, root=Path(folder))
        prefix = there.relative_to(here) if there.is_relative_to(here) else there
        paths = self.frame["path"]
        moved = (f"{prefix.as_posix()}/" + paths).where(~paths.str.startswith("/"), paths)
        return replace(self, frame=self.frame.assign(path=moved), root=Path(folder))

    def select(self, split: str | Sequence[str]) -> Manifest:
        """The rows of one split, or of several.

        Raises:
            UsageError: no row has that split.
        """
        wanted = [split] if isinstance(split, str) else list(split)
        for name in wanted:
            if name not in self.splits:
                raise unknown("split", name, self.splits)
        return self.rows(self.frame["split"].isin(wanted).to_numpy())

    def rows(self, keep: np.ndarray) -> Manifest:
        """The rows that a boolean mask (N,) keeps, or an integer array (n,) names."""
        chosen = np.flatnonzero(keep) if keep.dtype == bool else keep
        if not len(chosen):
            raise UsageError("no row is left after the selection; choose another split or subset.")
        return replace(self, frame=self.frame.iloc[chosen].reset_index(drop=True))

    @property
    def splits(self) -> list[str]:
        """Names of the splits, in order of first appearance."""
        return list(dict.fromkeys(self.frame["split"]))

    @property
    def files(self) -> list[Path]:
        """Absolute image path per row."""
        return [self.root / p for p in self.frame["path"]]

    @property
    def file_names(self) -> list[str]:
        """`files` as text: a tenth of the time, where there are millions."""
        root = str(self.root)
        return [os.path.join(root, path) for path in self.frame["path"]]  # noqa: PTH118

    @cached_property
    def frames(self) -> np.ndarray:
        """(N,) int64 number of the row's frame in its video, from 0; -1 of an image."""
        return self.frame["frame"].to_numpy(np.int64)

    @property
    def targets(self) -> np.ndarray:
        """(N, 2) float32 valence and arousal in [-1, 1]."""
        return self.frame[list(LABELS)].to_numpy(np.float32)

    @property
    def subjects(self) -> np.ndarray:
        """(N,) subject names; a row without one is its own subject (its path)."""
        return np.where(self.frame["subject"] == "", self.frame["path"], self.frame["subject"]).astype(str)

    @property
    def subject_kinds(self) -> list[str]:
        """What `subject` names, where the manifest says it: "person", "actor", "video" (a stand-in)."""
        kinds: Any = self.frame["subject_kind"] if "subject_kind" in self.frame.columns else []
        return sorted(set(kinds) - {""})

    @property
    def drawn(self) -> bool:
        """Whether the drawn engine made every face: what the builtin CLIP knows."""
        return bool((self.frame["source"] == DRAWN).all())

    @property
    def synthetic(self) -> bool:
        """Whether `idfer synth` made every face, with any engine: no photograph, so no person behind it."""
        return bool(self.frame["source"].isin(OWN).all())

    @cached_property
    def boxes(self) -> np.ndarray:
        """(N, 4) float64 face boxes x, y, width, height in pixels; NaN where the row has none."""
        if "x" not in self.frame.columns:
            return np.full((len(self), 4), np.nan)
        return self.frame[list(columns.BOX)].to_numpy(np.float64)

    @property
    def whole(self) -> np.ndarray:
        """(N,) whether the row says that its image is itself the face (`detector` "none")."""
        return (self.frame["detector"] == WHOLE).to_numpy(bool)

    def box(self, row: int) -> tuple[float, float, float, float] | None:
        """Face box (x, y, width, height) in pixels of one row, or None where it has none."""
        x, y, width, height = self.boxes[row].tolist()
        return None if np.isnan(x) else (x, y, width, height)

    def __len__(self) -> int:
        return len(self.frame)

    def __str__(self) -> str:
        people = len(np.unique(self.subjects))
        splits = ", ".join(name for name in self.splits if name)
        named = f" (splits: {splits})" if splits else ""
        return f"{len(self)} faces of {people} people in {self.root}{named}"


def read_table(path: str | Path) -> tuple[pd.DataFrame, Path]:
    """The table of a manifest as it stands, unchecked, and the file that it was read from.

    Raises:
        IdferError: the file is missing or unreadable.
    """
    if not str(path):
        raise IdferError("the manifest's name is empty; give the path of a manifest.parquet or a CSV.")
    file = Path(path)
    try:
        file = file / "manifest.parquet" if file.is_dir() else file
        there = file.is_file()
    except OSError as error:  # a name that is too long for the system
        raise IdferError(f"{str(file)[:200]}: cannot be opened ({error.strerror}).") from error
    if not there:
        raise IdferError(
            f"{file}: no such manifest. Make one with `idfer manifest` or `idfer synth`, or give "
            "the path of a manifest.parquet or a CSV with columns path, valence, arousal."
        )
    try:
        table = table_files.read(file)
    except Exception as error:  # pyarrow and pandas raise many kinds for a broken file
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise IdferError(f"{file}: cannot be read as a manifest ({reason}). Write it again.") from error
    return table, file


def _check_label(table: pd.DataFrame, column: str, name: str) -> None:
    """IDF002 / IDF003: every label is a number in [-1, 1]."""
    import pandas as pd

    values = pd.to_numeric(table[column], errors="coerce")
    if (bad := np.flatnonzero(values.isna())).size:
        raise IdferError(
            f"{name}: row {bad[0]} ({table['path'].iloc[bad[0]]}): IDF003 {column} is "
            f"{str(table[column].iloc[bad[0]])!r}, not a number ({bad.size} such rows); label or drop them."
        )
    if (bad := np.flatnonzero(values.abs() > 1)).size:
        raise IdferError(
            f"{name}: row {bad[0]} ({table['path'].iloc[bad[0]]}): IDF002 {column} {values.iloc[bad[0]]:g} "
            f"is outside [-1, 1] ({bad.size} such rows); rescale the labels or drop invalid frames."
        )
    table[column] = values.astype("float32")
