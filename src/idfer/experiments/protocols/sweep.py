"""`sweep`: the shortcut of `correlation`, none to strong in training, against every strength in the tests."""

from __future__ import annotations

from idfer.experiments.protocol import ORACLE, Protocol, correlation
from idfer.experiments.protocols.correlation import SHORTCUTS
from idfer.experiments.protocols.design import Design, World
from idfer.experiments.protocols.drawing import learned, tests

LEVELS = {"rho-0": 0.0, "rho-50": 0.5, "rho-70": 0.7, "rho-90": 0.9}  # ρ in training, in hundredths
LINE = {"minus-90": -0.9, "minus-50": -0.5, "zero": 0.0, "plus-50": 0.5, "plus-90": 0.9}  # ρ in the tests


def draw(sizes: Protocol, seed: int) -> World:
    """The same people at every strength. Without a shortcut they are the oracle's, face by face."""
    levels = {name: learned(sizes, seed, correlation(rho)) for name, rho in LEVELS.items()}
    splits = {name: correlation(rho) for name, rho in LINE.items()}
    return World(levels | {ORACLE: levels["rho-0"]}, tests(sizes, seed, splits))


DESIGN = Design(
    draw,
    "The shortcut of `correlation` (older faces show lower valence, more masculine ones higher arousal) with "
    "ρ = 0, 0.5, 0.7 and 0.9 in training and ρ = -0.9, -0.5, 0, 0.5 and 0.9 in the tests. The oracle learns "
    "at ρ = 0.",
    tests=tuple(LINE), balanced="zero", matched="plus-90", reversed="minus-90", levels=tuple(LEVELS),
    shortcuts=SHORTCUTS, harmless="rho-0", line=LINE,
)  # fmt: skip
