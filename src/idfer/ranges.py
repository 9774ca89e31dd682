"""Checks of numbers that a user chose: one line that names the option, the value and what is allowed."""

from __future__ import annotations

import math
import operator
from numbers import Real

from idfer.errors import UsageError

SEED_MOST = 2**32 - 1  # what every generator takes: numpy wants no negative seed, torch at most 63 bits


def check_seed(seed: int, name: str = "--seed", most: int = SEED_MOST) -> None:
    """Refuse a seed that is no integer from 0 to `most`.

    Args:
        seed: what was given.
        name: how the message calls it.
        most: the largest seed that is allowed.

    Raises:
        UsageError: the seed is no integer, negative or too large.
    """
    if not _is_integer(seed) or not 0 <= seed <= most:
        raise UsageError(f"{name} is {seed}; use an integer from 0 to {most}.")


def check_at_least(value: float, least: float, name: str) -> None:
    """Refuse a number below `least`, and one that is infinite or not a number.

    Args:
        value: what was given.
        least: the smallest value that is allowed.
        name: how the message calls it, e.g. "--epochs".

    Raises:
        UsageError: the value is below `least` or not finite.
    """
    check_finite(value, name)
    if value < least:
        raise UsageError(f"{name} is {value}; it must be at least {least}.")


def check_finite(value: float, name: str, *, above: float | None = None) -> None:
    """Refuse what is infinite or not a number, and with `above` what is not greater than that.

    Args:
        value: what was given.
        name: how the message calls it, e.g. "--lr".
        above: a bound that the value must exceed.

    Raises:
        UsageError: the value is not a finite number, or not greater than `above`.
    """
    if not _is_finite(value):
        raise UsageError(f"{name} is {value}; it must be a finite number.")
    if above is not None and value <= above:
        raise UsageError(f"{name} is {value}; it must be greater than {above}.")


def _is_integer(value: object) -> bool:
    """Whether it counts: Python's and numpy's integers do, true and false do not."""
    try:
        operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return False
    return not isinstance(value, bool)


def _is_finite(value: object) -> bool:
    """Whether it is a number of Python's or numpy's (true and false are not) and no infinity or NaN."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer larger than any float
        return False
