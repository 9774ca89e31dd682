"""Perceived affect: valence and arousal as the action units of a face show them.

Labels of the engines are what a face *means*: `circumplex` draws valence and arousal and shows them by action
units, one way or another. Photographs are labelled by people who see the face alone, and a face at rest that
frowns a little looks a little cross to them. What shows and what is meant differ more on faces of `--variety
wide`, and a network asked for what is meant leans on whatever goes with it in this renderer (raised outer
brows with pleasure, stretched lips with displeasure), which photographs do not bear out.

The way over action units is that of FATAUVA-Net (Chang, Hsu & Chien 2017, CVPR Workshops). The weights are
[ours]: a smile and raised cheeks against lowered corners, lowered brows and a wrinkled nose, a corner down as
much as a corner up; raised brows, lids and an open mouth against closed eyes. A face that shows nothing has 0
and 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from idfer.data.manifest import Manifest
from idfer.errors import IdferError
from idfer.synthetic.factors import PREFIX

VALENCE = {12: 0.7, 6: 0.4, 4: -0.4, 9: -0.4, 15: -0.7}
AROUSAL = {1: 0.2, 2: 0.2, 5: 0.4, 25: 0.1, 26: 0.4, 43: -0.4}
"""Action unit -> what full intensity adds."""
LABEL_SOURCE = "action units"
_SMILES, _PARTED = 0.45, 0.35  # intensities of AU 12 and AU 25 from which lips smile, and show teeth


def perceived(units: Mapping[int, NDArray[np.float64]]) -> NDArray[np.float64]:
    """(N, 2) valence and arousal in [-1, 1].

    Args:
        units: AU number -> (N,) intensity in [0, 1], for those of `VALENCE` and `AROUSAL` at least.
    """
    said = [sum(weight * units[au] for au, weight in of.items()) for of in (VALENCE, AROUSAL)]
    labels: NDArray[np.float64] = np.clip(np.stack(said, axis=1), -1.0, 1.0)
    return labels


def as_perceived(faces: Manifest) -> Manifest:
    """Faces of `idfer synth` whose labels are what they show; what they mean stays in `factor.valence`.

    Raises:
        IdferError: the faces have no action units.
    """
    units = _units(faces, {**VALENCE, **AROUSAL})
    labels = perceived(units)
    table = faces.frame.assign(valence=labels[:, 0], arousal=labels[:, 1], label_source=LABEL_SOURCE)
    return Manifest.from_frame(table, faces.root, name=str(faces.root))


def smiling(faces: Manifest) -> NDArray[np.bool_]:
    """(N,) which faces smile and show their teeth. Raises as `as_perceived` does."""
    units = _units(faces, (12, 25))
    shown: NDArray[np.bool_] = (units[25] > _PARTED) & (units[12] > _SMILES)
    return shown


def baring_teeth(faces: Manifest) -> NDArray[np.bool_]:
    """(N,) which faces show their teeth and do not smile. Raises as above."""
    units = _units(faces, (12, 25))
    shown: NDArray[np.bool_] = (units[25] > _PARTED) & (units[12] <= _SMILES)
    return shown


def _units(faces: Manifest, wanted: Iterable[int]) -> dict[int, NDArray[np.float64]]:
    columns = {au: f"{PREFIX}au{au}" for au in wanted}
    if missing := [column for column in columns.values() if column not in faces.frame]:
        raise IdferError(
            f"{faces.root}: column {missing[0]!r} is missing ({len(missing)} such); what a face shows is "
            "known of faces of `idfer synth` only."
        )
    return {au: faces.frame[column].to_numpy(np.float64) for au, column in columns.items()}
