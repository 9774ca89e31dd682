"""The one table every source becomes: a row per face, a Parquet file, paths relative to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from idfer.errors import IdferError, UsageError, unknown
from idfer.files import atomic

if TYPE_CHECKING:
    import pandas as pd

REQUIRED = ("path", "valence", "arousal")
DEFAULTS: dict[str, str | int] = {"frame": -1, "subject": "", "source": "", "split": "", "label_source": ""}
LABELS = ("valence", "arousal")
DRAWN = "idfer-synthetic"  # `source` of faces that idfer drew
FACTOR = "factor."  # prefix of ground-truth attribute columns, where a source knows them


@dataclass(frozen=True)
class Manifest:
    """Faces and their labels.

    Columns: `path` (relative to `root`), `frame` (0-based in a video, -1 for a still), `subject` (person, or
    the video where the person is not known), `source`, `split`, `valence`, `arousal` (both in [-1, 1]),
    `label_source`; optionally `box` ([x, y, width, height] in pixels), `landmarks` and any number of
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
            IdferError: the file is missing or unreadable, a column is missing, or a row's label is not a
                number in [-1, 1]; the message names the first bad row.
        """
        import pandas as pd

        file = Path(path)
        if file.is_dir():
            file = file / "manifest.parquet"
        if not file.is_file():
            raise IdferError(
                f"{file}: no such manifest. Make one with `idfer synth`, or give the path of a "
                "manifest.parquet or a CSV with columns path, valence, arousal."
            )
        try:
            table = pd.read_csv(file) if file.suffix.lower() == ".csv" else pd.read_parquet(file)
        except Exception as error:  # pyarrow and pandas raise many kinds for a broken file
            reason = str(error).splitlines()[0]
            raise IdferError(f"{file}: cannot be read as a manifest ({reason}). Write it again.") from error
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
        for column in ("path", "subject", "source", "split", "label_source"):
            table[column] = table[column].astype(object).where(table[column].notna(), "").astype(str)
        if (empty := np.flatnonzero(table["path"].to_numpy() == "")).size:
            raise IdferError(f"{name}: row {empty[0]}: path is empty; name an image file or drop the row.")
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

    def write(self, path: str | Path) -> Path:
        """Write the table as Parquet (atomic: whole or not at all); returns the path."""
        target = Path(path)
        with atomic(target) as temporary:
            self.frame.to_parquet(temporary, index=False)
        return target

    def select(self, split: str | Sequence[str]) -> Manifest:
        """The rows of one split, or of several.

        Raises:
            UsageError: no row has that split.
        """
        wanted = [split] if isinstance(split, str) else list(split)
        for one in wanted:
            if one not in self.splits:
                raise unknown("split", one, self.splits)
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
    def targets(self) -> np.ndarray:
        """(N, 2) float32 valence and arousal in [-1, 1]."""
        return self.frame[list(LABELS)].to_numpy(np.float32)

    @property
    def subjects(self) -> np.ndarray:
        """(N,) subject names; a row without one is its own subject (its path)."""
        return np.where(self.frame["subject"] == "", self.frame["path"], self.frame["subject"]).astype(str)

    @property
    def drawn(self) -> bool:
        """Whether every face was drawn by `idfer synth`: no photograph, so no person behind it."""
        return bool((self.frame["source"] == DRAWN).all())

    def box(self, row: int) -> tuple[float, float, float, float] | None:
        """Face box (x, y, width, height) in pixels of one row, or None where the image is the face."""
        if "box" not in self.frame.columns:
            return None
        value = self.frame["box"].iloc[row]
        if value is None or (isinstance(value, float) and np.isnan(value)):
            return None
        x, y, width, height = (float(v) for v in value)
        return x, y, width, height

    def __len__(self) -> int:
        return len(self.frame)

    def __str__(self) -> str:
        people = len(np.unique(self.subjects))
        splits = ", ".join(name for name in self.splits if name)
        named = f" (splits: {splits})" if splits else ""
        return f"{len(self)} faces of {people} people in {self.root}{named}"


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
