"""What was tried for a method, which of it the rule chooses, and what that cost in hindsight."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from idfer.errors import IdferError
from idfer.experiments.scores import Row
from idfer.search import Ranges, at_edge
from idfer.training.settings import Settings

RULE = (
    "Among a method's settings, the one with the highest CCC on held-out people of the *training* "
    "distribution (`val`, mean over the tuning seeds) under decorrelation weights, estimated from labels and "
    "from retrieved attributes averaged over a person's faces: an importance-weighted estimate of accuracy "
    "without the shortcut, from data that have it. The oracle's own `val` has no shortcut. The rule reads no "
    "test split; those of the tuning seeds are scored to show its regret, and nothing is done about it. "
    "[ours]"
)
JUDGED = ("balanced", "reversed")  # test splits whose regret is shown


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
        tests: CCC on `balanced` and `reversed`, which the rule does not read.
        edges: settings of it that lie at an edge of what is searched.
    """

    given: Mapping[str, Any]
    settings: Settings
    chosen: bool
    selection: float
    val_ccc: float
    val_effective: float
    tests: Mapping[str, float] = field(default_factory=dict)
    edges: Sequence[str] = ()

    @classmethod
    def of(
        cls, given: Mapping[str, Any], settings: Settings, rows: Sequence[Row], chosen: bool, ranges: Ranges
    ) -> Tried:
        """Means over a setting's rows, one per tuning seed."""

        def mean(*score: str) -> float:
            return float(sum(row.value(*score) for row in rows) / len(rows))

        judged = mean("selection"), mean("ccc", "val", "mean"), mean("effective", "val")
        tests = {split: mean("ccc", split, "mean") for split in JUDGED}
        return cls(given, settings, chosen, *judged, tests, at_edge(ranges, settings.to_dict()))

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        numbers = {"selection": self.selection, "val_ccc": self.val_ccc, "val_effective": self.val_effective}
        numbers |= {f"{split}_ccc": score for split, score in self.tests.items()}
        told = {"given": dict(self.given), "settings": self.settings.to_dict(), "chosen": self.chosen}
        return told | numbers | {"edges": list(self.edges)}


def select(scores: Sequence[Sequence[float]]) -> int:
    """Which setting the rule chooses: the highest mean over tuning seeds, the first of equals.

    Args:
        scores: per setting its selection score on every tuning seed; NaN (not defined: the model says the
            same of everybody) counts as the lowest.
    """
    means = [sum(of_setting) / len(of_setting) for of_setting in scores]
    return max(range(len(means)), key=lambda k: (means[k] == means[k], means[k]))


def chosen_of(tried: Sequence[Tried]) -> Tried:
    """The setting of a method that the rule chose."""
    return next(setting for setting in tried if setting.chosen)


def regret(tried: Sequence[Tried]) -> dict[str, float]:
    """Per test split, CCC of the best setting in hindsight minus that of the chosen one; nan without either.

    Of the tuning seeds: 0 where the rule chose what the test would have.
    """
    lost = {}
    for split in JUDGED:
        scores = [setting.tests[split] for setting in tried]
        best = max((score for score in scores if score == score), default=float("nan"))
        lost[f"{split}_ccc"] = best - chosen_of(tried).tests[split]
    return lost


def read_chosen(path: str | Path) -> dict[str, dict[str, Any]]:
    """What the rule chose in a finished benchmark, {method: changes}, as `Settings.of` takes them.

    Args:
        path: its shift.json.

    Raises:
        IdferError: it cannot be read, or was written before choices were kept.
    """
    try:
        chosen = json.loads(Path(path).read_text(encoding="utf-8"))["chosen"]
        return {str(method): dict(changes) for method, changes in chosen.items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        reason = "says nothing of chosen settings" if isinstance(error, KeyError) else f"unreadable: {error}"
        raise IdferError(f"{path}: {reason}; run `idfer benchmark shift` first.") from error
