"""Identity in features: can unseen people be told apart by them?

An identity cannot be probed like an attribute, as a held-out person's label is unknown to the probe. So the
question is put as face verification puts it: are two faces of one person nearer than faces of two people?
The metric is learned on other people (within-person whitening, the metric of linear discriminant analysis).

The interval draws the people who are told apart anew, and leaves the metric as it was learned. Attributes'
probes ask for more (`probe_intervals`), since an attribute must be learned to be read at all. People are told
apart without: two faces are near or not in any metric, and who else it was learned from hardly moves the
score. `benchmarks/leak_calibration.py --parts identity` measures both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from idfer.evaluation.bootstrap import Array, by_subject, interval, resample
from idfer.evaluation.probes import check_features, check_people, deal
from idfer.evaluation.ridge import People, standardise

_FOLDS = 5
_SHRINK = 0.1  # of the spread within people towards a sphere: rare directions are not trusted


@dataclass(frozen=True)
class Verification:
    """How well unseen people are told apart.

    Attributes:
        auc: chance that a same-person pair is nearer than an other-person pair, averaged over people.
        low: lower end of its 95 % interval (bootstrap over people).
        high: upper end.
        chance: `auc` with rows dealt to people at random, measured by the same pipeline.
        rows: rows used.
        subjects: people used.
    """

    auc: float
    low: float
    high: float
    chance: float
    rows: int
    subjects: int


def verification(features: ArrayLike, subjects: ArrayLike, seed: int = 0) -> Verification:
    """Rank pairs of faces of held-out people by cosine after within-person whitening.

    Args:
        features: (N, D).
        subjects: (N,) whose face each row is; people with a single row cannot form a pair and are left out.
        seed: deals the people and resamples.

    Raises:
        IdferError: NaN features or fewer than 10 people with two rows.
    """
    auc, rows = per_person(features, subjects, seed)
    by_person = auc[0][~np.isnan(auc[0])]
    low, high = of_people(by_person, seed)
    return Verification(float(by_person.mean()), low, high, float(np.nanmean(auc[1])), rows, len(by_person))


def of_people(by_person: Array, seed: int) -> tuple[float, float]:
    """Ends of the 95 % interval of the mean of people's AUC (S), people drawn anew."""
    draws = resample(np.stack([np.ones_like(by_person), by_person], axis=-1), seed=seed)
    low, high = interval(draws[:, 1] / draws[:, 0])
    return float(low), float(high)


def per_person(features: ArrayLike, subjects: ArrayLike, seed: int = 0) -> tuple[Array, int]:
    """(2, S) AUC of each person, and of each person whose rows are dealt at random; and the rows used.

    Arguments and errors as `verification`.
    """
    x, people = check_features(features, subjects)
    keep = np.bincount(people)[people] > 1
    x, people = x[keep], np.unique(people[keep], return_inverse=True)[1]
    check_people(people, "people with two faces or more")
    rng = np.random.default_rng(seed)
    fold = deal(people, _FOLDS, rng)
    mixed = people.copy()
    for held in range(_FOLDS):  # within folds, so that shuffled people are as disjoint as the true ones
        mixed[fold == held] = rng.permutation(people[fold == held])
    auc = np.full((2, int(people.max()) + 1), np.nan)
    for held in range(_FOLDS):
        fit, test = fold != held, fold == held
        x_fit, x_test = standardise(x[fit], x[test])
        for labels, score in zip((people, mixed), auc, strict=True):
            _pair_auc(_whitened(x_test, x_fit, labels[fit]), labels[test], score)
    return auc, len(x)


def _whitened(x: Array, x_fit: Array, people: People) -> Array:
    """(n, D) rows of `x`, mapped so that the spread within people of `x_fit` becomes spherical.

    Up to a rotation, which no cosine sees: with fewer rows than features the map is taken from the rows' Gram
    matrix, whose decomposition is smaller.
    """
    _, index, count = np.unique(people, return_inverse=True, return_counts=True)
    means = by_subject(x_fit, people) / count[:, None]
    within = (x_fit - means[index]) / np.sqrt(len(x_fit))
    rows, width = within.shape
    if rows >= width:
        values, basis = np.linalg.eigh(within.T @ within)
        values = np.maximum(values, 0)
    else:
        values, left = np.linalg.eigh(within @ within.T)
        kept = values > 1e-12 * max(float(values[-1]), 1e-300)
        values, basis = values[kept], within.T @ (left[:, kept] / np.sqrt(values[kept]))
    sphere = _SHRINK * max(float(values.sum()) / width, 1e-12)  # the spread in directions nobody varies in
    inside = x @ basis
    scale = 1 / np.sqrt((1 - _SHRINK) * values + sphere) - 1 / np.sqrt(sphere)
    return np.asarray(x / np.sqrt(sphere) + (inside * scale) @ basis.T)


def _pair_auc(x: Array, people: People, score: Array) -> None:
    """Write each person's AUC (same-person pairs against other pairs) into `score` at the person's index."""
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    cosine = x @ x.T
    for person in np.unique(people):
        faces = np.flatnonzero(people == person)
        same = cosine[faces[:, None], faces][~np.eye(len(faces), dtype=bool)]
        other = np.sort(cosine[faces][:, people != person].ravel())
        if same.size and other.size:
            below = np.searchsorted(other, same, "left") + np.searchsorted(other, same, "right")
            score[person] = below.mean() / (2 * other.size)
