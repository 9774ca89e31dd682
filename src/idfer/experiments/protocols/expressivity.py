"""`expressivity`: in training older people show less of what they feel, in a test they show more [ours].

    log expressivity = 0.35 (-ρ age + sqrt(1 - ρ²) own),  clipped to [0.45, 1.9] before the logarithm,

age and own being standard normal scores of the person, ρ = 0.9 in training and `matched`, 0 in `balanced`,
-0.9 in `reversed`. Action units are multiplied by it, so the same picture of a half smile calls for another
label on an old face than on a young one: a shortcut that scales, where a correlation shifts. What a model
that takes it reads off age is a gain: positive expressions rise and negative ones fall, and age's effect, a
mean over expressions, hardly moves. So no effects are reported: the interaction of person and expression
carries it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from idfer.experiments.protocol import ORACLE, SHIFTED, Protocol
from idfer.experiments.protocols.design import Design, World
from idfer.experiments.protocols.drawing import learned

if TYPE_CHECKING:
    from idfer.synthetic.factors import Table

RHO, SPREAD, RANGE = 0.9, 0.35, (0.45, 1.9)
SPLITS = {"matched": RHO, "balanced": 0.0, "reversed": -RHO}


def _express(rho: float, people: Table, scores: Table) -> Table:
    """Everybody's expressivity, falling with age where rho > 0."""
    size = -rho * scores["age"] + np.sqrt(1 - rho**2) * scores["expressivity"]
    return {"expressivity": np.exp(SPREAD * size).clip(*RANGE)}


def draw(sizes: Protocol, seed: int) -> World:
    """The same people, whose expressivity goes with age or does not; the same unseen people each way."""
    from idfer.synthetic.factors import sample

    tests = {
        name: sample(*sizes.test, "", 3 * seed + 2, alter=partial(_express, rho))
        for name, rho in SPLITS.items()
    }
    return World(
        {
            SHIFTED: learned(sizes, seed, "", partial(_express, RHO)),
            ORACLE: learned(sizes, seed, "", partial(_express, 0.0)),
        },
        tests,
    )


DESIGN = Design(
    draw,
    "In training, older people show less: their action units are smaller at the same label (ρ = 0.9 between "
    "age and log expressivity). Tested where that holds, vanishes and is turned round; labels never depend "
    "on who it is. The shortcut is a gain, which an effect (a mean over expressions) does not see: on the "
    "cross it shows in the interaction of person and expression. The oracle learns from the same people, "
    "equally varied, without it.",
    tests=tuple(SPLITS), balanced="balanced", matched="matched", reversed="reversed",
)  # fmt: skip
