"""CLIP's answers for single faces, the very ones that `idfer retrieve` gives for a data set.

Level posteriors are sensitive inference, made only where a user asks for it. ID vectors are what the residual
forms `simple`, `residual_post` and `residual_prev` read of every face on the way to valence and arousal; they
are used there and reported nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.attributes.table import id_vectors
from idfer.attributes.vocabulary import Vocabulary
from idfer.errors import IdferError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from idfer.attributes.clip import Clip
    from idfer.data.preprocess import Box


class ClipReader:
    """One CLIP, asked about single faces over the text embeddings of some levels.

    Args:
        clip: the model.
        text: (K, E) text embeddings of the levels, unit length, all attributes side by side.
        levels: level names of each attribute, K in all, in the order of `text`.
        scale: factor on cosines before the softmax over an attribute's levels.
        mode: how posteriors become ID vectors, "soft" or "hard", see `AttributeTable.retrieved`.

    Attributes:
        columns: ATTRIBUTE/LEVEL of each of the K posteriors.
        clip: as given.
        levels: as given.
        mode: as given.
    """

    def __init__(
        self,
        clip: Clip,
        text: np.ndarray,
        levels: Mapping[str, Sequence[str]],
        scale: float,
        mode: str = "soft",
    ):
        self.clip, self.levels, self.mode = clip, levels, mode
        self.columns = tuple(f"{attribute}/{level}" for attribute in levels for level in levels[attribute])
        self._text, self._scale = text, scale
        self._sizes = [len(names) for names in levels.values()]

    @classmethod
    def of_vocabulary(
        cls, clip: str, vocabulary: str | Vocabulary = "default", device: str = "auto"
    ) -> ClipReader:
        """A reader of a vocabulary's attributes.

        Args:
            clip: which CLIP, as for `idfer.attributes.clip.load_clip`; "builtin" knows drawn faces only.
            vocabulary: the vocabulary, or the name or path of one.
            device: auto, cpu, cuda, cuda:N or mps.

        Raises:
            UsageError: an unknown CLIP, vocabulary or device.
            IdferError: weights are missing or damaged.
        """
        from idfer.attributes.clip import load_clip

        words = vocabulary if isinstance(vocabulary, Vocabulary) else Vocabulary.load(vocabulary)
        model = load_clip(clip, device)
        return cls(model, model.encode_vocabulary(words), words.levels, model.scale)

    @classmethod
    def of_record(
        cls,
        source: Mapping[str, Any],
        text: np.ndarray,
        levels: Mapping[str, Sequence[str]],
        mode: str,
        device: str,
        where: str,
    ) -> ClipReader:
        """A reader as a run was trained on: the same CLIP, over the same text embeddings.

        Args:
            source: what the run recorded of its attribute table: `clip`, `clip_fingerprint` and `scale`.
            text: (K, E) text embeddings of the levels that the run's network reads.
            levels: level names of each attribute that the network reads, in its order.
            mode: how the run retrieved: "soft", "hard" or "truth".
            device: auto, cpu, cuda, cuda:N or mps.
            where: who reads the vectors, as messages begin, e.g. "runs/a: its residual form 'simple'".

        Raises:
            UsageError: the run was trained on ground truth, which a photograph lacks.
            IdferError: the record is not complete, the CLIP is not here, or is another than in training.
        """
        from idfer.attributes.clip import load_clip

        if mode == "truth":
            raise UsageError(
                f"{where} was trained with --retrieval truth and reads every face's true attributes; "
                "photographs have none: train with soft or hard to predict."
            )
        if missing := {"clip", "clip_fingerprint", "scale"} - set(source):
            raise IdferError(
                f"{where} reads ID vectors, but its configuration does not say the {min(missing)} of its ID "
                "vectors; train it on a table that `idfer retrieve` made."
            )
        try:
            clip = load_clip(source["clip"], device)
        except IdferError as error:
            raise IdferError(
                f"{where} reads ID vectors of the CLIP {source['clip']!r}, which cannot be used here: {error}"
            ) from error
        if clip.fingerprint != source["clip_fingerprint"]:
            raise IdferError(
                f"{where} was trained on ID vectors of the CLIP {source['clip']!r} of fingerprint "
                f"{source['clip_fingerprint']}, and the one here has {clip.fingerprint}; put back the "
                "weights of training, or train again."
            )
        return cls(clip, text, levels, float(source["scale"]), mode)

    def prepare(self, image: np.ndarray, box: Box | None) -> Tensor:
        """What CLIP needs of one face in an image (H, W, 3) uint8: (3, S, S) float32.

        Raises:
            IdferError: the box is empty or outside the image.
        """
        return self.clip.preprocess(image, box)

    def posteriors(self, faces: Sequence[Tensor]) -> np.ndarray:
        """Level posteriors (B, K) float32 of B prepared faces, in the order of `columns`."""
        import torch

        from idfer.attributes.clip import posteriors

        embedding = self.clip.encode_for_retrieval(torch.stack(list(faces))).astype(np.float32)
        return posteriors(embedding, self._text, self._sizes, self._scale)

    def vectors(self, faces: Sequence[Tensor]) -> Tensor:
        """ID vectors c[a](x) (B, A, E) float32 of B prepared faces, on the CLIP's device."""
        import torch

        vectors = id_vectors(self.posteriors(faces), self._text, self._sizes, self.mode)
        return torch.from_numpy(vectors).to(self.clip.device)
