"""One pass of any model over a manifest's faces: what it says of every row, in the manifest's order.

Whatever measures a model (accuracy, leakage, drift, a benchmark's trial) reads these arrays. Where a model
samples its feature, the draw of a face is fixed by the seed and by which face it is, so that batch size,
order and selection of rows change nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idfer.errors import IdferError
from idfer.types import FaceModel, Outputs

if TYPE_CHECKING:
    from idfer.data.manifest import Manifest

_NO_VECTORS = "it has no retrieved ID vectors, which this run reads"
EXPRESSION, MEAN, CONTROL = "expression", "expression mean", "untrained backbone"
_SPREAD = "expression spread"


@dataclass(frozen=True)
class Answers:
    """What a model says of N faces.

    Attributes:
        valence_arousal: (N, 2) float64; NaN where a face could not be read.
        features: (n, D) float32 by name, of the rows `feature_rows`. Where the model samples its expression
            feature, "expression" is one draw of it and "expression mean" its mean; elsewhere there is the
            former alone.
        feature_rows: (n,) ascending row numbers.
        spread: (n, D) float32 standard deviation of the sampled expression feature of those rows; None where
            nothing is sampled.
        rate: (N,) nats about the image that a draw carries; None without such a bound.
        errors: (N,) "" or why a face could not be used.
        crops: (S, S, 3) uint8 of the rows asked for.
    """

    valence_arousal: NDArray[np.float64]
    features: dict[str, NDArray[np.float32]]
    feature_rows: NDArray[np.intp]
    rate: NDArray[np.float64] | None
    errors: NDArray[Any]
    crops: dict[int, NDArray[np.uint8]]
    spread: NDArray[np.float32] | None = None

    @property
    def mean(self) -> NDArray[np.float32]:
        """(n, D) the expression feature without noise.

        Raises:
            IdferError: the model shows no feature of this name.
        """
        return self.feature(MEAN if MEAN in self.features else EXPRESSION)

    def feature(self, name: str) -> NDArray[np.float32]:
        """(n, D) a feature by name. Raises `IdferError` where the model shows none of this name."""
        if name not in self.features:
            shown = ", ".join(self.features) or "none"
            raise IdferError(f"the model shows no feature {name!r}; it shows {shown}.")
        return self.features[name]

    def rows(self, chosen: NDArray[np.bool_]) -> Answers:
        """The faces that a mask (N,) keeps, renumbered."""
        number = np.cumsum(chosen) - 1
        kept = chosen[self.feature_rows]
        return Answers(
            self.valence_arousal[chosen],
            {name: values[kept] for name, values in self.features.items()},
            number[self.feature_rows[kept]],
            None if self.rate is None else self.rate[chosen],
            self.errors[chosen],
            {int(number[row]): crop for row, crop in self.crops.items() if chosen[row]},
            None if self.spread is None else self.spread[kept],
        )


@dataclass(frozen=True)
class Pass:
    """How a model is run over faces.

    Attributes:
        batch_size: faces per call of `predict`.
        seed: of the draws of sampled features.
        feature_rows: rows whose features are kept; None keeps all.
        crop_rows: rows whose crops are kept.
        control: also give the features "untrained backbone" of the rows whose features are kept, where the
            model can (a run of idfer's).
        strict: a face that cannot be used is an error, not a row without numbers.
        progress: show a bar.
        strength: how far each attribute is detached, as `FaceModel.predict` takes it; None: the model's way.
    """

    batch_size: int = 256
    seed: int = 0
    feature_rows: NDArray[np.intp] | None = None
    crop_rows: Collection[int] = ()
    control: bool = False
    strict: bool = False
    progress: bool = False
    strength: Mapping[str, float] | None = None

    def run(
        self,
        model: FaceModel,
        faces: Manifest,
        vectors: NDArray[np.float32] | None = None,
        unusable: Mapping[int, str] | None = None,
    ) -> Answers:
        """Run a model over N faces.

        Args:
            model: anything that predicts uint8 crops.
            faces: the faces, placed (see `idfer.data.locate`).
            vectors: (N, A, E) ID vectors, for a run of idfer's whose network reads them.
            unusable: rows known to be unusable, and why.

        Raises:
            IdferError: no face could be used (with `strict`: one could not), or what the model says is not
                finite or of another shape than `Outputs` promises.
        """
        return self.each([self.strength], model, faces, vectors, unusable)[0]

    def each(
        self,
        strengths: Sequence[Mapping[str, float] | None],
        model: FaceModel,
        faces: Manifest,
        vectors: NDArray[np.float32] | None = None,
        unusable: Mapping[int, str] | None = None,
    ) -> list[Answers]:
        """As `run`, for each of `strengths` in place of `strength`; the faces are read once.

        Raises:
            IdferError: as `run`.
        """
        from idfer.data.loader import face_batches
        from idfer.progress import bar

        count = len(faces)
        answers = _Gathered(count, self.feature_rows)
        others = [_Gathered(count, self.feature_rows) for _ in strengths[1:]]
        wanted = set(self.crop_rows)
        control = _control(model, self.seed) if self.control else None
        keys = _row_keys(faces, answers.feature_rows, self.seed)
        known = np.ones(count, bool) if vectors is None else np.isfinite(vectors).all(axis=(1, 2))
        answers.errors[~known & (answers.errors == "")] = _NO_VECTORS
        with bar("running the network", count, self.progress) as advance:
            for rows, pixels, messages in face_batches(
                faces,
                model.preprocess,
                self.batch_size,
                errors=unusable,
            ):
                for row, message in messages.items():
                    answers.errors[row] = message
                stretch = np.sort([*rows, *messages])
                advance(len(stretch))
                usable = answers.errors[rows] == ""
                if self.strict and (bad := answers.errors[stretch][answers.errors[stretch] != ""]).size:
                    raise IdferError(f"{bad[0]}; every face is needed here.")
                rows, crops = rows[usable], pixels.permute(0, 2, 3, 1).contiguous().numpy()[usable]
                if not len(rows):
                    continue
                given = {} if vectors is None else {"retrieved": vectors[rows]}
                for strength, gathered in zip(strengths, [answers, *others], strict=True):
                    outputs = model.predict(crops, strength, **given)
                    _check(model, outputs, rows, faces)
                    gathered.add(rows, outputs, keys)
                if control is not None:
                    answers.keep(CONTROL, rows, control(crops))
                for position in np.flatnonzero(np.isin(rows, list(wanted))):
                    answers.crops[int(rows[position])] = crops[position]
        if (answers.errors != "").all():
            raise IdferError(f"none of the {count} faces could be read; the first: {answers.errors[0]}")
        for other in others:
            other.errors, other.crops = answers.errors.copy(), dict(answers.crops)
        return [gathered.whole() for gathered in (answers, *others)]


class _Gathered:
    """`Answers` while they are being made, of N faces; features of some rows."""

    def __init__(self, count: int, feature_rows: NDArray[np.intp] | None):
        self.feature_rows = np.arange(count) if feature_rows is None else np.sort(feature_rows)
        self.place = np.full(count, -1)  # of each row among `feature_rows`
        self.place[self.feature_rows] = np.arange(len(self.feature_rows))
        self.valence_arousal = np.full((count, 2), np.nan)
        self.features: dict[str, NDArray[np.float32]] = {}
        self.rate: NDArray[np.float64] | None = None
        self.errors: NDArray[Any] = np.full(count, "", object)
        self.crops: dict[int, NDArray[np.uint8]] = {}
        self.spread: NDArray[np.float32] | None = None

    def add(self, rows: NDArray[np.intp], outputs: Outputs, keys: list[tuple[int, ...]]) -> None:
        self.valence_arousal[rows] = outputs.valence_arousal
        if outputs.rate is not None:
            if self.rate is None:
                self.rate = np.full(len(self.errors), np.nan)
            self.rate[rows] = outputs.rate
        for name, values in outputs.features.items():
            if name != EXPRESSION or outputs.spread is None:
                self.keep(name, rows, values)
                continue
            noise = np.zeros(values.shape)
            for position in np.flatnonzero(self.place[rows] >= 0):
                rng = np.random.default_rng(keys[self.place[rows[position]]])
                noise[position] = rng.standard_normal(values.shape[1])
            self.keep(EXPRESSION, rows, values + outputs.spread * noise)
            self.keep(MEAN, rows, values)
            self.keep(_SPREAD, rows, outputs.spread)

    def keep(self, name: str, rows: NDArray[np.intp], values: NDArray[Any]) -> None:
        inside = self.place[rows] >= 0
        if not inside.any():
            return
        if name not in self.features:
            self.features[name] = np.full((len(self.feature_rows), values.shape[1]), np.nan, np.float32)
        self.features[name][self.place[rows[inside]]] = values[inside]

    def whole(self) -> Answers:
        """The answers, without features of rows that could not be used."""
        read = self.errors[self.feature_rows] == ""
        self.features = {name: values[read] for name, values in self.features.items()}
        self.spread = self.features.pop(_SPREAD, None)
        self.feature_rows = self.feature_rows[read]
        return Answers(**{f.name: getattr(self, f.name) for f in fields(Answers)})


def _row_keys(faces: Manifest, rows: NDArray[np.intp], seed: int) -> list[tuple[int, ...]]:
    """What seeds the draw of each of these rows: the seed and which face it is."""
    paths, frames = faces.frame["path"].to_numpy(), faces.frame["frame"].to_numpy()
    named = [f"{paths[row]}|{frames[row]}".encode() for row in rows]
    return [(seed, int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big")) for name in named]


def _control(model: FaceModel, seed: int) -> Any:
    """The run's backbone with random weights, from crops to features; None for other models."""
    from idfer.training.checkpoint import Checkpoint

    if not isinstance(model, Checkpoint):
        return None
    import torch

    from idfer.models.network import backbone_features

    backbone = model.untrained_backbone(seed)

    def features(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            seen = backbone_features(backbone, model.inputs(crops), model.network.mirror)
        values: NDArray[np.float32] = seen.float().cpu().numpy()
        return values

    return features


def _blame(model: FaceModel) -> str:
    """Why a model may give NaN or infinity: our run's weights, or whatever a user's own model does."""
    from idfer.training.checkpoint import Checkpoint

    if isinstance(model, Checkpoint):
        return ": the weights have diverged or are damaged; train again with a smaller learning rate."
    return (
        "; `predict` must give finite numbers of every crop that it is given. Look at what it does with this "
        "one (a division by 0, a logarithm, a face that it does not find), and at its input's scale."
    )


def _check(model: FaceModel, outputs: Any, rows: NDArray[np.intp], faces: Manifest) -> None:
    """What a model says has the shapes of `Outputs` and is finite."""
    if not isinstance(outputs, Outputs):
        raise IdferError(
            f"{model.name}: `predict` gave {type(outputs).__name__}; it must give idfer.types.Outputs, "
            "e.g. Outputs(valence_arousal)."
        )
    count = len(rows)
    arrays: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "valence_arousal": (outputs.valence_arousal, (count, 2))
    }
    if outputs.rate is not None:
        arrays["rate"] = (outputs.rate, (count,))
    if not isinstance(outputs.features, Mapping):
        raise IdferError(
            f"{model.name}: features are {type(outputs.features).__name__}; give arrays by name."
        )
    for name, values in outputs.features.items():
        width = values.shape[1] if isinstance(values, np.ndarray) and values.ndim == 2 else "D"
        arrays[f"features[{name!r}]"] = (values, (count, width))
    for name, (values, shape) in arrays.items():
        if not isinstance(values, np.ndarray) or values.shape != shape:
            given = values.shape if isinstance(values, np.ndarray) else type(values).__name__
            raise IdferError(
                f"{model.name}: `predict` gave {name} of {given} for {count} faces; wanted {shape}."
            )
        if values.dtype.kind not in "fiu":
            raise IdferError(f"{model.name}: `predict` gave {name} of type {values.dtype}; wanted numbers.")
        bad = np.flatnonzero(~np.isfinite(values).reshape(count, -1).all(axis=1))
        if bad.size:
            row = int(rows[bad[0]])
            raise IdferError(
                f"{model.name}: {name} of row {row} ({faces.frame['path'].iloc[row]}) is not finite"
                f"{_blame(model)}"
            )
