"""What an audit found, made up: the JSON dict of each kind, with planted gaps, for pages and nothing else."""

from __future__ import annotations

from itertools import combinations, pairwise, product
from typing import Any

import numpy as np

LEVELS = {
    "age": ("younger", "middle-aged", "older"),
    "gender presentation": ("women's presentation", "men's presentation"),
    "skin tone": ("lighter", "medium", "darker"),
    "glasses": ("no glasses", "wears glasses"),
}
METRICS = ("ccc", "rmse", "bias", "slope")
DIMENSIONS = ("valence", "arousal", "mean")
BINS = ("-1.0 to -0.6", "-0.6 to -0.2", "-0.2 to 0.2", "0.2 to 0.6", "0.6 to 1.0")
PLANTED = {("age", "ccc"): -0.14, ("age", "rmse"): 0.06, ("skin tone", "bias"): -0.09}
VERDICT = [
    "Older people are read worse than younger people: CCC of valence is lower by 0.14 [0.09, 0.19] "
    "(p = 0.001 over all 84 tests).",
    "The expression feature tells a person's age with a score of 0.62, where the labels alone tell 0.05.",
    "Gaps in CCC below 0.06 between the groups compared would likely have gone unseen in this sample.",
]


def audit(kind: str = "model", crossings: int = 1, seed: int = 0) -> dict[str, Any]:
    """Everything that audit.json of this kind holds.

    Args:
        kind: "predictions", "model" or "data".
        crossings: how many pairs of attributes are crossed.
        seed: of the numbers.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {
        "schema": "idfer.audit/1",
        "about": {
            "name": "made-up-set" if kind == "data" else "made-up-model", "kind": kind, "rows": 8240,
            "people": 412, "attributes": list(LEVELS), "command": "idfer audit --predictions p.csv -o audit",
        },
        "settings": {
            "level": 0.95, "replicates": 2000, "permutations": 2000, "min_people": 20, "intersections": 2,
            "power": 0.8, "standardised_bins": 3, "probes": ["linear", "nonlinear"], "seed": 0,
        },
        **{name: [] for name in TABLES},
        "checks": checks(kind),
        "verdict": VERDICT,
        "environment": {"idfer": "0.2.0", "numpy": "2.1.0", "python": "3.11.7"},
    }  # fmt: skip
    if kind == "data":
        return found | data_tables(rng)
    found |= predicted_tables(rng, crossings)
    if kind == "model":
        found["effects"] = effects(rng)
        found["components"] = [
            {"dimension": d, "part": part, **around(rng, size, 0.01)}
            for d in ("valence", "arousal", "both")
            for part, size in (("expression", 0.4), ("person", 0.12), ("interaction", 0.05))
        ]
    return found


TABLES = (
    "accuracy", "groups", "gaps", "leakage", "information", "effects", "power", "sensitivity",
    "representation", "stereotype", "cells", "circumplex", "components",
)  # fmt: skip


def checks(kind: str) -> list[dict[str, Any]]:
    """One of each level."""
    said = [
        ("IDF302", "info", "glasses × age: 3 groups hold fewer than 20 people and are withheld.", "glasses"),
        ("IDF306", "warning", "skin tone comes from a classifier: see how much of its error would make or "
         "hide a gap.", "skin tone"),
    ]  # fmt: skip
    if kind != "data":
        said.insert(0, ("IDF309", "error", "12 predictions lie outside [-1, 1]; check the scale.", None))
    if kind == "model":
        said.append(("IDF308", "warning", "Effects are measured on drawn faces, not photographs.", None))
    return [dict(zip(("code", "level", "message", "attribute"), line, strict=True)) for line in said]


def predicted_tables(rng: np.random.Generator, crossings: int) -> dict[str, Any]:
    """Accuracy, groups, gaps and their power, leakage, information, sensitivity and circumplex."""
    gaps, groups, power = [], [], []
    people = {level: int(rng.integers(90, 200)) for levels in LEVELS.values() for level in levels}
    for attribute, levels in LEVELS.items():
        for level in levels:
            groups += [
                group(rng, attribute, level, people[level], *at) for at in product(DIMENSIONS, METRICS)
            ]
        for a, b in pairwise(levels[::-1]):
            gaps += [
                gap(rng, attribute, (a, b), "pair", *at, PLANTED.get((attribute, at[1]), 0.0))
                for at in product(DIMENSIONS, METRICS)
            ]
    for one, other in list(combinations(LEVELS, 2))[:crossings]:
        for i, level in enumerate(f"{a}, {b}" for a, b in product(LEVELS[one], LEVELS[other])):
            name, kept = f"{one} x {other}", i != 1
            groups += [
                group(rng, name, level, 44 if kept else None, *at) for at in product(DIMENSIONS, METRICS)
            ]
            if kept:
                gaps += [
                    gap(rng, name, (level, "everybody else"), "rest", *at, 0.0)
                    for at in product(DIMENSIONS, METRICS)
                ]
    for line in gaps:
        keys = ("attribute", "level_a", "level_b", "dimension", "metric", "people_a", "people_b")
        power.append({k: line[k] for k in keys} | {"detectable": 1.6 * (line["high"] - line["low"]) / 2})
    return {
        "accuracy": [
            {"dimension": d, "metric": m, **around(rng, *WHERE[m]), "rows": 8240, "people": 412}
            for d, m in product(DIMENSIONS, METRICS)
        ],
        "groups": groups, "gaps": gaps, "power": power,
        "leakage": leakage(rng), "information": information(rng),
        "sensitivity": [
            {
                "attribute": "skin tone", "level_a": "darker", "level_b": "medium", "dimension": d,
                "metric": "bias", "gap": -0.08, "error_rate": 0.14, "corrected_gap": -0.11,
                "error_to_vanish": None if d == "arousal" else 0.31, "error_to_make": 0.22, "note": "",
            }
            for d in DIMENSIONS
        ],
        "circumplex": circumplex(rng),
    }  # fmt: skip


WHERE = {"ccc": (0.61, 0.03), "rmse": (0.27, 0.012), "bias": (0.02, 0.015), "slope": (0.94, 0.05)}


def around(rng: np.random.Generator, centre: float, spread: float, name: str = "value") -> dict[str, float]:
    """A value with its interval."""
    value = centre + spread * rng.normal()
    return {name: value, "low": value - 1.96 * spread, "high": value + 1.9 * spread}


def group(
    rng: np.random.Generator, attribute: str, level: str, people: int | None, dimension: str, metric: str
) -> dict[str, Any]:
    """A row of `groups`; without people it is withheld."""
    row = {"attribute": attribute, "level": level, "dimension": dimension, "metric": metric}
    if people is None:
        nothing = dict.fromkeys(("value", "low", "high", "rows", "people"))
        return row | nothing | {"note": "withheld: fewer than 20 people"}
    return row | around(rng, *WHERE[metric]) | {"rows": 20 * people, "people": people, "note": ""}


def gap(
    rng: np.random.Generator,
    attribute: str,
    levels: tuple[str, str],
    kind: str,
    dimension: str,
    metric: str,
    size: float,
) -> dict[str, Any]:
    """A row of `gaps`, around this size."""
    spread = WHERE[metric][1] * (1.2 if kind == "pair" else 1.6)
    line = around(rng, size, 0.6 * spread, "gap")
    line["low"], line["high"] = line["gap"] - 2 * spread, line["gap"] + 2 * spread
    found = abs(line["gap"]) > 3.2 * spread
    equal = attribute == "age"
    return {
        "attribute": attribute, "level_a": levels[0], "level_b": levels[1], "kind": kind,
        "dimension": dimension, "metric": metric, **line, "p": 0.0005 if found else 0.4,
        "p_adjusted": 0.001 if found else 0.97, "significant": found,
        "standardised_gap": line["gap"] * 0.8 if equal else None,
        "standardised_low": line["low"] * 0.8 if equal else None,
        "standardised_high": line["high"] * 0.8 if equal else None,
        "people_a": 128, "people_b": 141, "note": "",
    }  # fmt: skip


STRENGTHS = (
    ("prediction", 0.2), ("expression", 0.5), ("backbone", 0.8), ("prediction + labels", 0.22),
    ("labels", 0.04),
)  # fmt: skip


def leakage(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Prediction, two features and the control, of each attribute and of identity."""
    rows = []
    for feature, strength in STRENGTHS:
        for attribute in (*LEVELS, "identity"):
            probes = ("verification",) if attribute == "identity" else ("linear", "nonlinear")
            for probe in probes:
                unread = feature == "backbone" and attribute == "glasses"
                cell = around(rng, strength, 0.04, "score")
                rows.append({
                    "feature": feature, "attribute": attribute, "probe": probe,
                    **(dict.fromkeys(cell) if unread else cell), "chance": 0.0,
                    "ceiling": 0.86 if attribute == "skin tone" else 1.0, "people": 412,
                    "note": "fewer than 2 levels with 20 people" if unread else "",
                })  # fmt: skip
    return rows


def information(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Nats of each attribute in each feature."""
    return [
        {
            "attribute": attribute, "feature": feature, **around(rng, nats, 0.02, "nats"), "null_high": 0.021,
            "p": 0.001 if nats > 0.05 else 0.4, "estimator": "classifier, cross-fitted", "note": "",
        }
        for attribute in LEVELS
        for feature, nats in (("prediction", 0.03), ("prediction | labels", 0.02), ("expression", 0.24))
    ]  # fmt: skip


def effects(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Of drawn interventions."""
    return [
        {"attribute": attribute, "dimension": dimension, **around(rng, size, 0.01, "effect")}
        for attribute, size in (
            ("gender", 0.01),
            ("age", -0.08),
            ("skin", 0.0),
            ("facial_hair", 0.05),
            ("ear_size", 0.0),
        )
        for dimension in ("valence", "arousal")
    ]


def circumplex(rng: np.random.Generator) -> list[dict[str, Any]]:
    """RMSE over seven by seven bins of the plane; corners are empty."""
    return [
        {
            "attribute": attribute, "level": level, "valence_bin": i, "arousal_bin": j,
            "valence": (2 * i - 6) / 7, "arousal": (2 * j - 6) / 7, "rows": 120, "people": 40,
            "rmse": float(0.2 + 0.05 * k + 0.02 * abs(i - 3) + 0.02 * rng.random()),
        }
        for attribute, levels in {"everybody": ("everybody",), **LEVELS}.items()
        for k, level in enumerate(levels)
        for i, j in product(range(7), range(7))
        if abs(i - 3) + abs(j - 3) < 5
    ]  # fmt: skip


def data_tables(rng: np.random.Generator) -> dict[str, Any]:
    """Representation and stereotype of a data set whose older people are labelled less pleasant."""
    representation, stereotype, cells = [], [], []
    for attribute, levels in LEVELS.items():
        shares = rng.dirichlet(np.full(len(levels), 3.0))
        for k, (level, share) in enumerate(zip(levels, shares, strict=True)):
            representation.append({
                "attribute": attribute, "level": level, "rows": round(8240 * share),
                "people": round(412 * share), "share": float(share), "evenness": 0.83,
                "effective_number": 2.4,
            })  # fmt: skip
            for dimension, (b, name) in product(("valence", "arousal"), enumerate(BINS)):
                planted = attribute == "age" and dimension == "valence"
                ratio = float(np.exp((0.9 * (1 - k) * (b - 2) / 2 if planted else 0) + 0.03 * rng.normal()))
                expected = float(share) / 5
                cells.append({
                    "attribute": attribute, "level": level, "dimension": dimension, "bin": name,
                    "observed": ratio * expected, "expected": expected, "ratio": ratio,
                    "z": float((ratio - 1) * np.sqrt(8240 * expected)),
                })  # fmt: skip
        for label in ("valence", "arousal", "both"):
            nats = 0.11 if attribute == "age" and label != "arousal" else 0.008
            stereotype.append({
                "attribute": attribute, "label": label, "mutual_information": nats, "null_mean": 0.006,
                "p": 0.0005 if nats > 0.1 else 0.31, "p_adjusted": 0.004 if nats > 0.1 else 0.9,
                "normalised": nats / 1.1,
            })  # fmt: skip
    labels = [row for row in leakage(rng) if row["feature"] == "labels"]
    return {"representation": representation, "stereotype": stereotype, "cells": cells, "leakage": labels}


def comparison(seed: int = 0) -> dict[str, Any]:
    """Gaps of two models on the same faces; the second halves the planted ones."""
    rng = np.random.default_rng(seed)
    rows = []
    for attribute, levels in LEVELS.items():
        for (b, a), dimension, metric in product(pairwise(levels), DIMENSIONS, METRICS):
            size = PLANTED.get((attribute, metric), 0.0)
            rows.append({
                "attribute": attribute, "level_a": a, "level_b": b, "dimension": dimension, "metric": metric,
                **paired(rng, size, "gap"),
            })  # fmt: skip
    return {
        "schema": "idfer.comparison/1",
        "about": {
            "name": "ERM and idfer", "names": ["ERM", "idfer"], "kind": "comparison", "rows": 8240,
            "people": 412, "attributes": list(LEVELS), "command": "",
        },
        "settings": {"level": 0.95, "replicates": 2000, "min_people": 20, "power": 0.8},
        "comparison": rows,
        "accuracy_comparison": [
            {"dimension": d, "metric": m, **paired(rng, 0.1, "value")}
            for d, m in product(DIMENSIONS, METRICS)
        ],
        "checks": [],
        "verdict": VERDICT[:1],
        "environment": {"idfer": "0.2.0"},
    }  # fmt: skip


def paired(rng: np.random.Generator, size: float, what: str) -> dict[str, float]:
    """A number of two models, its difference and p."""
    one = around(rng, size, 0.02)["value"]
    difference = -size / 2 + 0.01 * rng.normal()
    return {
        f"{what}_a": one, f"{what}_b": one + difference, "difference": difference, "low": difference - 0.04,
        "high": difference + 0.04, "p": 0.01, "p_adjusted": 0.003 if abs(difference) > 0.045 else 0.6,
    }  # fmt: skip
