"""The measures that benchmarks report, read from trials, and their statistics over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idfer.evaluation.bootstrap import Estimate
from idfer.experiments.measuring import ATTACHED, ATTRIBUTES, DETACHED
from idfer.experiments.protocol import TESTS
from idfer.experiments.scores import Row, names_of, rows_of
from idfer.experiments.statistics import Paired, mean_interval, paired, share_of_gap

DIMENSIONS = ("valence", "arousal")


@dataclass(frozen=True)
class Measure:
    """One reported number.

    Attributes:
        title: for tables and figures.
        higher: whether higher is better.
        score: which score of a trial it is: the arguments of `Row.value`.
        clip: leakage below chance counts as chance.
        signed: nearer to 0 is better: reported with its sign and compared without.
    """

    title: str
    higher: bool
    score: Mapping[str, str]
    clip: bool = False
    signed: bool = False


def leak(target: str, feature: str) -> Measure:
    """How well a probe reads something from a feature: "sampled", "mean" or "prediction"."""
    title = f"leak {target}" + ("" if feature == "sampled" else f" ({feature})")
    probe = "verification" if target == "identity" else "nonlinear"
    return Measure(title, False, {"measure": "leak", "of": target, "feature": feature, "probe": probe}, True)


def _effect(attribute: str, dimension: str) -> Measure:
    score = {"measure": "effect", "split": dimension, "of": attribute, "feature": DETACHED}
    return Measure(f"effect of {attribute} on {dimension}", False, score, signed=True)


def _ratio(part: str) -> Measure:
    score = {"measure": f"{part}_ratio", "feature": DETACHED}
    return Measure(f"{part} over expression", False, score)


def _ccc(split: str, feature: str) -> Measure:
    score = {"measure": "ccc", "split": split, "of": "mean", "feature": feature}
    return Measure(f"CCC {split}" + (f", {feature}" if feature else ""), True, score)


_LEAKING = (*ATTRIBUTES, "identity")
MEASURES: Mapping[str, Measure] = {
    **{f"{split}_ccc": _ccc(split, "") for split in TESTS},
    **{f"leak_{name}": leak(name, "sampled") for name in _LEAKING},
    **{f"leak_mean_{name}": leak(name, "mean") for name in _LEAKING},
    **{f"leak_prediction_{name}": leak(name, "prediction") for name in _LEAKING},
    "rate": Measure("rate (nats)", False, {"measure": "rate"}),
    "drift": Measure("drift", False, {"measure": "drift"}),
    **{f"effect_{a}_{d}": _effect(a, d) for a in ("age", "gender", "skin") for d in DIMENSIONS},
    **{f"{part}_ratio": _ratio(part) for part in ("person", "interaction")},
    "residual_nats": Measure("residual (nats)", False, {"measure": "residual"}),
    "attached_matched_ccc": _ccc("matched", ATTACHED),
    "sampled_balanced_ccc": _ccc("balanced", "sampled"),
}
CCCS = tuple(f"{split}_ccc" for split in TESTS)
LEAKS = tuple(f"leak_{name}" for name in _LEAKING)
SHORTCUTS = {"age": "valence", "gender": "arousal"}  # which attribute tells of which label in training
SHORTCUT_EFFECTS = tuple(f"effect_{attribute}_{dimension}" for attribute, dimension in SHORTCUTS.items())

Rows = Sequence[Row]
Array = NDArray[np.float64]


def values(rows: Rows, name: str, measure: str | Measure) -> Array:
    """(seeds,) one measure of one method or variant, seeds in ascending order; nan where not measured."""
    of = _measure(measure)
    scores = np.array([row.value(**of.score) for row in rows_of(rows, name)], np.float64)
    return np.maximum(scores, 0.0) if of.clip else scores


def estimate(rows: Rows, name: str, measure: str | Measure, overlap: float = 0.0) -> Estimate:
    """Mean over seeds with its 95 % t interval; nan where a seed was not measured.

    Args:
        rows: of all methods.
        name: of the method or variant.
        measure: a name of `MEASURES`, or another measure.
        overlap: of folds, see `statistics`.
    """
    return mean_interval(values(rows, name, measure), overlap)


def compared(rows: Rows, name: str, measure: str | Measure) -> Array:
    """(seeds,) `values` as methods are compared by: a signed measure by its size."""
    found = values(rows, name, measure)
    return np.abs(found) if _measure(measure).signed else found


def compare(rows: Rows, first: str, second: str, measure: str | Measure, overlap: float = 0.0) -> Paired:
    """`first` against `second`, seed by seed; arguments as for `estimate`."""
    return paired(compared(rows, first, measure), compared(rows, second, measure), overlap)


def _measure(measure: str | Measure) -> Measure:
    return MEASURES[measure] if isinstance(measure, str) else measure


def gap_closed(rows: Rows, name: str, measure: str = "reversed_ccc") -> Estimate:
    """(method - ERM) / (oracle - ERM) over seeds, as `share_of_gap`; nan where either was not run."""
    if not {"erm", "oracle"} <= set(names_of(rows)):
        return Estimate(np.nan, np.nan, np.nan)
    method, erm, oracle = (values(rows, each, measure) for each in (name, "erm", "oracle"))
    if name in ("erm", "oracle"):
        exact = float(name == "oracle")
        return Estimate(exact, exact, exact)
    return share_of_gap(method, erm, oracle)
