"""Another face's identity, to attach in place of one's own: its features, or what they say of the label."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from idfer.data.images import read_reduced
from idfer.errors import IdferError
from idfer.inference.failure import naming

if TYPE_CHECKING:
    from torch import Tensor

    from idfer.attributes.reader import ClipReader
    from idfer.data.detection import Detector
    from idfer.training.checkpoint import Checkpoint


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
    with naming(path):
        image, _ = read_reduced(path)
        faces = detector(image)
    if not faces:
        raise IdferError(
            f"{path}: no face found to swap in; give an image with a clear face, or --detector none where "
            "the whole image is one."
        )
    with naming(path, prefix=True):
        box = None if detector.name == "none" else faces[0].box
        crop = checkpoint.preprocess.crop(image, box, faces[0].landmarks)
        retrieved = None if vectors is None else vectors.vectors([vectors.prepare(image, box)]).cpu().numpy()
        return checkpoint.identity(crop[None], retrieved)
