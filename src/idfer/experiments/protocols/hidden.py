"""`hidden`: a shortcut through hair, mouth and glasses, of which no attribute is retrieved [ours].

Lighter hair goes with lower valence and a mouth that is curved up at rest with higher (ρ = 0.5 each, together
as strong as 0.7 alone), glasses go with higher arousal (ρ = 0.7). Nothing tells a method of these factors but
what of them leans on named ones: hair colour on skin, grey hair and glasses on age.
"""

from __future__ import annotations

from idfer.experiments.protocol import ORACLE, SHIFTED, TESTS, Protocol
from idfer.experiments.protocols.design import Design, World
from idfer.experiments.protocols.drawing import learned, tests

STRENGTHS = {("hair_colour", "valence"): -0.5, ("mouth_curve", "valence"): 0.5, ("glasses", "arousal"): 0.7}
SIGNS = dict(zip(TESTS, (1, 0, -1), strict=True))  # of the shortcut in matched, balanced and reversed


def hidden(sign: int) -> str:
    """The correlation as in training (1), none (0) or turned round (-1)."""
    return ",".join(f"{factor}:{label}={sign * rho}" for (factor, label), rho in STRENGTHS.items() if sign)


def draw(sizes: Protocol, seed: int) -> World:
    """The same people with the shortcut and without; the same unseen people under each correlation."""
    splits = {name: hidden(sign) for name, sign in SIGNS.items()}
    return World(
        {SHIFTED: learned(sizes, seed, hidden(1)), ORACLE: learned(sizes, seed, hidden(0))},
        tests(sizes, seed, splits),
    )


DESIGN = Design(
    draw,
    "In training, lighter hair goes with lower and an up-curved resting mouth with higher valence (ρ = 0.5 "
    "each), glasses with higher arousal (ρ = 0.7): factors that no attribute is retrieved for. Tested where "
    "that holds, vanishes and is turned round. The oracle learns from the same people without it.",
    tests=tuple(TESTS), balanced="balanced", matched="matched", reversed="reversed",
    shortcuts=tuple(STRENGTHS),
)  # fmt: skip
