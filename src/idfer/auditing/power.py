"""What the sample could have found, and what retrieval errors could have done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from idfer.auditing import moments
from idfer.auditing.gaps import Tested
from idfer.auditing.intervals import correlation
from idfer.auditing.moments import DIMENSIONS, Array
from idfer.auditing.studentised import gradients, student
from idfer.auditing.wording import brief

Row = dict[str, Any]


def detectable(test: Tested, metrics: Sequence[str], power: float) -> Array:
    """Smallest true gap, (metrics, 3) in the metrics' units, found with this chance at the adjusted level.

    d standard errors on the metric's scale, placed half above and half below the mean of the two groups, so
    that a noncentral t about d exceeds c, the value that the strongest of all tests must exceed, with this
    chance. The estimated error varies too, so d = c + z_power sqrt(1 + c^2 / 2 df) (Johnson & Welch 1940,
    Biometrika 31), not c + z_power. The error is that of the test or of the jackknife, whichever is larger,
    and so are the tails: a promise is better kept than close.
    """
    from scipy.special import ndtri

    first, second = (estimate.jackknifed for estimate in test.estimates)
    r = correlation(first.pieces, second.pieces)
    var_a, var_b = first.error**2, second.error**2
    with np.errstate(invalid="ignore", divide="ignore"):
        left_out = np.sqrt(np.maximum(var_a + var_b - 2 * r * first.error * second.error, 0))
        df = (var_a + var_b) ** 2 / (var_a**2 / first.df + var_b**2 / second.df)
    df = np.minimum(np.where(np.isfinite(df), np.maximum(df, 1.0), test.df), test.df)
    error = np.fmax(test.error, left_out)
    bar = student(test.critical, test.df)
    reach = bar + ndtri(power) * np.sqrt(1 + bar**2 / (2 * df))
    half = 0.5 * reach * np.where(error > 0, error, np.nan)
    a, b = (moments.to_scale(estimate.value, metrics) for estimate in test.estimates)
    centre = (a + b) / 2
    return moments.from_scale(centre + half, metrics) - moments.from_scale(centre - half, metrics)


def power_rows(tested: Sequence[Tested], metrics: Sequence[str], power: float) -> list[Row]:
    """Rows of the table `power`."""
    rows: list[Row] = []
    for test in tested:
        least, people = detectable(test, metrics, power), test.people
        rows += [
            {
                "attribute": test.grouped.structure.name, "level_a": test.grouped.side(test.a),
                "level_b": test.grouped.side(test.b), "dimension": dimension, "metric": metric,
                "detectable": least[k, d], "people_a": people[0], "people_b": people[1],
            }
            for k, metric in enumerate(metrics)
            for d, dimension in enumerate(DIMENSIONS)
        ]  # fmt: skip
    return rows


def sensitivity_rows(tested: Sequence[Tested], metrics: Sequence[str], level: float) -> list[Row]:
    """Rows of the table `sensitivity`: pairs of levels of attributes that a classifier gave.

    If its probabilities are calibrated, a row weighted to level a is of level k with probability C[a, k] =
    sum p_a p_k / sum p_a, and the sums seen at a are C times the true levels' sums as long as errors do not
    depend on labels and predictions otherwise. So

        error_rate       1 - (C[a, a] + C[b, b]) / 2
        corrected_gap    the metric of C^-1 times the sums (for two levels and a mean: gap / (1 - 2
                         error_rate))
        error_to_vanish  at what error rate, of such errors, a gap significant now would no longer be
        error_to_make    smallest share of the two groups' people whose level would have to be wrong, those
                         with the most influence, for a gap of this size where none is (first order)

    Errors of the first kind only shrink gaps; errors that go with labels or predictions can also make them.
    """
    rows: list[Row] = []
    for test in tested:
        structure = test.grouped.structure
        if test.b < 0 or structure.products is None:
            continue
        confusion = structure.products / np.maximum(structure.products.sum(axis=1, keepdims=True), 1e-300)
        rate = 1 - (confusion[test.a, test.a] + confusion[test.b, test.b]) / 2
        fixed = _corrected(structure.sums.sum(axis=0), confusion, test.a, test.b, metrics)
        shrink = confusion[test.a, test.a] - confusion[test.b, test.a]
        a, b = (moments.to_scale(estimate.value, metrics) for estimate in test.estimates)
        with np.errstate(invalid="ignore", divide="ignore"):
            bar = student(test.critical, test.df) * test.error * shrink / np.abs(a - b)
        vanish = np.where(bar < shrink, (1 - bar) / 2, np.nan)
        make = _to_make(test, metrics)
        _, low, high = test.gap
        for k, metric in enumerate(metrics):
            for d, dimension in enumerate(DIMENSIONS):
                note = "" if np.isfinite(fixed[k, d]) else "retrieval too noisy to correct this gap; "
                if not np.isfinite(vanish[k, d]) and test.p_adjusted[k, d] <= 1 - level:
                    note += "significant beside stronger gaps, but any more errors could hide it; "
                elif not np.isfinite(vanish[k, d]) and shrink > 0.05:
                    most = max(abs(low[k, d]), abs(high[k, d])) / shrink
                    note += f"not significant; a true gap of up to about {brief(most)} could look like this; "
                rows.append(
                    {
                        "attribute": structure.name, "level_a": test.grouped.side(test.a),
                        "level_b": test.grouped.side(test.b), "dimension": dimension, "metric": metric,
                        "gap": test.gap[0][k, d], "error_rate": rate, "corrected_gap": fixed[k, d],
                        "error_to_vanish": vanish[k, d], "error_to_make": make[k, d],
                        "note": note.removesuffix("; "),
                    }
                )  # fmt: skip
    return rows


def _corrected(total: Array, confusion: Array, a: int, b: int, metrics: Sequence[str]) -> Array:
    """Gap (metrics, 3) of sums (L, 11) freed of misretrieval; nan where the correction is beyond the data."""
    nothing = np.full((len(metrics), 3), np.nan)
    used = total[:, 0] > 1e-9 * total[:, 0].sum()
    index = {int(level): i for i, level in enumerate(np.flatnonzero(used))}
    if a not in index or b not in index:
        return nothing
    part = confusion[np.ix_(used, used)]
    if np.linalg.cond(part) > 50:  # noise would be multiplied as much
        return nothing
    true = np.linalg.solve(part, total[used] / total[used, :1])
    for square, mean in ((3, 1), (4, 2), (8, 6), (9, 7)):
        if (true[[index[a], index[b]], square] < true[[index[a], index[b]], mean] ** 2).any():
            return nothing
    found = moments.values(true, metrics)
    return np.asarray(found[index[a]] - found[index[b]])


def _to_make(test: Tested, metrics: Sequence[str]) -> Array:
    """Share of people, (metrics, 3), whose swap of levels would bring the gap to 0, the best placed first."""
    structure = test.grouped.structure
    sums = structure.sums
    everybody = sums.sum(axis=1)
    share = sums[..., 0] / np.maximum(everybody[:, :1], 1e-300)
    a, b = sums[:, test.a].sum(axis=0), sums[:, test.b].sum(axis=0)
    value_a, grad_a = gradients(a, tuple(metrics))
    value_b, grad_b = gradients(b, tuple(metrics))
    moved = (share[:, test.b] - share[:, test.a])[:, None] * (everybody @ (grad_a + grad_b).T)
    gap = value_a - value_b
    gain = -np.sign(gap) * moved
    weight = share[:, test.a] + share[:, test.b]
    out = np.full(len(gap), np.nan)
    for k in range(len(gap)):
        if not np.isfinite(gap[k]):
            continue
        order = np.argsort(-gain[:, k], kind="stable")
        reached = np.cumsum(np.maximum(gain[order, k], 0)) >= abs(gap[k])
        if reached.any():
            out[k] = weight[order][: int(reached.argmax()) + 1].sum() / max(weight.sum(), 1e-300)
    return out.reshape(len(metrics), 3)
