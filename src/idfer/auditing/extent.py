"""What coded checks look at: the range of predictions, and which sources each level's rows come from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from idfer.auditing.moments import Array
from idfer.auditing.sample import Sample

MOST_SOURCES = 50  # more are recordings or persons, which say nothing of groups


class Extent:
    """Adds up chunks.

    Attributes:
        outside: rows with a prediction outside [-1, 1].
        low: (2,) least predictions.
        high: (2,) largest predictions.
        sources: names of sources in order of appearance.
        by_source: per attribute, rows (sources, L) at each level.
    """

    def __init__(self, first: Sample) -> None:
        self.outside = 0
        self.low, self.high = np.full(2, np.inf), np.full(2, -np.inf)
        self.sources: dict[str, int] = {}
        self.by_source = [np.zeros((0, len(a.levels))) for a in first.attributes]

    def add(self, chunk: Sample) -> None:
        """Look at more rows."""
        if chunk.predicted is not None and len(chunk.predicted):
            self.outside += int((np.abs(chunk.predicted) > 1 + 1e-6).any(axis=1).sum())
            self.low = np.minimum(self.low, chunk.predicted.min(axis=0))
            self.high = np.maximum(self.high, chunk.predicted.max(axis=0))
        if chunk.source is None or len(self.sources) > MOST_SOURCES:
            return
        names, index = np.unique(chunk.source.astype(str), return_inverse=True)
        known = np.array([self.sources.setdefault(name, len(self.sources)) for name in names.tolist()])
        of_row: NDArray[np.intp] = known[index.ravel()]
        for k, attribute in enumerate(chunk.attributes):
            part = np.zeros((len(self.sources), len(attribute.levels)))
            np.add.at(part, of_row, np.nan_to_num(attribute.posterior, nan=0.0))
            part[: len(self.by_source[k])] += self.by_source[k]
            self.by_source[k] = part

    @property
    def constant(self) -> NDArray[np.bool_]:
        """(2,) whether all predictions are one number, up to float32 rounding."""
        size = np.maximum(np.abs(self.high), np.abs(self.low))
        return np.asarray(np.isfinite(size) & (self.high - self.low <= 1e-7 * size))

    def apart(self, attribute: int, groups: list[list[int]]) -> float:
        """Largest share of rows by which the sources of two groups differ (total variation), in [0, 1].

        Args:
            attribute: its index.
            groups: indices of the levels that make up each group.
        """
        if not 1 < len(self.sources) <= MOST_SOURCES or len(groups) < 2:
            return 0.0
        by_level = self.by_source[attribute]
        rows: Array = np.stack([by_level[:, levels].sum(axis=1) for levels in groups], axis=1)
        share = rows / np.maximum(rows.sum(axis=0), 1e-300)
        return float(0.5 * np.abs(share[:, :, None] - share[:, None, :]).sum(axis=0).max())
