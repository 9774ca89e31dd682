"""The probes themselves: ridge regression, and what it cannot see, for many targets at once.

Everything is chosen inside the training people: strengths, directions, and whether a stage is kept at all.
People are dealt into inner folds, so a choice is judged on people not fitted to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from idfer.errors import IdferError
from idfer.evaluation.bootstrap import Array
from idfer.evaluation.curvature import curved
from idfer.evaluation.ridge import People, ridge, standardise

Kind = Literal["linear", "nonlinear"]

MIN_SUBJECTS = 10  # below, five folds of disjoint people say nothing
_INNER = 3  # folds of the training people


def fit_probes(
    x: Array, y: Array, people: People, x_test: Array, kind: Kind, seed: int
) -> tuple[Array, Array]:
    """Fit T probes of K outputs on the training people and predict.

    Args:
        x: (n, D) features of the training people.
        y: (n, T, K) numbers to predict.
        people: (n,) the training people.
        x_test: (m, D) features of other people.
        kind: "linear", or "nonlinear": also fitted to what the linear probe leaves (`curvature`).
        seed: deals the inner folds and draws the cosines.

    Returns:
        (m, T, K) predictions for `x_test`; (n, T, K) predictions for `x`, each by a probe that has not seen
        the row's person.
    """
    x, x_test = standardise(x, x_test)
    mean, spread = y.mean(axis=0), np.maximum(y.std(axis=0).max(axis=-1), 1e-12)[:, None]
    goal = (y - mean) / spread
    inner = deal(people, _INNER, np.random.default_rng(seed))
    guess, held_out = ridge(x, goal, inner, x_test, levels=y.shape[-1] > 1)
    if kind == "nonlinear":
        more, more_held_out = curved(x, goal - held_out, inner, x_test, seed)
        guess, held_out = guess + more, held_out + more_held_out
    return mean + spread * guess, mean + spread * held_out


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch, numpy and scipy on one thread.

    Probes are many small operations, which waiting threads slow tenfold; and sums in another order round
    differently.
    """
    import scipy.linalg  # noqa: F401  (has a BLAS of its own, which is limited only once it is loaded)
    import torch
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(threads)


def check_features(features: ArrayLike, subjects: ArrayLike, name: str = "features") -> tuple[Array, People]:
    """Features as finite float64 (N, D) and people as 0..S-1."""
    x = np.asarray(features, np.float64)
    people = np.unique(np.asarray(subjects), return_inverse=True)[1].ravel()
    if x.ndim != 2 or len(x) != len(people):
        raise IdferError(
            f"{name}: shape {x.shape} with {len(people)} subjects; wanted (N, D) and N subjects."
        )
    if (bad := np.flatnonzero(~np.isfinite(x).all(axis=1))).size:
        raise IdferError(
            f"{name}: row {bad[0]} is not finite ({bad.size} such rows); the network has diverged "
            "or the face was not read. Drop these rows, or train again with a smaller learning rate."
        )
    return x, people


def check_people(people: People, what: str) -> None:
    """Raise where there are too few people to hold some out."""
    if (count := len(np.unique(people))) < MIN_SUBJECTS:
        raise IdferError(f"only {count} {what}; probing unseen people needs at least {MIN_SUBJECTS}.")


def deal(people: People, folds: int, rng: np.random.Generator) -> People:
    """Deal people into folds of nearly equal numbers: (N,) fold of each row."""
    names, index = np.unique(people, return_inverse=True)
    return (rng.permutation(len(names)) % folds)[index]
