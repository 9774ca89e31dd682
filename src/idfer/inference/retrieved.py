"""Retrieved ID vectors of single faces, for networks that read them.

The residual forms `simple`, `residual_post` and `residual_prev` infer identity attributes of every face by
necessity: CLIP retrieves them on the way to valence and arousal. They are used there and reported nowhere.
The form `distilled` needs no CLIP.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from idfer.errors import IdferError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from idfer.data.images import Box
    from idfer.training.checkpoint import Checkpoint


class VectorReader:
    """ID vectors c[a](x) as the run was trained on: by the same CLIP, over the same text embeddings.

    Args:
        checkpoint: a run whose network reads ID vectors.

    Raises:
        UsageError: the run was trained on ground truth, which a photograph lacks.
        IdferError: the run's CLIP is not here, or is another than in training.
    """

    def __init__(self, checkpoint: Checkpoint):
        from idfer.attributes.clip import load_clip
        from idfer.training.retrieval import text_of

        config, network = checkpoint.config, checkpoint.network
        form, self._mode = network.residual.form, config["retrieval"]
        if self._mode == "truth":
            raise UsageError(
                f"{checkpoint.path}: was trained with --retrieval truth and the form {form!r}, which reads "
                "every face's true attributes; photographs have none: train with soft or hard to predict."
            )
        self._text = text_of(checkpoint)
        self._sizes = [len(config["levels"][name]) for name in network.attributes]
        source = config.get("retrieved", {})
        if missing := {"clip", "clip_fingerprint", "scale"} - set(source):
            raise IdferError(
                f"{checkpoint.path}: its configuration does not say the {min(missing)} of its ID vectors; "
                "train it on a table that `idfer retrieve` made."
            )
        self._scale = float(source["scale"])
        self._device = next(network.parameters()).device
        try:
            self._clip = load_clip(source["clip"], str(self._device))
        except IdferError as error:
            raise IdferError(
                f"{checkpoint.path}: its residual form {form!r} reads ID vectors of the CLIP "
                f"{source['clip']!r}, which cannot be used here: {error}"
            ) from error
        if self._clip.fingerprint != source["clip_fingerprint"]:
            raise IdferError(
                f"{checkpoint.path}: was trained on ID vectors of the CLIP {source['clip']!r} of fingerprint "
                f"{source['clip_fingerprint']}, and the one here has {self._clip.fingerprint}; put back the "
                "weights of training, or train again."
            )

    def prepare(self, image: np.ndarray, box: Box | None) -> Tensor:
        """What CLIP needs of one face in an image (H, W, 3) uint8: (3, S, S) float32."""
        return self._clip.preprocess(image, box)

    def read(self, faces: Sequence[Tensor]) -> Tensor:
        """ID vectors (B, A, E) of B prepared faces, on the network's device."""
        import torch

        from idfer.attributes.clip import posteriors
        from idfer.attributes.table import id_vectors

        embedding = self._clip.encode_preprocessed(torch.stack(list(faces)))
        # a data set's embeddings are rounded so before their posteriors are taken (see `encode`)
        rounded = embedding.astype(np.float16).astype(np.float32)
        found = posteriors(rounded, self._text, self._sizes, self._scale)
        return torch.from_numpy(id_vectors(found, self._text, self._sizes, self._mode)).to(self._device)
