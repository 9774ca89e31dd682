"""`correlation`: a shortcut through two named attributes that holds, vanishes or turns round in the tests."""

from __future__ import annotations

from idfer.experiments.protocol import ORACLE, RHO, SHIFTED, TESTS, Protocol, correlation
from idfer.experiments.protocols.design import Design, Learned, World

SHORTCUTS = (("age", "valence"), ("gender", "arousal"))


def learned(sizes: Protocol, seed: int, rho: float) -> Learned:
    """Faces of the usual people under a correlation of strength `rho`."""
    from idfer.synthetic.factors import sample

    return Learned(
        sample(*sizes.train, correlation(rho), 3 * seed), sample(*sizes.val, correlation(rho), 3 * seed + 1)
    )


def draw(sizes: Protocol, seed: int) -> World:
    """The same people with the shortcut and without; the same unseen people under each correlation."""
    from idfer.synthetic.factors import sample

    tests = {name: sample(*sizes.test, correlation(rho), 3 * seed + 2) for name, rho in TESTS.items()}
    return World({SHIFTED: learned(sizes, seed, RHO), ORACLE: learned(sizes, seed, 0.0)}, tests)


DESIGN = Design(
    draw,
    "In training, older faces show lower valence and more masculine faces higher arousal (ρ = 0.7). The "
    "same unseen people are tested where that holds (matched), vanishes (balanced) and is turned round "
    "(reversed). The oracle learns from the same people without it.",
    tests=tuple(TESTS), balanced="balanced", matched="matched", reversed="reversed", shortcuts=SHORTCUTS,
)  # fmt: skip
