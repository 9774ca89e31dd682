"""Inversion as an attack: whose face is it that was decoded?

An attacker holds features of photographs of known people (the gallery) and a feature of an unknown one,
decodes all, and looks for the person whose decoded faces are nearest: as pictures, in the directions that
tell people of the gallery apart best (linear discriminants on principal components; Belhumeur et al. 1997).

What it cannot say: another attack may find more. A decoded picture holds nothing that the feature does not,
so the same guess is made from the feature itself, too; and whoever gets several draws of one photograph's
feature can average them, by which noise of n draws shrinks to that of a feature with 1 / n of its variance.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idfer.errors import IdferError

_COMPONENTS = 80


def identification(
    gallery: NDArray[Any], known: NDArray[np.intp], probes: NDArray[Any], person: NDArray[np.intp]
) -> float:
    """Share of probes whose person is named at the first guess; by chance 1 / P.

    Args:
        gallery: (N, ...) decoded faces, or features, of P people. Of fewer than two each, on average, the
            person whose mean is nearest is named.
        known: (N,) whose each is.
        probes: (M, ...) of unknown people of the gallery.
        person: (M,) whose each is.

    Raises:
        IdferError: a person has nothing in the gallery.
    """
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    missing = np.setdiff1d(person, known)
    if missing.size:
        raise IdferError(f"person {missing[0]} has faces among the probes and none in the gallery.")
    flat = gallery.reshape(len(gallery), -1).astype(np.float32)
    asked = probes.reshape(len(probes), -1).astype(np.float32)
    names = np.unique(known)
    if len(flat) < 2 * len(names):  # too few to learn how faces of one person differ
        return float(np.mean(_nearest(flat, known, asked) == person))
    count = max(1, min(_COMPONENTS, len(flat) - len(names), flat.shape[1]))
    # who has more faces in the gallery is no more likely: else silence would beat chance
    alike = np.full(len(names), 1 / len(names))
    teller = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=alike)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pictures that are all the same: it then guesses
        components = PCA(count, random_state=0).fit(flat)
        teller.fit(components.transform(flat), known)
        said = teller.predict(components.transform(asked))
    return float(np.mean(said == person))


def _nearest(
    gallery: NDArray[np.float32], known: NDArray[np.intp], asked: NDArray[np.float32]
) -> NDArray[np.intp]:
    """(M,) the person whose mean in the gallery (N, F) is nearest to each asked (M, F)."""
    names = np.unique(known)
    centre = gallery.mean(axis=0)
    means = np.stack([gallery[known == name].mean(axis=0) for name in names]) - centre
    away = np.square(means).sum(axis=1) - 2 * (asked - centre) @ means.T
    nearest: NDArray[np.intp] = names[away.argmin(axis=1)]
    return nearest
