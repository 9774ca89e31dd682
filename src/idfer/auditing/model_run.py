"""A model run over a manifest's faces: its predictions and features, to be audited as anybody's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idfer.auditing.folder import FEATURES
from idfer.auditing.joining import KEY, SEPARATOR
from idfer.files import atomic

if TYPE_CHECKING:
    import pandas as pd

    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest
    from idfer.types import FaceModel


@dataclass(frozen=True)
class ModelRun:
    """What a model said of a manifest's faces.

    Attributes:
        predictions: a row per face: the manifest's columns, `path` made unique if asked, `valence_pred`,
            `arousal_pred` (NaN where a face could not be read) and `error`.
        features: (N, D) by name; of faces that could not be read NaN.
        attributes: a row per face of the retrieved attributes that were given, or None.
        seen: (N,) "image" where a run was trained on this image, "person" where on others of the person,
            else ""; None where the model does not say.
    """

    predictions: pd.DataFrame
    features: dict[str, NDArray[np.float32]]
    attributes: pd.DataFrame | None
    seen: NDArray[np.str_] | None = None


def run_model(
    model: FaceModel,
    faces: Manifest,
    table: AttributeTable | None = None,
    splits: Sequence[str] | None = None,
    *,
    detector: str | None = None,
    batch_size: int = 256,
    seed: int = 0,
    progress: bool = True,
    rename: bool = True,
) -> ModelRun:
    """Run a model.

    Args:
        model: any.
        faces: the manifest.
        table: retrieved attributes of its rows; a run of idfer's may read them, too.
        splits: which; all but `train` by default.
        detector: what finds faces that the manifest does not place; as in training by default.
        batch_size: faces per call.
        seed: of sampled features.
        progress: show a progress bar.
        rename: make `path` unique; not where other columns tell the faces of a file apart, too.

    Raises:
        UsageError: an unknown split.
        IdferError: no face could be read, or the model gives something else than it should.
    """
    from idfer.data.locate import locate_for
    from idfer.evaluation.forward import Pass
    from idfer.evaluation.models import vectors_of
    from idfer.evaluation.seen import seen_rows
    from idfer.evaluation.selection import evaluated_rows

    part = faces.rows(evaluated_rows(faces, splits))
    placed = locate_for(part, model.preprocess, detector, progress=progress)
    vectors = vectors_of(model, part, table)
    answers = Pass(batch_size, seed, progress=progress).run(model, placed.manifest, vectors, placed.errors)
    predictions = part.frame.assign(error=answers.errors)
    if rename:
        predictions[KEY] = unique_paths(part)
    predictions["valence_pred"], predictions["arousal_pred"] = answers.valence_arousal.T
    features = {}
    for name, values in answers.features.items():
        features[name] = np.full((len(part), values.shape[1]), np.nan, np.float32)
        features[name][answers.feature_rows] = values
    retrieved = None if table is None else aligned(table, part)
    return ModelRun(predictions, features, retrieved, seen_rows(model, part))


def unique_paths(faces: Manifest) -> NDArray[np.object_]:
    """(N,) paths, with frame and row where several faces share one."""
    named = faces.frame["path"].astype(object)
    for more in (faces.frame["frame"], np.arange(len(faces))):
        if named.duplicated().any():
            named = named + SEPARATOR + np.asarray(more).astype(str).astype(object)
    return named.to_numpy(object)


def aligned(table: AttributeTable, faces: Manifest) -> pd.DataFrame:
    """Retrieved attributes as a table of posteriors, a row per face.

    Raises:
        IdferError: a face is not in the table.
    """
    import pandas as pd

    rows = table.align(faces)
    columns: dict[str, Any] = {KEY: unique_paths(faces)}
    for name, levels in rows.levels.items():
        columns |= {
            f"{name}/{level}": values for level, values in zip(levels, rows.posterior(name).T, strict=True)
        }
    frame = pd.DataFrame(columns)
    frame.attrs["clip"] = str(rows.source.get("clip", "CLIP"))
    return frame


def write_features(
    features: dict[str, NDArray[np.float32]], keys: NDArray[np.object_], folder: str | Path
) -> Path:
    """Write features with their keys, so that `--features` reads them again."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {KEY: pa.array(keys, pa.string())}
    for name, values in features.items():
        flat = pa.array(np.asarray(values, np.float32).ravel(), pa.float32())
        columns[name] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    target = Path(folder) / FEATURES
    with atomic(target) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")
    return target
