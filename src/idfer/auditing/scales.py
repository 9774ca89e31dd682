"""Valence and arousal of any scale in [-1, 1]; and which scale numbers outside it are likely on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from idfer.errors import IdferError, UsageError

Array = NDArray[np.float64]
Range = tuple[tuple[float, float], tuple[float, float]]  # lowest of (valence, arousal), highest of them

UNIT: Range = ((-1.0, -1.0), (1.0, 1.0))
SCALES = ((-1, 1), (0, 1), (1, 5), (1, 7), (1, 9), (-2, 2), (-3, 3), (-4, 4), (-5, 5), (0, 10), (-10, 10),
          (0, 100), (-100, 100), (-1000, 1000))  # fmt: skip
"""Scales in use, narrow ones first."""

_INVALID = {
    -2.0: "AffectNet's mark of a row without a usable face",
    -5.0: "Aff-Wild's mark of an invalid frame",
}
_ROUNDING = 1e-6


def parse_range(text: str, option: str = "--range") -> Range:
    """`-10,10`, or valence's and arousal's `1,9,0,1`; "" is [-1, 1].

    Raises:
        UsageError: it is none.
    """
    if not text:
        return UNIT
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    numbers = numbers * 2 if len(numbers) == 2 else numbers
    if (
        len(numbers) != 4
        or not np.isfinite(numbers).all()
        or numbers[0] >= numbers[1]
        or numbers[2] >= numbers[3]
    ):
        raise UsageError(
            f"{option} is {text!r}; give LOW,HIGH, e.g. 1,9, or four numbers: valence's, then arousal's."
        )
    return (numbers[0], numbers[2]), (numbers[1], numbers[3])


def scaled(values: Array, given: Range) -> Array:
    """(N, 2) stretched from its range to [-1, 1]."""
    low, high = (np.array(side) for side in given)
    stretched: Array = 2 * (values - low) / (high - low) - 1
    return stretched


def checked_labels(values: Array, given: Range, name: str, keys: NDArray[np.object_]) -> Array:
    """(N, 2) labels stretched from their range to [-1, 1], rounding clipped; NaN passes.

    Args:
        values: (N, 2) as they stand in the table.
        given: their range.
        name: of the table, for messages.
        keys: (N,) of the faces, for messages.

    Raises:
        IdferError: some are outside; the message counts them and names the likely scale.
    """
    stretched = scaled(values, given)
    outside = (np.abs(stretched) > 1 + _ROUNDING).any(axis=1)
    if not outside.any():
        clipped: Array = np.clip(stretched, -1, 1)
        return clipped
    row = int(np.flatnonzero(outside)[0])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    raise IdferError(
        f"{name}: {int(outside.sum()):,} of {len(values):,} rows have a label outside {_shown(given)}, "
        f"from {low:g} to {high:g} (the first: row {row}, {keys[row]}).{_likely(values, given)}"
    )


def _shown(given: Range) -> str:
    """A range as one interval, or as valence's and arousal's."""
    sides = [f"[{low:g}, {high:g}]" for low, high in zip(*given, strict=True)]
    return " and ".join(dict.fromkeys(sides))


def looks_like_unit_interval(values: Array) -> bool:
    """Whether labels lie in [0, 1] and reach both ends of it in a dimension: perhaps not [-1, 1]."""
    low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    return bool((low >= 0).all() and (low < 0.1).any() and (high > 0.9).any())


def _likely(values: Array, given: Range) -> str:
    for mark, meaning in _INVALID.items():
        marked = (values == mark).any(axis=1)
        rest = values[~marked]
        if marked.any() and len(rest) and np.nanmax(np.abs(scaled(rest, given))) <= 1 + _ROUNDING:
            return f" All of these are {mark:g}: {meaning}. Drop them."
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    fitting = [s for s in SCALES if s[0] <= low and high <= s[1]]
    if not fitting:
        return " That is no scale in use; say which with --range LOW,HIGH."
    a, b = min(fitting, key=lambda s: s[1] - s[0])
    return f" The scale is likely [{a}, {b}]: say --range {a},{b}."
