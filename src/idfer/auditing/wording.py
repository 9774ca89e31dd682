"""Numbers in sentences."""

from __future__ import annotations


def brief(value: float, signed: bool = False) -> str:
    """Two digits, none after the third place: "0.35", "+0.021", "0" for less than half a thousandth."""
    rounded = round(float(value), 3)
    if rounded == 0:
        return "0"
    return f"{rounded:+.2g}" if signed else f"{rounded:.2g}"
