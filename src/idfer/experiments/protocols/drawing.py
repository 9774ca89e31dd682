"""How protocols draw: people to learn from, unseen people to test on, and the people of a group alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from idfer.experiments.protocol import Protocol
from idfer.experiments.protocols.design import Learned

if TYPE_CHECKING:
    from idfer.synthetic.factors import Alter, Factors

Group: TypeAlias = "Callable[[Factors], np.ndarray]"  # faces -> (N,) whether their person belongs
_MANY = 6  # times as many people are drawn at first as a group is to have


def learned(sizes: Protocol, seed: int, correlation: str, alter: Alter | None = None) -> Learned:
    """Faces of the training and the validation cohort, as `factors.sample` draws them."""
    from idfer.synthetic.factors import sample

    train = sample(*sizes.train, correlation, 3 * seed, alter=alter)
    return Learned(train, sample(*sizes.val, correlation, 3 * seed + 1, alter=alter))


def tests(sizes: Protocol, seed: int, correlations: Mapping[str, str]) -> dict[str, Factors]:
    """The same unseen people under each correlation, by split."""
    from idfer.synthetic.factors import sample

    return {name: sample(*sizes.test, given, 3 * seed + 2) for name, given in correlations.items()}


def group(people: int, images: int, cohort: int, belongs: Group) -> Factors:
    """The first people of a cohort who belong to a group; labels know nothing of anybody.

    Args:
        people: how many.
        images: of each.
        cohort: seed of the people.
        belongs: who does, by identity factors.
    """
    from idfer.synthetic.factors import sample

    drawn = _MANY * people
    while True:
        faces = sample(drawn, images, "", cohort)
        rows = np.flatnonzero(belongs(faces))
        if len(rows) >= people * images:
            return faces.rows(rows[: people * images])
        drawn *= 2


def scores(faces: Factors, factor: str) -> np.ndarray:
    """(N,) the standard normal score behind an identity factor of faces of one cohort, by person."""
    from idfer.synthetic.population import identities

    person = faces.identity.numpy().astype(int)
    found: np.ndarray = identities(int(person.max()) + 1, int(faces.cohort[0]))[1][factor][person]
    return found
