"""Error over the plane of labels, by group: where on the plane of valence and arousal somebody is failed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from idfer.auditing.grouping import Grouped
from idfer.auditing.moments import Array
from idfer.auditing.sample import Sample

Row = dict[str, Any]
BINS = 7  # per dimension over [-1, 1]; odd, so that one lies on neutral
EVERYBODY = "everybody"
_HELD = 0.5  # from this probability on, a person counts as seen at a level


class Circumplex:
    """Adds up squared errors by cell and level, and who was seen there."""

    def __init__(self, sizes: list[int]) -> None:
        self._sums = [np.zeros((size * BINS**2, 2)) for size in [1, *sizes]]
        # person * cells of all levels + cell, once each
        self._seen: list[list[NDArray[np.intp]]] = [[] for _ in self._sums]

    def add(self, chunk: Sample, person: NDArray[np.intp], weights: list[Array]) -> None:
        """Add rows with labels and predictions.

        Args:
            chunk: the rows.
            person: (N,) whose each is.
            weights: (N, L) per attribute, 0 where unknown.
        """
        if chunk.label is None or chunk.predicted is None:
            return
        at = np.clip(np.floor((chunk.label + 1) / 2 * BINS).astype(np.intp), 0, BINS - 1)
        cell = at[:, 0] * BINS + at[:, 1]
        square = ((chunk.predicted - chunk.label) ** 2).mean(axis=1)
        for k, weight in enumerate([np.ones((len(cell), 1)), *weights]):
            row, level = np.nonzero(weight)
            where, w = level * BINS**2 + cell[row], weight[row, level]
            size = len(self._sums[k])
            self._sums[k][:, 0] += np.bincount(where, w, size)
            self._sums[k][:, 1] += np.bincount(where, w * square[row], size)
            held = w >= _HELD
            self._seen[k].append(np.unique(person[row][held] * size + where[held]))

    def rows(self, groups: list[Grouped], names: list[tuple[str, tuple[str, ...]]], least: int) -> list[Row]:
        """Rows of the table `circumplex`, cells of fewer than `least` people left out.

        Args:
            groups: of plain attributes, for their merged levels.
            names: name and levels of each attribute, as they were added.
            least: people.
        """
        out = self._of(0, EVERYBODY, [((0,), EVERYBODY)], least)
        by_name = {grouped.structure.name: grouped for grouped in groups if not grouped.crossing}
        for k, (name, levels) in enumerate(names, 1):
            structure, shown = by_name[name].structure, by_name[name].shown
            members = [
                (tuple(levels.index(part) for part in structure.members(i)), structure.labels[i])
                for i in np.flatnonzero(shown).tolist()
            ]
            out += self._of(k, name, members, least)
        return out

    def _of(self, k: int, name: str, members: list[tuple[tuple[int, ...], str]], least: int) -> list[Row]:
        sums = self._sums[k].reshape(-1, BINS**2, 2)
        seen = np.unique(np.concatenate([np.zeros(0, np.intp), *self._seen[k]]))
        person, at = np.divmod(seen, len(self._sums[k]))
        level, place = np.divmod(at, BINS**2)
        centre = (np.arange(BINS) + 0.5) * 2 / BINS - 1
        rows = []
        for group, label in members:
            total = sums[list(group)].sum(axis=0)
            inside = np.isin(level, group)
            once = np.unique(person[inside] * BINS**2 + place[inside])  # at two levels of a group counts once
            people = np.bincount(once % BINS**2, minlength=BINS**2)
            rows += [
                {
                    "attribute": name, "level": label, "valence_bin": int(cell // BINS),
                    "arousal_bin": int(cell % BINS), "valence": float(centre[cell // BINS]),
                    "arousal": float(centre[cell % BINS]), "rows": round(float(total[cell, 0])),
                    "people": int(people[cell]), "rmse": float(np.sqrt(total[cell, 1] / total[cell, 0])),
                }
                for cell in np.flatnonzero(people >= least)
            ]  # fmt: skip
        return rows
