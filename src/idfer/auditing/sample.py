"""What is audited: predictions, labels, people and their attributes, as arrays. No model, no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idfer.errors import IdferError

Array = NDArray[np.float64]

DIMENSIONS = ("valence", "arousal")


@dataclass(frozen=True)
class Attribute:
    """One attribute of the people, with a probability of each level per row.

    Attributes:
        name: what it is, e.g. "age".
        levels: L names of levels, in respectful words; in order where `ordered`.
        posterior: (N, L) probability of each level, rows sum to 1; one-hot where levels are known, a row of
            NaN where nothing is known of it.
        soft: whether the probabilities are a classifier's (CLIP), not given levels.
        source: where the levels come from: "ground truth", "given", "retrieved by CLIP ViT-B-16/openai",
            "binned by quantiles of age".
        ordered: whether neighbouring levels are alike (age), so that small ones may be merged.
    """

    name: str
    levels: tuple[str, ...]
    posterior: Array
    soft: bool
    source: str
    ordered: bool = False

    def __post_init__(self) -> None:
        shape = self.posterior.shape
        if len(shape) != 2 or shape[1] != len(self.levels):
            raise IdferError(
                f"{self.name}: posterior has shape {shape}, but there are {len(self.levels)} levels; "
                "give one column per level."
            )
        if len(set(self.levels)) != len(self.levels):
            raise IdferError(f"{self.name}: two levels have the same name; name them apart.")
        part = self.posterior[self.known]
        wrong = (part < 0).any(axis=1) | (np.abs(part.sum(axis=1) - 1) > 1e-6)
        if wrong.any():
            row = int(np.flatnonzero(self.known)[np.flatnonzero(wrong)[0]])
            raise IdferError(
                f"{self.name}: the probabilities of row {row} are {self.posterior[row].tolist()} "
                f"({int(wrong.sum())} such rows); they must be >= 0 and sum to 1, or all be NaN (unknown)."
            )

    @property
    def known(self) -> NDArray[np.bool_]:
        """(N,) whether anything is known of the row: NaN anywhere in it is unknown."""
        return np.asarray(~np.isnan(self.posterior).any(axis=1))

    @property
    def top(self) -> NDArray[np.intp]:
        """(N,) index of the most probable level, -1 where it is unknown."""
        known = self.known
        best = np.where(known[:, None], self.posterior, -1.0).argmax(axis=1)
        return np.where(known, best, -1)


@dataclass(frozen=True)
class Sample:
    """Everything an audit is made of; row i of every array is the same face.

    Attributes:
        key: (N,) file paths or ids, unique.
        label: (N, 2) valence, arousal in [-1, 1]; None without labels (then leakage, and gaps of the mean
            prediction, are all there is).
        predicted: (N, 2) the same of a model; None for a data set before any model.
        subject: (N,) whose face it is; None where people are unknown: every row is then a unit (IDF301).
        attributes: of the people.
        features: (N, D) arrays of the model by name.
        source: (N,) data set or recording of each row, to see groups that are confounded with it; None.
        interventions: `anova.Invariance.to_dict()` of a model on a full cross of drawn faces, and `warning`.
    """

    key: NDArray[Any]
    label: Array | None
    predicted: Array | None
    subject: NDArray[Any] | None
    attributes: tuple[Attribute, ...]
    features: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    source: NDArray[Any] | None = None
    interventions: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        rows = len(self.key)
        if not rows:
            raise IdferError("no rows to audit.")
        for name, values in (("label", self.label), ("predicted", self.predicted)):
            if values is None:
                continue
            if values.shape != (rows, 2):
                raise IdferError(
                    f"{name}: shape {values.shape} for {rows} rows; give valence and arousal of each."
                )
            if (bad := np.flatnonzero(~np.isfinite(values).all(axis=1))).size:
                raise IdferError(
                    f"{name}: row {bad[0]} ({self.key[bad[0]]}) is not finite ({bad.size} such rows); "
                    "drop these rows."
                )
        if self.label is not None and np.abs(self.label).max() > 1:
            raise IdferError("label: values outside [-1, 1]; rescale them.")
        for name, column in (("subject", self.subject), ("source", self.source)):
            if column is not None and len(column) != rows:
                raise IdferError(f"{name}: {len(column)} values for {rows} rows; give one per row.")
        for attribute in self.attributes:
            if len(attribute.posterior) != rows:
                raise IdferError(
                    f"{attribute.name}: {len(attribute.posterior)} values for {rows} rows; give one per row."
                )
        for name, feature in self.features.items():
            if feature.ndim != 2 or len(feature) != rows:
                raise IdferError(f"{name}: shape {feature.shape} for {rows} rows; wanted ({rows}, D).")
        names = [attribute.name for attribute in self.attributes]
        if len(set(names)) != len(names):
            raise IdferError("two attributes have the same name; name them apart.")

    @property
    def people(self) -> NDArray[np.intp]:
        """(N,) index 0..S-1 of each row's person; the row's own index where people are unknown."""
        if self.subject is None:
            return np.arange(len(self.key))
        return np.asarray(np.unique(self.subject.astype(str), return_inverse=True)[1]).ravel()
