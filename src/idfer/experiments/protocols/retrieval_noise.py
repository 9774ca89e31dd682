"""`retrieval-noise`: CLIP misreads people, the more often the darker their skin [ours].

The faces are those of `correlation`. Each attribute of a person is misread with probability
0.5 (skin - 1) / 9, from never on the lightest to every second on the darkest skin: its posteriors are turned
to another level, in all images of that person, for who is misread is misread again. Errors like these leave
much of the shortcut in place where a method reweighs by its attributes. idfer's conditional information
also knows the labels of a person's other faces, which no misread attribute touches.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from idfer.experiments.protocol import TESTS
from idfer.experiments.protocols import correlation
from idfer.experiments.protocols.design import Design

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest

MOST = 0.5  # of the darkest skin's attributes are misread


def misread(table: AttributeTable, faces: Manifest, seed: int) -> AttributeTable:
    """The table with some people's attributes read as other levels.

    Args:
        table: attributes as retrieved, a row per face.
        faces: N faces with `factor.skin`.
        seed: of who is misread.
    """
    from idfer.synthetic.factors import PREFIX

    rng = np.random.default_rng([seed, 9])
    _, first, person = np.unique(faces.subjects, return_index=True, return_inverse=True)
    chance = MOST * (faces.frame[PREFIX + "skin"].to_numpy(np.float64)[first] - 1) / 9
    posteriors = []
    for attribute, levels in table.levels.items():
        wrong = rng.random(len(first)) < chance
        turn = np.where(wrong, rng.integers(1, len(levels), len(first)), 0)[person]
        columns = (np.arange(len(levels)) - turn[:, None]) % len(levels)
        posteriors.append(np.take_along_axis(table.posterior(attribute), columns, axis=1))
    return replace(table, posteriors=np.concatenate(posteriors, axis=1))


DESIGN = Design(
    correlation.draw,
    "The faces and tests of `correlation`, but each retrieved attribute of a person is wrong in all their "
    "images with a probability that rises with skin tone, from 0 to 0.5. The oracle uses no attributes. "
    "idfer's prior also knows the labels of a person's other faces, which misreading does not touch and no "
    "baseline is given: what it keeps here may be owed to them.",
    tests=tuple(TESTS), balanced="balanced", matched="matched", reversed="reversed",
    shortcuts=correlation.SHORTCUTS, misread=misread,
)  # fmt: skip
