"""What every reader shares: its options, the count of what is left out, and the checks of labels and files.

A reader is a function `read(root, options, tally)` that returns a table with the columns of a manifest:
`path` (relative to `root`, with forward slashes), `valence`, `arousal` in [-1, 1], and what else it knows.
It drops nothing without telling `tally`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from idfer.data.readers import disk
from idfer.errors import IdferError, UsageError

if TYPE_CHECKING:
    import pandas as pd

ABSENT = "part of the set is not there"
MISSING = "image is not there"
OUTSIDE = "path leaves the root"
NOT_A_NUMBER = "label is not a number"
OUT_OF_RANGE = "label is outside its range"

SPLITS: Mapping[str, str] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "dev": "val", "test": "test", "testing": "test",
}  # fmt: skip
"""What a manifest calls the official splits, by their usual names in lower case."""


@dataclass(frozen=True)
class Options:
    """What a user may say about a set.

    Attributes:
        columns: manifest column to the table's own column, for `table`.
        low: the lowest label of (valence, arousal), for `table`.
        high: the highest label of (valence, arousal), for `table`.
        images: folder of the images, where a set does not say; "" looks in the usual places.
        follow_links: read through links that leave the root.
        progress: show a progress bar.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    low: tuple[float, float] = (-1.0, -1.0)
    high: tuple[float, float] = (1.0, 1.0)
    images: str = ""
    follow_links: bool = False
    progress: bool = True


class Tally:
    """Rows and files left out, by reason, with the first of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def add(self, reason: str, count: int, first: str) -> None:
        """Count `count` rows or files more for a reason; `first` names one."""
        if count:
            self.counts[reason] += count
            self.first.setdefault(reason, first)

    def drop(self, table: pd.DataFrame, bad: NDArray[np.bool_], reason: str) -> pd.DataFrame:
        """The rows of `table` that are not `bad` (N,); the others are counted."""
        rows = np.flatnonzero(bad)
        if not rows.size:
            return table
        self.add(reason, rows.size, str(table["path"].iloc[rows[0]]))
        return table[~bad]

    def __str__(self) -> str:
        return "; ".join(
            f"{count} x {reason} (first: {self.first[reason]})" for reason, count in self.counts.most_common()
        )


class Reader(Protocol):
    """How a set becomes a table."""

    def __call__(self, root: Path, options: Options, tally: Tally, /) -> pd.DataFrame:
        """The faces under `root`; what is left out is counted in `tally`.

        Raises:
            IdferError: `root` does not hold the set.
        """


def number_columns(table: pd.DataFrame) -> pd.DataFrame:
    """`valence` and `arousal` as float64; NaN for what is no number."""
    import pandas as pd

    numbers = {name: pd.to_numeric(table[name], errors="coerce") for name in ("valence", "arousal")}
    return table.assign(**{k: v.to_numpy(np.float64, na_value=np.nan) for k, v in numbers.items()})


def keep_valid(
    table: pd.DataFrame, tally: Tally, *, invalid: float | None = None, mark: str = ""
) -> pd.DataFrame:
    """The rows whose labels (already numbers) lie in [-1, 1].

    Args:
        table: with float `valence` and `arousal`.
        tally: counts the others.
        invalid: the number by which the set marks a row without a face, e.g. -2; None: it marks none.
        mark: what that mark means, in words.
    """
    labels = table[["valence", "arousal"]].to_numpy(np.float64)
    if invalid is not None:
        marked = (labels == invalid).any(axis=1)
        table, labels = tally.drop(table, marked, mark), labels[~marked]
    unread = np.isnan(labels).any(axis=1)
    table, labels = tally.drop(table, unread, NOT_A_NUMBER), labels[~unread]
    return tally.drop(table, (np.abs(labels) > 1).any(axis=1), OUT_OF_RANGE)


def keep_present(table: pd.DataFrame, root: Path, options: Options, tally: Tally) -> pd.DataFrame:
    """The rows whose file is there and under `root`; `path` is tidied (forward slashes, no `..`)."""
    table = table.assign(path=disk.tidy(table["path"], root))
    state = disk.look(root, table["path"], options.follow_links)
    outside, missing = state == disk.OUTSIDE, state == disk.MISSING
    tally.add(OUTSIDE, int(outside.sum()), _example(table, outside))
    tally.add(MISSING, int(missing.sum()), _example(table, missing))
    present: pd.DataFrame = table[state == disk.PRESENT]
    return present


def refuse_images(options: Options, name: str, where: str) -> None:
    """Refuse `--images` for a set that has its images in one place.

    Args:
        options: of the user.
        name: of the set.
        where: its images lie, in words.

    Raises:
        UsageError: a folder of images was given.
    """
    if options.images:
        raise UsageError(f"--images is not for {name}: its images lie {where}; leave it out.")


def first_there(root: Path, candidates: Sequence[str], what: str) -> Path:
    """The first of some files or folders that is there.

    Raises:
        IdferError: none is; the message says what was looked for.
    """
    for name in candidates:
        if (path := root / name).exists():
            return path
    raise not_there(root, candidates, what)


def not_there(root: Path, candidates: Sequence[str], what: str) -> IdferError:
    """The error for a root that does not hold a set."""
    if not root.exists():
        return IdferError(f"{root}: no such folder; give the folder that holds {what}.")
    held = sorted(path.name for path in root.iterdir())[:6] if root.is_dir() else []
    holds = f"it holds {', '.join(held)}" if held else "it is empty" if root.is_dir() else "it is a file"
    return IdferError(
        f"{root}: {what} is not here: looked for {', '.join(candidates)}; {holds}. Give the folder that the "
        "set was unpacked into."
    )


def _example(table: pd.DataFrame, rows: NDArray[np.bool_]) -> str:
    found = np.flatnonzero(rows)
    return str(table["path"].iloc[found[0]]) if found.size else ""
