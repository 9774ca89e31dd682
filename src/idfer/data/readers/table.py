"""Any table of labels: a CSV or Parquet file with columns of any name.

Format: ROOT is the file. `--columns path=file,valence=v,subject=who` says which column is which; columns that
    have a manifest's name already need not be said. Paths are relative to `--images`, else to the file's
    folder.
    A CSV may be separated by commas, semicolons or tabs; 007 stays 007. Of text only an empty cell is
    missing, so a person may be called NA; in columns of numbers NA, nan and the like are missing too.
Labels: `--range LOW,HIGH`, -1,1 where not given; four numbers are valence's and arousal's range. They are
    stretched to [-1, 1].
Identity, splits, licence: as the table says; give `subject` and `subject_kind` (person, actor or video).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from idfer.data.readers.tally import Options, Tally, keep_present, keep_valid, number_columns
from idfer.data.table_files import NUMBERS, without_words
from idfer.errors import IdferError, unknown

if TYPE_CHECKING:
    import pandas as pd

NAMES = (
    "path", "frame", "valence", "arousal", "subject", "subject_kind", "video", "source", "split",
    "label_source", "detector", "box", "x", "y", "width", "height", "expression",
)  # fmt: skip
"""Manifest columns that `--columns` maps to; further ones are `factor.NAME`."""


def read(root: Path, options: Options, tally: Tally) -> pd.DataFrame:
    """A row per line of the table `root` whose labels are valid and whose image is there.

    Raises:
        IdferError: the file cannot be read as a table, or lacks a column.
        UsageError: a column that is mapped is not there.
    """
    table = read_table(root)
    for name, column in options.columns.items():
        if name not in NAMES and not name.startswith("factor."):
            raise unknown("manifest column", name, list(NAMES), "Attributes are called factor.NAME.")
        if column not in table.columns:
            raise unknown("column", column, [str(c) for c in table.columns], f"It is to be {name}.")
    taken = set(options.columns.values())
    table = table.drop(columns=[name for name in options.columns if name in table and name not in taken])
    copies = {name: table[column] for name, column in options.columns.items()}
    kept = table.drop(columns=sorted(taken & set(table.columns) - set(options.columns)))
    table = kept.assign(**copies)
    numbers = [name for name in NUMBERS if name in table.columns]
    table = _with_numbers(table.assign(**{name: without_words(table[name]) for name in numbers}))
    for name in ("path", "valence", "arousal"):
        if name not in table.columns:
            raise IdferError(
                f"{root}: no column is {name!r}; it has {', '.join(map(str, read_names(table)))}. Say which "
                f"with --columns {name}=COLUMN."
            )
    nameless = table["path"].isna() | (table["path"].astype(str).str.strip() == "")
    table = tally.drop(
        table.assign(path=table["path"].astype("str")), nameless.to_numpy(bool), "row has no path"
    )
    table = number_columns(table)
    for name, low, high in zip(("valence", "arousal"), options.low, options.high, strict=True):
        table[name] = 2 * (table[name] - low) / (high - low) - 1
    table = keep_valid(table, tally)
    folder = root.parent
    if options.images:
        folder = folder / options.images
        if not folder.is_dir():
            raise IdferError(f"{folder}: no such folder; --images names the folder of the images.")
    return keep_present(table, folder, options, tally)


def _with_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Attributes `factor.NAME` that are numbers in every row as numbers: ages are not levels."""
    import pandas as pd

    for name in [column for column in table.columns if str(column).startswith("factor.")]:
        numbers = pd.to_numeric(table[name], errors="coerce")
        if numbers.notna().any() and (numbers.notna() == without_words(table[name]).notna()).all():
            table[name] = numbers
    return table


def read_names(table: pd.DataFrame) -> list[str]:
    """The table's columns, not more than a message can hold."""
    names = [str(name) for name in table.columns]
    return names[:12] + (["..."] if len(names) > 12 else [])


def read_table(file: Path) -> pd.DataFrame:
    """A CSV (as text, whatever separates it) or Parquet file.

    Raises:
        IdferError: it is not there or no table.
    """
    import pandas as pd

    if not file.is_file():
        kind = "is a folder; give the CSV or Parquet file itself" if file.is_dir() else "no such file"
        raise IdferError(f"{file}: {kind}.")
    try:
        if file.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(file)
        with file.open("rb") as stream:
            head = stream.readline().decode("utf-8-sig", "replace")
        mark = max(",;\t", key=head.count)
        table = pd.read_csv(
            file, dtype="str", sep=mark, keep_default_na=False, na_values=[""], encoding="utf-8-sig",
            encoding_errors="replace",
        )  # fmt: skip
    except Exception as error:  # pyarrow and pandas raise many kinds for a broken file
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise IdferError(f"{file}: cannot be read as a table ({reason}). Save it again.") from error
    table.columns = table.columns.str.strip()
    return table
