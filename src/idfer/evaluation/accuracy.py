"""The accuracy table: every metric, per split and dimension, with a subject-level interval."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from idfer.evaluation import bootstrap, metrics

if TYPE_CHECKING:
    import pandas as pd

DIMENSIONS = ("valence", "arousal", "mean")  # "mean" is the mean of the two dimensions' values
_log = logging.getLogger(__name__)


def accuracy(predictions: pd.DataFrame, *, replicates: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Measure each split of a table of predictions.

    Args:
        predictions: columns `split`, `subject`, `valence`, `arousal`, `predicted_valence`,
            `predicted_arousal`; rows without a prediction (an `error`) are left out and counted.
        replicates: bootstrap replicates over subjects.
        seed: the bootstrap's seed.

    Returns:
        A row per split, dimension and metric: `split, dimension, metric, value, low, high, rows, failed,
        subjects`. A value that is not defined (PCC of a constant prediction) is nan and was logged.

    Raises:
        IdferError: a label is not a finite number.
    """
    import pandas as pd

    table: list[dict[str, object]] = []
    for split in dict.fromkeys(predictions["split"]):
        part, target, predicted = _measured(predictions, split)
        if not len(part):
            _log.warning("split %r: no row has a prediction; it is not in the accuracy table.", split)
            continue
        failed = int((predictions["split"] == split).sum()) - len(part)
        estimated = bootstrap.estimates(
            target, predicted, part["subject"].to_numpy(), replicates=replicates, seed=seed
        )
        for name in metrics.METRICS:
            for dimension, estimate in zip(DIMENSIONS, estimated[name], strict=True):
                if np.isnan(estimate.value):
                    _log.warning("split %r: %s of %s is undefined (no spread).", split, name, dimension)
                table.append(
                    {
                        "split": split,
                        "dimension": dimension,
                        "metric": name,
                        "value": estimate.value,
                        "low": estimate.low,
                        "high": estimate.high,
                        "rows": len(part),
                        "failed": failed,
                        "subjects": part["subject"].nunique(),
                    }
                )
    return pd.DataFrame(table, columns=_COLUMNS)


def compare(
    first: pd.DataFrame, second: pd.DataFrame, *, replicates: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Paired difference `second - first` of two models' predictions on the same faces.

    Args:
        first: predictions as `accuracy` takes them, with `row` (the row of the manifest) and `path`.
        second: the other model's, of the same manifest; only faces that both models predicted count.
        replicates: bootstrap replicates over subjects, shared by both models.
        seed: the bootstrap's seed.

    Returns:
        A row per split, dimension and metric: `split, dimension, metric, difference, low, high, rows,
        subjects`. An interval without 0 is a difference that other people would likely show too.
    """
    import pandas as pd

    keys = ["row", "path", "split", "subject", "valence", "arousal"]
    values = ["predicted_valence", "predicted_arousal"]
    both = first[keys + values].merge(second[keys + values], on=keys, suffixes=("", "_second"))
    both = both.dropna(subset=[*values, *(f"{v}_second" for v in values)])
    table: list[dict[str, object]] = []
    for split, part in both.groupby("split", sort=False):
        differences = bootstrap.differences(
            part[["valence", "arousal"]].to_numpy(),
            part[values].to_numpy(),
            part[[f"{v}_second" for v in values]].to_numpy(),
            part["subject"].to_numpy(),
            replicates=replicates,
            seed=seed,
        )
        for name in metrics.METRICS:
            for dimension, estimate in zip(DIMENSIONS, differences[name], strict=True):
                table.append(
                    {
                        "split": split,
                        "dimension": dimension,
                        "metric": name,
                        "difference": estimate.value,
                        "low": estimate.low,
                        "high": estimate.high,
                        "rows": len(part),
                        "subjects": part["subject"].nunique(),
                    }
                )
    columns = ["split", "dimension", "metric", "difference", "low", "high", "rows", "subjects"]
    return pd.DataFrame(table, columns=columns)


_COLUMNS = ["split", "dimension", "metric", "value", "low", "high", "rows", "failed", "subjects"]


def _measured(
    predictions: pd.DataFrame, split: str
) -> tuple[pd.DataFrame, NDArray[np.float64], NDArray[np.float64]]:
    """A split's rows that have a prediction, their labels (n, 2) and predictions (n, 2)."""
    part = predictions[predictions["split"] == split]
    part = part[part[["predicted_valence", "predicted_arousal"]].notna().all(axis=1)]
    return (
        part,
        part[["valence", "arousal"]].to_numpy(np.float64),
        part[["predicted_valence", "predicted_arousal"]].to_numpy(np.float64),
    )
