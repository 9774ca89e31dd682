"""Which pairs of an attribute's levels are compared between two audits, and what is said of the others."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from idfer.auditing.checks import Check
from idfer.auditing.sample import Sample

_NAMED = 4  # pairs and levels that a message names


def people_at(sample: Sample) -> list[NDArray[np.intp]]:
    """Per attribute, (L,) people with a face whose most probable level it is."""
    return [
        np.array([len(np.unique(sample.people[each.top == k])) for k in range(len(each.levels))], np.intp)
        for each in sample.attributes
    ]


def compared(people: NDArray[np.intp], least: int) -> list[tuple[int, int]]:
    """Pairs of levels with at least so many people each."""
    return [pair for pair in combinations(range(len(people)), 2) if people[list(pair)].min() >= least]


def left_out_checks(sample: Sample, least: int) -> Iterator[Check]:
    """A check per attribute with pairs that are not compared: how many, which, and why (IDF330)."""
    units = "people" if sample.subject is not None else "faces"
    for attribute, people in zip(sample.attributes, people_at(sample), strict=True):
        kept = compared(people, least)
        lost = [pair for pair in combinations(range(len(people)), 2) if pair not in kept]
        if not lost:
            continue
        named = [f"{attribute.levels[i]} - {attribute.levels[j]}" for i, j in lost]
        few = [level for level, count in zip(attribute.levels, people, strict=True) if count < least]
        yield Check(
            "IDF330", "info" if kept else "warning",
            f"{attribute.name}: {len(lost)} of {len(lost) + len(kept)} pairs of levels "
            f"{'is' if len(lost) == 1 else 'are'} not compared ({_listed(named, '; ')}): "
            f"{_listed(few, ', ')} {'has' if len(few) == 1 else 'have'} fewer than {least} {units} among the "
            "faces that both audits have.", attribute.name,
        )  # fmt: skip


def _listed(names: list[str], between: str) -> str:
    more = len(names) - _NAMED
    return between.join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
