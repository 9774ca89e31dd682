"""Numbers in sentences."""

from __future__ import annotations

METRICS = {
    "ccc": "agreement (CCC)", "rmse": "error (RMSE)", "bias": "bias", "slope": "calibration slope",
    "mean": "mean prediction",
}  # fmt: skip
"""What metrics are called in sentences."""


def brief(value: float, signed: bool = False) -> str:
    """Two digits, none after the third place: "0.35", "+0.021", "0" for less than half a thousandth."""
    rounded = round(float(value), 3)
    if rounded == 0:
        return "0"
    return f"{rounded:+.2g}" if signed else f"{rounded:.2g}"


def thousandths(value: float, signed: bool = False) -> str:
    """Three digits after the point, for what is compared with another: "0.612", "+0.030"; never "-0.000"."""
    text = f"{value:+.3f}" if signed else f"{value:.3f}"
    return text if float(text) else "0.000"
