"""The tables of groups and of gaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idfer.auditing.estimate import Estimated, gap
from idfer.auditing.grouping import Grouped, rest_people
from idfer.auditing.moments import DIMENSIONS, Array
from idfer.auditing.multiple import MaxT
from idfer.auditing.permutation import GroupTests, dealings
from idfer.auditing.structure import PeopleSums

Row = dict[str, Any]


@dataclass(frozen=True)
class Tested:
    """One test: two sides, one dimension, one metric.

    Attributes:
        grouped: whose levels are compared.
        a: index of the first level.
        b: index of the second, -1 for everybody else.
        estimates: of both sides.
        gap: with its ends, each (metrics, 3).
        statistic: (metrics, 3) observed T.
        error: standard errors on the metrics' scales.
        df: degrees of freedom.
        p: one test's p-values.
        p_adjusted: over all tests.
        critical: the T that the strongest test of the family must exceed.
    """

    grouped: Grouped
    a: int
    b: int
    estimates: tuple[Estimated, Estimated]
    gap: tuple[Array, Array, Array]
    statistic: Array
    error: Array
    df: Array
    p: Array
    p_adjusted: Array
    critical: float

    @property
    def people(self) -> tuple[int, int]:
        """People on both sides."""
        people = self.grouped.structure.people
        other = people[self.b] if self.b >= 0 else rest_people(self.grouped.structure, self.a)
        return round(float(people[self.a])), round(float(other))


def accuracy_rows(sums: PeopleSums, metrics: Sequence[str], level: float) -> list[Row]:
    """Everybody's metrics, as rows of the table `accuracy`."""
    everybody = Estimated(sums.total, metrics, level)
    return [
        {
            "dimension": dimension, "metric": metric, "value": everybody.value[k, d],
            "low": everybody.low[k, d], "high": everybody.high[k, d],
            "rows": sums.rows, "people": sums.people,
        }
        for k, metric in enumerate(metrics)
        for d, dimension in enumerate(DIMENSIONS)
    ]  # fmt: skip


def group_rows(
    groups: Sequence[Grouped], metrics: Sequence[str], level: float, min_people: int
) -> tuple[list[Row], dict[tuple[str, int], Estimated]]:
    """Rows of the table `groups`, and the estimates behind them by attribute and index of level."""
    rows: list[Row] = []
    found: dict[tuple[str, int], Estimated] = {}
    for grouped in groups:
        structure = grouped.structure
        people, counted = structure.people, structure.rows
        for index, name in enumerate(structure.labels):
            if grouped.crossing and people[index] <= 0:
                continue  # nobody can be withheld
            row: Row = {"attribute": structure.name, "level": name, "note": ""}
            if not grouped.shown[index]:
                row["note"] = f"withheld: fewer than {min_people} people"
                nothing = dict.fromkeys(("value", "low", "high", "rows", "people"), np.nan)
                rows += [
                    {**row, **nothing, "dimension": dimension, "metric": metric}
                    for metric in metrics
                    for dimension in DIMENSIONS
                ]
                continue
            if structure.merged and structure.merged[index]:
                row["note"] = f"merged from {'; '.join(structure.merged[index])}"
            estimated = found[structure.name, index] = Estimated(structure.sums[:, index], metrics, level)
            rows += [
                {
                    **row, "dimension": dimension, "metric": metric, "value": estimated.value[k, d],
                    "low": estimated.low[k, d], "high": estimated.high[k, d],
                    "rows": round(float(counted[index])), "people": round(float(people[index])),
                }
                for k, metric in enumerate(metrics)
                for d, dimension in enumerate(DIMENSIONS)
            ]  # fmt: skip
    return rows, found


def tested_gaps(
    groups: Sequence[Grouped],
    estimates: dict[tuple[str, int], Estimated],
    metrics: tuple[str, ...],
    *,
    sizes: NDArray[np.intp],
    level: float,
    permutations: int,
    seed: int,
    done: Callable[[int], object] = lambda _: None,
) -> list[Tested]:
    """Every gap with its interval and p-values.

    Args:
        groups: from `grouping.group`.
        estimates: from `group_rows`.
        metrics: which metrics.
        sizes: (U,) people in each unit.
        level: of the intervals; 1 - level is the error rate over all tests.
        permutations: null draws.
        seed: of the draws.
        done: called with the number of structures tested, for a progress bar.
    """
    sides = [
        [
            (
                estimates[grouped.structure.name, a],
                estimates[grouped.structure.name, b] if b >= 0 else _rest(grouped, a, metrics, level),
            )
            for a, b in grouped.tests
        ]
        for grouped in groups
    ]
    tests = [GroupTests(grouped, metrics, of, sizes) for grouped, of in zip(groups, sides, strict=True)]
    families: list[list[int]] = [
        [i for i, grouped in enumerate(groups) if grouped.tests and grouped.crossing is crossing]
        for crossing in (False, True)
    ]
    families = [family for family in families if family]
    rng = np.random.default_rng([seed, 11])
    out: list[Tested] = []
    if not families:
        return out
    orders = dealings(sizes, permutations, rng)
    signs = rng.integers(0, 2, size=(permutations, len(sizes)), dtype=np.int8) * np.int8(2) - np.int8(1)
    for family in families:
        flat = [tests[i].observed.reshape(-1) for i in family]
        starts = np.cumsum([0, *(len(part) for part in flat)])
        collected = MaxT(np.concatenate(flat), permutations)
        for i, start in zip(family, starts, strict=False):
            for block, drawn in tests[i].draws(orders, signs):
                collected.add(block, int(start), drawn.reshape(len(drawn), -1))
            done(1)
        single, adjusted = collected.p_values()
        adjusted = np.minimum(adjusted * len(families), 1.0)
        critical = collected.critical((1 - level) / len(families))
        shape = (len(metrics), 3)
        for i, start in zip(family, starts, strict=False):
            grouped = groups[i]
            for k, (a, b) in enumerate(grouped.tests):
                at = slice(int(start) + k * len(metrics) * 3, int(start) + (k + 1) * len(metrics) * 3)
                first, second = sides[i][k]
                known = ~np.isnan(first.value - second.value)
                out.append(
                    Tested(
                        grouped, a, b, (first, second), gap(first, second),
                        tests[i].observed[k].reshape(shape), tests[i].error[k].reshape(shape),
                        tests[i].df[k].reshape(shape),
                        np.where(known, single[at].reshape(shape), np.nan),
                        np.where(known, adjusted[at].reshape(shape), np.nan), critical,
                    )
                )  # fmt: skip
    return out


def gap_rows(tested: Sequence[Tested], metrics: Sequence[str], level: float) -> list[Row]:
    """Rows of the table `gaps`, without standardised gaps."""
    rows: list[Row] = []
    for test in tested:
        value, low, high = test.gap
        people = test.people
        rows += [
            {
                "attribute": test.grouped.structure.name,
                "level_a": test.grouped.side(test.a), "level_b": test.grouped.side(test.b),
                "kind": "pair" if test.b >= 0 else "rest", "dimension": dimension, "metric": metric,
                "gap": value[k, d], "low": low[k, d], "high": high[k, d], "p": test.p[k, d],
                "p_adjusted": test.p_adjusted[k, d],
                "significant": bool(test.p_adjusted[k, d] <= 1 - level + 1e-12),
                "people_a": people[0], "people_b": people[1], "note": "",
            }
            for k, metric in enumerate(metrics)
            for d, dimension in enumerate(DIMENSIONS)
        ]  # fmt: skip
    return rows


def _rest(grouped: Grouped, a: int, metrics: Sequence[str], level: float) -> Estimated:
    sums = grouped.structure.sums
    return Estimated(sums.sum(axis=1) - sums[:, a], metrics, level)
