"""The full cross: every person shows every expression, so that a change of person changes nothing else.

P people x E expressions, rendered under equal conditions, are what the analysis of variance of
`idfer.evaluation.anova` takes apart. [ours] Within an expression all people share one photograph: pose,
light, background and even the camera's noise; between expressions the photograph differs as in training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from idfer.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from idfer.synthetic.factors import Factors

SPLIT = "cross"


def cross(people: int, expressions: int, seed: int = 0) -> Factors:
    """Draw P people who all show the same E expressions.

    The people are the first P of `factors.sample(P, ..., seed=seed)`. Expression e depends on E and the seed
    alone: valence and arousal are each spread evenly over [-1, 1] (a Latin hypercube; every label alone is
    uniform and independent of people), dominance and the photograph are drawn as ever. The action units are
    those of the label itself, without anybody's expressivity or asymmetry and without chance, so that it is
    really the same expression; and nothing is before the face, which would hide it.

    Args:
        people: P, 2 or more.
        expressions: E, 2 or more.
        seed: 0 to 2^24 - 1; another seed draws other people and other expressions.

    Returns:
        P * E faces, person by person: face p * E + e is person p with expression e.

    Raises:
        UsageError: fewer than 2 people or expressions, more faces than fit into memory, or a bad seed.
    """
    from idfer.synthetic.factors import check_counts, sample

    for name, count in (("people", people), ("expressions", expressions)):
        if count < 2:
            raise UsageError(f"{name} is {count}; a cross needs 2 people and 2 expressions or more.")
    check_counts(people, expressions)
    return full_cross(sample(people, 1, seed=seed), _expressions(expressions, seed))


def full_cross(people: Factors, expressions: Factors) -> Factors:
    """Given people with given expressions in given photographs.

    Args:
        people: P faces, of which only the identity counts; one face a person.
        expressions: E faces, of which all but the identity counts; action units are taken as they are.

    Returns:
        P * E faces, person by person.
    """
    from idfer.synthetic.factors import EXPRESSION, NUISANCE

    who = people.rows(np.repeat(np.arange(len(people)), len(expressions)))
    shown = expressions.rows(np.tile(np.arange(len(expressions)), len(people)))
    return who.replace(**{name: getattr(shown, name) for name in (*EXPRESSION, *NUISANCE)})


def _expressions(count: int, seed: int) -> Factors:
    """E faces, each with a label of its own and the action units that it calls for."""
    import torch

    from idfer.synthetic import circumplex
    from idfer.synthetic.factors import sample

    rng = np.random.default_rng([seed, 8])
    valence, arousal = (_spread(rng, count) for _ in range(2))
    drawn = sample(count, 1, seed=seed)
    units = circumplex.action_units(valence, arousal, drawn.dominance.numpy())
    shown: dict[str, Tensor | float] = {
        f"au{au}": torch.from_numpy(intensity) for au, intensity in units.items()
    }
    labels = {"valence": torch.from_numpy(valence), "arousal": torch.from_numpy(arousal)}
    return drawn.replace(lopsided=0.0, occlusion=0.0, **labels, **shown)


def _spread(rng: np.random.Generator, count: int) -> np.ndarray:
    """(N,) in [-1, 1]: one at a random place in each N-th of the range, in random order."""
    place: np.ndarray = (rng.permutation(count) + rng.random(count)) / count
    return 2 * place - 1
