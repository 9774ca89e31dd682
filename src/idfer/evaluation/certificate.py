"""The certificate of a run with an information budget: what no probe can read from its sampled feature.

Two numbers. The *residual* bounds what one draw tells about a face beyond its label (`residual.py`), identity
included. The *rate* bounds all that it tells, the label included.

The mean rate, KL(N(mean, exp(log_variance)) || N(0, I)) in nats over faces, bounds I(z_exp; x) from above,
and so what a *sampled* expression feature tells about anything in the image, identity included, whatever the
probe (see `idfer.objectives.budget`). Probes bound leakage from below; this bounds it from above. It does not
hold for the mean of the feature, and it speaks of faces like those it was averaged over.

A bound says something only where it lies below what there is to know. Who of K people it is takes at most
ln K nats, an attribute a takes its entropy H(a), and beyond the label H(a | label); a number above these
excludes nothing. So a certificate carries them and a sentence that compares: the rate with H(a), the residual
with H(a | label).
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
MOST_KINDS = 4  # a number of more kinds is compared by which half of the faces it falls into
BINS = 4  # of each label, for what labels say of an attribute


def certificate(
    rates: NDArray[np.float64],
    subjects: NDArray[Any],
    splits: NDArray[Any],
    *,
    attributes: Mapping[str, NDArray[Any]] | None = None,
    residuals: NDArray[np.float64] | None = None,
    labels: NDArray[np.floating] | None = None,
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
        labels: (N, 2) valence and arousal; needed with residuals.
        replicates: bootstrap replicates over subjects.
        seed: of the bootstrap.

    Returns:
        `rate_nats, low, high, rows, people, ln_people` of all faces, `splits` with the same per split;
        `attribute_entropy` {name: nats}, None where no value is known; `excludes`, whether the bound lies
        below `ln_people` or an entropy; `excludes_attributes`, whether it lies below an entropy, or no
        attribute is known; `statement`, what is certified, and `reading`, the comparison, as sentences; and
        `meaning`. The interval is NaN where there are fewer than two people. `beyond_label` is None without
        residuals, else `residual_nats, low, high, rows, people, attribute_entropy` (given the label) and
        `meaning`; the comparisons are then of these.
    """
    read = np.isfinite(rates)
    given = {name: np.asarray(values)[read] for name, values in (attributes or {}).items()}
    known = {name: entropy(values) for name, values in given.items()}
    rates, subjects, splits = rates[read], subjects[read], splits[read]
    names = list(dict.fromkeys(splits.tolist()))
    parts = {name: _mean(rates[splits == name], subjects[splits == name], replicates, seed) for name in names}
    total = _mean(rates, subjects, replicates, seed)
    beyond = None
    if residuals is not None and labels is not None:
        beyond = _beyond(residuals[read], labels[read], subjects, given, replicates, seed)
    bound = total["rate_nats"] if beyond is None else beyond["residual_nats"]
    compared = known if beyond is None else beyond["attribute_entropy"]
    entropies = [nats for nats in compared.values() if nats is not None]
    below = [nats for nats in entropies if bound < nats]
    return {
        **total,
        "attribute_entropy": known,
        "excludes": bool(below) or bound < total["ln_people"],
        "excludes_attributes": bool(below) or not entropies,
        "statement": _statement(total, beyond),
        "reading": _reading(bound, total, compared, beyond is not None),
        "beyond_label": beyond,
        "splits": parts,
        "meaning": MEANING,
    }


def entropy(values: NDArray[Any], labels: NDArray[np.floating] | None = None) -> float | None:
    """Entropy in nats of an attribute over faces, None where no value is known.

    Numbers of more than four kinds count as the half of the faces that they fall into, so at most ln 2: a
    number as such has no entropy to compare with, and who cannot tell the half cannot tell the number.

    Args:
        values: (n,) levels ("" where unknown) or numbers (NaN where unknown).
        labels: (n, 2): give the entropy that is left when these are known, in quarters of each. What they
            say is estimated from above, so what is left from below: a comparison errs on the safe side.
    """
    if np.issubdtype(values.dtype, np.number):
        read = np.isfinite(values)
        kinds = values[read]
        if len(np.unique(kinds)) > MOST_KINDS:
            kinds = kinds > np.median(kinds)
    else:
        values = values.astype(str)
        read = values != ""
        kinds = values[read]
    if not len(kinds):
        return None
    code = np.unique(kinds, return_inverse=True)[1]
    total = _entropy_of(code)
    if labels is None:
        return total
    quarter = np.zeros(len(code), np.intp)
    for label in labels[read].T:
        cuts = np.quantile(label, np.arange(1, BINS) / BINS)
        quarter = quarter * BINS + np.searchsorted(cuts, label, side="right")
    said = total + _entropy_of(quarter) - _entropy_of(code * BINS**2 + quarter)
    return max(0.0, total - max(0.0, said))


def _entropy_of(code: NDArray[np.intp]) -> float:
    share = np.unique(code, return_counts=True)[1] / len(code)
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
    residuals: NDArray[np.float64],
    labels: NDArray[np.floating],
    subjects: NDArray[Any],
    attributes: Mapping[str, NDArray[Any]],
    replicates: int,
    seed: int,
) -> dict[str, Any] | None:
    measured = np.isfinite(residuals)
    if not measured.any():
        return None
    mean = _mean(residuals[measured], subjects[measured], replicates, seed)
    left = {name: entropy(values[measured], labels[measured]) for name, values in attributes.items()}
    return {
        "residual_nats": mean.pop("rate_nats"),
        **mean,
        "attribute_entropy": left,
        "meaning": BEYOND,
    }


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


def _reading(
    bound: float, total: Mapping[str, Any], entropies: Mapping[str, float | None], beyond: bool
) -> str:
    """A bound beside what there is to know, in words; `beyond` the label or in all."""
    most, who = total["ln_people"], f"ln({total['people']} people)"
    known = {name: nats for name, nats in entropies.items() if nats is not None}
    within = ", ".join(f"{name} {nats:.2f}" for name, nats in known.items() if bound < nats)
    over = ", ".join(f"{name} {nats:.2f}" for name, nats in known.items() if not bound < nats)
    there = "is to know beyond the label" if beyond else "is to know"
    if not within and not bound < most:
        text = f"That excludes nothing: all there {there} is {who} = {most:.2f} nats of who it is"
        return text + (f", and {over} nats of attributes." if over else ".")
    if bound < most:
        text = f"That is below {who} = {most:.2f} nats: the sample cannot tell all of them apart"
        text += " by more than their labels." if beyond else "."
    else:
        text = f"That is not below {who} = {most:.2f} nats: the sample may name everyone."
    if within:
        text += f" It is below the entropy of {within}"
        text += " that labels leave" if beyond else ""
        text += ": the sample" + (", with the label," if beyond else "") + " cannot tell these without error."
    if over:
        text += f" It excludes nothing about attributes of no more entropy: {over}."
    return text
