"""What the mesh engine draws of a person beyond the factors: from the cohort and the number alone."""

from __future__ import annotations

import numpy as np

_STREAM = 17


def stream(cohort: float, identity: float, what: int) -> np.random.Generator:
    """Random numbers that belong to one person and one use of them."""
    return np.random.default_rng([int(cohort), int(identity), _STREAM, what])


def ancestry(skin: float, draws: np.ndarray) -> np.ndarray:
    """Shares of African, Asian and Caucasian shape, (3,), adding to 1.

    Every tone comes with every mix, but most often with the ones that people see it with; the same person
    with another skin tone keeps her draws, so that the mix moves no more than the tone asks for.

    Args:
        skin: Monk tone, 1 to 10.
        draws: (3,) standard normal.
    """
    t = (skin - 1) / 9
    lean = np.array([7.0 * (t - 0.55), 2.2 - 14.0 * (t - 0.34) ** 2 - 2.2 * t, 2.4 - 6.5 * t])
    weight = np.exp(lean + 1.3 * draws)
    shares: np.ndarray = weight / weight.sum()
    return shares
