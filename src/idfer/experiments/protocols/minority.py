"""`minority`: dark-skinned people are half, a tenth, a fiftieth or none of those in training [ours].

Light and dark are the outer levels of the default vocabulary (skin below 4, from 7 on). Labels know nothing
of attributes: this is under-representation alone, so that a loss is not a shortcut's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from idfer.experiments.protocol import ORACLE, Protocol
from idfer.experiments.protocols.design import Design, Learned, World
from idfer.experiments.protocols.drawing import group, tests

if TYPE_CHECKING:
    from idfer.synthetic.factors import Factors

LEVELS = {"share-50": 0.5, "share-10": 0.1, "share-2": 0.02, "share-0": 0.0}
EVERYONE = "everyone"


def light(faces: Factors) -> np.ndarray:
    """(N,) whether a face is of the majority."""
    return (faces.skin < 4).numpy()


def dark(faces: Factors) -> np.ndarray:
    """(N,) whether a face is of the minority."""
    return (faces.skin >= 7).numpy()


def _mixed(people: int, images: int, cohort: int) -> dict[str, Factors]:
    """By level, `people` people; those of a smaller share are among those of a larger one."""
    from idfer.synthetic.factors import Factors

    majority, minority = (group(people, images, cohort, belongs) for belongs in (light, dark))
    mixed = {}
    for level, share in LEVELS.items():
        few = max(1, round(share * people)) if share else 0
        parts = majority.rows(slice((people - few) * images)), minority.rows(slice(few * images))
        mixed[level] = Factors.concat(parts)
    return mixed


def draw(sizes: Protocol, seed: int) -> World:
    """The same people at every share as far as they go; equally many unseen ones of both groups."""
    train, val = _mixed(*sizes.train, 3 * seed), _mixed(*sizes.val, 3 * seed + 1)
    levels = {level: Learned(train[level], val[level]) for level in LEVELS}
    groups = {
        name: group(*sizes.test, 3 * seed + 2, belongs)
        for name, belongs in (("majority", light), ("minority", dark))
    }
    return World(levels | {ORACLE: levels["share-50"]}, groups | tests(sizes, seed, {EVERYONE: ""}))


DESIGN = Design(
    draw,
    "Dark-skinned people are 50 %, 10 %, 2 % or none of the people in training, the others are "
    "light-skinned; the number of people stays. Both groups are tested. Labels do not depend on who it is: "
    "this is under-representation alone. The oracle learns from equally many of both.",
    tests=("majority", "minority", EVERYONE), cells=("majority", "minority"), balanced=EVERYONE,
    levels=tuple(LEVELS), shortcuts=(("skin", "valence"), ("skin", "arousal")), harmless="share-50",
)  # fmt: skip
