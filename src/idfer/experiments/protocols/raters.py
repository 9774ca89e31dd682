"""`raters`: labels are biased by who is rated, and tests ask for the truth [ours].

    given valence = clip(valence - 0.4 age), given arousal = clip(arousal + 0.4 gender), in [-1, 1],

age and gender being the standard normal scores of the person. What people show is independent of who they
are: it is the label that is wrong. Unlike a correlation, a bias is part of what the best prediction of the
*given* label from the image is, for the image shows both; only a feature blind to the attribute escapes it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from idfer.experiments.protocol import ORACLE, SHIFTED, Protocol
from idfer.experiments.protocols.correlation import SHORTCUTS
from idfer.experiments.protocols.design import Design, Learned, World
from idfer.experiments.protocols.drawing import group, learned, scores, tests

if TYPE_CHECKING:
    from idfer.synthetic.factors import Factors

BIAS = {"valence": ("age", -0.4), "arousal": ("gender", 0.4)}  # per standard deviation of the person's score
CELLS = ("young-feminine", "young-masculine", "old-feminine", "old-masculine")
EVERYONE, RATED = "everyone", "rated"


def rated(faces: Factors) -> Factors:
    """The same faces with the labels that biased raters give."""
    given = {
        label: getattr(faces, label) + bias * torch.from_numpy(scores(faces, factor)).float()
        for label, (factor, bias) in BIAS.items()
    }
    return faces.replace(**{label: values.clamp(-1, 1) for label, values in given.items()})


def cell(faces: Factors) -> np.ndarray:
    """(N,) name of each person's cell: halves of age by halves of gender presentation."""
    old, masculine = (faces.age >= 0.5).numpy(), (faces.gender >= 0.5).numpy()
    found: np.ndarray = np.array(CELLS)[2 * old + masculine]
    return found


def _within(name: str, faces: Factors) -> np.ndarray:
    return np.isin(cell(faces), name)


def draw(sizes: Protocol, seed: int) -> World:
    """The same faces with given and with true labels; unseen people by cell, and all as raters see them."""
    true = learned(sizes, seed, "")
    people, images = max(2, sizes.test[0] // 2), sizes.test[1]
    cells = {name: group(people, images, 3 * seed + 2, partial(_within, name)) for name in CELLS}
    everyone = tests(sizes, seed, {EVERYONE: ""})[EVERYONE]
    return World(
        {SHIFTED: Learned(rated(true.train), rated(true.val)), ORACLE: true},
        cells | {EVERYONE: everyone, RATED: rated(everyone)},
    )


DESIGN = Design(
    draw,
    "Raters give older people lower valence (0.4 per standard deviation) and more masculine ones higher "
    "arousal, clipped to [-1, 1]; what people show does not depend on who they are. Tests are scored against "
    "the truth, in each of four cells of age and gender presentation, and once (`rated`) against the raters. "
    "The oracle learns from true labels of the same faces.",
    tests=(*CELLS, EVERYONE, RATED), cells=CELLS, balanced=EVERYONE, matched=RATED, shortcuts=SHORTCUTS,
)  # fmt: skip
