"""Gaps at equal labels: what is left of a gap once two groups show the same expressions.

Where labels differ between groups, so do metrics, even of a predictor that treats everybody alike: a
regressor shrinks to the mean, so the happier group's bias is lower, and the group of less spread has the
lower CCC. So both groups are weighted until the mean and the mean square of valence and of arousal are the
same in both, half-way between them: entropy balancing (Hainmueller 2012), weights exp(lambda . moments).
Weights are shared within cells of the label plane, so that sums per cell are all that is needed; the
balance is exact. The interval is a jackknife over people in which the weights are found anew each time.

What remains can still come of what labels do not hold: image quality, the source of the pictures.

Reference: J. Hainmueller. Entropy balancing for causal effects. Political Analysis 20(1), 2012.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from idfer.auditing import moments
from idfer.auditing.intervals import Jackknifed, jackknife
from idfer.auditing.moments import Array
from idfer.auditing.structure import Structure

_BALANCED = (1, 3, 6, 8)  # columns of t and t^2 of both dimensions
_STEPS, _MORE = 40, 6
# Below a fifth of a standard deviation, or of the log spread, differences of labels move metrics little
# (a slope of 0.7 turns 0.2 sd = 0.08 into a bias of 0.02).
DIFFERENT = 0.2


def label_difference(structure: Structure, levels: NDArray[np.intp]) -> tuple[float, str]:
    """The largest difference of labels between two of `levels` beyond chance, and what differs.

    Returns:
        The difference, in standard deviations (means) or as a log ratio (spreads), 0 where nothing is
        both at least `DIFFERENT` and three standard errors; and "mean valence", "spread of arousal", ...
    """
    parts = [_label_moments(structure.sums[:, level]) for level in levels]
    best, what = 0.0, ""
    names = ("mean valence", "mean arousal", "spread of valence", "spread of arousal")
    for i, a in enumerate(parts):
        for b in parts[i + 1 :]:
            spread = np.exp((a.value[2:] + b.value[2:]) / 2)
            with np.errstate(invalid="ignore", divide="ignore"):
                gap = np.abs(a.value - b.value)
                sure = gap / np.sqrt(a.error**2 + b.error**2) > 3
                gap = gap / np.concatenate([spread, [1, 1]])
            gap = np.where(sure & np.isfinite(gap) & (gap >= DIFFERENT), gap, 0.0)
            if gap.max() > best:
                best, what = float(gap.max()), names[int(gap.argmax())]
    return best, what


def _label_moments(sums: Array) -> Jackknifed:
    """Means and log spreads of both labels of one group, jackknifed."""

    def of(total: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total[..., [1, 6]] / total[..., :1]
            var = total[..., [3, 8]] / total[..., :1] - mean**2
            return np.concatenate([mean, 0.5 * np.log(np.maximum(var, 1e-12))], axis=-1)

    total = sums.sum(axis=0)
    return jackknife(of(total), of(total - sums), (sums[:, 0] > 0)[:, None])


def standardised_gap(
    structure: Structure, a: int, b: int, metrics: tuple[str, ...], level: float
) -> tuple[Array, Array, Array] | None:
    """Gap of two levels at equal labels with its ends, each (metrics, 3); None where labels do not overlap.

    Args:
        structure: with a grid.
        a: index of the first level.
        b: of the second.
        metrics: which.
        level: of the interval.
    """
    if structure.grid is None:
        return None
    cells = [structure.grid[:, index] for index in (a, b)]
    totals = [part.sum(axis=0) for part in cells]
    weights, reached = _balance(totals[0][None], totals[1][None], None, _STEPS)
    if not reached[0]:
        return None
    found = _gap(totals[0][None], totals[1][None], weights, metrics)[0]
    start = (weights[0][0], weights[1][0])
    present = (cells[0][..., 0].sum(axis=1) + cells[1][..., 0].sum(axis=1)) > 0
    left = [total[None] - part[present] for total, part in zip(totals, cells, strict=True)]
    weights, reached = _balance(left[0], left[1], start, _MORE)
    without = _gap(left[0], left[1], weights, metrics)
    if not reached.all():  # one person carries the overlap
        return None
    left_out = jackknife(found, without, np.ones((len(without), 1, 1), bool))
    low, high = left_out.ends(level)
    defined = left_out.error > 0
    return found, np.where(defined, low, np.nan), np.where(defined, high, np.nan)


def _gap(a: Array, b: Array, tilt: tuple[Array, Array], metrics: tuple[str, ...]) -> Array:
    """Gaps (R, metrics, 3) of groups of cells (R, B, 11) weighted by tilts (R, 4)."""
    sides = []
    for cells, at in zip((a, b), tilt, strict=True):
        weight = _weights(cells, at)
        sides.append(moments.values(np.einsum("rb,rbk->rk", weight, cells), metrics))
    return np.asarray(sides[0] - sides[1])


def _means(cells: Array) -> tuple[Array, Array]:
    """Rows (R, B) of cells and their mean moments (R, B, 4); 0 in empty cells."""
    n = np.where(cells[..., 0] > 1e-9, cells[..., 0], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(n[..., None] > 0, cells[..., list(_BALANCED)] / n[..., None], 0.0)
    return n, mean


def _weights(cells: Array, tilt: Array) -> Array:
    n, mean = _means(cells)
    power = np.where(n > 0, np.einsum("rbk,rk->rb", mean, tilt), -np.inf)
    return np.asarray(np.exp(power - power.max(axis=1, keepdims=True)))


def _balance(
    a: Array, b: Array, start: tuple[Array, Array] | None, steps: int
) -> tuple[tuple[Array, Array], Array]:
    """Tilts (R, 4) that bring both groups' moments to their average, and whether they do, (R,)."""
    wanted = np.zeros((len(a), len(_BALANCED)))
    for cells in (a, b):
        total = cells.sum(axis=1)
        wanted += 0.5 * total[:, list(_BALANCED)] / np.maximum(total[:, :1], 1e-300)
    tilts, reached = [], np.ones(len(a), bool)
    for k, cells in enumerate((a, b)):
        tilt, ok = _tilted(cells, wanted, None if start is None else start[k], steps)
        tilts.append(tilt)
        reached &= ok
    return (tilts[0], tilts[1]), reached


def _tilted(cells: Array, wanted: Array, start: Array | None, steps: int) -> tuple[Array, Array]:
    """Newton's method for the convex dual log sum_b n_b exp(lambda . (m_b - wanted)), damped."""
    n, mean = _means(cells)
    offset = np.where(n[..., None] > 0, mean - wanted[:, None], 0.0)
    scale = np.sqrt(np.maximum((n[..., None] * offset**2).sum(axis=1) / n.sum(axis=1)[:, None], 1e-12))
    offset = offset / scale[:, None]
    tilt = np.zeros((len(cells), offset.shape[-1])) if start is None else start * scale
    for _ in range(steps):
        power = np.where(n > 0, np.einsum("rbk,rk->rb", offset, tilt), -np.inf)
        share = n * np.exp(power - power.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        gradient = np.einsum("rb,rbk->rk", share, offset)
        curve = np.einsum("rb,rbk,rbl->rkl", share, offset, offset)
        curve -= gradient[:, :, None] * gradient[:, None, :]
        curve += 1e-9 * np.eye(curve.shape[-1])
        step = np.linalg.solve(curve, gradient[..., None])[..., 0]
        length = np.sqrt(np.maximum((step * gradient).sum(axis=1, keepdims=True), 0))
        tilt = tilt - step / (1 + np.where(length > 0.25, length, 0.0))  # damped while far away
    power = np.where(n > 0, np.einsum("rbk,rk->rb", offset, tilt), -np.inf)
    share = n * np.exp(power - power.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    miss = np.abs(np.einsum("rb,rbk->rk", share, offset)).max(axis=1)
    return tilt / scale, miss < 1e-6
