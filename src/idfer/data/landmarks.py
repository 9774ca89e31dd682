"""Five facial landmarks: as a manifest writes them, and the transform that brings them into place.

Landmarks are x, y of the right eye, left eye, nose tip, right and left mouth corner (the person's own right,
on the left of the image), in pixels of the upright image, as YuNet gives them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.errors import IdferError

if TYPE_CHECKING:
    import pandas as pd

COLUMN = "landmarks"

TEMPLATE = np.array([
    [38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041],
]) / 112  # fmt: skip
"""(5, 2) where aligned landmarks lie in a square of side 1: ArcFace's (Deng et al. 2019) [lineage]."""


def landmarks_of(frame: pd.DataFrame, name: str = "manifest") -> np.ndarray | None:
    """The landmarks of a table, from a column `landmarks`.

    A value is a list of 10 numbers, or of 5 pairs, or such a list as text; empty where there are none.

    Returns:
        (N, 5, 2) float64, NaN rows where there are none; None where the table has no such column.

    Raises:
        IdferError: a value that is none of this; the message names the row.
    """
    if COLUMN not in frame.columns:
        return None
    places = np.full((len(frame), 5, 2), np.nan)
    for row, value in enumerate(frame[COLUMN].to_numpy(object)):
        if (
            value is None
            or (isinstance(value, float) and np.isnan(value))
            or (isinstance(value, str) and not value)
        ):
            continue
        try:
            given = json.loads(value) if isinstance(value, str) else value
            numbers = np.array([np.ravel(part) for part in given], np.float64).reshape(5, 2)
        except (TypeError, ValueError):
            numbers = np.full((5, 2), np.nan)
        if not np.isfinite(numbers).all():
            raise IdferError(
                f"{name}: row {row} ({frame['path'].iloc[row]}): landmarks are {str(value)[:80]!r}; give 5 "
                "pairs x, y in pixels: right eye, left eye, nose, right and left mouth corner."
            )
        places[row] = numbers
    return places


def written(places: np.ndarray) -> list[Any]:
    """(N, 5, 2) landmarks as values of the column: text, which every file format keeps."""
    return [None if np.isnan(p).any() else json.dumps(np.round(p, 2).tolist()) for p in places]


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation, scale and shift that bring points onto others, least squares (Umeyama 1991, eq. 40-42).

    Args:
        source: (K, 2) points.
        target: (K, 2) where they should come to lie.

    Returns:
        (2, 3) matrix M with target ≈ M[:, :2] @ source + M[:, 2]; no reflection.

    Raises:
        IdferError: all source points are one, or they are not finite.
    """
    centre, goal = source.mean(axis=0), target.mean(axis=0)
    a, b = source - centre, target - goal
    variance = float((a**2).sum())
    if not np.isfinite(variance) or variance < 1e-6:
        raise IdferError("the landmarks lie in one point; give those of a face.")
    # In the plane a similarity is a complex number: the least squares have a closed form.
    real, imaginary = (a * b).sum() / variance, (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / variance
    turn = np.array([[real, -imaginary], [imaginary, real]])
    return np.column_stack([turn, goal - turn @ centre])
