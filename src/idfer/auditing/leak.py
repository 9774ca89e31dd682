"""What probes read of people's attributes: `idfer.evaluation.leakage`, beside what any reading can reach.

Probes are trained on some people and scored on others. Beside each feature stand

- `labels`: the same probes given the labels. A prediction that is right tells of an attribute what the labels
  tell, and no more is a leak;
- `prediction + labels`: above `labels`, the prediction tells of the attribute beyond what the labels do;
- `ceiling`: what a reader who knows everybody's true level would score on these levels, which a classifier
  gave and which are partly wrong (from its probabilities, taken as calibrated); 1 for given levels. A feature
  that shares the classifier's errors can exceed it.

Intervals of probes are at 95 % over people (`evaluation.probe_intervals`; those of identity only over the
people who are told apart, `evaluation.verification`), whatever the audit's level.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from idfer.auditing.grouping import Grouped
from idfer.auditing.moments import Array
from idfer.auditing.sample import Attribute, Sample
from idfer.errors import IdferError

Row = dict[str, Any]
Levels = tuple[list[str], Array]  # names, and (N, L) probabilities with NaN where unknown or withheld


def shown_levels(sample: Sample, groups: Sequence[Grouped]) -> dict[str, Levels]:
    """Each attribute's levels as they are shown: merged, and rows of withheld levels unknown."""
    out: dict[str, Levels] = {}
    by_name = {g.structure.name: g for g in groups if not g.crossing}
    for attribute in sample.attributes:
        grouped = by_name.get(attribute.name)
        out[attribute.name] = (
            (list(attribute.levels), attribute.posterior) if grouped is None else _shown(attribute, grouped)
        )
    return out


def _shown(attribute: Attribute, grouped: Grouped) -> Levels:
    structure = grouped.structure
    names, columns = [], []
    for i, name in enumerate(structure.labels):
        if grouped.shown[i]:
            parts = [attribute.levels.index(part) for part in structure.members(i)]
            columns.append(attribute.posterior[:, parts].sum(axis=1))
            names.append(name)
    if not names:
        return [], np.full((len(attribute.posterior), 0), np.nan)
    kept = np.stack(columns, axis=1)
    total = kept.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return names, np.where(total > 0.5, kept / total, np.nan)


def leakage_rows(
    sample: Sample, levels: dict[str, Levels], probes: Sequence[str], verification: bool, seed: int
) -> list[Row]:
    """Rows of the table `leakage`.

    Args:
        sample: the rows to probe, some thousands.
        levels: from `shown_levels`.
        probes: "linear", "nonlinear" or both.
        verification: whether identity is probed too.
        seed: deals the people and shuffles.
    """
    from idfer.evaluation.leakage import KINDS, Target, leakage
    from idfer.evaluation.probes import check_features

    features: dict[str, Array] = {}
    if sample.predicted is not None:
        features["prediction"] = sample.predicted
    if sample.label is not None:
        features["labels"] = sample.label
        if sample.predicted is not None:
            features["prediction + labels"] = np.concatenate([sample.predicted, sample.label], axis=1)
    features |= {name: np.asarray(part, np.float64) for name, part in sample.features.items()}
    targets, ceilings = {}, {"identity": 1.0}
    soft = {attribute.name: attribute for attribute in sample.attributes}
    for name, (names, posterior) in levels.items():
        top = _names(names, posterior)
        targets[name] = Target(top, soft[name].source)
        ceilings[name] = ceiling(posterior) if soft[name].soft else 1.0
    people = sample.people
    for name, values in features.items():
        try:
            check_features(values, people, name)
        except IdferError as error:
            raise IdferError(f"leakage: {error}") from None
    rows: list[Row] = []
    identity = verification and sample.subject is not None
    kinds = [kind for kind in KINDS if kind in probes]
    found = leakage(features, targets, people, kinds=kinds, identity=identity, seed=seed)
    for leak in found.to_dict("records"):
        measured = np.isfinite(leak["score"])
        rows.append(
            {
                "feature": leak["features"], "attribute": leak["target"], "probe": leak["kind"],
                "score": leak["score"], "low": leak["low"], "high": leak["high"],
                "chance": 0.0 if measured else np.nan,
                "ceiling": ceilings[leak["target"]] if measured else np.nan,
                "people": leak["subjects"] if measured else np.nan, "note": leak["note"],
            }
        )  # fmt: skip
    return rows


def _names(names: Sequence[str], posterior: Array) -> Any:
    """(N,) name of each row's most probable level, "" where nothing is known."""
    if not names:
        return np.full(len(posterior), "")
    known = np.atleast_1d(~np.isnan(posterior).any(axis=1))
    top = np.where(known[:, None], posterior, 0).argmax(axis=1)
    return np.where(known, np.array(list(names), dtype=str).take(top), "")


def ceiling(posterior: Array) -> float:
    """Score (0 chance, 1 perfect) on the most probable levels, of a reader who knows the true ones.

    Args:
        posterior: (N, L) calibrated probabilities of the true level; NaN rows are left out.
    """
    part = posterior[~np.isnan(posterior).any(axis=1)]
    if not len(part) or part.shape[1] < 2:
        return float("nan")
    seen = np.eye(part.shape[1])[part.argmax(axis=1)]
    joint = part.T @ seen  # true level x seen level, in rows
    present = joint.sum(axis=0) > 0
    if present.sum() < 2:
        return float("nan")
    joint = joint[:, present]
    likely = joint / joint.sum(axis=0)  # given the seen level, how often each true one
    # balanced accuracy counts seen levels alike: the best guess maximises the chance among them
    hit = np.zeros(joint.shape[1])
    for true in range(len(likely)):
        hit[int(likely[true].argmax())] += likely[true].max()
    chance = 1 / joint.shape[1]
    return float((hit.mean() - chance) / (1 - chance))
