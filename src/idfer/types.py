"""What flows between the rooms: a batch of faces in, features and predictions out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """B training faces with what is known of them.

    Attributes:
        image: (B, 3, H, W) float, already normalised as the backbone wants it.
        target: (B, 2) valence and arousal in [-1, 1].
        retrieved: (B, A, E) retrieved ID vectors c[a], one per attribute; A = 0 without a table.
        posterior: (B, K) level posteriors, the attributes' levels side by side; K = 0 without a table.
        weight: (B,) sample weights of mean about 1 (decorrelation weights; ones without).
        subject: (B,) number of the person, 0 to S - 1.
        row: (B,) place among the n training faces.
    """

    image: Tensor
    target: Tensor
    retrieved: Tensor
    posterior: Tensor
    weight: Tensor
    subject: Tensor
    row: Tensor

    def __len__(self) -> int:
        return int(self.image.shape[0])


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
