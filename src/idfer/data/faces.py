"""Where the faces are in a photograph: YuNet, or the Haar cascade that needs no download."""

from __future__ import annotations

import math
import os
import sys
from functools import cache
from pathlib import Path

import numpy as np

from idfer import files
from idfer.data.detection import Detector, Face
from idfer.data.haar import Haar
from idfer.data.yunet import YUNET_FILE, YUNET_SHA256, YUNET_URLS, YuNet
from idfer.errors import IdferError, unknown

DETECTORS = ("auto", "yunet", "haar", "none")

_TIMEOUT = 5.0  # seconds without an answer; `auto` should fail over before its user gives up


def detect(image: np.ndarray, detector: str = "auto") -> list[Face]:
    """Find the faces in one image; for many images make the detector once with `load_detector`.

    Args:
        image: (H, W, 3) uint8, RGB, upright (as `read_image` gives it).
        detector: as for `load_detector`.

    Returns:
        The faces, largest area first (then by place), so their order does not depend on chance.
    """
    return load_detector(detector)(image)


def load_detector(name: str = "auto") -> Detector:
    """Make a face detector.

    Args:
        name: "auto" (YuNet where its file is at hand or can be downloaded, else Haar, which is said once on
            stderr), "yunet", "haar", "none" (every image is one whole face) or the path of a YuNet ONNX file.
            `$IDFER_YUNET` may name that file for "auto" and "yunet".

    Raises:
        UsageError: no detector of that name.
        IdferError: the detector's file is missing or broken, or "yunet" cannot be downloaded.
    """
    check_detector(name)
    if name == "none":
        return WholeImage()
    if name == "haar":
        return Haar()
    if name.lower().endswith(".onnx"):
        return YuNet(Path(name))
    if chosen := os.environ.get("IDFER_YUNET"):
        return YuNet(Path(chosen))
    yunet = _yunet_file(files.cache_dir() / YUNET_FILE)
    if isinstance(yunet, Path):
        return YuNet(yunet)
    if name == "yunet":
        raise IdferError(yunet)
    _say_once(
        "faces are found by OpenCV's Haar cascade, which misses small and turned ones and sees no eyes to "
        "align them by; YuNet is not here: "
        f"{yunet} (IDFER_OFFLINE=1 skips the download, --detector haar also this line.)"
    )
    return Haar()


def check_detector(name: str) -> None:
    """Refuse what `load_detector` does not know, without loading anything.

    Raises:
        UsageError: no detector of that name.
    """
    if name not in DETECTORS and not name.lower().endswith(".onnx"):
        raise unknown("detector", name, list(DETECTORS), "Or give the path of a YuNet .onnx file.")


@cache
def _yunet_file(path: Path) -> Path | str:
    """YuNet's file, downloaded if need be, or why there is none; found out once per process."""
    reason = ""
    for url in YUNET_URLS:
        try:
            return files.fetch(url, path, YUNET_SHA256, timeout=_TIMEOUT)
        except IdferError as error:
            reason = reason or str(error)
    return reason


@cache
def _say_once(message: str) -> None:
    print(f"idfer: {message}", file=sys.stderr)


class WholeImage:
    """No detection: each image is one face already, as in most data sets of cropped faces."""

    name = fingerprint = "none"

    def __call__(self, image: np.ndarray) -> list[Face]:
        """The whole of one (H, W, 3) image."""
        return [Face(0, 0, image.shape[1], image.shape[0], score=math.nan)]
