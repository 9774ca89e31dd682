"""Many tests at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected for how many they are (Holm 1979, Scand. J. Statist. 6:65).

    The chance of any false finding among all of them stays below the level that each is held against.

    Args:
        p: of a family of tests; nan for one that could not be made, which stays nan and does not count.
    """
    order = sorted((k for k in range(len(p)) if not np.isnan(p[k])), key=lambda k: p[k])
    corrected, largest = [float("nan")] * len(p), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * float(p[k])))
        corrected[k] = largest
    return corrected
