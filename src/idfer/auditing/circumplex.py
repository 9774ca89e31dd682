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
    """Adds up squared errors by cell and level; people are counted by unit (person or pool of people)."""

    def __init__(self, sizes: list[int]) -> None:
        self._sums = [np.zeros((size * BINS**2, 2)) for size in [1, *sizes]]
        self._seen = [np.zeros((0, size * BINS**2), bool) for size in [1, *sizes]]

    def add(self, chunk: Sample, unit: NDArray[np.intp], units: int, weights: list[Array]) -> None:
        """Add rows with labels and predictions; `weights` (N, L) per attribute, 0 where unknown."""
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
            if units > len(self._seen[k]):
                more = np.zeros((units - len(self._seen[k]), size), bool)
                self._seen[k] = np.concatenate([self._seen[k], more])
            held = w >= _HELD
            self._seen[k][unit[row][held], where[held]] = True

    def fold(self, pool: NDArray[np.intp], pools: int) -> None:
        """People become pools of people."""
        for k, seen in enumerate(self._seen):
            folded = np.zeros((pools, seen.shape[1]), bool)
            np.logical_or.at(folded, pool, seen[: len(pool)])
            self._seen[k] = folded

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
                (tuple(levels.index(part) for part in (merged or (label,))), label)
                for label, merged, show in zip(
                    structure.labels, structure.merged or ((),) * len(shown), shown, strict=True
                )
                if show
            ]
            out += self._of(k, name, members, least)
        return out

    def _of(self, k: int, name: str, members: list[tuple[tuple[int, ...], str]], least: int) -> list[Row]:
        sums = self._sums[k].reshape(-1, BINS**2, 2)
        seen = self._seen[k].reshape(len(self._seen[k]), -1, BINS**2)
        centre = (np.arange(BINS) + 0.5) * 2 / BINS - 1
        rows = []
        for group, label in members:
            total = sums[list(group)].sum(axis=0)
            people = seen[:, list(group)].any(axis=1).sum(axis=0)
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
