"""Numbers as levels: borders as told, or quantiles over people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idfer.errors import UsageError

Array = NDArray[np.float64]

QUANTILES = 3
"""Levels of a number where nobody says borders."""


def parse_bins(bins: Mapping[str, Sequence[float] | int] | str | None) -> dict[str, tuple[float, ...]]:
    """`age=0,30,60,120,skin=4` as borders by attribute; one number alone is a count of quantiles.

    Raises:
        UsageError: not written so, or borders that do not grow.
    """
    if not bins:
        return {}
    if isinstance(bins, str):
        texts: dict[str, list[str]] = {}
        for part in bins.split(","):
            name, equals, value = part.rpartition("=")
            if equals:
                current = texts.setdefault(name.strip(), [])
            elif not texts:
                raise UsageError(f"--bins is {bins!r}; write e.g. age=0,30,60,120 or age=4 for quarters.")
            current.append(value)
        given: dict[str, list[Any]] = dict(texts)
    else:
        given = {name: [v] if isinstance(v, int) else list(v) for name, v in bins.items()}
    found: dict[str, tuple[float, ...]] = {}
    for name, values in given.items():
        try:
            borders = tuple(float(value) for value in values)
        except (TypeError, ValueError) as error:
            raise UsageError(f"--bins: {name}={values!r} are no numbers.") from error
        count = len(borders) == 1
        if count and borders[0] not in range(2, 11):
            raise UsageError(
                f"--bins: {name}={borders[0]:g}; give 2 to 10 quantiles, or two borders or more."
            )
        if not count and not all(a < b for a, b in pairwise(borders)):
            raise UsageError(
                f"--bins: the borders of {name} must grow: {', '.join(f'{b:g}' for b in borders)}."
            )
        found[name] = borders
    return found


def binned(
    name: str, values: Array, people: NDArray[np.intp], borders: Sequence[float]
) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Levels of a number, and which of them each row has.

    Args:
        name: of the attribute, which levels are named with.
        values: (N,) numbers, NaN where unknown.
        people: (N,) person of each row: quantiles give each person the same weight.
        borders: two or more that grow, [low, high) and the last closed; or one, the count of quantiles.

    Returns:
        L names and (N,) indices into them; -1 where unknown or outside the borders. Levels without a row are
        left out.
    """
    edges = np.asarray(borders, np.float64)
    open_ended = len(edges) == 1
    if open_ended:
        edges = _quantiles(values, people, int(edges[0]))
        index = np.digitize(values, edges)
        names = _open_names(name, edges)
    else:
        index = np.digitize(values, edges) - 1
        index[values == edges[-1]] = len(edges) - 2
        index[(values < edges[0]) | (values > edges[-1])] = -1
        names = [f"{name} {a} to {b}" for a, b in pairwise(shown_numbers(edges))]
    index[np.isnan(values)] = -1
    used = np.unique(index[index >= 0])
    place = np.full(len(names) + 1, -1)  # the last one is for -1
    place[used] = np.arange(len(used))
    return tuple(names[i] for i in used), place[index]


def _quantiles(values: Array, people: NDArray[np.intp], count: int) -> Array:
    """Inner borders between `count` quantiles of the people's mean values."""
    known = ~np.isnan(values)
    total = np.bincount(people[known], values[known])
    rows = np.bincount(people[known])
    means = total[rows > 0] / rows[rows > 0]
    edges: Array = np.unique(np.quantile(means, np.arange(1, count) / count))
    inside: Array = edges[(edges > means.min()) & (edges <= means.max())]
    return inside


def _open_names(name: str, edges: Array) -> list[str]:
    shown = shown_numbers(edges, 3)
    if not shown:
        return [name]
    middle = [f"{name} {a} to {b}" for a, b in pairwise(shown)]
    return [f"{name} below {shown[0]}", *middle, f"{name} {shown[-1]} and above"]


def shown_numbers(values: Array, digits: int = 6) -> list[str]:
    """Numbers as short as they can be told apart, whole ones in full: 1984, not 1.98e+03."""
    for more in range(digits, 18):
        shown = [f"{v:.0f}" if abs(v) < 1e15 and v % 1 == 0 else f"{v:.{more}g}" for v in values.tolist()]
        shown = [f"{float(s):.0f}" if "e+" in s and abs(float(s)) < 1e15 else s for s in shown]
        if len(set(shown)) == len(shown):
            break
    return shown
