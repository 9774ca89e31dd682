"""Orders of training faces for methods that compare people within a batch, or want some faces more often."""

from __future__ import annotations

import numpy as np


def by_person(
    shuffled: np.ndarray, subject: np.ndarray, together: int, rng: np.random.Generator
) -> np.ndarray:
    """The same rows in another order, `together` faces of one person in a row, as far as they go.

    Args:
        shuffled: (n,) row numbers in random order.
        subject: (N,) number of the person of every row.
        together: faces of a person that stay together; what is left of a person is a smaller stretch.
        rng: shuffles the stretches.
    """
    rows = shuffled[np.argsort(subject[shuffled], kind="stable")]
    person = subject[rows]
    place = np.arange(len(rows)) - np.searchsorted(person, person)  # of a face among its person's
    _, stretch = np.unique(np.stack([person, place // together]), axis=1, return_inverse=True)
    stretch = stretch.reshape(-1)
    return rows[np.argsort(rng.permutation(stretch.max() + 1)[stretch], kind="stable")]


def drawn(rows: np.ndarray, probability: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many rows, drawn with replacement.

    Args:
        rows: (n,) row numbers.
        probability: (n,) of each; sums to 1.
        rng: draws.
    """
    return rng.choice(rows, size=len(rows), p=probability / probability.sum())
