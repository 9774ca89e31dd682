"""Several 95 % intervals looked at together: any of many may leave out 0 by chance."""

from __future__ import annotations

import numpy as np


def widened(count: int, df: float = 1e9) -> float:
    """How many times as wide as that of one number a 95 % interval is that holds for all of so many.

    After Bonferroni, on Student's t; 1.0 for one number, 1.43 for ten with many degrees of freedom `df`.
    """
    from scipy.special import stdtrit

    return float(stdtrit(df, 1 - 0.025 / max(count, 1)) / stdtrit(df, 0.975))


def leaves_out_0(value: float, low: float, high: float, among: int, df: float = 1e9) -> bool:
    """Whether 0 lies outside the interval [low, high] of a value, widened for being one of `among`."""
    if not np.isfinite([value, low, high]).all():
        return False
    reach = value - low if value > 0 else high - value
    return abs(value) > widened(among, df) * reach
