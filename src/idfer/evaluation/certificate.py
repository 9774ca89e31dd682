"""The certificate of a run with an information budget: what no probe can read from its sampled feature.

The mean rate, KL(N(mean, exp(log_variance)) || N(0, I)) in nats over faces, bounds I(z_exp; x) from above,
and so what a *sampled* expression feature tells about anything in the image, identity included, whatever the
probe (see `idfer.objectives.budget`). Probes bound leakage from below; this bounds it from above. It does not
hold for the mean of the feature, and it speaks of faces like those it was averaged over.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from idfer.evaluation.bootstrap import by_subject, interval, resample

MEANING = (
    "upper bound, in nats, of the mutual information between a sampled expression feature and the image, so "
    "of all that the sample can tell about identity; it does not bound what the feature's mean tells"
)


def certificate(
    rates: NDArray[np.float64],
    subjects: NDArray[Any],
    splits: NDArray[Any],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """The mean rate with its 95 % interval over people, on all faces and per split.

    Args:
        rates: (N,) nats per face; NaN where a face could not be read.
        subjects: (N,) whose face each is.
        splits: (N,) split of each.
        replicates: bootstrap replicates over subjects.
        seed: of the bootstrap.

    Returns:
        `rate_nats, low, high, rows` of all faces, `splits` with the same per split, and `meaning`. The
        interval is NaN where there are fewer than two people.
    """
    read = np.isfinite(rates)
    rates, subjects, splits = rates[read], subjects[read], splits[read]
    names = list(dict.fromkeys(splits.tolist()))
    parts = {name: _mean(rates[splits == name], subjects[splits == name], replicates, seed) for name in names}
    return {**_mean(rates, subjects, replicates, seed), "splits": parts, "meaning": MEANING}


def _mean(rates: NDArray[np.float64], subjects: NDArray[Any], replicates: int, seed: int) -> dict[str, Any]:
    sums = by_subject(np.stack([rates, np.ones_like(rates)], axis=1), subjects)
    low = high = np.full((), np.nan)
    if len(sums) > 1:
        drawn = resample(sums, replicates, seed)
        low, high = interval(drawn[:, 0] / drawn[:, 1])
    return {"rate_nats": float(rates.mean()), "low": float(low), "high": float(high), "rows": len(rates)}
