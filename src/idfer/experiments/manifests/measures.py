"""What is reported of trials on a manifest: which numbers there are hangs on the attributes that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from idfer.catalogue import DEFAULT_METHOD as OURS
from idfer.evaluation.bootstrap import Estimate
from idfer.experiments.measures import Measure, Rows, estimate, leak, values
from idfer.experiments.measuring import ATTACHED
from idfer.experiments.scores import names_of, rows_of

IDENTITY = "identity"
LEAK_OF = "leak_mean_"  # the feature that predictions are made from, by which methods are compared


def measures_of(rows: Rows) -> dict[str, Measure]:
    """The measures that some method has at some place."""
    possible = {
        "test_ccc": _accuracy("CCC", "ccc", "mean"),
        "weighted_ccc": Measure("CCC, weighted", True, {"measure": "weighted_ccc", "split": "test"}),
        "valence_ccc": _accuracy("CCC of valence", "ccc", "valence"),
        "arousal_ccc": _accuracy("CCC of arousal", "ccc", "arousal"),
        "rmse": _accuracy("RMSE", "rmse", "mean"),
        "val_ccc": Measure("CCC val", True, {"measure": "ccc", "split": "val", "of": "mean"}),
        **{f"{LEAK_OF}{name}": leak(name, "mean") for name in probed(rows)},
        **{f"leak_{name}": leak(name, "sampled") for name in probed(rows)},
        **{f"leak_prediction_{name}": leak(name, "prediction") for name in probed(rows)},
        "rate": Measure("rate (nats)", False, {"measure": "rate"}),
        "residual_nats": Measure("residual (nats)", False, {"measure": "residual"}),
        "sampled_ccc": _accuracy("CCC of one draw", "ccc", "mean", "sampled"),
        "attached_ccc": _accuracy("CCC, attributes attached", "ccc", "mean", ATTACHED),
    }
    names = names_of(rows)
    return {
        key: measure
        for key, measure in possible.items()
        if any(np.isfinite(values(rows, name, measure)).any() for name in names)
    }


def at_places(rows: Rows, measure: Measure) -> Rows:
    """The rows of places where every method that has a measure anywhere has it.

    Too few people of a level at some place leave its leakage unmeasured there, for all methods alike.
    """
    missing: set[int] = set()
    for name in names_of(rows):
        found = np.isfinite(values(rows, name, measure))
        if found.any():
            missing |= {row.seed for row, there in zip(rows_of(rows, name), found, strict=True) if not there}
    return [row for row in rows if row.seed not in missing]


def estimate_of(rows: Rows, name: str, measure: Measure, overlap: float) -> Estimate:
    """Mean over the places where it was measured, with its interval; nan where it was nowhere."""
    there = at_places(rows, measure)
    return estimate(there, name, measure, overlap) if there else Estimate(np.nan, np.nan, np.nan)


def probed(rows: Rows) -> list[str]:
    """What leakage was probed for: attributes, and identity at the end."""
    found = dict.fromkeys(score.of for row in rows for score in row.scores if score.measure == "leak")
    return [*(name for name in found if name != IDENTITY), *([IDENTITY] if IDENTITY in found else [])]


def compared(measures: Mapping[str, Measure]) -> Sequence[str]:
    """The measures that methods are tested on."""
    return [key for key in measures if key in ("test_ccc", "weighted_ccc") or key.startswith(LEAK_OF)]


def by_accuracy(rows: Rows, measures: Mapping[str, Measure]) -> list[str]:
    """The methods, the most accurate on the test people first."""
    names = names_of(rows)
    return sorted(
        names, key=lambda name: -np.nan_to_num(estimate(rows, name, measures["test_ccc"]).value, nan=-2)
    )


def reference_of(rows: Rows) -> str:
    """The method that others are compared with: idfer, or the first where idfer is not among them."""
    names = names_of(rows)
    return OURS if OURS in names else names[0]


def _accuracy(title: str, metric: str, of: str, feature: str = "") -> Measure:
    score = {"measure": metric, "split": "test", "of": of, "feature": feature}
    return Measure(title, metric == "ccc", score)
