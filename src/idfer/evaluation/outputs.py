"""Everything a network says of a manifest's faces, in one pass and in the manifest's order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from idfer.errors import IdferError

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest
    from idfer.training.checkpoint import Checkpoint

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Outputs:
    """What a network says of N faces.

    Attributes:
        valence_arousal: (N, 2), from the mean feature.
        mean: (N, D) the expression feature; its mean where there is an information budget.
        sampled: (N, D) one seeded draw of it; equal to `mean` where there is no budget.
        rate: (N,) nats about the image that a draw carries (`idfer.objectives.budget`); nan without a budget.
    """

    valence_arousal: Array
    mean: Array
    sampled: Array
    rate: Array

    def rows(self, chosen: NDArray[np.bool_]) -> Outputs:
        """The faces that a mask (N,) keeps."""
        return Outputs(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def outputs(
    checkpoint: Checkpoint,
    faces: Manifest,
    table: AttributeTable | None = None,
    *,
    batch_size: int = 256,
    seed: int = 0,
) -> Outputs:
    """Run a network over faces.

    Args:
        checkpoint: the network, in eval mode.
        faces: N faces.
        table: attributes retrieved for them; needed by residual forms that read ID vectors.
        batch_size: faces per forward pass.
        seed: of the draw of `sampled`.

    Raises:
        UsageError: the network reads ID vectors and there is no table.
        IdferError: a face cannot be read, or the network's output is not finite.
    """
    import torch

    from idfer.data.loader import face_batches
    from idfer.objectives.budget import rate
    from idfer.training.retrieval import vectors_for

    network, contract = checkpoint.network, checkpoint.preprocess
    device = next(network.parameters()).device
    given = vectors_for(checkpoint, faces, table)
    # drawn beforehand, a row per face, so that a face's sample does not hang on the batch size
    noise = torch.randn(len(faces), network.dim, generator=torch.Generator().manual_seed(seed))
    parts: list[list[torch.Tensor]] = []
    with torch.inference_mode():
        for rows, pixels, errors in face_batches(faces, contract, batch_size):
            if errors:
                raise IdferError(f"{errors[0]}; every face is needed here.")
            vectors = None if given is None else torch.from_numpy(given[rows]).to(device)
            found = network(contract.normalise(pixels.to(device)), retrieved=vectors, sample=False)
            mean, spread = found.mean.double().cpu(), found.log_variance
            drawn, nats = mean, torch.full((len(mean),), float("nan"), dtype=torch.float64)
            if spread is not None:
                spread = spread.double().cpu()
                drawn = mean + (0.5 * spread).exp() * noise[rows]
                nats = rate(mean, spread)
            parts.append([found.valence_arousal.double().cpu(), mean, drawn, nats])
    all_of = Outputs(*(torch.cat(part).numpy() for part in zip(*parts, strict=True)))
    if not (np.isfinite(all_of.valence_arousal).all() and np.isfinite(all_of.mean).all()):
        raise IdferError(
            f"{checkpoint.path}: the output is not finite: the weights have diverged; train again with a "
            "smaller learning rate."
        )
    return all_of
