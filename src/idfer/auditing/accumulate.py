"""Rows in, sums per unit out: an audit's data shrink to a few numbers per person and level.

Chunks of rows are added one after another, so that a million rows never lie in memory at once. Units are
people (rows, where people are unknown), or blocks of people where there are very many (`pools`).
"""

from __future__ import annotations

from itertools import combinations
from math import prod
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from idfer.auditing.circumplex import Circumplex
from idfer.auditing.moments import COLUMNS, Array, row_sums
from idfer.auditing.pools import MOST_UNITS, Pools
from idfer.auditing.sample import Attribute, Sample
from idfer.auditing.structure import PeopleSums, Structure
from idfer.errors import IdferError

_T = TypeVar("_T", bound=np.generic)


class Accumulator:
    """Adds up chunks of a sample that has predictions.

    Args:
        first: the first chunk; it tells the attributes, and its labels where the plane is cut into cells.
        order: largest number of attributes that are crossed.
        bins: cells per dimension of the label plane, cut at quantiles; for gaps at equal labels.
        seed: deals people into pools.
    """

    def __init__(self, first: Sample, order: int = 2, bins: int = 4, seed: int = 0) -> None:
        self._attributes = first.attributes
        self._labelled = first.label is not None
        self._known = first.subject is not None
        anchor = first.label if first.label is not None else first.predicted
        if anchor is None:
            raise IdferError("nothing to add up: neither labels nor predictions.")
        self._centre = anchor.mean(axis=0)
        inner = np.linspace(0, 1, bins + 1)[1:-1]
        self._edges = [np.unique(np.quantile(anchor[:, i], inner)) for i in range(2)]
        self._cells = (len(self._edges[0]) + 1) * (len(self._edges[1]) + 1)
        plain = len(first.attributes)
        self._sets = [c for k in range(1, order + 1) for c in combinations(range(plain), k)]
        self._sizes = [prod(len(first.attributes[i].levels) for i in chosen) for chosen in self._sets]
        self._soft = [any(first.attributes[i].soft for i in chosen) for chosen in self._sets]
        self._names: dict[str, int] = {}
        self._people = self._rows = 0
        self._pools = Pools(seed)
        self._total = np.zeros((0, COLUMNS))
        self._sums = [np.zeros((0, size * COLUMNS)) for size in self._sizes]
        self._heads = [np.zeros(size) for size in self._sizes]
        self._counts: list[NDArray[np.float32]] | None = None  # of people, once units are pools
        self.circumplex = Circumplex([len(a.levels) for a in first.attributes])
        gridded = plain if self._labelled else 0
        self._grid = [np.zeros((0, self._sizes[i] * self._cells * COLUMNS)) for i in range(gridded)]
        softly = [i for i in range(plain) if first.attributes[i].soft]
        self._products = {i: np.zeros((self._sizes[i], self._sizes[i])) for i in softly}

    def add(self, chunk: Sample) -> None:
        """Add rows; attributes must be those of the first chunk.

        Raises:
            IdferError: other attributes, or no predictions.
        """
        if chunk.predicted is None:
            raise IdferError("a chunk without predictions cannot be added up.")
        if [(a.name, a.levels) for a in chunk.attributes] != [(a.name, a.levels) for a in self._attributes]:
            raise IdferError("this chunk has other attributes or levels than the first; give the same.")
        if (chunk.label is None) == self._labelled or (chunk.subject is None) == self._known:
            raise IdferError(
                "this chunk has labels or subjects where the first has not, or none where it has."
            )
        unit, person = self._index(chunk)
        rows = row_sums(chunk.label, chunk.predicted, self._centre)
        self._rows += len(rows)
        _add(self._total, unit, rows)
        weights = [np.nan_to_num(a.posterior, nan=0.0) for a in chunk.attributes]
        cell = self._cell(chunk)
        self.circumplex.add(chunk, person, weights)
        for k, chosen in enumerate(self._sets):
            at = weights[chosen[0]]
            for i in chosen[1:]:
                at = (at[:, :, None] * weights[i][:, None, :]).reshape(len(rows), -1)
            row, level = np.nonzero(at)
            weight, size = at[row, level], self._sizes[k]
            _add(self._sums[k].reshape(-1, COLUMNS), unit[row] * size + level, rows, row, weight)
            self._heads[k] += at.sum(axis=0) if self._soft[k] else (at > 0).sum(axis=0)
            if self._counts is not None and self._known:
                np.add.at(self._counts[k], (person[row], level), weight.astype(np.float32))
            if k < len(self._grid):
                where = (unit[row] * size + level) * self._cells + cell[row]
                _add(self._grid[k].reshape(-1, COLUMNS), where, rows, row, weight)
            if k in self._products:
                self._products[k] += at.T @ at

    def finish(self) -> PeopleSums:
        """The sums of everything added."""
        units = len(self._pools.size)
        structures = []
        for k, chosen in enumerate(self._sets):
            of = [self._attributes[i] for i in chosen]
            sums = self._sums[k][:units].reshape(units, self._sizes[k], COLUMNS)
            counts = None
            if self._counts is not None and self._known:
                counts = self._counts[k][: self._people]
            elif not self._pools.pooled:
                counts = sums[..., 0].astype(np.float32)
            grid = self._grid[k][:units] if k < len(self._grid) else None
            structures.append(
                Structure(
                    attributes=tuple(a.name for a in of),
                    levels=_crossed(of),
                    soft=self._soft[k],
                    ordered=len(of) == 1 and of[0].ordered,
                    sums=sums,
                    counts=counts,
                    heads=self._heads[k],
                    products=self._products.get(k),
                    grid=None if grid is None else grid.reshape(units, self._sizes[k], -1, COLUMNS),
                )
            )
        return PeopleSums(
            self._total[:units], tuple(structures), self._rows, self._people, self._known,
            self._pools.pooled, self._pools.size, self._labelled, self._centre,
        )  # fmt: skip

    def _cell(self, chunk: Sample) -> NDArray[np.intp]:
        if chunk.label is None:
            return np.zeros(len(chunk.key), np.intp)
        first, second = (np.searchsorted(self._edges[i], chunk.label[:, i], side="right") for i in range(2))
        return np.asarray(first * (len(self._edges[1]) + 1) + second)

    def _index(self, chunk: Sample) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Unit and person of each row; new people are let in."""
        before = self._people
        if chunk.subject is None:
            person = before + np.arange(len(chunk.key))
            self._people += len(chunk.key)
        else:
            found, index = np.unique(chunk.subject.astype(str), return_inverse=True)
            known = [self._names.setdefault(name, len(self._names)) for name in found.tolist()]
            person = np.asarray(known, np.intp)[index.ravel()]
            self._people = len(self._names)
        names, first = np.unique(person, return_index=True)
        first = first[names >= before]
        columns = [
            a.posterior[first].argmax(axis=1) * a.known[first] - ~a.known[first] for a in chunk.attributes
        ]
        levels = np.stack([np.zeros(len(first)), *columns], axis=1).astype(np.int32)
        pooled, units = self._pools.pooled, len(self._pools.size)
        moved = self._pools.admit(levels)
        if self._pools.pooled and not pooled:
            self._counts = [part[:units, ::COLUMNS].astype(np.float32) for part in self._sums]
        if not np.array_equal(moved, np.arange(units)):
            self._fold(moved)
        self._grow(len(self._pools.size))
        if self._counts is not None and self._known:
            self._counts = [_grown(part, self._people) for part in self._counts]
        return self._pools.of_person[person], person

    def _fold(self, moved: NDArray[np.intp]) -> None:
        """Add up units that became one."""
        units = len(self._pools.size)
        self._total = _dealt(self._total, moved, units)
        self._sums = [_dealt(part, moved, units) for part in self._sums]
        self._grid = [_dealt(part, moved, units) for part in self._grid]

    def _grow(self, units: int) -> None:
        """Room for every unit."""
        if units > len(self._total):
            room = max(units, min(2 * len(self._total), MOST_UNITS))
            self._total = _grown(self._total, room)
            self._sums = [_grown(part, room) for part in self._sums]
            self._grid = [_grown(part, room) for part in self._grid]


def _crossed(attributes: list[Attribute]) -> tuple[tuple[str, ...], ...]:
    """Levels of a crossing, the last attribute's fastest."""
    levels: list[tuple[str, ...]] = [()]
    for attribute in attributes:
        levels = [(*level, name) for level in levels for name in attribute.levels]
    return tuple(levels)


def _add(
    total: Array,
    where: NDArray[np.intp],
    rows: Array,
    chosen: NDArray[np.intp] | None = None,
    weight: Array | None = None,
) -> None:
    """total[where] += weight * rows[chosen], as a sparse product."""
    from scipy.sparse import csr_array

    names, index = np.unique(where, return_inverse=True)
    column = np.arange(len(rows)) if chosen is None else chosen
    value = np.ones(len(column)) if weight is None else weight
    matrix = csr_array((value, (index.ravel(), column)), shape=(len(names), len(rows)))
    total[names] += matrix @ rows


def _dealt(part: Array, moved: NDArray[np.intp], units: int) -> Array:
    """Sums of units, added up where they became one."""
    out = np.zeros((units, part.shape[1]))
    np.add.at(out, moved, part[: len(moved)])
    return out


def _grown(part: NDArray[_T], room: int) -> NDArray[_T]:
    """The same with zeros up to `room` units."""
    if room <= len(part):
        return part
    return np.concatenate([part, np.zeros((room - len(part), *part.shape[1:]), part.dtype)])
