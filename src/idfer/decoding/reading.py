"""What a run reads from faces, as a decoder takes it: expression feature, its spread, identity features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from idfer.errors import IdferError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idfer.data.manifest import Manifest
    from idfer.training.checkpoint import Checkpoint

_BATCH = 256


@dataclass(frozen=True)
class Reading:
    """Features of N faces.

    Attributes:
        expression: (N, D) expression feature without noise.
        spread: (N, D) standard deviation of its draws; 0 where nothing is sampled.
        identity: (N, A, E) identity features; A = 0 for a plain regressor.
    """

    expression: Tensor
    spread: Tensor
    identity: Tensor

    def __len__(self) -> int:
        return len(self.expression)

    @classmethod
    def room(cls, count: int, like: Reading) -> Reading:
        """Of so many faces that are still to be read, by the first of them."""
        fields = (like.expression, like.spread, like.identity)
        return cls(*(part.new_empty((count, *part.shape[1:])) for part in fields))

    def put(self, start: int, part: Reading) -> None:
        """Write what was read of some faces into the rows from `start` on."""
        rows = slice(start, start + len(part))
        self.expression[rows], self.spread[rows] = part.expression, part.spread
        self.identity[rows] = part.identity

    def rows(self, chosen: Tensor | slice) -> Reading:
        """The faces that an index or mask names."""
        return Reading(self.expression[chosen], self.spread[chosen], self.identity[chosen])

    def drawn(self, generator: torch.Generator) -> Tensor:
        """(N, D) one draw of the expression feature a face."""
        noise = torch.randn(self.expression.shape, generator=generator)
        return self.expression + self.spread * noise.to(self.expression.device)


def check_enough(count: int, hint: str) -> None:
    """Two faces at least.

    Args:
        count: how many could be read.
        hint: what may help, of `idfer.data.locate`.

    Raises:
        IdferError: there are fewer.
    """
    if count < 2:
        raise IdferError(f"fewer than two faces could be read. {hint}".rstrip() + ".")


def check_readable(checkpoint: Checkpoint, attributes: bool = True) -> None:
    """A run that reads faces from the image alone, and whose identity features can be shown.

    Args:
        checkpoint: the run.
        attributes: whether it must have identity features.

    Raises:
        UsageError: it has none, or reads retrieved ID vectors.
    """
    if attributes and not checkpoint.attributes:
        raise UsageError(
            f"{checkpoint.path} has no identity features (method {checkpoint.record.settings.method}): there "
            "is nothing to detach or attach in a picture. Give a run of a method that splits, e.g. idfer; or "
            "train its decoder as a control beside such a run: idfer decode fit --identity RUN."
        )
    if checkpoint.network.residual.needs_retrieved:
        raise UsageError(
            f"{checkpoint.path}: its residual form {checkpoint.network.residual.form!r} reads ID vectors "
            "that CLIP retrieves; decoders take runs whose form reads the image alone, e.g. --form distilled."
        )


def read_faces(
    checkpoint: Checkpoint, crops: NDArray[np.uint8], identity: Checkpoint | None = None
) -> Reading:
    """Read N crops (N, S, S, 3) uint8, cut as the run's contract says.

    Args:
        checkpoint: the run.
        crops: the faces.
        identity: the run whose identity features are taken; None is the same.
    """
    parts = [_read(checkpoint, crops[start : start + _BATCH]) for start in range(0, len(crops), _BATCH)]
    fields = ("expression", "spread", "identity")
    said = Reading(*(torch.cat([getattr(part, name) for part in parts]) for name in fields))
    if identity is None or identity is checkpoint:
        return said
    return Reading(said.expression, said.spread, read_faces(identity, crops).identity.to(said.spread.device))


def read_crops(
    checkpoint: Checkpoint, faces: Manifest, progress: bool = True
) -> tuple[NDArray[np.uint8], Manifest]:
    """The faces that can be read, as the run's contract places and cuts them.

    Returns:
        (N, S, S, 3) uint8, and their N rows of the manifest.

    Raises:
        IdferError: fewer than two can be read.
    """
    from idfer.data.loader import face_batches
    from idfer.data.locate import locate_for

    placed = locate_for(faces, checkpoint.preprocess, progress=progress)
    rows: list[int] = []
    parts: list[NDArray[np.uint8]] = []
    for read, pixels, _ in face_batches(placed.manifest, checkpoint.preprocess, errors=placed.errors):
        rows.extend(read.tolist())
        parts.append(pixels.permute(0, 2, 3, 1).numpy())
    check_enough(len(rows), placed.hint)
    return np.ascontiguousarray(np.concatenate(parts)), placed.manifest.rows(np.array(rows))


@torch.no_grad()
def _read(checkpoint: Checkpoint, crops: NDArray[np.uint8]) -> Reading:
    said = checkpoint.network(checkpoint.inputs(crops), sample=False)
    mean = said.mean.float()
    spread = torch.zeros_like(mean) if said.log_variance is None else (0.5 * said.log_variance.float()).exp()
    return Reading(mean, spread, said.identity.float())
