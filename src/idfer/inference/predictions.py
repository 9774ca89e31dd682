"""What a model says of the faces in some images, in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idfer.inference.output import records, to_json

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 5


@dataclass(frozen=True, repr=False, eq=False)
class Predictions:
    """What a model says of the faces in some images; iterates over its rows, each a dictionary."""

    _frame: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """One row per face (or per image without one), in the order of the images.

        Columns: `input` (file), `frame` (0 in a still), `time` (seconds; NaN in a still), `face_id` (from 0,
        the largest face first), `x`, `y`, `width`, `height` (face box in pixels of the upright image),
        `face_score`, `valence` and `arousal` (perceived, in [-1, 1]), `detector`, `error` ("" where all went
        well).
        """
        return self._frame.copy()

    def to_json(self) -> str:
        """The rows as a strict JSON list of objects; what is missing, as `time` in a still, is null."""
        return to_json(self._frame)

    def __len__(self) -> int:
        return len(self._frame)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows as dictionaries of plain values; what is missing is None."""
        return iter(records(self._frame))

    def __repr__(self) -> str:
        frame = self._frame
        faces, failed = int(frame["valence"].notna().sum()), int((frame["error"] != "").sum())
        lines = [f"Predictions: {len(frame)} rows, {faces} faces predicted, {failed} rows with `error`"]
        lines.append(f"  {'input':<32} {'face':>4} {'valence':>7} {'arousal':>7}  error")
        for row in records(frame[:_SHOWN]):
            numbers = [_number(row[name], places) for name, places in _NUMBERS]
            name = _short(Path(row["input"]).name, 32)
            lines.append(f"  {name:<32} {' '.join(numbers)}  {_short(row['error'], 40)}".rstrip())
        if len(frame) > _SHOWN:
            lines.append(f"  ... {len(frame) - _SHOWN} more rows; .frame() has all, as a pandas DataFrame")
        return "\n".join(lines)


_NUMBERS = (("face_id", "4d"), ("valence", "+7.2f"), ("arousal", "+7.2f"))


def _number(value: float | None, form: str) -> str:
    width = int(form.strip("+df").split(".")[0])
    return " " * width if value is None else format(value, form)


def _short(text: str, most: int) -> str:
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return plain if len(plain) <= most else f"{plain[: most - 3]}..."
