"""A model's features of the faces: an array per row of the predictions, or a table with their keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idfer.auditing.joining import key_columns, keys, places
from idfer.auditing.reading import Table, listed, open_table
from idfer.errors import IdferError

DEFAULT = "features"
RESERVED = ("prediction", "labels", "prediction + labels")  # other rows of the table `leakage`
Features = dict[str, NDArray[np.float32]]


def read_features(
    given: Any, faces: NDArray[np.object_], rows: NDArray[np.intp], total: int, key: str
) -> Features:
    """Features of N faces by name.

    Args:
        given: the path of a .npy array (M, D) or .npz of several, a row per row of the predictions; or of a
            Parquet or CSV table with the key and a column of lists per feature, or columns of numbers. In
            Python also arrays (M, D), or a mapping of them by name.
        faces: (N,) keys of the faces.
        rows: (N,) their rows among the `total` rows of the predictions.
        total: M, rows of the predictions.
        key: as the option.

    Raises:
        IdferError: another length or shape, faces without features, or numbers that are not finite.
    """
    if isinstance(given, (str, Path)):
        path = Path(given)
        if path.suffix.lower() in (".npy", ".npz"):
            return _of_rows(_arrays(path), str(path), rows, total)
        return _keyed(open_table(path, "features"), faces, key)
    arrays = given if isinstance(given, Mapping) else {DEFAULT: given}
    if hasattr(given, "columns") and any(name in given.columns for name in key.split(",")):
        return _keyed(open_table(given, "features"), faces, key)
    if hasattr(given, "columns"):
        arrays = {DEFAULT: given.to_numpy()}
    return _of_rows(
        {str(name): np.asarray(values) for name, values in arrays.items()}, "features", rows, total
    )


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of a .npy (mapped, not read) or .npz file by name."""
    try:
        if path.suffix.lower() == ".npy":
            return {path.stem if path.stem.isidentifier() else DEFAULT: np.load(path, mmap_mode="r")}
        with np.load(path) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise IdferError(f"{path}: no such file (features).") from error
    except Exception as error:  # zipfile and numpy raise many kinds for a broken file
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise IdferError(f"{path}: cannot be read as arrays ({reason}); save it with numpy.save.") from error


def _of_rows(arrays: Mapping[str, NDArray[Any]], name: str, rows: NDArray[np.intp], total: int) -> Features:
    """Arrays whose rows are those of the predictions."""
    found: Features = {}
    for feature, values in arrays.items():
        _named(feature, name)
        if values.ndim != 2 or not values.shape[1] or values.dtype.kind not in "fiu":
            raise IdferError(
                f"{name}: {feature} is of shape {values.shape} and type {values.dtype}; wanted numbers, one "
                "row per face and one column per dimension."
            )
        if len(values) != total:
            raise IdferError(
                f"{name}: {feature} has {len(values):,} rows, the predictions have {total:,}; give one row "
                "per row of the predictions, in their order, or a Parquet table with the key."
            )
        whole = len(rows) == total and bool((rows == np.arange(total)).all())
        chosen = values if whole and values.dtype == np.float32 else values[rows].astype(np.float32)
        _check(chosen, f"{name}: {feature}", lambda row: f"row {rows[row]}")
        found[feature] = chosen
    return found


def _keyed(table: Table, faces: NDArray[np.object_], key: str) -> Features:
    """Features of a table with keys: a column of lists each, or all columns of numbers together."""
    named = key_columns(table, key)
    own = keys(table, named)
    place = places(faces, own, table.name, "the predictions", "features")
    if (lost := np.flatnonzero(place < 0)).size:
        raise IdferError(
            f"{table.name}: {lost.size:,} of {len(faces):,} faces have no features "
            f"(e.g. {faces[lost[0]]!r}); give those of all faces, or leave these out."
        )
    found: Features = {}
    for column in table.lists:
        if column in ("box", "landmarks"):
            continue
        values = table.columns([column])[column].iloc[place]
        try:
            array = np.stack(values.to_list()).astype(np.float32)
        except (ValueError, TypeError) as error:
            raise IdferError(
                f"{table.name}: {column} is not a list of as many numbers in each row."
            ) from error
        _named(column, table.name)
        found[column] = array
    if not found:
        numbers = [name for name in table.names if name not in named]
        frame = table.columns(numbers) if numbers else None
        if frame is None:
            raise IdferError(f"{table.name}: has no column besides {listed(named)}; features are numbers.")
        try:
            found[DEFAULT] = frame.to_numpy(np.float32, na_value=np.nan)[place]
        except (ValueError, TypeError) as error:
            raise IdferError(f"{table.name}: columns {listed(numbers, 6)} are not all numbers.") from error
    for name, array in found.items():
        _check(array, f"{table.name}: {name}", lambda row: repr(str(faces[row])))
    return found


def _named(feature: str, name: str) -> None:
    """Raise where a feature would take the place of what it is compared with."""
    if feature in RESERVED:
        raise IdferError(
            f"{name}: a feature is called {feature!r}, as the audit calls what it compares features with; "
            "rename it, or leave it out."
        )


def _check(values: NDArray[Any], name: str, of: Any) -> None:
    """Raise where a value is not finite, a stretch of rows at a time."""
    for start in range(0, len(values), 65_536):
        bad = ~np.isfinite(values[start : start + 65_536]).all(axis=1)
        if bad.any():
            row = start + int(np.flatnonzero(bad)[0])
            raise IdferError(
                f"{name} of {of(row)} is not finite ({int(bad.sum()):,} such rows or more); drop these "
                "faces or compute them again."
            )
