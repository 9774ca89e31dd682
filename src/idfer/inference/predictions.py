"""What a model says of the faces in some images, in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idfer.errors import IdferError, UsageError
from idfer.inference.output import records, to_json

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

    from idfer.inference.inputs import Source

_SHOWN = 5


@dataclass(frozen=True, repr=False, eq=False)
class Predictions:
    """What a model says of the faces in some images; iterates over its rows, each a dictionary.

    It keeps no copy of an image: arrays and Pillow images stay alive with it, files are read again to draw.
    """

    _frame: pd.DataFrame
    _sources: Sequence[Source] = ()

    def frame(self) -> pd.DataFrame:
        """One row per face (or per image without one), in the order of the images.

        Columns: `input` (a file, or `array 0` and the like, see `Predictor.__call__`), `frame` (0 in a
        still), `time` (seconds; NaN in a still), `face_id` (from 0, the largest face first), `x`, `y`,
        `width`, `height` (face box in pixels of the upright image), `face_score`, `valence` and `arousal`
        (perceived, in [-1, 1]), `detector`, `error` ("" where all went well).
        """
        return self._frame.copy()

    def to_json(self) -> str:
        """The rows as a strict JSON list of objects; what is missing, as `time` in a still, is null."""
        return to_json(self._frame)

    def draw(self) -> list[Image.Image | None]:
        """Each image with its faces' boxes, valence and arousal on it, in the order of the images.

        What cannot be read is None. Files are read again, so they must still be there.

        Raises:
            UsageError: these predictions know no images, as those of a video.
        """
        from idfer.inference.drawing import annotate
        from idfer.inference.failure import naming

        rows = self._rows_by_image()
        if len(rows) != len(self._sources):
            raise UsageError("these predictions come without their images; draw on them with `annotate`.")
        drawn: list[Image.Image | None] = []
        for source, own in zip(self._sources, rows, strict=True):
            try:
                with naming(source.path):
                    image, factor = source.image()
            except IdferError:
                drawn.append(None)
                continue
            drawn.append(annotate(image, [_scaled(row, factor) for row in own]))
        return drawn

    def _rows_by_image(self) -> list[list[dict[str, Any]]]:
        """The rows of each image: faces are numbered from 0, and what has none is a row."""
        images: list[list[dict[str, Any]]] = []
        for row in self:
            if not row["face_id"]:
                images.append([])
            images[-1].append(row)
        return images

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


def _scaled(row: dict[str, Any], factor: int) -> dict[str, Any]:
    """A row whose box is in pixels of an image that was read at a fraction of its size."""
    box = {k: v // factor for k in ("x", "y", "width", "height") if (v := row[k]) is not None}
    return row | box


def _number(value: float | None, form: str) -> str:
    width = int(form.strip("+df").split(".")[0])
    return " " * width if value is None else format(value, form)


def _short(text: str, most: int) -> str:
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return plain if len(plain) <= most else f"{plain[: most - 3]}..."
