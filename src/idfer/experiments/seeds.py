"""Seeds and numbers of epochs as people type them."""

from __future__ import annotations

from idfer.errors import UsageError
from idfer.names import split_names
from idfer.ranges import SEED_MOST

EPOCHS_MOST = 10**6


def numbers(name: str, given: list[int] | str) -> list[int]:
    """Distinct seeds, ascending.

    Raises:
        UsageError: none, or one that is not a whole number from 0 to 2³² - 1.
    """
    parts = (split_names(given) or []) if isinstance(given, str) else [str(seed) for seed in given]
    for part in parts:
        if not part.isdecimal() or int(part) > SEED_MOST:
            raise UsageError(f"--{name}: {part!r} is not a seed; give whole numbers, e.g. 1,2,3.")
    if not parts:
        raise UsageError(f"--{name} is empty; give at least one.")
    return sorted({int(part) for part in parts})


def lengths(given: list[int] | str) -> list[int]:
    """Distinct numbers of epochs, ascending.

    Raises:
        UsageError: none, or one that is not a whole number from 1 to 10⁶.
    """
    parts = (split_names(given) or []) if isinstance(given, str) else [str(number) for number in given]
    for part in parts:
        if not part.isdecimal() or not 1 <= int(part) <= EPOCHS_MOST:
            raise UsageError(
                f"--epochs: {part!r} is no number of epochs; give whole numbers of 1 or more, e.g. 8,24."
            )
    if not parts:
        raise UsageError("--epochs is empty; give at least one number, or leave the option out.")
    return sorted({int(part) for part in parts})
