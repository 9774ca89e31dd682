"""From what a user names to a `FaceModel`: a run, a shipped model, or a model of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isroutine, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idfer.errors import UsageError
from idfer.names import is_path, load_object
from idfer.types import FaceModel

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest

ONNX = ".onnx"


def open_model(
    model: str | Path | FaceModel | Callable[..., Any], device: str = "auto", size: int | None = None
) -> FaceModel:
    """Open a run, a shipped model, an ONNX file, or take a model as it is.

    Args:
        model: a run's folder, a shipped model's name, an ONNX file (see `onnx_model`), a `FaceModel`, a
            function of crops (see `foreign`), or `module:NAME` of one of the last two, or of a function or
            class that makes one of them without arguments.
        device: auto, cpu, cuda, cuda:N or mps, for runs of idfer's and ONNX files.
        size: side of the crops of a function that does not say it.

    Raises:
        UsageError: no such run, or what was given lacks what a `FaceModel` has; the message says what.
        IdferError: the run's files are broken.
    """
    named, found = "", model
    if isinstance(model, (str, Path)):
        named = str(model)
        if not is_path(named) or Path(named).exists():
            if named.lower().endswith(ONNX):
                from idfer.evaluation.onnx_model import open_onnx

                return open_onnx(named, device)
            from idfer.training.checkpoint import load_checkpoint

            return load_checkpoint(model, device)
        found = _made(load_object(named, "model"), named)
    if callable(found) and not isinstance(found, type) and not hasattr(found, "predict"):
        from idfer.evaluation.foreign import callable_model

        return callable_model(found, named or getattr(found, "__name__", type(found).__name__), size)
    return _checked(found)


def _checked(model: Any) -> FaceModel:
    """A model with all the parts of a `FaceModel`. Raises `UsageError` for those it lacks."""
    parts = ("name", "attributes", "preprocess", "predict")
    if lacking := [part for part in parts if not hasattr(model, part)]:
        raise UsageError(
            f"{type(model).__name__} is no FaceModel: it lacks {', '.join(lacking)} (see "
            "idfer.types.FaceModel)."
        )
    if not isinstance(model.name, str):
        raise UsageError(f"{type(model).__name__}: its name is {model.name!r}; it must be text.")
    if not (hasattr(model.preprocess, "size") and callable(getattr(model.preprocess, "crop", None))):
        raise UsageError(
            f"{model.name}: its preprocess is {type(model.preprocess).__name__}; give an "
            "idfer.data.preprocess.Preprocess, or what has `size` and `crop` as it does."
        )
    whole: FaceModel = model
    return whole


def _made(found: Any, path: str) -> Any:
    """What a user's name leads to, made where it is a class or a function without arguments."""
    if not (isinstance(found, type) or (isroutine(found) and _takes_nothing(found))):
        return found
    try:
        return found()
    except Exception as error:  # the user's own code may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(f"{path}: cannot be made without arguments ({reason}).") from error


def _takes_nothing(function: Any) -> bool:
    """Whether a function can be called without arguments: it makes a model, and is none."""
    try:
        signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True


def vectors_of(model: FaceModel, faces: Manifest, table: AttributeTable | None) -> NDArray[np.float32] | None:
    """(N, A, E) ID vectors that a run of idfer's reads, or None; raises as `vectors_for`."""
    from idfer.training.checkpoint import Checkpoint
    from idfer.training.retrieval import vectors_for

    return vectors_for(model, faces, table) if isinstance(model, Checkpoint) else None
