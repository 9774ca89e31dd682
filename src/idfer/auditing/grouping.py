"""Which groups are shown, and how each attribute is tested: the rules before any number is looked at.

Small levels of an ordered attribute are merged with their smaller neighbour until none is below
`min_people`; other small groups are withheld. How an attribute lies over people decides its test:

    one level per person                 people are dealt anew (`permuted`)
    probabilities, mostly of the person  averaged over each person's rows, then as above
    varies within people, or pools       contributions change sign (`signed`)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from idfer.auditing.structure import OF_PERSON, PeopleSums, Structure

Mode = Literal["permuted", "signed"]
REST = "everybody else"


@dataclass(frozen=True)
class Grouped:
    """A structure as it is shown and tested.

    Attributes:
        structure: with merged levels, and averaged over people where the level is the person's.
        shown: (L,) levels with enough people.
        mode: how it is tested.
        tests: pairs (a, b) of shown levels; b = -1 is everybody else.
    """

    structure: Structure
    shown: NDArray[np.bool_]
    mode: Mode
    tests: tuple[tuple[int, int], ...]

    @property
    def crossing(self) -> bool:
        """Whether several attributes are crossed."""
        return len(self.structure.attributes) > 1

    def side(self, level: int) -> str:
        """Name of one side of a test."""
        return REST if level < 0 else self.structure.labels[level]

    def people_of(self, level: int) -> float:
        """People on one side of a test, those of crossings' other levels for -1."""
        people = self.structure.people
        return float(people[level]) if level >= 0 else float("nan")


def group(sums: PeopleSums, min_people: int) -> list[Grouped]:
    """Merge, withhold and choose tests for every structure of `sums`."""
    plain = {s.name: s for s in sums.structures if len(s.attributes) == 1}
    groups = {name: _merging(s, min_people) for name, s in plain.items()}
    of_person = {name: s.between >= OF_PERSON for name, s in plain.items()}
    return [_grouped(s, groups, of_person, sums.pooled, min_people) for s in sums.structures]


def _grouped(
    structure: Structure,
    groups: dict[str, list[list[int]]],
    of_person: dict[str, bool],
    pooled: bool,
    min_people: int,
) -> Grouped:
    merged = _merged(structure, [groups[name] for name in structure.attributes])
    mode: Mode = "signed"
    if not structure.soft and structure.units_constant:
        mode = "permuted"
    elif structure.soft and not pooled and all(of_person[name] for name in structure.attributes):
        merged, mode = merged.averaged(), "permuted"
    people = merged.people
    shown = people >= min_people
    if len(structure.attributes) == 1:
        at = np.flatnonzero(shown).tolist()
        tests = [(a, b) for i, a in enumerate(at) for b in at[i + 1 :]]
    else:
        tests = [(a, -1) for a in np.flatnonzero(shown).tolist() if rest_people(merged, a) >= min_people]
    return Grouped(merged, shown, mode, tuple(tests))


def rest_people(structure: Structure, level: int) -> float:
    """People at any other level than this one."""
    if structure.counts is None or structure.soft:
        return float(structure.people.sum() - structure.people[level])
    others = structure.counts.sum(axis=1) - structure.counts[:, level]
    return float((others > 1e-6).sum())


def _merged(structure: Structure, groups: Sequence[list[list[int]]]) -> Structure:
    """Apply every attribute's merging to a structure."""
    if len(groups) == 1:
        if all(len(group) == 1 for group in groups[0]):
            return structure
        names = [" or ".join(structure.labels[i] for i in group) for group in groups[0]]
        return structure.merge(groups[0], names)
    if all(len(group) == 1 for of in groups for group in of):
        return structure
    sizes = [sum(len(group) for group in of) for of in groups]
    combined: list[tuple[list[int], tuple[str, ...]]] = [([0], ())]
    for axis, (of, size) in enumerate(zip(groups, sizes, strict=True)):
        names_of = list(dict.fromkeys(level[axis] for level in structure.levels))
        combined = [
            ([i * size + j for i in left for j in group], (*name, " or ".join(names_of[j] for j in group)))
            for left, name in combined
            for group in of
        ]
    out = structure.merge([indices for indices, _ in combined])
    from dataclasses import replace

    return replace(out, levels=tuple(name for _, name in combined))


def _merging(structure: Structure, min_people: int) -> list[list[int]]:
    """Groups of level indices: small neighbours merged where levels are in order."""
    groups = [[i] for i in range(len(structure.levels))]
    if not structure.ordered:
        return groups
    while len(groups) > 1:
        people = structure.merge(groups).people
        small = int(people.argmin())
        if people[small] >= min_people:
            break
        beside = [i for i in (small - 1, small + 1) if 0 <= i < len(groups)]
        other = min(beside, key=lambda i: people[i])
        first, last = min(small, other), max(small, other)
        groups[first : last + 1] = [groups[first] + groups[last]]
    return groups
