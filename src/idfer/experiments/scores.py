"""Scores: what a trial measured, a record per number, and the rows that benchmarks report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Score:
    """One number of a trial.

    Attributes:
        measure: "ccc", "rmse", "leak", "chance", "drift", "rate" (nats), "residual" (nats beyond the label),
            "effect" (of an attribute, per standard deviation, at fixed expression), "person_ratio" and
            "interaction_ratio" (standard deviations over that of expressions), "selection" (weighted CCC on
            held-out people, what settings are chosen by), "effective" (effective share of them), "seconds".
        value: None where it is not defined.
        split: of the faces it was measured on; of an effect the dimension that it moves.
        of: a dimension ("valence", "arousal", "mean"), an attribute ("age"), what leaks, or what took time.
        feature: "sampled", "16 draws", "mean", "template" or "prediction" where it leaks; what was attached:
            "detached" (nothing), "attached" (all attributes), "attached age"; of a CCC also "sampled", or ""
            for the prediction as it is.
        probe: that reads it: "linear", "nonlinear" or "verification".
    """

    measure: str
    value: float | None
    split: str = ""
    of: str = ""
    feature: str = ""
    probe: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """What the number is of."""
        return (self.measure, self.split, self.of, self.feature, self.probe)

    def to_dict(self) -> dict[str, Any]:
        """As JSON: fields that say nothing are left out."""
        return {name: value for name, value in asdict(self).items() if value != ""}


def result_of(scores: Sequence[Score]) -> dict[str, Any]:
    """Scores as a trial returns them: rounded to six decimals, None where not finite."""
    rounded = [
        replace(s, value=round(float(s.value), 6) if s.value is not None and np.isfinite(s.value) else None)
        for s in scores
    ]
    return {"scores": [score.to_dict() for score in rounded]}


@dataclass(frozen=True)
class Row:
    """The scores of one method or variant on one seed.

    Attributes:
        name: of the method or variant.
        seed: of faces, weights and order.
        scores: of its trial.
    """

    name: str
    seed: int
    scores: Sequence[Score]

    @classmethod
    def of(cls, name: str, seed: int, result: Mapping[str, Any]) -> Row:
        """A row of what `trial` returned, or of what `to_dict` gave."""
        scores = result["scores"]
        if isinstance(scores, Mapping):
            return cls(name, seed, tuple(_score(key, value) for key, value in scores.items()))
        return cls(name, seed, tuple(Score(**score) for score in scores))

    @cached_property
    def _by_key(self) -> dict[tuple[str, ...], float]:
        return {score.key: np.nan if score.value is None else float(score.value) for score in self.scores}

    def value(self, measure: str, split: str = "", of: str = "", feature: str = "", probe: str = "") -> float:
        """One score; NaN where it was not measured or is not defined."""
        return self._by_key.get((measure, split, of, feature, probe), np.nan)

    def to_dict(self) -> dict[str, Any]:
        """As JSON: a line per score, named by its key, `ccc/reversed/mean`."""
        scores = {"/".join(score.key).rstrip("/"): score.value for score in self.scores}
        return {"name": self.name, "seed": self.seed, "scores": scores}


def _score(key: str, value: float | None) -> Score:
    measure, *rest = key.split("/")
    return Score(measure, value, *rest)


def names_of(rows: Sequence[Row]) -> list[str]:
    """Methods or variants in the order they were run."""
    return list(dict.fromkeys(row.name for row in rows))


def rows_of(rows: Sequence[Row], name: str) -> list[Row]:
    """The rows of one method or variant, seeds ascending."""
    return sorted((row for row in rows if row.name == name), key=lambda row: row.seed)
