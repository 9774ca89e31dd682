"""How well predicted valence and arousal agree with the labels: RMSE, SAGR, PCC, CCC.

Every function takes the labels t and the predictions p of the *whole* evaluation set at once, (N,) or (N, D)
in any float type, works in float64 down the first axis and returns () or (D,). Means, variances and
covariances all divide by N (ddof = 0), so CCC and PCC share their terms.

    RMSE = sqrt(mean((p - t)^2))                                                     lower is better, >= 0
    SAGR = mean(sign(p) = sign(t))                             Nicolaou et al. 2011        in [0, 1]
    PCC  = cov(t, p) / (sd(t) sd(p))                           Pearson                     in [-1, 1]
    CCC  = 2 cov(t, p) / (var(t) + var(p) + (mean(t) - mean(p))^2)     Lin 1989            in [-1, 1]

Degenerate cases, defined once and the same everywhere:

- a constant prediction (or label) has CCC 0: it shows no agreement beyond its mean, even where it equals it;
- its PCC is undefined: nan, with an `UndefinedMetric` warning, and a mean over it is nan too, never a
  mean over what happens to be left;
- sign(0) = 0: a label of exactly 0 agrees with a prediction of exactly 0 and with nothing else (the reading
  of Kossaifi et al. 2017 and EmoNet; ELIM and AVCE count every label 0 as wrong: see `lineage`).

References:
    L. I-K. Lin. A concordance correlation coefficient to evaluate reproducibility. Biometrics 45(1), 1989.
    M. A. Nicolaou, H. Gunes, M. Pantic. Continuous prediction of spontaneous affect from multiple cues and
    modalities in valence-arousal space. IEEE Trans. Affective Computing 2(2), 2011.
    J. Kossaifi, G. Tzimiropoulos, S. Todorovic, M. Pantic. AFEW-VA database for valence and arousal
    estimation in-the-wild. Image and Vision Computing 65, 2017.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idfer.errors import IdferError, UsageError

Array = NDArray[np.float64]

METRICS = ("ccc", "pcc", "rmse", "sagr")
_SUMS = 7  # rows, t, p, t^2, p^2, t p, sign agreements


class UndefinedMetric(UserWarning):
    """A metric has no value on this input, and is nan."""


def rmse(target: ArrayLike, prediction: ArrayLike) -> Array:
    """Root mean squared error, () or (D,), in the labels' unit."""
    t, p = _pair(target, prediction)
    return np.asarray(np.sqrt(np.mean((p - t) ** 2, axis=0)))


def sagr(target: ArrayLike, prediction: ArrayLike) -> Array:
    """Share of rows whose predicted sign is the label's, () or (D,), in [0, 1]; sign(0) = 0."""
    t, p = _pair(target, prediction)
    return np.asarray(np.mean(np.sign(p) == np.sign(t), axis=0))


def pcc(target: ArrayLike, prediction: ArrayLike) -> Array:
    """Pearson correlation, () or (D,), in [-1, 1]; nan with `UndefinedMetric` where a side is constant."""
    t, p = _pair(target, prediction)
    constant = _constant(t) | _constant(p)
    if np.any(constant):
        warnings.warn(
            "PCC is undefined: all predictions (or all labels) are the same; it is nan.",
            UndefinedMetric,
            stacklevel=2,
        )
    t, p = t - t.mean(axis=0), p - p.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.mean(t * p, axis=0) / (np.std(t, axis=0) * np.std(p, axis=0))
    return np.asarray(np.where(constant, np.nan, np.clip(value, -1, 1)))


def ccc(target: ArrayLike, prediction: ArrayLike) -> Array:
    """Concordance correlation (Lin 1989), () or (D,), in [-1, 1]; 0 where a side is constant."""
    t, p = _pair(target, prediction)
    constant = _constant(t) | _constant(p)
    bias = t.mean(axis=0) - p.mean(axis=0)
    covariance = np.mean((t - t.mean(axis=0)) * (p - p.mean(axis=0)), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = 2 * covariance / (t.var(axis=0) + p.var(axis=0) + bias**2)
    return np.asarray(np.where(constant, 0.0, value))


def measure(target: ArrayLike, prediction: ArrayLike, preset: str = "default") -> dict[str, Array]:
    """All of `METRICS` by name, each () or (D,).

    Args:
        target: (N,) or (N, D) labels.
        prediction: the same shape.
        preset: "default", or "lineage" for `lineage`'s readings; the two must not share a table.

    Raises:
        UsageError: an unknown preset.
        IdferError: no rows, different shapes, or a value that is not finite.
    """
    if preset == "lineage":
        return lineage(target, prediction)
    if preset != "default":
        raise UsageError(f"unknown metric preset {preset!r}. Known: default, lineage.")
    return {
        "ccc": ccc(target, prediction),
        "pcc": pcc(target, prediction),
        "rmse": rmse(target, prediction),
        "sagr": sagr(target, prediction),
    }


def lineage(
    target: ArrayLike, prediction: ArrayLike, *, batch: int = 64, zero_agrees: bool = False
) -> dict[str, Array]:
    """The metrics as the authors' public code computes them [lineage]: only beside their published tables.

    RMSE is the mean over consecutive batches of each batch's RMSE (never above the true one); PCC and CCC
    divide a covariance of ddof 1 by spreads of ddof 0 (too large by N / (N - 1), so they can exceed 1);
    SAGR counts a label of exactly 0 as wrong.

    Args:
        target: (N,) or (N, D) labels, in the order in which the batches were formed.
        prediction: the same shape.
        batch: rows per batch of the RMSE: 64 in ELIM and AVCE, 16 in CAF.
        zero_agrees: True for CAF, where sign(0) = sign(0) is right.
    """
    t, p = _pair(target, prediction)
    if len(t) < 2:
        raise IdferError("the lineage metrics need at least 2 rows (their covariance has ddof 1).")
    scale = len(t) / (len(t) - 1)
    parts = [rmse(t[i : i + batch], p[i : i + batch]) for i in range(0, len(t), batch)]
    agree = np.sign(t) == np.sign(p)
    return {
        "ccc": ccc(t, p) * scale,
        "pcc": pcc(t, p) * scale,
        "rmse": np.asarray(np.mean(parts, axis=0)),
        "sagr": np.asarray(np.mean(agree if zero_agrees else agree & (t != 0), axis=0)),
    }


def sums(target: ArrayLike, prediction: ArrayLike) -> Array:
    """Each row's sufficient statistics (N, D, 7): added over any rows, they give every metric of those rows.

    Labels and predictions are shifted by one common constant per dimension first, which changes no metric
    and keeps the sums of squares accurate; signs are taken before the shift.
    """
    t, p = _pair(target, prediction)
    t, p = t.reshape(len(t), -1), p.reshape(len(p), -1)
    agree = np.sign(t) == np.sign(p)
    centre = t.mean(axis=0)
    t, p = t - centre, p - centre
    return np.stack([np.ones_like(t), t, p, t * t, p * p, t * p, agree.astype(np.float64)], axis=-1)


def from_sums(total: Array) -> dict[str, Array]:
    """The metrics of added-up `sums` (..., 7), each (...).

    Undefined values (no rows, no spread) are as everywhere: PCC nan, CCC 0; here without a warning, as this
    is the bootstrap's inner loop.
    """
    if total.shape[-1] != _SUMS:
        raise UsageError(f"from_sums wants {_SUMS} sums on the last axis, not {total.shape[-1]}.")
    n, t, p, tt, pp, tp, agree = np.moveaxis(total, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        t, p, tt, pp, tp, agree = (part / n for part in (t, p, tt, pp, tp, agree))
        var_t, var_p, cov = np.maximum(tt - t * t, 0), np.maximum(pp - p * p, 0), tp - t * p
        # below the rounding of the subtraction above, a variance is zero
        constant = (var_t <= 1e-13 * np.maximum(tt, 1e-300)) | (var_p <= 1e-13 * np.maximum(pp, 1e-300))
        return {
            "ccc": np.where(constant, 0.0, 2 * cov / (var_t + var_p + (t - p) ** 2)),
            "pcc": np.where(constant, np.nan, np.clip(cov / np.sqrt(var_t * var_p), -1, 1)),
            "rmse": np.sqrt(np.maximum(tt - 2 * tp + pp, 0)),
            "sagr": agree,
        }


def _pair(target: ArrayLike, prediction: ArrayLike) -> tuple[Array, Array]:
    """Both sides as float64 of one shape, finite and not empty."""
    t, p = np.asarray(target, np.float64), np.asarray(prediction, np.float64)
    if t.shape != p.shape or t.ndim not in (1, 2):
        raise IdferError(
            f"labels have shape {t.shape} and predictions {p.shape}; both must be the same (N,) or (N, D)."
        )
    if not len(t):
        raise IdferError("no rows to measure; choose another split or check that the predictions succeeded.")
    for name, values in (("label", t), ("prediction", p)):
        if (bad := np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))).size:
            raise IdferError(
                f"row {bad[0]}: the {name} is not a finite number ({bad.size} such rows); drop them."
            )
    return t, p


def _constant(values: Array) -> NDArray[np.bool_]:
    """Whether all rows are the same number, up to float32 rounding of one (constant outputs jitter there)."""
    spread: Any = np.ptp(values, axis=0)
    return np.asarray(spread <= 1e-7 * np.abs(values).max(axis=0))
