"""What is reported of a shift protocol: arrays over seeds, read from its trials.

`mean_ccc` and `worst_ccc` are over a protocol's cells, the worst cell being found seed by seed; `SPLIT_ccc`
is one test split's; each CCC is the mean of valence's and arousal's. `area_ccc` is the mean height of the CCC
over the line that the tests lie on (trapezoids). Where a protocol has levels, a measure is the mean over them
unless a level is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from idfer.catalogue import DEFAULT_METHOD as OURS
from idfer.catalogue import method_entry
from idfer.evaluation.bootstrap import Estimate
from idfer.experiments.grid import trained_as
from idfer.experiments.measuring import DETACHED
from idfer.experiments.protocol import ORACLE
from idfer.experiments.protocols.design import Design
from idfer.experiments.scores import Row, names_of, rows_of
from idfer.experiments.statistics import Paired, best, mean_interval, paired, share_of_gap

Array = NDArray[np.float64]
Levels: TypeAlias = Mapping[str, Sequence[Row]]
"""Rows of every method and seed, by what was learned from; the oracle's stand in each level."""

WORST, MEAN = "worst_ccc", "mean_ccc"
DECIDING = (WORST, MEAN)  # the verdict is on the first


def measures_of(design: Design) -> list[str]:
    """Names of all measures of a protocol but the gap closed and the cost."""
    cccs = [MEAN, WORST, *(f"{split}_ccc" for split in design.tests), *(["area_ccc"] if design.line else [])]
    effects = [f"effect_{factor}_{dimension}" for factor, dimension in design.shortcuts]
    return [*cccs, *effects, "person_ratio", "interaction_ratio", "drift"]


def methods_of(levels: Levels) -> list[str]:
    """Methods in the order they were run."""
    return names_of(next(iter(levels.values())))


def values(design: Design, levels: Levels, method: str, measure: str, level: str = "") -> Array:
    """(seeds,) a measure of a method, seeds ascending; nan where it was not measured.

    Args:
        design: the protocol.
        levels: its rows.
        method: a method's name.
        measure: one of `measures_of`.
        level: which; "" for the mean over all.
    """
    if not level:
        of_levels = np.stack([values(design, levels, method, measure, name) for name in levels])
        mean: Array = of_levels.mean(axis=0)
        return mean
    rows = rows_of(levels[level], method)
    if measure in DECIDING:
        cells = np.stack([_scores(rows, "ccc", split, "mean") for split in design.cells])
        over_cells: Array = cells.min(axis=0) if measure == WORST else cells.mean(axis=0)
        return over_cells
    if measure == "area_ccc":
        return _area(design, rows)
    if measure.endswith("_ccc"):
        return _scores(rows, "ccc", measure.removesuffix("_ccc"), "mean")
    if measure.startswith("effect_"):
        factor, _, dimension = measure.removeprefix("effect_").rpartition("_")
        return _scores(rows, "effect", dimension, factor, DETACHED)
    return _scores(rows, measure, feature="" if measure == "drift" else DETACHED)


def _scores(rows: Sequence[Row], measure: str, split: str = "", of: str = "", feature: str = "") -> Array:
    return np.array([row.value(measure, split, of, feature) for row in rows], np.float64)


def _area(design: Design, rows: Sequence[Row]) -> Array:
    splits = sorted(design.line, key=lambda split: design.line[split])
    place = np.array([design.line[split] for split in splits])
    heights = np.stack([_scores(rows, "ccc", split, "mean") for split in splits])
    area: Array = np.trapezoid(heights, place, axis=0) / (place[-1] - place[0])
    return area


def estimate(design: Design, levels: Levels, method: str, measure: str, level: str = "") -> Estimate:
    """Mean over seeds with its 95 % t interval."""
    return mean_interval(values(design, levels, method, measure, level))


def gap_closed(design: Design, levels: Levels, method: str, level: str = "") -> Estimate:
    """(method - ERM) / (oracle - ERM) of the worst cell's CCC; nan where ERM or the oracle was not run."""
    nothing = Estimate(np.nan, np.nan, np.nan)
    if not {"erm", ORACLE} <= set(methods_of(levels)) or (level and level == design.harmless):
        return nothing
    if method in ("erm", ORACLE):
        exact = float(method == ORACLE)
        return Estimate(exact, exact, exact)
    ours, erm, oracle = (values(design, levels, name, WORST, level) for name in (method, "erm", ORACLE))
    return share_of_gap(ours, erm, oracle)


def cost(design: Design, levels: Levels, method: str) -> Estimate:
    """Mean CCC that a method loses to the oracle where nothing is shifted; nan without such a level."""
    if not design.harmless or ORACLE not in methods_of(levels):
        return Estimate(np.nan, np.nan, np.nan)
    oracle, ours = (values(design, levels, name, MEAN, design.harmless) for name in (ORACLE, method))
    return mean_interval(oracle - ours)


def runner_up(design: Design, levels: Levels, measure: str, level: str = "") -> str:
    """The baseline with the best mean on a measure, in hindsight, which favours it; "" if there is none."""
    scores = {
        name: values(design, levels, name, measure, level).tolist()
        for name in methods_of(levels)
        if name != ORACLE and method_entry(trained_as(name)).role == "baseline"
    }
    return best(scores, higher_is_better=True) if scores else ""


def compare(design: Design, levels: Levels, other: str, measure: str, level: str = "") -> Paired:
    """idfer against another method, seed by seed."""
    ours, theirs = (values(design, levels, name, measure, level) for name in (OURS, other))
    return paired(ours, theirs)
