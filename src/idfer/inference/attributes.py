"""Identity attributes of single faces by CLIP: sensitive inference, made only where a user asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from idfer.attributes.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

    from idfer.data.images import Box


class AttributeReader:
    """Level posteriors of the default vocabulary's attributes, as `idfer retrieve` gives them for data sets.

    Args:
        clip: which CLIP, as for `idfer.attributes.clip.load_clip`; "builtin" knows drawn faces only.
        device: auto, cpu, cuda, cuda:N or mps.
    """

    def __init__(self, clip: str, device: str):
        from idfer.attributes.clip import load_clip

        vocabulary = Vocabulary.load("default")
        levels = vocabulary.levels
        self._clip = load_clip(clip, device)
        self._text = self._clip.encode_vocabulary(vocabulary)
        self._sizes = [len(names) for names in levels.values()]
        self.columns = tuple(f"{attribute}/{level}" for attribute in levels for level in levels[attribute])

    def prepare(self, image: np.ndarray, box: Box | None) -> Tensor:
        """What CLIP needs of one face in an image (H, W, 3) uint8: (3, S, S) float32."""
        return self._clip.preprocess(image, box)

    def read(self, faces: Sequence[Tensor]) -> np.ndarray:
        """Posteriors (B, K) of B prepared faces, in the order of `columns`."""
        import torch

        from idfer.attributes.clip import posteriors

        embedding = self._clip.encode_preprocessed(torch.stack(list(faces)))
        return posteriors(embedding, self._text, self._sizes, self._clip.scale)
