"""What was tried for a method, and which of it the rule chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from idfer.experiments.scores import Row
from idfer.training.settings import Settings


@dataclass(frozen=True)
class Tried:
    """A setting that was tried for a method, with its means over the tuning seeds.

    Attributes:
        given: what it changes.
        settings: what that makes of the budget.
        chosen: whether the rule chose it.
        selection: what it was judged by: CCC on `val` under decorrelation weights.
        val_ccc: the same without weights.
        val_effective: effective share of `val` under them.
    """

    given: Mapping[str, Any]
    settings: Settings
    chosen: bool
    selection: float
    val_ccc: float
    val_effective: float

    @classmethod
    def of(cls, given: Mapping[str, Any], settings: Settings, rows: Sequence[Row], chosen: bool) -> Tried:
        """Means over a setting's rows."""

        def mean(*score: str) -> float:
            return float(sum(row.value(*score) for row in rows) / len(rows))

        judged = mean("selection"), mean("ccc", "val", "mean"), mean("effective", "val")
        return cls(given, settings, chosen, *judged)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        numbers = {"selection": self.selection, "val_ccc": self.val_ccc, "val_effective": self.val_effective}
        told = {"given": dict(self.given), "settings": self.settings.to_dict(), "chosen": self.chosen}
        return told | numbers


def select(scores: Sequence[Sequence[float]]) -> int:
    """Which setting the rule chooses: the highest mean over tuning seeds, the first of equals.

    Args:
        scores: per setting its selection score on every tuning seed; NaN (not defined: the model says the
            same of everybody) counts as the lowest.
    """
    means = [sum(of_setting) / len(of_setting) for of_setting in scores]
    return max(range(len(means)), key=lambda k: (means[k] == means[k], means[k]))
