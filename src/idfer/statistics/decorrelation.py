r"""Decorrelation weights: make labels and retrieved attributes independent by weighing the samples [ours].

    w(y, c) = p(y) p(c) / p(y, c) = p(y) / p(y | c)

Under w, I(y; c) = 0, so minimising I(z_exp; c) no longer costs label information. y is made Gaussian by
ranks, the ratio is fitted on other people than those it weighs (cross-fitting), then clipped and scaled to
mean 1. Two estimates of it: `gaussian_ratio.py` (a linear-Gaussian regression on the retrieved posteriors:
little variance, sees shifts of the mean only) and `classifier_ratio.py` (sees spread and interactions as
well, at the price of more variance).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np

from idfer.errors import IdferError, unknown
from idfer.statistics.classifier_ratio import classifier_log_ratio
from idfer.statistics.gaussian_ratio import gaussian_log_ratio

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SampleWeights:
    """Sample weights and what they cost.

    Attributes:
        values: (N,) float32, mean 1.
        effective: effective sample size (Σw)² / Σw², in samples; N means that nothing was reweighted.
        clipped: share of samples whose weight met a bound.
        correlation: largest |correlation| of a label with an attribute level, before and after weighing.
    """

    values: np.ndarray
    effective: float
    clipped: float
    correlation: tuple[float, float]


def decorrelation_weights(
    labels: np.ndarray,
    attributes: np.ndarray,
    groups: np.ndarray,
    *,
    kind: Literal["gaussian", "classifier"] = "gaussian",
    folds: int = 5,
    clip: tuple[float, float] = (0.05, 20.0),
    ridge: float | None = None,
    by_person: bool = False,
    seed: int = 0,
) -> SampleWeights:
    """Weights that make `labels` independent of `attributes`.

    Args:
        labels: (N, d) valence and arousal.
        attributes: (N, k) level posteriors in [0, 1].
        groups: (N,) person of each row; a person is never in both the fitted and the weighed part.
        kind: how p(y) p(c) / p(y, c) is estimated.
        folds: number of cross-fitting folds (fewer where there are fewer people).
        clip: bounds of w before scaling.
        ridge: penalty per sample of the regression; posteriors of one attribute are collinear. None: 0.01
            for the Gaussian, 0.003 for the classifier, whose products share one penalty.
        by_person: give every face the mean posterior of all faces of its person. Retrieval errs per image
            while the attributes of a person stay, and a regression on what errs is too flat (errors in
            variables, Fuller 1987), so weights from single images leave a part of the dependence.
        seed: of the assignment of people to folds, and of the classifier's shuffled pairs.

    Raises:
        IdferError: an input holds a NaN, or there are fewer than two people.
        UsageError: an unknown kind.
    """
    if kind not in ("gaussian", "classifier"):
        raise unknown("kind of decorrelation weights", kind, ["gaussian", "classifier"])
    if not (np.isfinite(labels).all() and np.isfinite(attributes).all()):
        raise IdferError(
            "decorrelation weights: a label or retrieved posterior is not finite; drop those rows."
        )
    ridge = ridge if ridge is not None else {"gaussian": 1e-2, "classifier": 3e-3}[kind]
    people, person = np.unique(groups, return_inverse=True)
    if len(people) < 2:
        raise IdferError(
            "decorrelation weights need at least two people (column 'subject'); use --decorrelate false."
        )
    y = np.column_stack([gaussian_ranks(column) for column in labels.T])
    if by_person:
        attributes = person_means(attributes, person)
    c = (attributes - attributes.mean(0)) / np.maximum(attributes.std(0), 1e-6)
    folds = min(folds, len(people))
    fold = np.random.default_rng(seed).permutation(np.arange(len(people)) % folds)[person]
    logs = np.empty(len(y))
    for k in range(folds):
        held = fold == k
        parts = y[~held], c[~held], y[held], c[held]
        if kind == "gaussian":
            logs[held] = gaussian_log_ratio(*parts, ridge)
        else:
            logs[held] = classifier_log_ratio(*parts, ridge, seed)
    raw = np.exp(np.clip(logs, *np.log(clip)))
    values = raw / raw.mean()
    outside = float(np.mean((logs < np.log(clip[0])) | (logs > np.log(clip[1]))))
    effective = float(values.sum() ** 2 / np.square(values).sum())
    before, after = _dependence(y, c, np.ones(len(y))), _dependence(y, c, values)
    log.info(
        "decorrelation: effective sample size %.0f of %d, |corr| %.2f -> %.2f",
        effective,
        len(y),
        before,
        after,
    )
    return SampleWeights(values.astype(np.float32), effective, outside, (before, after))


def gaussian_ranks(values: np.ndarray) -> np.ndarray:
    """Standard normal scores of the ranks; a constant column becomes zeros."""
    from scipy.stats import norm, rankdata

    return np.asarray(norm.ppf(rankdata(values) / (len(values) + 1)))


def person_means(values: np.ndarray, person: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """(N, k) each row's mean over all rows of its person (N,), rows weighing `weight` (N,) or alike."""
    person = np.unique(person, return_inverse=True)[1]
    weight = np.ones(len(values)) if weight is None else weight
    total = np.zeros((person.max() + 1, values.shape[1]))
    np.add.at(total, person, values * weight[:, None])
    return np.asarray((total / np.bincount(person, weight)[:, None])[person])


def _dependence(y: np.ndarray, c: np.ndarray, weights: np.ndarray) -> float:
    """Largest |weighted correlation| between a column of y and one of c."""
    share = (weights / weights.sum())[:, None]
    y, c = y - (share * y).sum(0), c - (share * c).sum(0)
    scale = np.sqrt(np.outer((share * y * y).sum(0), (share * c * c).sum(0)))
    return float(np.max(np.abs((share * y).T @ c) / np.maximum(scale, 1e-9), initial=0.0))
