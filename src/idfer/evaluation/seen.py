"""Which faces, and whose, a model was trained on: scores on them are no scores of unseen people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from idfer.data.manifest import Manifest
    from idfer.types import FaceModel

TRAINED, HELD_OUT = "trained on", "held out"  # in place of splits where a manifest has none


def seen_rows(model: FaceModel, faces: Manifest) -> NDArray[np.str_] | None:
    """(N,) "image" where the model was trained on this very image, "person" where on the person, else "".

    None where the model does not say what it was trained on. Images are told by content, people by their name
    within their source.
    """
    from idfer.data.content import image_keys, person_keys
    from idfer.training.checkpoint import Checkpoint

    if not isinstance(model, Checkpoint) or model.seen is None:
        return None
    images = np.isin(image_keys(faces), model.seen.images)
    people = person_keys(faces)
    known = np.isin(people, model.seen.people) & (people != 0)
    return np.where(images, "image", np.where(known, "person", "")).astype(str)


def split_names(splits: NDArray[np.str_], seen: NDArray[np.str_] | None) -> NDArray[np.str_]:
    """(N,) split of each row; without splits, whether the model was trained on the row or its person."""
    if seen is None or (splits != "").any() or not (seen != "").any():
        return splits
    return np.where(seen == "", HELD_OUT, TRAINED).astype(str)
