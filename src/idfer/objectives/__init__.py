"""Objectives on features: one file each, equation and citation on top.

An estimator of one's own is a subclass of `idfer.objectives.penalty_term:PenaltyTerm`, built as
`Estimator(attributes, dim_x, dim_y)` and given as `module:Class`.
"""

from __future__ import annotations

from collections.abc import Mapping

ESTIMATORS: Mapping[str, str] = {  # of I(z_exp; c[a]), to minimise; torch is loaded with them
    "club": "idfer.objectives.club:CLUB",
    "club_sampled": "idfer.objectives.club_sampled:ClubSampled",
    "conditional_club": "idfer.objectives.conditional_club:ConditionalCLUB",
    "l1out": "idfer.objectives.l1out:L1Out",
    "infonce": "idfer.objectives.infonce:InfoNCE",
    "nwj": "idfer.objectives.nwj:NWJ",
    "mine": "idfer.objectives.mine:MINE",
    "jsd": "idfer.objectives.jsd:JSD",
    "smile": "idfer.objectives.smile:SMILE",
    "club_categorical": "idfer.objectives.club_categorical:ClubCategorical",
    "adversary": "idfer.objectives.gradient_reversal:Adversary",
    "hsic": "idfer.objectives.hsic:HSIC",
}
