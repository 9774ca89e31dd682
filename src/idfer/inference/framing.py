"""Faces are framed for a model as in its training, and whoever asks otherwise is told."""

from __future__ import annotations

from idfer.data.detection import Detector
from idfer.data.faces import load_detector
from idfer.errors import IdferError

_WHOLE = "none"
_PLACED = {
    "none": "whole images",
    "box": "faces placed by boxes of its data",
    "yunet": "faces found by yunet",
    "haar": "faces found by haar",
    "auto": "faces that a detector found",
}


def detector_for(trained: str, given: str | None = None) -> tuple[Detector, str]:
    """The detector to use, and what a user should know about it ("" for nothing).

    Args:
        trained: what placed the faces in training, `Preprocess.detector`: "none", "box", "yunet", "haar" or
            "auto".
        given: what the user asks for, as for `load_detector`; None is what training had, or where that was
            boxes, "auto".

    Raises:
        UsageError: no detector of that name.
        IdferError: the detector's file is missing or broken.
    """
    if given is not None:
        chosen = load_detector(given)
        return chosen, _mismatch(trained, chosen.name)
    if trained == _WHOLE:
        return load_detector(_WHOLE), (
            "the model was trained on whole images, so each image is taken as one whole face; for "
            "photographs give --detector auto."
        )
    if trained == "yunet":
        try:
            return load_detector(trained), ""
        except IdferError as error:
            chosen = load_detector("auto")
            return chosen, f"yunet is not at hand ({error}) {_mismatch(trained, chosen.name)}"
    return load_detector("haar" if trained == "haar" else "auto"), ""


def _mismatch(trained: str, used: str) -> str:
    """A warning where faces are framed otherwise than in training."""
    alike = used == trained or (trained in {"box", "auto"} and used != _WHOLE)
    if alike:
        return ""
    return (
        f"faces are framed by detector {used}, and the model was trained on {_PLACED[trained]} (detector "
        f"{trained}): framing differs from training; expect worse numbers."
    )
