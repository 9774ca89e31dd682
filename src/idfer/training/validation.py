"""Mean CCC on held-out people after each epoch: for the log, never for a choice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from idfer.data.loader import FaceDataset, face_batches
from idfer.data.manifest import Manifest
from idfer.data.preprocess import Preprocess
from idfer.models.network import Network
from idfer.objectives.va import correlations


class Validation:
    """Faces that are scored after every epoch.

    Args:
        manifest: the faces.
        preprocess: how they are cut.
        retrieved: (N, A, E) their ID vectors, for residual forms that read them.
        unusable: rows that cannot be used, and why.
    """

    def __init__(
        self,
        manifest: Manifest,
        preprocess: Preprocess,
        retrieved: np.ndarray | None,
        unusable: Mapping[int, str],
    ):
        self.manifest, self.preprocess, self.unusable = manifest, preprocess, unusable
        self.retrieved = None if retrieved is None else torch.from_numpy(retrieved)
        dataset = FaceDataset(manifest, preprocess, unusable)
        self.kept = list(self._batches()) if dataset.fits() else None

    def _batches(self) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        for rows, pixels, _ in face_batches(self.manifest, self.preprocess, errors=self.unusable):
            yield rows, pixels.contiguous()

    def score(self, network: Network, device: torch.device) -> dict[str, float]:
        """`val_ccc_valence`, `val_ccc_arousal` and their mean `val_ccc`; {} where no face can be read."""
        network.eval()
        predicted, scored_rows = [], []
        with torch.no_grad():
            for rows, pixels in self.kept or self._batches():
                if not len(rows):
                    continue
                image = self.preprocess.normalise(pixels.to(device))
                retrieved = None
                if self.retrieved is not None and network.residual.needs_retrieved:
                    retrieved = self.retrieved[rows].to(device)
                predicted.append(network(image, retrieved=retrieved).valence_arousal.float().cpu())
                scored_rows.append(rows)
        if not scored_rows:
            return {}
        target = torch.from_numpy(self.manifest.targets[np.concatenate(scored_rows)])
        _, ccc = correlations(torch.cat(predicted), target)
        return {
            "val_ccc_valence": float(ccc[0]),
            "val_ccc_arousal": float(ccc[1]),
            "val_ccc": float(ccc.mean()),
        }
