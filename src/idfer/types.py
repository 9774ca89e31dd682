"""What flows between the rooms: a batch of faces in, features and predictions out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """B training faces with what is known of them.

    On N devices `image` holds the B / N faces whose features this process computes, and all else is of all B:
    so is what a network in training answers (`idfer.training.shared_backbone`).

    Attributes:
        image: (B, 3, H, W) float, already normalised as the backbone wants it.
        target: (B, 2) valence and arousal in [-1, 1].
        retrieved: (B, A, E) retrieved ID vectors c[a], one per attribute; A = 0 without a table.
        posterior: (B, K) level posteriors, the attributes' levels side by side; K = 0 without a table.
        sample_weight: (B,) of mean about 1 (decorrelation weights; ones without).
        subject: (B,) number of the person, 0 to S - 1.
        row: (B,) place among the n training faces.
    """

    image: Tensor
    target: Tensor
    retrieved: Tensor
    posterior: Tensor
    sample_weight: Tensor
    subject: Tensor
    row: Tensor

    def __len__(self) -> int:
        return int(self.target.shape[0])


class Prediction(NamedTuple):
    """What a network says of B faces.

    Attributes:
        valence_arousal: (B, 2) in [-1, 1]: *perceived* valence and arousal.
        expression: (B, D) expression feature z_exp, identity features subtracted: what the head read. With an
            information budget a sample of N(mean, exp(log_variance)) in training or where asked for, else
            the mean.
        identity: (B, A, D) identity features r[a], one per attribute.
        backbone: (B, F) features z of the backbone, before the split.
        mean: (B, D) mean of z_exp; z_exp itself where there is no budget.
        log_variance: (B, D) log of its variance, or None where there is no budget.
    """

    valence_arousal: Tensor
    expression: Tensor
    identity: Tensor
    backbone: Tensor
    mean: Tensor
    log_variance: Tensor | None = None


@dataclass(frozen=True)
class Outputs:
    """What a model says of B faces, as arrays: all that evaluation ever sees of a model.

    Attributes:
        valence_arousal: (B, 2) *perceived* valence and arousal in [-1, 1].
        features: (B, D) arrays by name, to be probed for identity; "expression" is what the prediction was
            made from. Empty where a model shows none.
        rate: (B,) nats about the image that a sampled "expression" carries, or None without such a bound.
        spread: (B, D) standard deviation of the sampled "expression" about its mean, which `features` holds;
            None where nothing is sampled.
    """

    valence_arousal: NDArray[np.floating[Any]]
    features: Mapping[str, NDArray[np.floating[Any]]] = field(default_factory=dict)
    rate: NDArray[np.floating[Any]] | None = None
    spread: NDArray[np.floating[Any]] | None = None


class Preprocessing(Protocol):
    """How a model wants its faces; `idfer.data.preprocess.Preprocess` is one."""

    @property
    def size(self) -> int:
        """Side S of the square crops, pixels."""

    def crop(self, image: np.ndarray, box: Sequence[float] | None = None) -> np.ndarray:
        """The face in an image (H, W, 3) uint8 RGB as (S, S, 3) uint8; without a box all of the image."""


@runtime_checkable
class FaceModel(Protocol):
    """Any valence-arousal model: a run of `idfer fit`, an ONNX file, somebody else's network."""

    @property
    def name(self) -> str:
        """For tables and reports."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """Identity attributes that `strength` may name; () where there are none."""

    @property
    def preprocess(self) -> Preprocessing:
        """How faces are cut for it."""

    def predict(self, crops: NDArray[np.uint8], strength: Mapping[str, float] | None = None, /) -> Outputs:
        """Say what B crops show.

        Args:
            crops: (B, S, S, 3) uint8, RGB, as `preprocess.crop` makes them.
            strength: how far each attribute is detached: 1 takes it out, 0 leaves it in. None is the model's
                own way (all detached, where it can); ignored by a model without attributes.
        """


class Stateful(Protocol):
    """An optimiser or schedule, as far as a checkpoint is concerned."""

    def state_dict(self) -> dict[str, Any]:
        """Its state."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state back."""


class Method(Protocol):
    """A way to train: it owns its network, its critics and all their optimisers."""

    def step(self, batch: Batch) -> dict[str, float]:
        """Take one optimisation step; returns the named scalars worth logging."""

    def modules(self) -> dict[str, nn.Module]:
        """Every module whose weights belong in a training checkpoint, by name."""

    def optimizers(self) -> dict[str, Stateful]:
        """Every optimiser and scheduler whose state belongs in a training checkpoint, by name."""
