"""AFEW-VA: clips of feature films, annotated frame by frame, with known actors.

Format: `NN/CCC/CCC.json` beside `00000.png ...` (NN 01 to 12; in some copies `CCC/CCC.json` at once).
    The JSON: `{"actor", "video_id", "frames": {"00000": {"valence", "arousal", "landmarks": 68 points}}}`.
Labels: whole numbers from -10 to 10; divided by 10.
Faces: images are whole film frames, often with several people. The box is that of the annotated landmarks,
    which begin at the brows, with a quarter of its height more on top for the forehead [ours].
Identity: `subject` is the actor (`subject_kind` "actor"); a clip without a name is its own
    subject, "clip CCC".
Splits: none official (the authors cross-validate by person): `idfer split --by subject` makes folds.
Licence: research only, by request to the iBUG group; no redistribution.
Official loader: none in a kept library.
Citation: J. Kossaifi, G. Tzimiropoulos, S. Todorovic, M. Pantic. AFEW-VA database for valence and arousal
    estimation in-the-wild. Image and Vision Computing 65, 2017.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.data.readers import disk
from idfer.data.readers.tally import (
    OUTSIDE,
    Options,
    Tally,
    keep_present,
    keep_valid,
    not_there,
    refuse_images,
)
from idfer.data.readers.tally import number_columns as numbers
from idfer.progress import track

if TYPE_CHECKING:
    import pandas as pd

BROKEN = "clip whose JSON cannot be read"
FOREHEAD = 0.25
_SUFFIXES = (".png", ".jpg", ".jpeg")
_LONGEST = 1 << 26  # bytes of a clip's JSON; the longest clip has 145 frames


def read(root: Path, options: Options, tally: Tally) -> pd.DataFrame:
    """A row per frame of AFEW-VA under `root`; see the module for the format.

    Raises:
        UsageError: a folder of images was given.
        IdferError: no clip is here.
    """
    import pandas as pd

    refuse_images(options, "AFEW-VA", "beside the JSON of their clip")
    files = sorted(
        file
        for depth in ("*", "*/*")
        for file in root.glob(f"{depth}/*.json")
        if file.stem == file.parent.name
    )
    if not files:
        raise not_there(root, ["01/001/001.json", "001/001.json"], "AFEW-VA")
    inside = disk.Inside(root, options.follow_links)
    rows: list[dict[str, Any]] = []
    for file in track(files, "reading AFEW-VA", len(files), options.progress):
        name = file.relative_to(root).as_posix()
        if not inside.holds(file):
            tally.add(OUTSIDE, 1, name)
            continue
        try:
            if not file.is_file() or file.stat().st_size > _LONGEST:
                raise ValueError("is no file, or too large")
            rows += _clip(json.loads(file.read_bytes()), Path(name), inside)
        except (
            OSError,
            ValueError,
            AttributeError,
            TypeError,
            RecursionError,
        ):  # cut off, or of another form
            tally.add(BROKEN, 1, name)
    if not rows:
        return pd.DataFrame({"path": []})
    table = numbers(pd.DataFrame(rows))
    table = table.assign(valence=table["valence"] / 10, arousal=table["arousal"] / 10)
    return keep_present(keep_valid(table, tally), root, options, tally)


def _clip(content: dict[str, Any], name: Path, inside: disk.Inside) -> list[dict[str, Any]]:
    """The frames of one clip; labels as they stand."""
    folder = name.parent.as_posix()
    there = inside.files(folder) or {}
    actor = str(content.get("actor") or "").strip() or f"clip {name.stem}"
    rows = []
    for frame, values in content["frames"].items():
        x, y, width, height = _box(values.get("landmarks"))
        image = next((f"{frame}{s}" for s in _SUFFIXES if f"{frame}{s}" in there), f"{frame}.png")
        rows.append(
            {
                "path": f"{folder}/{image}",
                "valence": values.get("valence"),
                "arousal": values.get("arousal"),
                "subject": actor,
                "subject_kind": "actor",
                "video": name.stem,
                "x": x,
                "y": y,
                "width": width,
                "height": height,
            }
        )
    return rows


def _box(landmarks: object) -> tuple[float, float, float, float]:
    """The face around landmarks; NaN where they are none."""
    try:
        points = np.array(landmarks, np.float64).reshape(-1, 2)
    except (TypeError, ValueError):
        points = np.empty((0, 2))
    if len(points) < 2 or not np.isfinite(points).all():
        return (np.nan,) * 4
    (left, top), (width, height) = points.min(axis=0), np.ptp(points, axis=0)
    if width <= 0 or height <= 0:
        return (np.nan,) * 4
    return left, top - FOREHEAD * height, width, (1 + FOREHEAD) * height
