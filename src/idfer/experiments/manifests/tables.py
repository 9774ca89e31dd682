"""Tables of a comparison: accuracy, leakage, sampled and attached features; a row per method."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from idfer.experiments.grid import shown_as
from idfer.experiments.manifests.measures import at_places, by_accuracy, estimate_of, probed
from idfer.experiments.measures import Measure, Rows
from idfer.experiments.scores import names_of
from idfer.experiments.tables import interval_text


def accuracy_table(rows: Rows, measures: Mapping[str, Measure], overlap: float) -> list[list[str]]:
    """Accuracy on the test people, a row per method, the best first."""
    keys = [
        k
        for k in ("test_ccc", "weighted_ccc", "valence_ccc", "arousal_ccc", "rmse", "val_ccc")
        if k in measures
    ]
    table = [["method", *(measures[key].title for key in keys)]]
    return table + [
        [shown_as(name), *(interval_text(estimate_of(rows, name, measures[key], overlap)) for key in keys)]
        for name in by_accuracy(rows, measures)
    ]


def leakage_table(rows: Rows, measures: Mapping[str, Measure], overlap: float) -> list[list[str]]:
    """What probes read, a row per method and feature, and chance."""
    names = probed(rows)
    count = len({row.seed for row in rows})
    table = [["method", "feature", *(_probed_at(rows, name, measures, count) for name in names)]]
    features = {"mean": "leak_mean_", "one draw": "leak_", "prediction": "leak_prediction_"}
    for method in by_accuracy(rows, measures):
        for feature, prefix in features.items():
            if feature == "one draw" and not _finite(rows, method, measures, "rate"):
                continue
            cells = [measures.get(prefix + name) for name in names]
            table.append(
                [shown_as(method), feature]
                + [
                    "-" if m is None else interval_text(estimate_of(rows, method, m, overlap), 2)
                    for m in cells
                ]
            )
    return table


def _probed_at(rows: Rows, name: str, measures: Mapping[str, Measure], count: int) -> str:
    """What was probed for, and at how many places where it was not at all."""
    measure = measures.get(f"leak_mean_{name}")
    there = len({row.seed for row in at_places(rows, measure)}) if measure else 0
    return name if there == count else f"{name} ({there} of {count} places)"


def sampled_table(rows: Rows, measures: Mapping[str, Measure], overlap: float) -> list[list[str]]:
    """Nats and accuracy of a sampled feature, and accuracy with attributes attached, where there are."""
    keys = [key for key in ("rate", "residual_nats", "sampled_ccc", "attached_ccc") if key in measures]
    table = [["method", "CCC", *(measures[key].title for key in keys)]]
    for method in names_of(rows):
        if any(_finite(rows, method, measures, key) for key in keys):
            cells = [
                interval_text(estimate_of(rows, method, measures[key], overlap), 3)
                for key in ("test_ccc", *keys)
            ]
            table.append([shown_as(method), *cells])
    return table


def _finite(rows: Rows, method: str, measures: Mapping[str, Measure], key: str) -> bool:
    return key in measures and bool(np.isfinite(estimate_of(rows, method, measures[key], 0.0).value))


def number(value: float) -> str:
    """To three digits; `-` where there is none."""
    return f"{value:.3f}" if np.isfinite(value) else "-"
