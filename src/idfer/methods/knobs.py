"""Ranges of a method's terms, and the ramp with which a term's weight rises."""

from __future__ import annotations

from typing import Any

from idfer.errors import UsageError


def within(terms: Any, low: float, high: float, *names: str) -> None:
    """Check that terms lie in [low, high].

    Raises:
        UsageError: one does not; the message names it.
    """
    for name in names:
        value = getattr(terms, name)
        if not low <= value <= high:
            limit = f"at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
            raise UsageError(f"--terms.{name} is {value!r}; it must be {limit}.")


def ramp(step: int, steps: int, share: float) -> float:
    """Linear from 0 at the first step to 1 after `share` of the steps; 1 throughout for a share of 0."""
    full = share * steps
    return min(1.0, step / full) if full > 0 else 1.0
