"""An attribute of numbers: a few whole ones are names of groups, others are cut into ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idfer.auditing.bins import QUANTILES, binned, shown_numbers
from idfer.auditing.checks import Check
from idfer.auditing.sample import Attribute

FEW_VALUES = 6  # whole numbers of so many different values are categories, not quantities
_PARTS = {2: "halves", 3: "thirds"}


class Unfit(Exception):
    """Why a column is no attribute; told or raised by the caller."""


@dataclass(frozen=True)
class Cutting:
    """How numbers become groups.

    Attributes:
        bins: borders by attribute, see `bins.parse_bins`.
        ordered: attributes whose few whole numbers are in order.
        min_people: of a group that is shown.
    """

    bins: Mapping[str, Sequence[float]]
    ordered: Sequence[str] = ()
    min_people: int = 20


def cut(
    name: str, numbers: NDArray[np.float64], people: NDArray[np.intp], how: Cutting, source: str
) -> tuple[Attribute, list[Check]]:
    """The attribute of N numbers, NaN where unknown, and what to say of how it was cut.

    Few whole numbers are codes of groups as often (1 woman, 2 man, 3 other) as ranks (1 young, 2 middle, 3
    older), and a group of "2 or 3" is nonsense for the former: they have an order only where `how` says so.

    Raises:
        Unfit: they make no two groups.
    """
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        raise Unfit(f"{name} is not known of any face.")
    different, borders = np.unique(known), how.bins.get(name)
    ordered, said = True, []
    if borders is None and len(different) <= FEW_VALUES and (different % 1 == 0).all():
        levels = tuple(f"{name} {text}" for text in shown_numbers(different))
        index = np.where(np.isnan(numbers), -1, np.searchsorted(different, numbers))
        ordered = name in how.ordered
        small = _people(index, people, len(levels)) < how.min_people
        if len(levels) > 2 and not ordered and small.any():
            said.append(
                f"{name}: its {len(levels)} whole numbers are taken for names of groups, so groups of fewer "
                f"than {how.min_people} people are withheld; say --ordered {name} if they are in order, and "
                "small ones are merged with a neighbour."
            )
    else:
        told = borders is not None and len(borders) > 1
        parts = borders or (QUANTILES,)
        levels, index = binned(name, numbers, people, parts)
        if borders is None and (_people(index, people, len(levels)) < how.min_people).any():
            halves = binned(name, numbers, people, (2,))
            # where half of all people share a number there are no halves, but one group
            enough = _people(halves[1], people, len(halves[0])) >= how.min_people
            if len(halves[0]) > 1 and enough.all():
                levels, index = halves
                said.append(
                    f"{name} is cut into halves, since of its {_PARTS[QUANTILES]} not all have "
                    f"{how.min_people} people; say other borders with --bins {name}=..."
                )
        if not told and len(levels) < 2 and len(different) > 1:
            raise Unfit(
                f"{name} cannot be cut into parts with as many people each, for most share its lowest "
                f"number; say borders with --bins {name}=..."
            )
        if told:
            said += _empty(name, numbers, people, parts)
        range_of = "as told" if told else f"by quantiles of {name}"
        source = f"{source}, binned {range_of}" if source != "given" else f"binned {range_of}"
    if len(levels) < 2:
        raise Unfit(f"{name} is {levels[0]!r} of every face; there is no other group to compare with."
                    if levels else f"{name} of no face lies within the borders.")  # fmt: skip
    attribute = Attribute(name, levels, one_hot(index, len(levels)), False, source, ordered)
    return attribute, [Check("IDF329", "info", text, name) for text in said]


def one_hot(index: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    """(N,) indices, -1 unknown, as (N, count) certainties, NaN where unknown."""
    hot = np.eye(count + 1)[index][:, :count]
    hot[index < 0] = np.nan
    return hot


def _people(index: NDArray[np.intp], people: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """(count,) people with a row at each level."""
    pairs = np.unique(np.stack([index, people])[:, index >= 0], axis=1)
    return np.bincount(pairs[0], minlength=count)


def _empty(
    name: str, numbers: NDArray[np.float64], people: NDArray[np.intp], borders: Sequence[float]
) -> list[str]:
    """What to say of ranges that were asked for and hold no face, and of faces outside all of them."""
    edges, known = np.asarray(borders, np.float64), numbers[~np.isnan(numbers)]
    held = np.histogram(known, edges)[0]
    shown = shown_numbers(edges)
    empty = [f"{shown[i]} to {shown[i + 1]}" for i in np.flatnonzero(held == 0)]
    outside = int(((known < edges[0]) | (known > edges[-1])).sum())
    said = []
    if empty:
        said.append(f"--bins: no face has {name} {' or '.join(empty)}, so there is no such group.")
    if outside:
        said.append(f"--bins: {name} of {outside:,} faces lies outside {shown[0]} to {shown[-1]}; they count "
                    "in no group of it.")  # fmt: skip
    return said
