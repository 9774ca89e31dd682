"""Photographs on disk, and tables of predictions read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

VA = ["valence", "arousal"]
EXPECTED = ["input", "frame", "time", "face_id", "x", "y", "width", "height", "face_score"]
EXPECTED += [*VA, "detector", "error"]


def save(path: Path, image: np.ndarray, mode: str | None = None, **options: object) -> Path:
    """Write an image, (H, W, 3) uint8, after converting it to one of Pillow's modes."""
    pixels = Image.fromarray(image)
    (pixels if mode is None else pixels.convert(mode)).save(path, **options)
    return path


def read(path: Path) -> pd.DataFrame:
    """A table of predictions, whatever its format."""
    return {
        ".csv": pd.read_csv,
        ".parquet": pd.read_parquet,
        ".jsonl": lambda p: pd.read_json(p, lines=True),
    }[path.suffix](path)
