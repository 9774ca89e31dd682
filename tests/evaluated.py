"""Faces on disk and an untrained run to measure on them: the smallest real evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from idfer.data.manifest import DRAWN, Manifest
from idfer.data.preprocess import Preprocess
from idfer.models.network import Network

from runs import record_of, write_run

SIZE, PEOPLE, EACH = 32, 12, 4


def write_faces(
    root: Path, splits: Sequence[str], source: str = DRAWN, people: int = PEOPLE, gender: bool = False
) -> Path:
    """`EACH` pictures of each of `people` per split, whose brightness tells `skin`; returns the manifest."""
    rng = np.random.default_rng(0)
    rows = []
    for split in splits:
        for person in range(people):
            skin = person / people
            for i in range(EACH):
                name = f"{split}-{person}-{i}.png"
                pixels = np.clip(60 + 120 * skin + rng.normal(0, 20, (SIZE, SIZE, 3)), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(root / name)
                valence, arousal = rng.uniform(-1, 1, 2)
                who = f"{'t' if split == 'train' else 'p'}{person}"
                rows.append((name, who, split, valence, arousal, 1 + 9 * skin))
    table = pd.DataFrame(rows, columns=["path", "subject", "split", "valence", "arousal", "factor.skin"])
    table["source"] = source
    if gender:
        table["factor.gender"] = np.where(table["subject"].str[1:].astype(int) % 2, "feminine", "masculine")
        table["factor.age"] = 20.0 + 3 * table["subject"].str[1:].astype(int)
    return Manifest.from_frame(table, root).write(root / "manifest.parquet")


def run_folder(
    folder: Path, attributes: Sequence[str] = ("gender", "age"), seed: int = 0, **options: object
) -> Path:
    """The folder of a run whose network has its first, random weights."""
    torch.manual_seed(seed)
    network = Network("test_resnet", SIZE, tuple(attributes), dim=8, **options).eval()
    return write_run(folder, network, record_of("test_resnet", attributes, 8, Preprocess(SIZE), **options))
