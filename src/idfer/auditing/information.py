"""How many nats a prediction tells of an attribute, and how many beyond the labels.

    I(level; x)          >= E[log q(level | x) - log q(level)]
    I(level; p | labels) >= E[log q(level | p, labels) - log q(level | labels)]

with q a multinomial logistic regression on cubic terms, fitted on some people and scored on others (so it
cannot gain by chance; it may come out slightly negative): a lower bound up to the noise of the second q,
and calibrated by what it is fitted to, the log-likelihood. Of a soft attribute it is the information in a
level drawn from the probabilities, which is less than that in the true level.

Nulls, over people: without condition attributes are dealt anew to people; given labels, each person's
remainder of the prediction, after the labels' part, is dealt to another person.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idfer.auditing.intervals import jackknife
from idfer.auditing.moments import Array
from idfer.evaluation.leakage import shuffle
from idfer.evaluation.probes import MIN_SUBJECTS, deal, one_thread

Row = dict[str, Any]
ESTIMATOR = "cross-fitted logistic regression on cubic terms, gain in log-likelihood; a lower bound"
DRAWS = 39
_FOLDS = 4
_RIDGE = 1.0
_STEPS = 12


def information_rows(
    predicted: Array | None,
    label: Array | None,
    people: NDArray[np.intp],
    targets: dict[str, Array],
    level: float,
    seed: int,
) -> list[Row]:
    """Rows of the table `information`.

    Args:
        predicted: (N, 2), or None.
        label: (N, 2), or None.
        people: (N,) whose row it is.
        targets: (N, L) probabilities of levels per attribute, NaN where unknown.
        level: of the intervals, and where the null ends.
        seed: of folds and draws.
    """
    rows: list[Row] = []
    with one_thread():
        for name, target in targets.items():
            for feature in ("prediction", "prediction | labels", "labels"):
                if (predicted is None and "prediction" in feature) or (label is None and "labels" in feature):
                    continue
                found = measure(
                    label if feature == "labels" else predicted,
                    label if "|" in feature else None,
                    people, target, level, seed,
                )  # fmt: skip
                rows.append({"attribute": name, "feature": feature, "estimator": ESTIMATOR, **found})
    return rows


def measure(
    x: Array | None, given: Array | None, people: NDArray[np.intp], target: Array, level: float, seed: int
) -> Row:
    """`nats, low, high, null_high, p, note` of x (N, 2) about target (N, L), given labels (N, 2) or not."""
    nothing = dict.fromkeys(("nats", "low", "high", "null_high", "p"), np.nan)
    known = ~np.isnan(target).any(axis=1)
    if x is None or len(np.unique(people[known])) < MIN_SUBJECTS:
        return {**nothing, "note": "too few people"}
    target, people = target[known], np.unique(people[known], return_inverse=True)[1].ravel()
    target = target[:, target.sum(axis=0) > 0]
    if target.shape[1] < 2:
        return {**nothing, "note": "one level only"}
    x = x[known]
    rng = np.random.default_rng([seed, 5])
    fold = deal(people, _FOLDS, rng)
    base = np.zeros((len(x), 0)) if given is None else cubic(given[known])
    by_base = _log_q(base, target, fold)
    gain = _log_q(np.concatenate([base, cubic(x)], axis=1), target, fold) - by_base
    if given is None:
        null = _dealt_levels(cubic(x), target, people, fold, rng)
    else:
        null = [
            float((_log_q(np.concatenate([base, cubic(other)], axis=1), target, fold) - by_base).mean())
            for other in _dealt_remainders(base, x, people, rng)
        ]
    sums = np.stack([np.bincount(people, gain), np.bincount(people).astype(float)], axis=1)
    total = sums.sum(axis=0)
    without = total - sums
    value, left_out = np.asarray(total[0] / total[1]), without[:, 0] / without[:, 1]
    low, high = jackknife(value, left_out, np.ones(len(sums), bool)).ends(level)
    nats = float(gain.mean())
    return {
        "nats": nats, "low": float(low), "high": float(high), "null_high": float(np.quantile(null, level)),
        "p": (1 + sum(found >= nats for found in null)) / (1 + len(null)), "note": "",
    }  # fmt: skip


def _dealt_levels(
    x: Array, target: Array, people: NDArray[np.intp], fold: NDArray[np.intp], rng: np.random.Generator
) -> list[float]:
    """Information with attributes dealt anew to people."""
    found = []
    for _ in range(DRAWS):
        dealt = target[shuffle(people, rng)]
        found.append(float((_log_q(x, dealt, fold) - _log_q(x[:, :0], dealt, fold)).mean()))
    return found


def _dealt_remainders(
    base: Array, x: Array, people: NDArray[np.intp], rng: np.random.Generator
) -> Iterator[Array]:
    """Predictions whose part that labels do not explain is another person's."""
    design = np.concatenate([np.ones((len(x), 1)), base], axis=1)
    part = design @ np.linalg.lstsq(design, x, rcond=None)[0]
    for _ in range(DRAWS):
        yield part + (x - part)[shuffle(people, rng)]


def cubic(x: Array) -> Array:
    """Monomials of degree 1 to 3 of (N, 2), each standardised: (N, 9)."""
    spread = x.std(axis=0)
    u, v = np.clip((x - x.mean(axis=0)) / np.where(spread > 1e-12, spread, 1.0), -4, 4).T
    terms = np.stack([u, v, u * u, u * v, v * v, u**3, u * u * v, u * v * v, v**3], axis=1)
    terms -= terms.mean(axis=0)
    size = terms.std(axis=0)
    return np.asarray(terms / np.where(size > 1e-12, size, 1.0))


def _log_q(x: Array, target: Array, fold: NDArray[np.intp]) -> Array:
    """(N,) log q(level | x) of rows, by models of people in other folds."""
    found = np.empty(len(target))
    for held in range(_FOLDS):
        fit, test = fold != held, fold == held
        weight = logistic(x[fit], target[fit])
        score = np.concatenate([np.ones((int(test.sum()), 1)), x[test]], axis=1) @ weight
        score -= score.max(axis=1, keepdims=True)
        log_q = score - np.log(np.exp(score).sum(axis=1, keepdims=True))
        found[test] = (target[test] * log_q).sum(axis=1)
    return found


def logistic(x: Array, target: Array) -> Array:
    """Coefficients (D + 1, L) of a softmax regression, the last level's 0, by Newton's method.

    Args:
        x: (n, D), standardised.
        target: (n, L) probabilities.
    """
    if not x.shape[1]:
        share = np.log((target.sum(axis=0) + 0.5) / (len(target) + 0.5 * target.shape[1]))
        return np.asarray((share - share[-1])[None])
    design = np.concatenate([np.ones((len(x), 1)), x], axis=1)
    d, levels = design.shape[1], target.shape[1] - 1
    penalty = np.full(d, _RIDGE)
    penalty[0] = 1e-3
    weight = np.zeros((d, levels + 1))
    for _ in range(_STEPS):
        score = design @ weight
        score -= score.max(axis=1, keepdims=True)
        q = np.exp(score)
        q /= q.sum(axis=1, keepdims=True)
        gradient = design.T @ (q - target)[:, :levels] + penalty[:, None] * weight[:, :levels]
        curve = np.empty((levels, d, levels, d))
        for i in range(levels):
            for j in range(i, levels):
                w = q[:, i] * ((i == j) - q[:, j])
                curve[i, :, j] = curve[j, :, i] = (design * w[:, None]).T @ design
        curve = curve.reshape(levels * d, levels * d) + np.diag(np.tile(penalty, levels))
        step = np.linalg.solve(curve, gradient.T.reshape(-1)).reshape(levels, d).T
        weight[:, :levels] -= step / max(1.0, float(np.abs(step).max()) / 2)
        if np.abs(step).max() < 1e-4:
            break
    return weight
