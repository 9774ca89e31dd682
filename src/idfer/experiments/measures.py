"""The measures that benchmarks report, read from trials, and their statistics over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idfer.evaluation.bootstrap import Estimate
from idfer.experiments.statistics import Paired, mean_interval, paired, ratio
from idfer.experiments.trial import ATTRIBUTES


@dataclass(frozen=True)
class Measure:
    """One reported number.

    Attributes:
        key: where a trial has it.
        title: for tables and figures.
        higher: whether higher is better.
        clip: leakage below chance counts as chance.
    """

    key: str
    title: str
    higher: bool
    clip: bool = False


_LEAKS = {name: f"{name}_mlp" for name in ATTRIBUTES} | {"identity": "identity"}
MEASURES: Mapping[str, Measure] = {
    **{f"{s}_ccc": Measure(f"{s}_ccc", f"CCC {s}", True) for s in ("matched", "balanced", "reversed")},
    **{f"leak_{n}": Measure(f"leak_sampled_{k}", f"leak {n}", False, True) for n, k in _LEAKS.items()},
    **{
        f"leak_mean_{n}": Measure(f"leak_mean_{k}", f"leak {n} (mean)", False, True)
        for n, k in _LEAKS.items()
    },
    "rate": Measure("rate", "rate (nats)", False),
    "drift": Measure("drift", "drift", False),
}
CCCS = ("matched_ccc", "balanced_ccc", "reversed_ccc")
LEAKS = tuple(f"leak_{name}" for name in _LEAKS)

Rows = Sequence[Mapping[str, Any]]
Array = NDArray[np.float64]


def values(rows: Rows, name: str, measure: str) -> Array:
    """(seeds,) one measure of one method or variant, seeds in ascending order; nan where not measured."""
    of = MEASURES[measure]
    own = sorted((row for row in rows if row["name"] == name), key=lambda row: row["seed"])
    found = np.array([np.nan if row[of.key] is None else row[of.key] for row in own], np.float64)
    return np.maximum(found, 0.0) if of.clip else found


def estimate(rows: Rows, name: str, measure: str) -> Estimate:
    """Mean over seeds with its 95 % t interval; nan where a seed was not measured."""
    return mean_interval(values(rows, name, measure))


def compare(rows: Rows, first: str, second: str, measure: str) -> Paired:
    """`first` against `second`, seed by seed."""
    return paired(values(rows, first, measure), values(rows, second, measure))


def gap_closed(rows: Rows, name: str, measure: str = "reversed_ccc") -> Estimate:
    """(method - ERM) / (oracle - ERM) on means over seeds; nan where ERM or the oracle was not run."""
    have = {row["name"] for row in rows}
    if not {"erm", "oracle"} <= have:
        return Estimate(np.nan, np.nan, np.nan)
    own, erm, oracle = (values(rows, one, measure) for one in (name, "erm", "oracle"))
    if name in ("erm", "oracle"):
        exact = float(name == "oracle")
        return Estimate(exact, exact, exact)
    return ratio(own - erm, oracle - erm)
