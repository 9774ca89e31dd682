"""Anybody's model as a `FaceModel`: a function of crops, or an ONNX file with a description beside it.

A function takes uint8 crops (B, S, S, 3), RGB, and gives valence and arousal (B, 2), or a pair of features
and those: features are (B, D), or arrays by name. torch tensors are taken as well as arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError
from idfer.types import Outputs, Preprocessing

FEATURE = "expression"


@dataclass(frozen=True)
class CallableModel:
    """A function of crops as a `FaceModel`.

    Attributes:
        name: for tables and reports.
        function: from (B, S, S, 3) uint8 to (B, 2), or to (features, (B, 2)).
        preprocess: how faces are cut for it.
        attributes: none: nothing can be detached.
    """

    name: str
    function: Callable[[NDArray[np.uint8]], Any]
    preprocess: Preprocessing
    attributes: tuple[str, ...] = ()

    def predict(self, crops: NDArray[np.uint8], strength: Mapping[str, float] | None = None, /) -> Outputs:
        """As `FaceModel.predict`.

        Raises:
            IdferError: the function fails, or gives something else than it should.
        """
        try:
            said = self.function(crops)
        except IdferError:
            raise
        except Exception as error:  # the user's own code may raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise IdferError(f"{self.name}: failed on {crops.shape} uint8 crops ({reason}).") from error
        return outputs_of(said, self.name, len(crops))


def callable_model(function: Callable[..., Any], name: str, size: int | None = None) -> CallableModel:
    """Make a function of crops a `FaceModel`.

    Args:
        function: see the module; its attribute `preprocess` or `size` says how faces are cut.
        name: for tables and reports.
        size: side S of the crops, where the function does not say.

    Raises:
        IdferError: nobody says the size.
    """
    contract = getattr(function, "preprocess", None)
    if contract is None or size is not None:
        side = size if size is not None else getattr(function, "size", None)
        if isinstance(side, bool) or not isinstance(side, int):
            raise IdferError(
                f"{name}: nobody says how large its crops are; give --size 224, or set `{name.split(':')[-1]}"
                ".size = 224`."
            )
        contract = Preprocess(side, detector="auto")
    return CallableModel(name, function, contract)


def outputs_of(said: Any, name: str, count: int) -> Outputs:
    """What a function or file gave of `count` faces, as `Outputs`.

    Raises:
        IdferError: it is neither (B, 2) nor (features, (B, 2)).
    """
    features: dict[str, NDArray[Any]] = {}
    if isinstance(said, (tuple, list)) and len(said) == 2 and not _is_pair_of_numbers(said, count):
        shown, said = said
        parts = shown if isinstance(shown, Mapping) else {FEATURE: shown}
        features = {str(key): _array(value) for key, value in parts.items()}
    values = _array(said)
    if values.shape != (count, 2):
        raise IdferError(
            f"{name}: gave {_shape(said)} for {count} faces; wanted valence and arousal ({count}, 2), or "
            "(features, valence and arousal)."
        )
    flat = {
        key: array.reshape(len(array), -1) if array.ndim > 2 else array for key, array in features.items()
    }
    return Outputs(values, flat)


def _is_pair_of_numbers(said: Any, count: int) -> bool:
    """Whether two faces' answers came as a list of two pairs, not as features and answers."""
    return isinstance(said, list) and count == 2 and all(np.shape(part) == (2,) for part in said)


def _array(value: Any) -> NDArray[Any]:
    """A torch tensor, list or array as an array."""
    if hasattr(value, "detach"):
        value = value.detach().float().cpu().numpy()
    array = np.asarray(value)
    return array.astype(np.float64) if array.dtype.kind in "iu" else array


def _shape(value: Any) -> str:
    return f"shape {tuple(value.shape)}" if hasattr(value, "shape") else f"a {type(value).__name__}"
