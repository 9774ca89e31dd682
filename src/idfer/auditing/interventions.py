"""What no photograph gives: the same expression on other people's faces, drawn, and what a model makes of it.

`PEOPLE` drawn people each show the same `EXPRESSIONS` expressions in the same photographs
(`idfer.synthetic.cross`); the analysis of variance of `idfer.evaluation.anova` tells what is read from the
expression, from the person, and from both together, and the effect of each attribute at fixed expression.
A model that aligns faces by landmarks gets the drawn ones aligned, by those that are known of them; others
get the whole picture. Drawn faces are not photographs: a model of photographs may read them poorly, and an
effect here is a hint where to look, no measurement of photographs (IDF308).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from idfer.auditing.simultaneous import leaves_out_0
from idfer.errors import IdferError

if TYPE_CHECKING:
    from idfer.data.preprocess import Preprocess
    from idfer.synthetic.factors import Factors
    from idfer.types import FaceModel, Preprocessing

PEOPLE, EXPRESSIONS = 60, 8
"""Enough for 95 % intervals that hold (see `idfer.evaluation.anova`), few enough to be drawn in seconds."""
WARNING = (
    "drawn faces are not photographs: the effects show what this model makes of drawn people who differ in "
    "one attribute, and nothing about photographs by themselves"
)
FREEDOM = PEOPLE - 10  # degrees of freedom of an effect: people less what is fitted, on the safe side
_SEED = 9_000_000  # so that nobody drawn here was drawn for a training set with a small seed
_LARGEST = 224  # pixels a face is drawn with; larger inputs are scaled up
_BATCH = 60


def interventions(
    model: FaceModel,
    *,
    people: int = PEOPLE,
    expressions: int = EXPRESSIONS,
    replicates: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """Draw a full cross, let the model read it, and take its predictions apart.

    Args:
        model: any that needs nothing but crops.
        people: P.
        expressions: E.
        replicates: bootstrap replicates over people.
        seed: of people, expressions and bootstrap.
        progress: show a progress bar.

    Returns:
        `anova.Invariance.to_dict()` with `warning`, and `error`: RMSE of valence and arousal on these faces
        together, by which one sees whether the model reads drawn faces at all.

    Raises:
        IdferError: the model gives something else than (B, 2) finite numbers.
    """
    from idfer.evaluation import anova
    from idfer.progress import bar
    from idfer.synthetic.cross import cross
    from idfer.synthetic.render import render

    faces = cross(people, expressions, _SEED + seed % 1_000_000)
    size = min(model.preprocess.size, _LARGEST)
    said = []
    with bar("drawing counterfactual faces", len(faces), progress) as advance:
        for start in range(0, len(faces), _BATCH):
            part = faces.rows(slice(start, start + _BATCH))
            pixels = render(part, size).permute(0, 2, 3, 1).numpy()
            said.append(_answers(model, _placed(pixels, part, model.preprocess)))
            advance(len(pixels))
    predicted = np.concatenate(said)
    label = np.stack([faces.valence.numpy(), faces.arousal.numpy()], axis=1)
    found = anova.measure(faces, predicted, replicates=replicates, seed=seed).to_dict()
    error = float(np.sqrt(((predicted - label) ** 2).mean()))
    return found | {"warning": WARNING, "error": error}


def told(row: Mapping[str, Any], among: int) -> bool:
    """Whether an effect (`effect`, `low`, `high`) is told from 0 although it is one of so many."""
    value, low, high = (
        np.nan if row.get(name) is None else float(row[name]) for name in ("effect", "low", "high")
    )
    return leaves_out_0(value, low, high, among, FREEDOM)


def _answers(model: FaceModel, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    values = np.asarray(model.predict(crops).valence_arousal, np.float64)
    if values.shape != (len(crops), 2) or not np.isfinite(values).all():
        raise IdferError(
            f"{model.name}: gave {values.shape} for {len(crops)} drawn faces, or no finite numbers."
        )
    return values


def _placed(pixels: NDArray[np.uint8], faces: Factors, preprocess: Preprocessing) -> NDArray[np.uint8]:
    """(B, S, S, 3) drawn faces as the model wants them: brought into place by their landmarks, or whole."""
    if getattr(preprocess, "alignment", "none") == "none":  # somebody else's knows no alignment
        return _scaled(pixels, preprocess.size)
    from idfer.synthetic.landmarks import landmarks

    crop = cast("Preprocess", preprocess).crop
    points = landmarks(faces, pixels.shape[1])
    return np.stack([crop(face, None, at) for face, at in zip(pixels, points, strict=True)])


def _scaled(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    if pixels.shape[1] == size:
        return np.ascontiguousarray(pixels)
    import cv2

    scaled: NDArray[np.uint8] = np.stack(
        [cv2.resize(face, (size, size), interpolation=cv2.INTER_LINEAR) for face in pixels]
    )
    return scaled
