"""`few-people`: equally many images of ever more people, with the shortcut of `correlation` [ours].

Few people give attributes and labels to learn by heart: with 15, hardly two of an age and gender.
"""

from __future__ import annotations

from idfer.experiments.protocol import ORACLE, RHO, Protocol, correlation
from idfer.experiments.protocols.correlation import SHORTCUTS, SPLITS
from idfer.experiments.protocols.design import Design, Learned, World
from idfer.experiments.protocols.drawing import tests

LEVELS = {"people-15": 0.1, "people-50": 1 / 3, "people-150": 1.0, "people-600": 4.0}  # of `sizes.train`
FEWEST = 6  # of the smallest level of a tiny size: fewer cannot be cross-fitted


def draw(sizes: Protocol, seed: int) -> World:
    """The first few or many of the training people; validation and test people are always the same."""
    from idfer.synthetic.factors import sample

    usual, images = sizes.train
    counts = {level: max(FEWEST, round(share * usual)) for level, share in LEVELS.items()}

    def of(people: int, rho: float) -> Learned:
        each = max(1, usual * images // people)
        train = sample(people, each, correlation(rho), 3 * seed)
        return Learned(train, sample(*sizes.val, correlation(rho), 3 * seed + 1))

    levels = {level: of(people, RHO) for level, people in counts.items()}
    return World(levels | {ORACLE: of(max(counts.values()), 0.0)}, tests(sizes, seed, SPLITS))


DESIGN = Design(
    draw,
    "6,000 images of 15, 50, 150 or 600 people (a tiny size has fewer of both) with the shortcut of "
    "`correlation`, ρ = 0.7, tested as there. The oracle learns from 600 people without it, so what it is "
    "ahead is owed to people and to the shortcut.",
    tests=tuple(SPLITS), balanced="balanced", matched="matched", reversed="reversed", levels=tuple(LEVELS),
    shortcuts=SHORTCUTS,
)  # fmt: skip
