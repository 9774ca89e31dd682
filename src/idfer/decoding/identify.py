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
        gallery: (N, ...) decoded faces, or features, of P people in equal numbers.
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
    count = max(1, min(_COMPONENTS, len(flat) - len(np.unique(known)), flat.shape[1]))
    teller = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pictures that are all the same: it then guesses
        components = PCA(count, random_state=0).fit(flat)
        teller.fit(components.transform(flat), known)
        said = teller.predict(components.transform(asked))
    return float(np.mean(said == person))
