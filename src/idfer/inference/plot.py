"""Valence and arousal over time, a line per face, as a figure."""

from __future__ import annotations

import math
from array import array
from pathlib import Path
from typing import Any

import numpy as np

from idfer.files import atomic
from idfer.inference.drawing import COLOURS

_LINES = len(COLOURS)
_GAP = 1.0  # seconds without a number that break a line


class Plot:
    """Collects numbers (12 bytes a row) and draws them.

    Args:
        path: a .png, .svg or .pdf.
        smooth: seconds of smoothing, where the rows are smoothed; the figure says so.
    """

    def __init__(self, path: Path, smooth: float | None = None) -> None:
        self._path, self._smooth = path, smooth
        self._series: dict[int, tuple[array[float], array[float], array[float]]] = {}

    def add(self, row: dict[str, Any]) -> None:
        """Take the numbers of a row, smoothed where there are smoothed ones."""
        valence = row.get("valence_smooth", row.get("valence"))
        if valence is None or row.get("face_id") is None:
            return
        new = (array("f"), array("f"), array("f"))
        numbers = (row["time"], valence, row.get("arousal_smooth", row.get("arousal")))
        for values, number in zip(self._series.setdefault(row["face_id"], new), numbers, strict=True):
            values.append(math.nan if number is None else number)

    def write(self, title: str) -> None:
        """Draw the faces seen most, at most six, and say how many were left out.

        Raises:
            IdferError: the file cannot be written.
        """
        from matplotlib.figure import Figure

        most = sorted(self._series, key=lambda face: -len(self._series[face][0]))[:_LINES]
        figure = Figure(figsize=(9, 4.5), layout="constrained")
        axes = figure.subplots(2, 1, sharex=True)
        for axis, name, which in zip(axes, ("valence", "arousal"), (1, 2), strict=True):
            for place, face in enumerate(sorted(most)):
                times, values = _broken(np.array(self._series[face][0]), np.array(self._series[face][which]))
                colour = tuple(part / 255 for part in COLOURS[place])
                axis.plot(times, values, color=colour, linewidth=1.2, label=f"face {face}")
            axis.axhline(0, color="#d5d9de", linewidth=0.8, zorder=0)
            axis.set(ylim=(-1.02, 1.02), ylabel=f"perceived {name}")
            axis.spines[["top", "right"]].set_visible(False)
        axes[1].set_xlabel("time, seconds")
        if most:
            axes[0].legend(loc="upper right", ncols=_LINES, frameon=False, fontsize="small")
        left_out = len(self._series) - len(most)
        notes = [f"smoothed over {self._smooth:g} s" if self._smooth else ""]
        notes += ["no face was found" if not most else ""]
        notes += [f"{left_out} face(s) seen for less time are left out" if left_out else ""]
        text = "; ".join([Path(title).name, *filter(None, notes)])
        axes[0].set_title(text, loc="left", fontsize="medium", parse_math=False)  # a name may hold any $
        with atomic(self._path) as temporary:
            figure.savefig(temporary, dpi=120)


def _broken(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A series with a NaN wherever the face was out of sight, so that no line is drawn there."""
    gaps = np.flatnonzero(np.diff(times) > _GAP) + 1
    return np.insert(times, gaps, times[gaps - 1]), np.insert(values, gaps, np.nan)
