"""What a run trains on: faces, labels, retrieved attributes and sample weights, row by row."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idfer.data.loader import FaceDataset, fits_memory
from idfer.data.manifest import Manifest
from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError
from idfer.methods.common import Facts
from idfer.statistics.decorrelation import decorrelation_weights
from idfer.training.retrieval import vectors
from idfer.training.settings import Settings

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable


@dataclass(frozen=True)
class TrainingData:
    """The training faces with everything that is known of them, row by row.

    Attributes:
        faces: N faces, in memory or read as they are needed.
        rows: (n,) the rows that can be trained on, n <= N.
        target: (N, 2) valence and arousal.
        retrieved: (N, A, E) ID vectors; A = 0 for a method that uses none.
        posterior: (N, K) level posteriors; K = 0 for a method that uses none.
        sample_weight: (N,), of mean about 1.
        subject: (N,) number of the person.
        image: (N,) key of the image.
        place: (N,) place of each row among `rows`.
        sample_weights: effective sample size, clipping and correlations of those; {} where all are 1.
    """

    faces: FaceDataset
    rows: np.ndarray
    target: Tensor
    retrieved: Tensor
    posterior: Tensor
    sample_weight: Tensor
    subject: Tensor
    image: Tensor
    place: Tensor
    sample_weights: Mapping[str, Any]

    def facts(self, levels: Mapping[str, list[str]]) -> Facts:
        """What a method is told of the n faces beforehand."""
        kept = torch.from_numpy(self.rows)
        return Facts(
            self.target[kept], self.retrieved[kept], self.posterior[kept], levels,
            self.subject[kept], self.image[kept],
        )  # fmt: skip


def check_random_access(train: Manifest, size: int) -> None:
    """Refuse, before anything is read, faces that could only be read in order.

    Raises:
        IdferError: some are frames of videos, and all of them at this input side do not fit into memory.
    """
    of_video = int((train.frames >= 0).sum())
    if of_video and not fits_memory(len(train), size):
        raise IdferError(
            f"{of_video} of {len(train)} training faces are frames of videos; at {size} pixels they do not "
            "fit into memory, and training reads faces in random order. Cut them out once with `idfer crop "
            f"MANIFEST -o DIR --size {size}`, and train on DIR."
        )


def training_data(
    settings: Settings,
    train: Manifest,
    keys: NDArray[np.int64],
    table: AttributeTable | None,
    preprocess: Preprocess,
    unusable: Mapping[int, str],
    progress: bool,
) -> TrainingData:
    """Read the faces, look up and weigh their attributes.

    Args:
        settings: of the run.
        train: N faces.
        keys: (N,) of their images, as `content.image_keys` gives them.
        table: attributes retrieved for them, row by row; None for a method that needs none.
        preprocess: how faces are cut.
        unusable: rows known to be unusable, and why.
        progress: show a bar.

    Raises:
        IdferError: fewer than two faces can be used.
    """
    faces = FaceDataset(train, preprocess, unusable)
    if faces.fits():
        faces.load(progress)
    count = len(train)
    errors = dict(faces.errors)
    retrieved, posterior, sample_weight = torch.zeros(count, 0, 1), torch.zeros(count, 0), torch.ones(count)
    if table is not None:
        failed = np.flatnonzero(table.errors != "")
        errors |= {int(row): f"row {row}: {table.errors[row]}" for row in failed if row not in errors}
        retrieved = torch.from_numpy(vectors(table, settings.retrieval))
        posterior = torch.from_numpy(np.nan_to_num(table.posteriors))
    rows = np.setdiff1d(np.arange(count), list(errors))
    if errors:
        print(
            f"left out {len(errors)} of {count} training faces; the first: {errors[min(errors)]}",
            file=sys.stderr,
        )
    if len(rows) < 2:
        cure = "mend the paths in the manifest" if errors else "give more faces"
        raise IdferError(f"fewer than two training faces can be used; {cure}.")
    described: dict[str, Any] = {}
    if settings.decorrelate and table is not None:
        decorrelation = decorrelation_weights(
            train.targets[rows], table.free[rows], train.subjects[rows], by_person=True, seed=settings.seed
        )
        sample_weight[rows] = torch.from_numpy(decorrelation.values)
        described = {
            "effective_sample_size": round(decorrelation.effective, 1),
            "clipped": round(decorrelation.clipped, 4),
            "largest_correlation": [round(v, 4) for v in decorrelation.correlation],
        }
    if not settings.entry.attributes:
        retrieved, posterior = retrieved[:, :0], posterior[:, :0]
    place = torch.zeros(count, dtype=torch.long)
    place[rows] = torch.arange(len(rows))
    return TrainingData(
        faces=faces,
        rows=rows,
        target=torch.from_numpy(train.targets),
        retrieved=retrieved,
        posterior=posterior,
        sample_weight=sample_weight,
        subject=torch.from_numpy(np.unique(train.subjects, return_inverse=True)[1]),
        image=torch.from_numpy(keys),
        place=place,
        sample_weights=described,
    )
