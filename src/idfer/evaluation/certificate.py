"""The certificate of a run with an information budget: what no probe can read from its sampled feature.

Two numbers. The *residual* bounds what one draw tells about a face beyond its label (`residual.py`), identity
included. The *rate* bounds all that it tells, the label included.

The mean rate, KL(N(mean, exp(log_variance)) || N(0, I)) in nats over faces, bounds I(z_exp; x) from above,
and so what a *sampled* expression feature tells about anything in the image, identity included, whatever the
probe (see `idfer.objectives.budget`). Probes bound leakage from below; this bounds it from above. It does not
hold for the mean of the feature, and it speaks of faces like those it was averaged over.

A bound says something only where it lies below what there is to know. Who of K people it is takes at most
ln K nats, an attribute a takes its entropy H(a); a residual above these excludes nothing. So a certificate
carries both and a sentence that compares.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idfer.evaluation.bootstrap import by_subject, interval, resample

MEANING = (
    "upper bound, in nats, of the mutual information between a sampled expression feature and the image, so "
    "of all that the sample can tell about identity; it does not bound what the feature's mean tells; about "
    "identity it says something only below ln_people, about an attribute only below its attribute_entropy"
)
BEYOND = (
    "upper bound, in nats, of what one draw of the expression feature of one image tells about anything in "
    "the image beyond what the label says of it; draws and images of a person add up, and the feature's mean "
    "is not covered; a mean over these faces, with a backward encoder fitted on other people"
)
QUARTERS = 4  # a number is compared by which quarter of the faces it falls into


def certificate(
    rates: NDArray[np.float64],
    subjects: NDArray[Any],
    splits: NDArray[Any],
    *,
    attributes: Mapping[str, NDArray[Any]] | None = None,
    residuals: NDArray[np.float64] | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """The mean rate with its 95 % interval over people, on all faces and per split, and what it excludes.

    Args:
        rates: (N,) nats per face; NaN where a face could not be read.
        subjects: (N,) whose face each is.
        splits: (N,) split of each.
        attributes: (N,) values by name, to compare with: levels ("" where unknown) or numbers (NaN where
            unknown).
        residuals: (N,) nats per face beyond its label (`residual.residual_nats`); NaN where not measured.
        replicates: bootstrap replicates over subjects.
        seed: of the bootstrap.

    Returns:
        `rate_nats, low, high, rows, people, ln_people` of all faces, `splits` with the same per split;
        `attribute_entropy` {name: nats}, None where no value is known; `excludes`, whether the rate lies
        below `ln_people` or an entropy; `excludes_attributes`, whether it lies below an entropy, or no
        attribute is known; `statement`, what is certified, and `reading`, the comparison, as sentences; and
        `meaning`. The interval is NaN where
        there are fewer than two people. `beyond_label` is None without residuals, else `residual_nats, low,
        high, rows, people, meaning`; the comparisons are then made with the residual.
    """
    read = np.isfinite(rates)
    known = {name: entropy(np.asarray(values)[read]) for name, values in (attributes or {}).items()}
    rates, subjects, splits = rates[read], subjects[read], splits[read]
    names = list(dict.fromkeys(splits.tolist()))
    parts = {name: _mean(rates[splits == name], subjects[splits == name], replicates, seed) for name in names}
    total = _mean(rates, subjects, replicates, seed)
    entropies = [nats for nats in known.values() if nats is not None]
    beyond = _beyond(residuals[read], subjects, replicates, seed) if residuals is not None else None
    bound = total["rate_nats"] if beyond is None else min(total["rate_nats"], beyond["residual_nats"])
    below = [nats for nats in entropies if bound < nats]
    return {
        **total,
        "attribute_entropy": known,
        "excludes": bool(below) or bound < total["ln_people"],
        "excludes_attributes": bool(below) or not entropies,
        "statement": _statement(total, beyond),
        "reading": _reading(bound, total, known),
        "beyond_label": beyond,
        "splits": parts,
        "meaning": MEANING,
    }


def entropy(values: NDArray[Any]) -> float | None:
    """Entropy in nats of an attribute over faces, None where no value is known.

    Numbers of more than four kinds count as the quarter of the faces that they fall into, so at most ln 4:
    a number as such has no entropy to compare with.
    """
    if np.issubdtype(values.dtype, np.number):
        values = values[np.isfinite(values)]
        if len(np.unique(values)) > QUARTERS:
            cuts = np.quantile(values, np.arange(1, QUARTERS) / QUARTERS)
            values = np.searchsorted(cuts, values, side="right")
    else:
        values = values.astype(str)
        values = values[values != ""]
    if not len(values):
        return None
    share = np.unique(values, return_counts=True)[1] / len(values)
    return float(-(share * np.log(share)).sum()) + 0.0  # of one level: 0, not -0


def _mean(rates: NDArray[np.float64], subjects: NDArray[Any], replicates: int, seed: int) -> dict[str, Any]:
    sums = by_subject(np.stack([rates, np.ones_like(rates)], axis=1), subjects)
    low = high = np.full((), np.nan)
    if len(sums) > 1:
        drawn = resample(sums, replicates, seed)
        low, high = interval(drawn[:, 0] / drawn[:, 1])
    return {
        "rate_nats": float(rates.mean()) if len(rates) else math.nan,
        "low": float(low),
        "high": float(high),
        "rows": len(rates),
        "people": len(sums),
        "ln_people": math.log(len(sums)) if len(sums) else math.nan,
    }


def _beyond(
    residuals: NDArray[np.float64], subjects: NDArray[Any], replicates: int, seed: int
) -> dict[str, Any] | None:
    measured = np.isfinite(residuals)
    if not measured.any():
        return None
    mean = _mean(residuals[measured], subjects[measured], replicates, seed)
    return {"residual_nats": mean.pop("rate_nats"), **mean, "meaning": BEYOND}


def _statement(total: Mapping[str, Any], beyond: Mapping[str, Any] | None) -> str:
    """What is certified, in words."""
    rate = f"{total['rate_nats']:.2f} [{total['low']:.2f}, {total['high']:.2f}] nats"
    mean = "The feature's mean is not bounded."
    if beyond is None:
        return f"A sampled expression feature carries at most {rate} about the image. {mean}"
    nats = f"{beyond['residual_nats']:.2f} [{beyond['low']:.2f}, {beyond['high']:.2f}] nats"
    return (
        f"Beyond what the label says, one draw of the expression feature tells at most {nats} about anything "
        f"in the image, identity included; with the label, at most {rate}. Draws and images of a person add "
        f"up. {mean}"
    )


def _reading(rate: float, total: Mapping[str, Any], entropies: Mapping[str, float | None]) -> str:
    """A bound beside what there is to know, in words."""
    most, who = total["ln_people"], f"ln({total['people']} people)"
    known = {name: nats for name, nats in entropies.items() if nats is not None}
    within = ", ".join(f"{name} {nats:.2f}" for name, nats in known.items() if rate < nats)
    beyond = ", ".join(f"{name} {nats:.2f}" for name, nats in known.items() if not rate < nats)
    if not within and not rate < most:
        text = f"That excludes nothing: all there is to know is {who} = {most:.2f} nats of who it is"
        return text + (f", and {beyond} nats of attributes." if beyond else ".")
    if rate < most:
        text = f"That is below {who} = {most:.2f} nats: the sample cannot tell all of them apart."
    else:
        text = f"That is not below {who} = {most:.2f} nats: the sample may name everyone."
    if within:
        text += f" It is below the entropy of {within}: the sample cannot tell these without error."
    if beyond:
        text += f" It excludes nothing about attributes of no more entropy: {beyond}."
    return text
