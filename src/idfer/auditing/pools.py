"""Units: people, or blocks of people with the same attributes when there are very many.

Above `MOST_UNITS` people, those with the same levels of every attribute (at their first row) are put together
by two, then by four, ...: sums of independent people are independent units as well. Because a block has one
set of attributes, blocks of one size can be dealt anew as people are: these are some of the permutations of
people, so tests stay exact. Where attributes vary so much that blocks would stay small, people are dealt into
`POOLS` pools at random instead, and tests change signs (`idfer.auditing.permutation`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_UNITS = 3000
POOLS = 2000
Index = NDArray[np.intp]


class Pools:
    """Which unit each person belongs to.

    Attributes:
        of_person: (P,) unit of each person.
        size: (U,) people in each unit.
        block: people in a full unit; 1 as long as every person is one.
        mixed: whether units are random pools.
    """

    def __init__(self, seed: int) -> None:
        self.of_person: Index = np.zeros(0, np.intp)
        self.size: Index = np.zeros(0, np.intp)
        self.block = 1
        self.mixed = False
        self._cell: Index = np.zeros(0, np.intp)
        self._cells: dict[bytes, int] = {}
        self._rng = np.random.default_rng([seed, 23])

    @property
    def pooled(self) -> bool:
        """Whether units are more than one person."""
        return self.block > 1 or self.mixed

    def admit(self, levels: NDArray[np.int32]) -> Index:
        """Let new people in, by their attributes (n, A); returns the new unit of each unit so far."""
        before = len(self.size)
        if self.mixed:
            self._admit_mixed(len(levels))
            return np.arange(before)
        found, index = np.unique(levels, axis=0, return_inverse=True)
        known = np.array([self._cells.setdefault(row.tobytes(), len(self._cells)) for row in found], np.intp)
        fresh = np.arange(before, before + len(levels))
        self.of_person = np.concatenate([self.of_person, fresh])
        self.size = np.concatenate([self.size, np.ones(len(levels), np.intp)])
        self._cell = np.concatenate([self._cell, known[index.ravel()] if len(levels) else fresh])
        moved = self._pack()
        while len(self.size) > MOST_UNITS:
            if len(self._cells) > MOST_UNITS // 3:
                return self._mix()[moved[:before]]
            self.block *= 2
            moved = self._pack()[moved]
        return moved[:before]

    def _pack(self) -> Index:
        """Put units that are not full together within their cells; returns the new unit of each unit."""
        full = self.size >= self.block
        order = np.lexsort((-self.size, self._cell, full))[: int((~full).sum())]
        cell, size = self._cell[order], self.size[order]
        key = np.arange(len(self.size)) + (1 << 40)  # full units stay as they are
        if len(order):
            end = np.cumsum(size)
            first = np.r_[True, cell[1:] != cell[:-1]]
            offset = np.maximum.accumulate(np.where(first, end - size, 0))
            key[order] = (cell << 20) + (end - offset - 1) // self.block
        names, moved = np.unique(key, return_inverse=True)
        moved = moved.ravel()
        sizes, cells = np.zeros(len(names), np.intp), np.zeros(len(names), np.intp)
        np.add.at(sizes, moved, self.size)
        cells[moved] = self._cell
        self.size, self._cell, self.of_person = sizes, cells, moved[self.of_person]
        return np.asarray(moved)

    def _mix(self) -> Index:
        """Deal all units so far into random pools; returns the new unit of each unit."""
        self.mixed = True
        moved = self._rng.integers(POOLS, size=len(self.size))
        sizes = np.zeros(POOLS, np.intp)
        np.add.at(sizes, moved, self.size)
        self.size, self.of_person = sizes, moved[self.of_person]
        return np.asarray(moved)

    def _admit_mixed(self, count: int) -> None:
        new = self._rng.integers(POOLS, size=count)
        self.of_person = np.concatenate([self.of_person, new])
        np.add.at(self.size, new, 1)
