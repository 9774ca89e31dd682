"""Stereotype: what labels tell of attributes in a data set, before any model has learnt it as a shortcut.

Labels are cut into `BINS` equal bins of valence and of arousal; joint counts of bin b and level k give

    mutual information   I = sum_bk p_bk ln(p_bk / (p_b p_k)) nats
    normalised           (I - I_0) / (min(H_b, H_k) - I_0), not below 0; 1: one tells the other
    Cramer's V           sqrt(phi^2 / min(B - 1, K - 1)), phi^2 = sum p_bk^2 / (p_b p_k) - 1

where I_0 is the mean of I over permutations of people: counts of finitely many people are never quite
independent, so I alone is too large, and larger the fewer people. A permutation gives every person the
attribute of another; where an attribute varies within a person, a face gets that of a random face of the
other person. The p-value is the share of permutations with as much information.

Per cell: `observed` and `expected` share of faces, their `ratio`, `z` (the difference in standard deviations
of the permutations), and Ducher's Z in [-1, 1] (1: as much together as can be, -1: as little, 0:
independent), which Dominguez-Catena, Paternain & Galar (TPAMI 2024) keep as the local metric beside Cramer's
V as the global one (Ducher et al., 1994).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idfer.auditing.engine import AuditSettings
from idfer.auditing.representation import people_of
from idfer.auditing.sample import DIMENSIONS, Attribute, Sample
from idfer.auditing.tables import table
from idfer.evaluation.multiplicity import holm

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

BINS = 5
BOTH = "both"
_CELLS = 40_000_000  # faces x levels looked at in permutations within people, at most
_LEAST = 200  # permutations, whatever the size
_MARGIN = 2  # times as many as the clearest of associations needs to be told from chance


@dataclass(frozen=True)
class _Labels:
    """The labels' cells: of each face, and how they add up to those of one dimension.

    Attributes:
        cell: (n,) cell of each face on the grid of valence and arousal.
    """

    cell: NDArray[np.intp]

    def of(self, joint: Array, label: str) -> Array:
        """(B, K) counts of one dimension's bins, or of all cells, from (..., BINS * BINS, K)."""
        if label == BOTH:
            return joint
        grid = joint.reshape(*joint.shape[:-2], BINS, BINS, joint.shape[-1])
        summed: Array = grid.sum(axis=-2 if label == "valence" else -3)
        return summed


def stereotype(sample: Sample, settings: AuditSettings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables `stereotype` and `cells` of a sample (see `tables.COLUMNS`); empty without labels.

    Groups of fewer people than `settings.min_people` take part in the information of their attribute, and
    have no cells.
    """
    rows: list[dict[str, Any]] = []
    cells: list[dict[str, Any]] = []
    if sample.label is not None:
        edges = np.linspace(-1, 1, BINS + 1)
        index = np.clip(np.digitize(sample.label, edges[1:-1]), 0, BINS - 1)
        labels = index[:, 0] * BINS + index[:, 1]
        people = sample.people
        tests = len((*DIMENSIONS, BOTH)) * len(sample.attributes)
        needed = math.ceil(_MARGIN * tests / (1 - settings.level))  # Holm's first step
        for k, attribute in enumerate(sample.attributes):
            rng = np.random.default_rng([settings.seed, 31, k])
            _one(attribute, labels, people, settings, needed, rng, rows, cells)
        adjusted = holm([row["p"] for row in rows])
        for row, p in zip(rows, adjusted, strict=True):
            row["p_adjusted"] = p
    return table("stereotype", rows), table("cells", cells)


def _one(
    attribute: Attribute, cell: NDArray[np.intp], people: NDArray[np.intp], settings: AuditSettings,
    needed: int, rng: np.random.Generator, rows: list[dict[str, Any]], cells: list[dict[str, Any]],
) -> None:  # fmt: skip
    """The rows of one attribute in both tables."""
    known = attribute.known
    posterior = attribute.posterior[known]
    labels = _Labels(cell[known])
    _, person = np.unique(people[known], return_inverse=True)
    joint, null = _counts(posterior, labels.cell, person, settings.permutations, needed, rng)
    shown = people_of(attribute, people) >= settings.min_people
    for label in (*DIMENSIONS, BOTH):
        observed, permuted = labels.of(joint, label), labels.of(null, label)
        information, chance = mutual_information(observed), mutual_information(permuted)
        mean = float(chance.mean())
        most = min(_entropy(observed.sum(axis=0)), _entropy(observed.sum(axis=1)))
        rows.append(
            {
                "attribute": attribute.name,
                "label": label,
                "mutual_information": float(information),
                "null_mean": mean,
                "null_high": float(np.quantile(chance, settings.level)),
                "p": float((1 + (chance >= information - 1e-12).sum()) / (1 + len(chance))),
                "normalised": max(0.0, (float(information) - mean) / (most - mean))
                if most > mean
                else np.nan,
                "cramers_v": cramers_v(observed),
            }
        )
        if label == BOTH:
            continue
        share = observed / observed.sum()
        alone = np.outer(share.sum(axis=1), share.sum(axis=0))
        spread = (permuted / observed.sum()).std(axis=0)
        centre = (permuted / observed.sum()).mean(axis=0)
        ducher = ducher_z(share)
        for i, level in enumerate(attribute.levels):
            if not shown[i]:
                continue
            for b in range(BINS):
                expected = float(alone[b, i])
                off = float(share[b, i] - centre[b, i])
                cells.append(
                    {
                        "attribute": attribute.name,
                        "level": level,
                        "dimension": label,
                        "bin": bin_name(b),
                        "observed": float(share[b, i]),
                        "expected": expected,
                        "ratio": float(share[b, i]) / expected if expected > 0 else np.nan,
                        "z": off / float(spread[b, i]) if spread[b, i] > 0 else np.nan,
                        "ducher": float(ducher[b, i]),
                    }
                )


def _counts(
    posterior: Array,
    cell: NDArray[np.intp],
    person: NDArray[np.intp],
    permutations: int,
    needed: int,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Joint counts of cells and levels (C, K), and of R permutations of people (R, C, K).

    R is `permutations`; fewer where that takes too long, but never fewer than `needed`.
    """
    permutations = max(permutations, needed)
    cells, levels, count = BINS * BINS, posterior.shape[1], int(person.max()) + 1
    joint: Array = np.stack([np.bincount(cell, column, cells) for column in posterior.T], axis=1)
    joint = joint.astype(np.float64)
    order = np.argsort(person, kind="stable")
    number = np.bincount(person, minlength=count)
    start = np.concatenate([[0], np.cumsum(number)[:-1]])
    first = posterior[order[start]]
    if np.abs(posterior - first[person]).max() < 1e-9:  # the same within each person: people alone matter
        by_person = np.bincount(person * cells + cell, minlength=count * cells).reshape(count, cells)
        by_person = by_person.astype(np.float64)
        null = np.stack([by_person.T @ first[rng.permutation(count)] for _ in range(permutations)])
        return joint, np.asarray(null, np.float64)
    runs = int(np.clip(_CELLS // posterior.size, max(_LEAST, needed), permutations))
    null = np.empty((runs, cells, levels))
    own, shown = person[order], cell[order]
    for r in range(runs):
        donor = rng.permutation(count)[own]
        face = order[start[donor] + (rng.random(len(own)) * number[donor]).astype(np.intp)]
        for k in range(levels):
            null[r, :, k] = np.bincount(shown, posterior[face, k], cells)
    return joint, null


def mutual_information(joint: Array) -> Array:
    """Plug-in mutual information (...) in nats of counts (..., B, K)."""
    p = joint / joint.sum(axis=(-2, -1), keepdims=True)
    alone = p.sum(axis=-1, keepdims=True) * p.sum(axis=-2, keepdims=True)
    ratio = np.divide(p, alone, out=np.ones_like(p), where=p > 0)
    found: Array = (p * np.log(ratio)).sum(axis=(-2, -1))
    return found


def cramers_v(joint: Array) -> float:
    """Cramer's V of counts (B, K), empty bins and levels left out; nan where one of either is left."""
    joint = joint[joint.sum(axis=1) > 0][:, joint.sum(axis=0) > 0]
    if min(joint.shape) < 2:
        return float("nan")
    p = joint / joint.sum()
    phi = float((p**2 / np.outer(p.sum(axis=1), p.sum(axis=0))).sum() - 1)
    return float(np.sqrt(max(phi, 0.0) / (min(joint.shape) - 1)))


def ducher_z(p: Array) -> Array:
    """(B, K) Ducher's Z of joint shares (B, K): the departure from independence over the largest possible."""
    rows, columns = p.sum(axis=1, keepdims=True), p.sum(axis=0, keepdims=True)
    alone = rows * columns
    above, below = np.minimum(rows, columns) - alone, alone - np.maximum(0.0, rows + columns - 1)
    off = p - alone
    most = np.where(off > 0, above, below)
    found: Array = np.divide(off, most, out=np.zeros_like(p), where=most > 1e-12)
    return found


def bin_name(index: int) -> str:
    """A bin as "-1.0 to -0.6"."""
    edges = np.linspace(-1, 1, BINS + 1)
    return f"{edges[index]:.1f} to {edges[index + 1]:.1f}"


def _entropy(counts: Array) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())
