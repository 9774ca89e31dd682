"""Causal smoothing of valence and arousal over time: what a face's number is depends on its past alone."""

from __future__ import annotations

import math
from typing import Any

COLUMNS = ("valence_smooth", "arousal_smooth")
"""Columns that smoothing adds; `valence` and `arousal` stay as predicted."""


class Smoother:
    """Exponential smoothing of irregular samples, per face [ours].

    y(t) = y(t') + (1 - exp(-(t - t') / seconds)) (x(t) - y(t')) with t' the time of the face's last number: a
    step is followed to 63 % after `seconds`. A face's first number is taken as it is.

    Args:
        seconds: the time constant, above 0.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._last: dict[int, tuple[float, float, float]] = {}

    def add(self, row: dict[str, Any]) -> None:
        """Fill the columns of the next row; one without numbers or a face has none."""
        if row.get("valence") is None or row.get("face_id") is None:
            return
        time, valence, arousal = float(row["time"]), float(row["valence"]), float(row["arousal"])
        before = self._last.get(row["face_id"])
        if before is not None:
            passed, weight = time - before[0], 0.0
            if passed > 0:
                weight = -math.expm1(-passed / self.seconds)
            valence = before[1] + weight * (valence - before[1])
            arousal = before[2] + weight * (arousal - before[2])
        self._last[row["face_id"]] = (time, valence, arousal)
        row.update(zip(COLUMNS, (valence, arousal), strict=True))
