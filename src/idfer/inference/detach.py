"""What people write to detach attributes: names, and names with a strength."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from idfer.errors import UsageError
from idfer.names import split_names

Detach = str | Sequence[str] | Mapping[str, float] | None


def strengths(detach: Detach) -> dict[str, float] | None:
    """Strength m[a] by attribute; None stands for all of a model's at strength 1.

    Args:
        detach: `"age=0.5,gender"`, `["age=0.5", "gender"]` or `{"age": 0.5, "gender": 1}`: a name alone has
            strength 1; "none", an empty list or an empty mapping detach nothing. Any real number: 0 leaves
            the attribute in, 1 takes it out, a negative one adds to it.

    Raises:
        UsageError: a name twice, nothing that is a name, or a strength that is not a finite number.
    """
    if detach is None:
        return None
    if isinstance(detach, Mapping):
        return {name: _number(name, value) for name, value in detach.items()}
    parts = split_names(detach) or []
    if parts == ["none"] or (not parts and not isinstance(detach, str)):
        return {}
    strengths_by_name: dict[str, float] = {}
    for part in parts:
        name, equals, value = (text.strip() for text in part.partition("="))
        if name in strengths_by_name:
            raise UsageError(f"--detach names {name!r} twice; name it once.")
        strengths_by_name[name] = _number(name, value) if equals else 1.0
    if "none" in strengths_by_name or "" in strengths_by_name or not strengths_by_name:
        raise UsageError(
            "--detach takes attributes, each with a strength if you like (age=0.5,gender), or none alone to "
            "detach nothing."
        )
    return strengths_by_name


def _number(name: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"--detach {name}={value}: the strength must be a number, such as 0.5.")
    return number
