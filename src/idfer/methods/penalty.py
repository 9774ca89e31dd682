"""Which penalty a method minimises between z_exp and the retrieved attributes, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, get_args

from torch import Tensor

from idfer.catalogue import ESTIMATORS
from idfer.errors import UsageError, unknown
from idfer.methods.attribute_targets import LevelPosteriors, WhitenedVectors
from idfer.names import is_path, load_object
from idfer.objectives.penalty_term import PenaltyTerm, Sees
from idfer.types import Batch


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
    """The estimator `name` between features of width `dim` and the attributes as it sees them.

    Raises:
        UsageError: no such estimator.
    """
    kind = estimator_class(name)
    mask = levels.mask if kind.sees == "levels" else vectors.mask
    count, width = mask.shape
    term = kind(count, dim, width)
    if kind.sees == "levels":
        return Penalty(term, lambda batch: levels(batch.posterior), mask)
    return Penalty(term, lambda batch: vectors(batch.retrieved), mask)


def estimator_class(name: str) -> type[PenaltyTerm]:
    """The class of an estimator: one of `ESTIMATORS`, or one's own as `module:Class`.

    Raises:
        UsageError: there is none of that name, or it is no estimator.
    """
    if name not in ESTIMATORS and not is_path(name):
        hint = "Give one of them as --terms.estimator, or a class of your own as module:Class."
        raise unknown("estimator", name, list(ESTIMATORS), hint)
    kind = load_object(ESTIMATORS.get(name, name), "estimator")
    if not (isinstance(kind, type) and issubclass(kind, PenaltyTerm)):
        raise UsageError(
            f"estimator {name!r} is not a subclass of idfer.objectives.penalty_term:PenaltyTerm."
        )
    if kind.sees not in get_args(Sees):
        raise UsageError(
            f"estimator {name!r} sees {kind.sees!r}; its class attribute `sees` must be 'vectors' (whitened "
            "ID vectors) or 'levels' (level posteriors)."
        )
    return kind
