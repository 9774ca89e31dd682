"""One attribute, or a crossing of several, with every person's sums at each of its levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Share of a soft attribute's variance that must lie between people for it to be taken as a property of the
# person: from one half on a row's probability says more of the person than of the picture.
OF_PERSON = 0.5


@dataclass(frozen=True)
class Structure:
    """Sums of units (people, or pools of them) at the L levels of an attribute or a crossing.

    Attributes:
        attributes: names of what is crossed; one for a plain attribute.
        levels: L tuples, a level's name per attribute.
        soft: whether any of them is given as probabilities.
        ordered: whether the levels (of a plain attribute) are in order.
        sums: (U, L, 11) weighted sums of `moments.row_sums` of every unit at every level.
        counts: (P, L) weighted rows of every person; None where every row is a person of its own.
        heads: (L,) people at each level where `counts` is None.
        products: (L, L) sums over rows of the product of two levels' weights, of a plain soft attribute.
        grid: (U, L, B, 11) sums by cell of the label plane, of a plain attribute with labels.
        merged: per level, the names it was merged from; empty tuples where it was not.
    """

    attributes: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    soft: bool
    ordered: bool
    sums: Array
    counts: NDArray[np.float32] | None
    heads: Array
    products: Array | None = None
    grid: Array | None = None
    merged: tuple[tuple[str, ...], ...] = ()

    @property
    def name(self) -> str:
        """The attribute's name, or "age x gender"."""
        return " x ".join(self.attributes)

    @property
    def labels(self) -> list[str]:
        """Names of the levels: "older", or "older, women's presentation"."""
        return [", ".join(level) for level in self.levels]

    def members(self, level: int) -> tuple[str, ...]:
        """Names of the attribute's levels that one stands for: its own, or those it was merged from."""
        return (self.merged[level] if self.merged else ()) or (self.labels[level],)

    @property
    def people(self) -> Array:
        """(L,) people at each level: who has a row there, or the sum of people's probabilities."""
        if self.counts is None:
            return self.heads
        if not self.soft:
            return np.asarray((self.counts > 0).sum(axis=0), np.float64)
        known = np.maximum(self.counts.sum(axis=1, keepdims=True), 1e-300)
        return np.asarray((self.counts / known).sum(axis=0), np.float64)

    @property
    def rows(self) -> Array:
        """(L,) rows at each level; sums of probabilities where they are soft."""
        return np.asarray(self.sums[..., 0].sum(axis=0))

    @property
    def constant(self) -> bool:
        """Whether nobody is at two levels."""
        if self.counts is None:
            return not self.soft
        return bool(((self.counts > 0).sum(axis=1) <= 1).all())

    @property
    def units_constant(self) -> bool:
        """Whether no unit is at two levels."""
        return bool(((self.sums[..., 0] > 0).sum(axis=1) <= 1).all())

    @property
    def varying_people(self) -> int:
        """How many people have rows at several levels."""
        return 0 if self.counts is None else int(((self.counts > 0).sum(axis=1) > 1).sum())

    @property
    def between(self) -> float:
        """Share of the weights' variance that lies between people, in [0, 1]; 1 for a constant attribute."""
        if self.products is None:
            return 1.0 if self.constant else 0.0
        n = self.sums[..., 0]
        known = np.maximum(n.sum(axis=1, keepdims=True), 1e-300)
        mean = n.sum(axis=0) / max(n.sum(), 1e-300)
        squares = float(np.trace(self.products))
        total = squares - float(n.sum() * (mean**2).sum())
        inside = squares - float((n**2 / known).sum())
        return float(1 - inside / total) if total > 0 else 0.0

    def averaged(self) -> Structure:
        """The same with each unit's probabilities averaged over its rows: the level is the person's.

        A person's sums at a level become its share of that level times all its sums.
        """
        n = self.sums[..., 0]
        share = n / np.maximum(n.sum(axis=1, keepdims=True), 1e-300)
        grid = None
        if self.grid is not None:
            grid = share[:, :, None, None] * self.grid.sum(axis=1, keepdims=True)
        return replace(self, sums=share[..., None] * self.sums.sum(axis=1, keepdims=True), grid=grid)

    def merge(self, groups: Sequence[Sequence[int]], names: Sequence[str] | None = None) -> Structure:
        """Levels added up in groups of indices; `names` of a plain attribute's new levels."""
        member = np.zeros((len(groups), len(self.levels)))
        for row, group in zip(member, groups, strict=True):
            row[list(group)] = 1
        counts = None if self.counts is None else (self.counts @ member.T.astype(np.float32))
        levels = [self.levels[group[0]] for group in groups] if names is None else [(name,) for name in names]
        return replace(
            self,
            levels=tuple(levels),
            sums=np.einsum("ml,ulk->umk", member, self.sums),
            counts=counts,
            heads=member @ self.heads,
            products=None if self.products is None else member @ self.products @ member.T,
            grid=None if self.grid is None else np.einsum("ml,ulbk->umbk", member, self.grid),
            merged=tuple(
                tuple(", ".join(self.levels[i]) for i in group) if len(group) > 1 else () for group in groups
            ),
        )


@dataclass(frozen=True)
class PeopleSums:
    """What is left of the rows.

    Attributes:
        total: (U, 11) sums of every unit over all rows.
        structures: plain attributes first, then crossings.
        rows: how many rows were added.
        people: how many people; rows where they are unknown.
        known: whether people are known.
        pooled: whether units are blocks or pools of people.
        sizes: (U,) people in each unit.
        labelled: whether there are labels.
        centre: (2,) what labels and predictions were shifted by.
    """

    total: Array
    structures: tuple[Structure, ...]
    rows: int
    people: int
    known: bool
    pooled: bool
    sizes: NDArray[np.intp]
    labelled: bool
    centre: Array
