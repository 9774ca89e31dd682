"""What a few seeds allow to say: means with intervals, paired differences, ratios of means.

All are Student's t over seeds: seed s gives every method the same faces, weights' seed and order, so methods
are compared seed by seed. A ratio of two means (a relative gain, the share of a gap that is closed) has
Fieller's interval (Fieller 1954, J. R. Statist. Soc. B 16:175): all θ for which a paired t test does not
reject mean(numerator) = θ mean(denominator). With a denominator that may be zero that set is unbounded: nan.

Folds of one data set are no such seeds: what they train on is largely the same, so their scores go up and
down together and their variance over n says too much. With `overlap`, test rows over training rows of a
fold, the variance of a mean is s² (1/n + overlap) in place of s²/n (Nadeau & Bengio 2003, Machine Learning
52:239; for folds dealt several times Bouckaert & Frank 2004, PAKDD). It is an approximation: no unbiased
estimate exists (Bengio & Grandvalet 2004, JMLR 5:1089).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idfer.errors import IdferError
from idfer.evaluation.bootstrap import Estimate

LEVEL = 0.95


@dataclass(frozen=True)
class Paired:
    """`first - second`, seed by seed.

    Attributes:
        difference: mean difference with its interval.
        p: two-sided paired t test; nan below two seeds.
        relative: mean difference over the mean of `second`, with its interval.
        higher: seeds where `first` is higher.
        seeds: number of seeds.
    """

    difference: Estimate
    p: float
    relative: Estimate
    higher: int
    seeds: int


def mean_interval(values: ArrayLike, overlap: float = 0.0) -> Estimate:
    """Mean over seeds with its t interval; no interval below two seeds.

    Args:
        values: one per seed, or per fold.
        overlap: test rows over training rows where they are folds of one data set; 0 for seeds.

    Raises:
        IdferError: no values.
    """
    x = _seeds(values)
    half = _quantile(len(x)) * _error(x, overlap) if len(x) > 1 else np.nan
    mean = float(x.mean())
    return Estimate(mean, float(mean - half), float(mean + half))


def paired(first: ArrayLike, second: ArrayLike, overlap: float = 0.0) -> Paired:
    """Compare two methods on the same seeds, in the same order; `overlap` as for `mean_interval`.

    Raises:
        IdferError: no values, or not as many of both.
    """
    a, b = _pair(first, second)
    difference = a - b
    return Paired(
        difference=mean_interval(difference, overlap),
        p=_p(difference, overlap),
        relative=ratio(difference, b, overlap),
        higher=int((difference > 0).sum()),
        seeds=len(a),
    )


def ratio(numerator: ArrayLike, denominator: ArrayLike, overlap: float = 0.0) -> Estimate:
    """mean(numerator) / mean(denominator) over the same seeds, with Fieller's interval.

    nan where the denominator is 0; an interval of nan where it may be 0, or below two seeds.

    Raises:
        IdferError: no values, or not as many of both.
    """
    a, b = _pair(numerator, denominator)
    if b.mean() == 0:
        return Estimate(np.nan, np.nan, np.nan)
    value = float(a.mean() / b.mean())
    if len(a) < 2:
        return Estimate(value, np.nan, np.nan)
    covariance = np.cov(a, b) * _quantile(len(a)) ** 2 * (1 / len(a) + overlap)
    # θ with (ā - θ b̄)² = t² var(a - θ b) / n, a quadratic in θ
    square = b.mean() ** 2 - covariance[1, 1]
    linear = a.mean() * b.mean() - covariance[0, 1]
    constant = a.mean() ** 2 - covariance[0, 0]
    root = linear**2 - square * constant
    if square <= 0 or root < 0:
        return Estimate(value, np.nan, np.nan)
    low, high = (linear - np.sqrt(root)) / square, (linear + np.sqrt(root)) / square
    return Estimate(value, float(low), float(high))


def share_of_gap(method: ArrayLike, floor: ArrayLike, ceiling: ArrayLike) -> Estimate:
    """(method - floor) / (ceiling - floor) on means over the same seeds, with Fieller's interval.

    nan where several seeds do not show the ceiling above the floor: a share of no gap is noise.

    Raises:
        IdferError: no values, or not as many of each.
    """
    (gained, lowest), (_, highest) = _pair(method, floor), _pair(method, ceiling)
    share = ratio(gained - lowest, highest - lowest)
    shown = np.isfinite(share.low) and highest.mean() > lowest.mean()
    return share if len(gained) < 2 or shown else Estimate(np.nan, np.nan, np.nan)


def _error(x: NDArray[np.float64], overlap: float) -> float:
    """Standard error of the mean."""
    return float(x.std(ddof=1) * np.sqrt(1 / len(x) + overlap))


def _p(difference: NDArray[np.float64], overlap: float) -> float:
    """Two-sided p of mean(difference) = 0."""
    from scipy.stats import t

    if len(difference) < 2:
        return float("nan")
    error = _error(difference, overlap)
    if error == 0:
        return 1.0 if difference[0] == 0 else 0.0
    statistic = difference.mean() / error
    return float(2 * t.sf(abs(statistic), len(difference) - 1))


def _quantile(count: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + LEVEL) / 2, count - 1))


def _seeds(values: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or not len(x):
        raise IdferError(f"statistics over seeds: {x.shape} values; wanted one number per seed.")
    return x


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = _seeds(first), _seeds(second)
    if len(a) != len(b):
        raise IdferError(f"paired statistics: {len(a)} against {len(b)} seeds; give the same seeds of both.")
    return a, b


def best(scores: dict[str, Sequence[float]], higher_is_better: bool) -> str:
    """Name with the best mean; the first of equals. One that was not measured (nan) comes last."""
    sign = 1 if higher_is_better else -1
    means = {name: sign * float(np.mean(by_seed)) for name, by_seed in scores.items()}
    return max(means, key=lambda name: -np.inf if np.isnan(means[name]) else means[name])
