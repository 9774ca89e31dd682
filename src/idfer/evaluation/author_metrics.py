"""Metrics as four groups of authors compute them [lineage]: only for a place beside their published tables.

Read in their public code (facts only; ELIM_FER, AVCE_FER and Contrastive-Adversarial-Learning-FER of
kdhht2334, emonet of face-analysis). Where they differ from `idfer.evaluation.metrics`:

| | RMSE | PCC and CCC | SAGR where the label is 0 | predictions |
|---|---|---|---|---|
| `elim`, `avce` | mean over batches of 64 | covariance by N - 1, spreads by N | always wrong | as they are |
| `caf` | mean over batches of 16 | covariance by N - 1, spreads by N | right where both are 0 | as they are |
| `emonet` | of all rows | as ours | right where both are 0 | clipped to [-1, 1] |

The mean of batches' RMSE is never above the RMSE of all rows, and it depends on the order of the rows, here
that of the manifest; the mixed divisors make CCC and PCC N / (N - 1) times too large, so a perfect PCC
is above 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idfer.errors import unknown
from idfer.evaluation import metrics

if TYPE_CHECKING:
    import pandas as pd

AUTHORS: Mapping[str, str] = {
    "elim": "ELIM (NeurIPS 2022): RMSE by batches of 64, SAGR with label 0 always wrong",
    "avce": "AVCE (ECCV 2022): RMSE by batches of 64, SAGR with label 0 always wrong",
    "caf": "CAF (AAAI 2021): RMSE by batches of 16",
    "emonet": "EmoNet (Nature Machine Intelligence 2021): predictions clipped to [-1, 1]",
}
"""Protocols of `idfer evaluate --protocol`, and what is special about each."""


def check_protocol(name: str) -> None:
    """Refuse a protocol that is none of `AUTHORS`.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in AUTHORS:
        raise unknown("protocol", name, list(AUTHORS))


def measure(target: ArrayLike, prediction: ArrayLike, protocol: str) -> dict[str, NDArray[np.float64]]:
    """`ccc`, `pcc`, `rmse` and `sagr` by one group's arithmetic, each () or (D,).

    Args:
        target: (N,) or (N, D) labels, in the order in which batches are formed.
        prediction: the same shape.
        protocol: of `AUTHORS`.

    Raises:
        UsageError: no such protocol.
        IdferError: fewer than 2 rows, different shapes, or a value that is not finite.
    """
    check_protocol(protocol)
    if protocol == "emonet":
        return metrics.measure(target, np.clip(np.asarray(prediction, np.float64), -1, 1))
    batch = 16 if protocol == "caf" else 64
    return metrics.lineage(target, prediction, batch=batch, zero_agrees=protocol == "caf")


def by_split(predictions: pd.DataFrame, protocol: str) -> dict[str, Any]:
    """The metrics of each split, ready for JSON.

    Args:
        predictions: as for `accuracy.accuracy`; rows without a prediction are left out.
        protocol: of `AUTHORS`.

    Returns:
        `name`, `note` (what is special) and `splits`: {split: {valence | arousal: {metric: value}}}, of
        the splits with at least 2 predictions.
    """
    splits: dict[str, Any] = {}
    said = predictions[predictions[["predicted_valence", "predicted_arousal"]].notna().all(axis=1)]
    for split, part in said.groupby("split", sort=False):
        if len(part) < 2:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", metrics.UndefinedMetric)  # the accuracy table has said it
            values = measure(
                part[["valence", "arousal"]].to_numpy(np.float64),
                part[["predicted_valence", "predicted_arousal"]].to_numpy(np.float64),
                protocol,
            )
        splits[str(split)] = {
            dimension: {name: float(value[i]) for name, value in values.items()}
            for i, dimension in enumerate(("valence", "arousal"))
        }
    return {"name": protocol, "note": AUTHORS[protocol], "splits": splits}
