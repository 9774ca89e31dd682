"""`correlation`: a shortcut through two named attributes that holds, vanishes or turns round in the tests."""

from __future__ import annotations

from idfer.experiments.protocol import ORACLE, RHO, SHIFTED, TESTS, Protocol, correlation
from idfer.experiments.protocols.design import Design, World
from idfer.experiments.protocols.drawing import learned, tests

SHORTCUTS = (("age", "valence"), ("gender", "arousal"))
SPLITS = {name: correlation(rho) for name, rho in TESTS.items()}


def draw(sizes: Protocol, seed: int) -> World:
    """The same people with the shortcut and without; the same unseen people under each correlation."""
    shifted = learned(sizes, seed, correlation(RHO))
    return World(
        {SHIFTED: shifted, ORACLE: learned(sizes, seed, correlation(0.0))}, tests(sizes, seed, SPLITS)
    )


DESIGN = Design(
    draw,
    "In training, older faces show lower valence and more masculine faces higher arousal (ρ = 0.7). The "
    "same unseen people are tested where that holds (matched), vanishes (balanced) and is turned round "
    "(reversed). The oracle learns from the same people without it.",
    tests=tuple(TESTS), balanced="balanced", matched="matched", reversed="reversed", shortcuts=SHORTCUTS,
)  # fmt: skip
