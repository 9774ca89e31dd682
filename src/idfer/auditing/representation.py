"""Representation: how many faces and people of each group a data set has, and how evenly.

Per attribute with shares q_k of its K levels, over people where they are known (a person with many faces is
still one person), else over faces; soft levels count by their probability:

    effective number   exp(H),  H = -sum_k q_k ln q_k     so many equally large groups would be as diverse
    evenness           H / ln K                           1: all alike, 0: one group alone
    dominance          max_k q_k                          share of the largest group

Effective number and evenness are the pair that Dominguez-Catena, Paternain & Galar (Metrics for dataset
demographic bias: a case study on facial expression recognition, TPAMI 2024) keep of seventeen such metrics,
the others being redundant on 20 data sets; the indices are Hill's (1973) and Pielou's (1966).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idfer.auditing.sample import Attribute, Sample
from idfer.auditing.tables import table

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


def representation(sample: Sample, min_people: int = 0) -> pd.DataFrame:
    """The table `representation` of a sample (see `tables.COLUMNS`).

    A row per attribute and level: `rows` and `people` (of the most probable level, for people that of their
    mean probabilities where these are a classifier's; None where people are unknown), `share` of all that
    are known, and per attribute `evenness`, `effective_number` and `dominance`. Groups of fewer than
    `min_people` people (rows, where people are unknown) are named, and their numbers withheld (NaN).
    """
    rows: list[dict[str, Any]] = []
    people = sample.people
    for attribute in sample.attributes:
        weights = level_weights(attribute, people if sample.subject is not None else None)
        share = weights / weights.sum()
        evenness, effective = diversity(share)
        top = attribute.top
        counted = people_of(attribute, people)
        for i, level in enumerate(attribute.levels):
            few = counted[i] < min_people
            rows.append(
                {
                    "attribute": attribute.name,
                    "level": level,
                    "rows": np.nan if few else int((top == i).sum()),
                    "people": None if sample.subject is None else np.nan if few else int(counted[i]),
                    "share": np.nan if few else float(share[i]),
                    "evenness": evenness,
                    "effective_number": effective,
                    "dominance": float(share.max()),
                }
            )
    return table("representation", rows)


def people_of(attribute: Attribute, people: NDArray[np.intp]) -> NDArray[np.intp]:
    """(L,) people at each level; who has faces at several counts at each, unless a classifier says so."""
    levels = len(attribute.levels)
    if not attribute.soft:
        return np.array([len(np.unique(people[attribute.top == i])) for i in range(levels)], np.intp)
    known = attribute.known
    _, index = np.unique(people[known], return_inverse=True)
    total = np.stack([np.bincount(index, column) for column in attribute.posterior[known].T], axis=1)
    return np.bincount(total.argmax(axis=1), minlength=levels)


def level_weights(attribute: Attribute, people: NDArray[np.intp] | None) -> Array:
    """(L,) how much of each level there is: people by the mean of their faces, or faces."""
    known = attribute.known
    posterior = attribute.posterior[known]
    if people is None:
        total: Array = posterior.sum(axis=0)
        return total
    _, index = np.unique(people[known], return_inverse=True)
    count = np.bincount(index)
    means = np.stack([np.bincount(index, column) / count for column in posterior.T], axis=1)
    weights: Array = means.sum(axis=0)
    return weights


def diversity(share: Array) -> tuple[float, float]:
    """Evenness and effective number of groups of shares (K,) that sum to 1; evenness nan for one group."""
    positive = share[share > 0]
    entropy = float(-(positive * np.log(positive)).sum())
    evenness = entropy / float(np.log(len(share))) if len(share) > 1 else float("nan")
    return evenness, float(np.exp(entropy))
