"""From what a user names to a `FaceModel`: a run, a shipped model, or a model of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from idfer.errors import UsageError
from idfer.names import is_path, load_object
from idfer.types import FaceModel

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest


def open_model(model: str | Path | FaceModel, device: str = "auto") -> FaceModel:
    """Open a run, a shipped model, or take a model as it is.

    Args:
        model: a run's folder, a shipped model's name, a `FaceModel`, or `module:NAME` of one or of a function
            or class that makes one.
        device: auto, cpu, cuda, cuda:N or mps, for runs of idfer's.

    Raises:
        UsageError: no such run, or what was given lacks what a `FaceModel` has; the message says what.
        IdferError: the run's files are broken.
    """
    if isinstance(model, (str, Path)):
        if not (isinstance(model, str) and is_path(model) and not Path(model).exists()):
            from idfer.training.checkpoint import load_checkpoint

            return load_checkpoint(model, device)
        path_given = str(model)
        made = load_object(path_given, "model")
        makes = isinstance(made, type) or not hasattr(made, "predict")
        try:
            model = made() if makes and callable(made) else made
        except Exception as error:  # the user's own code may raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise UsageError(f"{path_given}: cannot be made without arguments ({reason}).") from error
    parts = ("name", "attributes", "preprocess", "predict")
    if lacking := [part for part in parts if not hasattr(model, part)]:
        raise UsageError(
            f"{type(model).__name__} is no FaceModel: it lacks {', '.join(lacking)} (see "
            "idfer.types.FaceModel)."
        )
    assert not isinstance(model, (str, Path))
    if not isinstance(model.name, str):
        raise UsageError(f"{type(model).__name__}: its name is {model.name!r}; it must be text.")
    if not (hasattr(model.preprocess, "size") and callable(getattr(model.preprocess, "crop", None))):
        raise UsageError(
            f"{model.name}: its preprocess is {type(model.preprocess).__name__}; give an "
            "idfer.data.preprocess.Preprocess, or what has `size` and `crop` as it does."
        )
    return model


def vectors_of(model: FaceModel, faces: Manifest, table: AttributeTable | None) -> NDArray[np.float32] | None:
    """(N, A, E) ID vectors that a run of idfer's reads, or None; raises as `vectors_for`."""
    from idfer.training.checkpoint import Checkpoint
    from idfer.training.retrieval import vectors_for

    return vectors_for(model, faces, table) if isinstance(model, Checkpoint) else None
