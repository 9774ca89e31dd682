"""Valence and arousal from the columns of tables: which are predictions, which are labels, on which scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from idfer.auditing import columns as naming
from idfer.auditing.checks import Check
from idfer.auditing.reading import Table
from idfer.auditing.scales import UNIT, Range, checked_labels, looks_like_unit_interval, scaled
from idfer.errors import IdferError

Array = NDArray[np.float64]


def predictions_of(
    faces: Table, given: Mapping[str, str], scale: Range, labelled: bool, checks: list[Check]
) -> Array:
    """(N, 2) predictions, NaN where a row has none.

    Args:
        faces: their table.
        given: column by role, as the user says it.
        scale: of the predictions.
        labelled: whether labels come from another table, so that `valence` can only be a prediction.
        checks: gets one where columns were guessed.

    Raises:
        IdferError: no column of predictions, or a cell that is no number.
    """
    found = naming.pair(faces, naming.PREDICTED, given)
    if found is None and (labelled or all(name in faces for name in naming.OWN) or "face_score" in faces):
        found = naming.pair(faces, naming.LABELS, given)
    elif found is None and (found := naming.pair(faces, naming.LABELS, given)) is not None:
        near = [naming.suggestion(faces.names, role) for role in naming.PREDICTED]
        if all(near):
            raise IdferError(
                f"{faces.name}: which columns are the predictions?{naming.hint(faces, naming.PREDICTED)}"
            )
        checks.append(
            Check(
                "IDF324", "warning",
                f"{found[0]} and {found[1]} of {faces.name} were taken for the predictions, and there are no "
                "labels: give --labels, or name them valence_pred and arousal_pred beside the labels.",
            )
        )  # fmt: skip
    if found is None:
        raise IdferError(f"{faces.name}: no columns of predictions.{naming.hint(faces, naming.PREDICTED)}")
    return scaled(_numbers(faces, found), scale)


def labels_of(
    holder: Table,
    rows: NDArray[np.intp],
    keys: NDArray[np.object_],
    given: Mapping[str, str],
    scale: Range,
    checks: list[Check],
    *,
    needed: bool,
) -> Array | None:
    """(N, 2) labels in [-1, 1], NaN where a face has none; None where the table has no labels.

    Args:
        holder: their table.
        rows: (N,) its row of each face, -1 where it has none.
        keys: (N,) of the faces, for messages.
        given: column by role, as the user says it.
        scale: of the labels.
        checks: gets one where the scale looks odd.
        needed: whether a table without labels is an error.

    Raises:
        IdferError: a cell that is no number, labels outside their scale, or none at all.
    """
    found = naming.pair(holder, naming.LABELS, given)
    if found is None and needed:
        raise IdferError(f"{holder.name}: no columns of labels.{naming.hint(holder, naming.LABELS)}")
    if found is None:
        return None
    if not needed and naming.pair(holder, naming.PREDICTED, given) is None:
        return None  # `valence, arousal` were taken for the predictions
    values = _numbers(holder, found)[rows]
    values[rows < 0] = np.nan
    if not np.isfinite(values).all(axis=1).any():
        raise IdferError(f"{holder.name}: no row has numbers in {found[0]} and {found[1]}.")
    if scale == UNIT and looks_like_unit_interval(values):
        checks.append(
            Check(
                "IDF325", "warning",
                f"no label of {holder.name} is below 0: if the scale is [0, 1], say --range 0,1.",
            )
        )  # fmt: skip
    return checked_labels(values, scale, holder.name, keys)


def _numbers(table: Table, names: Sequence[str]) -> Array:
    """(M, 2) numbers of two columns, NaN where empty.

    Raises:
        IdferError: a cell is text.
    """
    import pandas as pd

    frame = table.columns(names)
    found = []
    for name in names:
        numbers = pd.to_numeric(frame[name], errors="coerce")
        if (bad := np.flatnonzero((numbers.isna() & frame[name].notna()).to_numpy())).size:
            value = frame[name].iloc[bad[0]]
            comma = " Write decimals with a point." if isinstance(value, str) and "," in value else ""
            raise IdferError(
                f"{table.name}: row {bad[0]}: {name} is {value!r}, not a number ({bad.size:,} such "
                f"rows).{comma}"
            )
        values = numbers.to_numpy(np.float64, na_value=np.nan)
        found.append(np.where(np.isfinite(values), values, np.nan))
    return np.stack(found, axis=1)
