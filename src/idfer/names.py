"""Lists of names as people type them."""

from __future__ import annotations

from collections.abc import Sequence


def split_names(values: Sequence[str] | str | None) -> list[str] | None:
    """`"age,gender"`, `["age", "gender"]` or `["age,gender"]` as a list; None stays None."""
    if values is None:
        return None
    parts = [values] if isinstance(values, str) else values
    return [name.strip() for part in parts for name in part.split(",") if name.strip()]
