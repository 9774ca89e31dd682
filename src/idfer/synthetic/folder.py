"""The folder of a data set that idfer draws: what is in it, whose it is, and how far a run came."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from idfer.errors import IdferError

if TYPE_CHECKING:
    import numpy as np

    from idfer.data.manifest import Manifest
    from idfer.synthetic.engine import Engine
    from idfer.synthetic.factors import Factors

MANIFEST = "manifest.parquet"
CAPTIONS = "captions.txt"
SHEET = "sheet.png"
IMAGES = "images"
MARK = ".idfer-synth"  # tells our folders from others, also after a kill


def digest(manifest: Manifest, faces: Factors, engine: Engine, size: int) -> str:
    """Hash of all that the images depend on."""
    import hashlib

    from idfer.version import __version__

    hashed = hashlib.sha256(f"{__version__} {engine.fingerprint()} {size}".encode())
    hashed.update("\n".join(manifest.frame["path"]).encode())
    for name in faces.names():
        hashed.update(getattr(faces, name).numpy().tobytes())
    return hashed.hexdigest()


def prepare(manifest: Manifest, digest: str) -> None:
    """Remove what an earlier run wrote, and nothing else; make the folders.

    Images stay where a run for the very same ones was ended before its manifest was written.
    """
    import shutil

    root = manifest.root
    said = f"Written by `idfer synth`, which replaces its files here when run again.\n{digest}\n"
    try:
        root.mkdir(parents=True, exist_ok=True)
        mark = root / MARK
        same = mark.is_file() and mark.read_text(encoding="utf-8") == said
        if not same or (root / MANIFEST).is_file():
            for name in (MANIFEST, CAPTIONS, SHEET):
                (root / name).unlink(missing_ok=True)
            shutil.rmtree(root / IMAGES, ignore_errors=True)
            mark.write_text(said, encoding="utf-8")
        for folder in {file.parent for file in manifest.files}:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise IdferError(
            f"cannot write in {root}: {error.strerror or error}; choose another folder."
        ) from error


def write_png(file: Path, image: np.ndarray) -> None:
    """Write one (H, W, 3) RGB uint8 image, whole or not at all."""
    import cv2

    _, data = cv2.imencode(".png", image[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 2])
    part = file.with_suffix(".part")
    try:
        part.write_bytes(data.tobytes())
        part.replace(file)
    except OSError as error:
        raise IdferError(
            f"cannot write {file}: {error.strerror or error}. Free some space or choose another folder, and "
            "run the same command again."
        ) from error
