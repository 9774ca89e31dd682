"""What a benchmark searches: ranges of settings, random draws from them, and which values lie at an edge.

Settings are drawn at random, as many for every method (Gulrajani, Lopez-Paz 2021, "In Search of Lost Domain
Generalization", ICLR, arXiv:2007.01434): a method with many settings gets no larger search than one with few.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from idfer.errors import UsageError

TERMS = "terms."
EDGE = 0.1  # share of a range at either end that counts as its edge [ours]
_DIGITS = 3  # significant digits of a drawn number: the same in YAML, in a table and in a digest
_TRIES = 1000


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`.

    Attributes:
        low: the smallest.
        high: the largest.
        log: whether each factor is equally likely, and not each difference.

    Raises:
        UsageError: no numbers lie between `low` and `high`, or `log` and `low` is not positive.
    """

    low: float
    high: float
    log: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise UsageError(f"range {self.low:g} to {self.high:g}: is empty; low must be less than high.")
        if self.log and self.low <= 0:
            raise UsageError(f"range {self.low:g} to {self.high:g}: on a log scale low must be positive.")

    def draw(self, random: Random) -> float:
        """A number, rounded to three significant digits."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        at = low + (high - low) * random.random()
        value = float(f"{math.exp(at) if self.log else at:.{_DIGITS}g}")
        return min(max(value, self.low), self.high)

    def at_edge(self, value: Any) -> bool:
        """Whether a number lies in the outer tenth of the range, or outside."""
        if self.log and value <= 0:
            return True
        low, high = self._scaled(self.low), self._scaled(self.high)
        return not EDGE <= (self._scaled(value) - low) / (high - low) <= 1 - EDGE

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value


@dataclass(frozen=True, init=False)
class Choice:
    """Some values, each equally likely.

    Args:
        values: numbers, names, or true and false; numbers in ascending order.

    Raises:
        UsageError: there are none.
    """

    values: tuple[Any, ...]

    def __init__(self, *values: Any):
        if not values:
            raise UsageError("a choice needs at least one value.")
        object.__setattr__(self, "values", values)

    def draw(self, random: Random) -> Any:
        """One of the values."""
        return self.values[int(len(self.values) * random.random())]

    def at_edge(self, value: Any) -> bool:
        """Whether it is the smallest or largest of three numbers or more, or beyond; names have no edge."""
        if len(self.values) < 3 or not all(_is_number(v) for v in (*self.values, value)):
            return False
        return not min(self.values) < value < max(self.values)


Ranges = Mapping[str, Range | Choice]
"""What is searched, by name: a setting such as `lr`, or `terms.NAME`, a term of the method."""


def draw(ranges: Ranges, count: int, seed: int = 0, name: str = "") -> list[dict[str, Any]]:
    """Settings to try, as changes that `Settings.of` takes.

    Args:
        ranges: what is searched.
        count: how many settings.
        seed: of the draws.
        name: of the method; methods of other names get other draws.

    Returns:
        First {}, the method's defaults, then draws from all ranges at once; no two are the same.

    Raises:
        UsageError: `count` is less than 1, or there are not as many different settings.
    """
    if count < 1:
        raise UsageError(f"settings is {count}; a search has at least 1 setting, the method's defaults.")
    random = Random(f"{seed} {name}")  # of text: the same on every platform and in every version of Python
    found: list[dict[str, Any]] = [{}]
    for _ in range(_TRIES * count):
        if len(found) == count:
            return found
        changes = nested({key: ranges[key].draw(random) for key in sorted(ranges)})
        if changes not in found:
            found.append(changes)
    raise UsageError(
        f"settings is {count}, but the search of {name or 'this method'} has only {len(found)} different "
        "ones; ask for fewer, or widen its ranges."
    )


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """{"lr": 0.001, "terms.weight": 0.1} -> {"lr": 0.001, "terms": {"weight": 0.1}}."""
    changes = {key: value for key, value in values.items() if not key.startswith(TERMS)}
    terms = {key.removeprefix(TERMS): value for key, value in values.items() if key.startswith(TERMS)}
    return changes | ({"terms": terms} if terms else {})


def at_edge(ranges: Ranges, changes: Mapping[str, Any]) -> list[str]:
    """Names of the values that lie in the outer tenth of what is searched, or outside.

    Args:
        ranges: what is searched.
        changes: a setting of `draw`, or all settings of a run (`Settings.to_dict`), which include defaults
            that were not drawn. A value that is not there has no edge.
    """
    terms = changes.get("terms") or {}
    given = {**changes, **{f"{TERMS}{name}": value for name, value in terms.items()}}
    return [key for key, range_ in ranges.items() if key in given and range_.at_edge(given[key])]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
