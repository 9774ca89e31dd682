"""Another face's identity, to attach in place of one's own: its features, or what they say of the label."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from idfer.inference.cutting import largest_face
from idfer.inference.failure import naming
from idfer.inference.inputs import Source

if TYPE_CHECKING:
    from torch import Tensor

    from idfer.attributes.reader import ClipReader
    from idfer.data.detection import Detector
    from idfer.training.checkpoint import Checkpoint

_MISSING = " to swap in; give an image with a clear face, or --detector none where the whole image is one"


def identity_of(
    file: str | Path, checkpoint: Checkpoint, detector: Detector, vectors: ClipReader | None
) -> Tensor:
    """What detaching takes from the largest face in an image, (1, A, D) or (1, A, 3) (`Network.attachable`).

    Args:
        file: the image.
        checkpoint: the model.
        detector: finds the face.
        vectors: reads ID vectors, for a network that needs them.

    Raises:
        IdferError: the image cannot be read, is too large or too narrow, or shows no face.
    """
    path = Path(file)
    face = largest_face(Source(path), detector, checkpoint.preprocess, _MISSING)
    with naming(path, prefix=True):
        retrieved = None
        if vectors is not None:
            retrieved = vectors.vectors([vectors.prepare(face.image, face.box)]).cpu().numpy()
        return checkpoint.identity(face.crop[None], retrieved)
