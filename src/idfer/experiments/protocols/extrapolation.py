"""`extrapolation`: people unlike any in training. Who is shown is shifted, not what they show [ours].

The four cells are halves of age (at 0.5) by halves of skin tone (at 5.5), a quarter of the population each.
Labels know nothing of attributes anywhere, so there is no shortcut to take: what is hard is reading faces of
unfamiliar looks. A method that only removes shortcuts gains nothing here, and the page shows what it loses.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from idfer.experiments.protocol import ORACLE, Protocol
from idfer.experiments.protocols.design import Design, Learned, World
from idfer.experiments.protocols.drawing import group, learned, tests

if TYPE_CHECKING:
    from idfer.synthetic.factors import Factors

CELLS = ("young-light", "young-dark", "old-light", "old-dark")
EVERYONE = "everyone"


def cell(faces: Factors) -> np.ndarray:
    """(N,) name of each person's cell."""
    old, dark = (faces.age >= 0.5).numpy(), (faces.skin >= 5.5).numpy()
    found: np.ndarray = np.array(CELLS)[2 * old + dark]
    return found


def _within(cells: tuple[str, ...], faces: Factors) -> np.ndarray:
    return np.isin(cell(faces), cells)


def _learned(sizes: Protocol, seed: int, cells: tuple[str, ...]) -> Learned:
    return Learned(
        group(*sizes.train, 3 * seed, partial(_within, cells)),
        group(*sizes.val, 3 * seed + 1, partial(_within, cells)),
    )


def draw(sizes: Protocol, seed: int) -> World:
    """As many people as ever, from one cell or from three; half as many unseen ones from each."""
    people, images = max(2, sizes.test[0] // 2), sizes.test[1]
    cells = {name: group(people, images, 3 * seed + 2, partial(_within, (name,))) for name in CELLS}
    return World(
        {
            "young-light": _learned(sizes, seed, CELLS[:1]),
            "without-old-dark": _learned(sizes, seed, CELLS[:3]),
            ORACLE: learned(sizes, seed, ""),
        },
        cells | tests(sizes, seed, {EVERYONE: ""}),
    )


DESIGN = Design(
    draw,
    "Training people are young and light-skinned only (`young-light`), or of all but one of the four cells "
    "of age and skin (`without-old-dark`); each cell is tested. Nobody's label depends on who it is, so "
    "there is no shortcut: what is hard is that faces look unlike any before. The oracle learns from all.",
    tests=(*CELLS, EVERYONE), cells=CELLS, balanced=EVERYONE, levels=("young-light", "without-old-dark"),
    shortcuts=(("age", "valence"), ("age", "arousal"), ("skin", "valence"), ("skin", "arousal")),
)  # fmt: skip
