"""Inversion as an attack: whose face is it that was decoded?

An attacker holds features of photographs of known people (the gallery) and a feature of an unknown one,
decodes all, and looks for the person whose decoded faces are nearest: as pictures, in the directions that
tell people of the gallery apart best (linear discriminants on principal components; Belhumeur et al. 1997).
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from idfer.decoding.fidelity import Pictures
from idfer.errors import IdferError

_COMPONENTS = 80


def identification(pictures: Pictures, person: NDArray[np.intp], probe: NDArray[np.bool_]) -> float:
    """Share of probe faces whose person is named at the first guess; by chance 1 / P.

    Args:
        pictures: (N, S, S, 3) decoded faces of P people, in equal numbers.
        person: (N,) whose face each is.
        probe: (N,) which are unknown; the others are the gallery.

    Raises:
        IdferError: a person has no face in the gallery.
    """
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    missing = np.setdiff1d(person[probe], person[~probe])
    if missing.size:
        raise IdferError(f"person {missing[0]} has faces among the probes and none in the gallery.")
    flat = pictures.reshape(len(pictures), -1).astype(np.float32) / 255
    gallery = flat[~probe]
    known = len(gallery) - len(np.unique(person[~probe]))
    components = PCA(max(1, min(_COMPONENTS, known, gallery.shape[1])), random_state=0).fit(gallery)
    teller = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pictures that are all the same: it then guesses
        teller.fit(components.transform(gallery), person[~probe])
        said = teller.predict(components.transform(flat[probe]))
    return float(np.mean(said == person[probe]))
