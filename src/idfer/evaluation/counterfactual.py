"""Counterfactual drift: how far a prediction moves when the person changes and the expression stays.

    drift = mean over pairs and over valence and arousal of |f(x) - f(x')|

where x' shows the action units of x in the same photograph on another person's face. Only rendered faces have
such pairs: everything that is not identity is held fixed by construction, so whatever moves the prediction is
identity. 0 is a model blind to who it is; what valence and arousal call for is the same in both.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from idfer.errors import IdferError, UsageError
from idfer.evaluation.bootstrap import Estimate, by_subject, interval, resample

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest
    from idfer.synthetic.factors import Factors
    from idfer.types import FaceModel


def other_people(faces: Factors, seed: int = 0) -> Factors:
    """The same expressions in the same photographs, each on the face of another person among `faces`.

    Identity factors come from a random face of another person; action units are taken as they are, so the
    giver's expressivity is in them and the receiver's is not applied again.

    Args:
        faces: N faces of two people or more.
        seed: of the choice.

    Returns:
        N faces, aligned with `faces`.

    Raises:
        UsageError: there is only one person.
    """
    from idfer.synthetic.factors import IDENTITY

    people = np.stack([faces.cohort.numpy(), faces.identity.numpy()])
    names, person = np.unique(people, axis=1, return_inverse=True)
    if names.shape[1] < 2:
        raise UsageError("counterfactual pairs need faces of two people or more.")
    rng = np.random.default_rng([seed, 7])
    step = rng.integers(1, names.shape[1], len(faces))  # never 0: always somebody else
    donor = (person.ravel() + step) % names.shape[1]
    first = np.unique(person, return_index=True)[1]
    giver = faces.rows(first[donor])
    return faces.replace(**{name: getattr(giver, name) for name in IDENTITY})


def drift_of(
    first: ArrayLike, second: ArrayLike, subjects: ArrayLike, *, replicates: int = 1000, seed: int = 0
) -> Estimate:
    """Drift between aligned predictions, with a bootstrap interval over people.

    Args:
        first: (N, 2) predictions on the faces.
        second: (N, 2) on the same expressions of other people.
        subjects: (N,) person of each face in `first`.
        replicates: bootstrap replicates over people.
        seed: of the bootstrap.

    Raises:
        IdferError: no pairs, or arrays of different shapes.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape or a.ndim != 2 or not len(a):
        raise IdferError(f"counterfactual pairs: predictions {a.shape} and {b.shape}; wanted (N, 2) twice.")
    moved = np.abs(a - b).mean(axis=1)
    sums = by_subject(np.stack([np.ones(len(moved)), moved], axis=1), subjects)
    draws = resample(sums, replicates, seed)
    low, high = interval(draws[:, 1] / draws[:, 0]) if len(sums) > 1 else (np.nan, np.nan)
    return Estimate(float(moved.mean()), float(low), float(high))


def drift(
    model: str | Path | FaceModel,
    faces: Manifest,
    changed: Manifest,
    table: AttributeTable | None = None,
    *,
    device: str = "cpu",
    replicates: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Counterfactual drift of a model.

    Args:
        model: a run's folder, a shipped model's name, or any `idfer.types.FaceModel`.
        faces: N faces.
        changed: N faces, row by row the same expression on another person's face (see `other_people`).
        table: attributes retrieved for both; needed by residual forms that read ID vectors.
        device: auto, cpu, cuda, cuda:N or mps.
        replicates: bootstrap replicates over the people of `faces`.
        seed: of the bootstrap.

    Raises:
        IdferError: the two manifests are not aligned, or a face cannot be read.
    """
    from idfer.evaluation.forward import Pass
    from idfer.evaluation.models import open_model, vectors_of

    check_pairs(faces, changed)
    opened = open_model(model, device)
    first, second = (
        Pass(strict=True).run(opened, manifest, vectors_of(opened, manifest, table)).valence_arousal
        for manifest in (faces, changed)
    )
    return drift_of(first, second, faces.subjects, replicates=replicates, seed=seed)


def check_pairs(faces: Manifest, changed: Manifest) -> None:
    """Raise where two manifests are not pairs: the same labels of another person, row by row."""
    if len(faces) != len(changed):
        raise IdferError(f"counterfactual pairs: {len(faces)} faces for {len(changed)} changed ones.")
    other = np.abs(faces.targets - changed.targets).max(axis=1) > 1e-6
    same = faces.subjects == changed.subjects
    if (bad := np.flatnonzero(other | same)).size:
        why = "another expression" if other[bad[0]] else "the same person"
        raise IdferError(
            f"counterfactual pairs: row {bad[0]} shows {why} on both sides; a pair needs "
            "one expression and two people."
        )
