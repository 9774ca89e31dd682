"""Which penalty a method minimises between z_exp and the retrieved attributes, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from idfer.errors import unknown
from idfer.methods.attribute_targets import LevelPosteriors, WhitenedVectors
from idfer.objectives.club import CLUB
from idfer.objectives.club_categorical import ClubCategorical
from idfer.objectives.club_sampled import ClubSampled
from idfer.objectives.conditional_club import ConditionalCLUB
from idfer.objectives.gradient_reversal import Adversary
from idfer.objectives.hsic import HSIC
from idfer.objectives.infonce import InfoNCE
from idfer.objectives.jsd import JSD
from idfer.objectives.l1out import L1Out
from idfer.objectives.mine import MINE
from idfer.objectives.nwj import NWJ
from idfer.objectives.penalty_term import PenaltyTerm
from idfer.objectives.smile import SMILE
from idfer.types import Batch

ON_VECTORS: dict[str, Callable[[int, int, int], PenaltyTerm]] = {
    "club": CLUB,
    "club_sampled": ClubSampled,
    "conditional_club": ConditionalCLUB,
    "l1out": L1Out,
    "infonce": InfoNCE,
    "nwj": NWJ,
    "mine": MINE,
    "jsd": JSD,
    "smile": SMILE,
}
ON_LEVELS: dict[str, Callable[[int, int, int], PenaltyTerm]] = {
    "club_categorical": ClubCategorical,
    "adversary": Adversary,
    "hsic": HSIC,
}
ESTIMATORS = (*ON_VECTORS, *ON_LEVELS)


class Penalty(NamedTuple):
    """A term and how it sees a batch's attributes.

    Attributes:
        term: the estimator, with its critic where it has one.
        attributes: batch -> c (B, A, width).
        mask: (A, width).
    """

    term: PenaltyTerm
    attributes: Callable[[Batch], Tensor]
    mask: Tensor


def penalty_term(name: str, dim: int, vectors: WhitenedVectors, levels: LevelPosteriors) -> Penalty:
    """The term `name` between features of width `dim` and the attributes: whitened ID vectors or posteriors.

    Raises:
        UsageError: no such estimator.
    """
    if name in ON_VECTORS:
        count, width = vectors.mask.shape
        return Penalty(ON_VECTORS[name](count, dim, width), lambda b: vectors(b.retrieved), vectors.mask)
    if name in ON_LEVELS:
        count, width = levels.mask.shape
        return Penalty(ON_LEVELS[name](count, dim, width), lambda b: levels(b.posterior), levels.mask)
    raise unknown("estimator", name, list(ESTIMATORS), "Give one of them as --terms.estimator.")
