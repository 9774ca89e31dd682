"""Which leakage term a method minimises between z_exp and the retrieved attributes, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from idfer.errors import unknown
from idfer.methods.levels import Levels
from idfer.methods.whitening import Whitening
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
from idfer.objectives.smile import SMILE
from idfer.objectives.term import Term
from idfer.types import Batch

ON_VECTORS: dict[str, Callable[[int, int, int], Term]] = {
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
ON_LEVELS: dict[str, Callable[[int, int, int], Term]] = {
    "club_categorical": ClubCategorical,
    "adversary": Adversary,
    "hsic": HSIC,
}
ESTIMATORS = (*ON_VECTORS, *ON_LEVELS)


class Leakage(NamedTuple):
    """A term and how it sees a batch's attributes.

    Attributes:
        term: the estimator, with its critic where it has one.
        attributes: batch -> c (B, A, width).
        mask: (A, width).
    """

    term: Term
    attributes: Callable[[Batch], Tensor]
    mask: Tensor


def leakage_term(name: str, dim: int, whitening: Whitening, levels: Levels) -> Leakage:
    """The term `name` between features of width `dim` and the attributes: whitened ID vectors or posteriors.

    Raises:
        UsageError: no such estimator.
    """
    if name in ON_VECTORS:
        count, width = whitening.mask.shape
        return Leakage(ON_VECTORS[name](count, dim, width), lambda b: whitening(b.retrieved), whitening.mask)
    if name in ON_LEVELS:
        count, width = levels.mask.shape
        return Leakage(ON_LEVELS[name](count, dim, width), lambda b: levels(b.posterior), levels.mask)
    raise unknown("estimator", name, list(ESTIMATORS), "Give one of them as --terms.estimator.")
