"""Small real inputs that several test files share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from idfer import AttributeTable, Manifest

BACKBONE = "test_resnet"  # timm's own model for tests: small, with batch normalisation


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's cache, and none waits for a network."""
    monkeypatch.setenv("IDFER_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("IDFER_OFFLINE", "1")


@pytest.fixture
def squares(tmp_path: Path) -> Manifest:
    """96 pictures of 12 'people': brightness of the halves is the label, redness the person's attribute."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(96):
        person = i // 8
        valence, arousal = rng.uniform(-1, 1, 2)
        pixels = np.full((32, 32, 3), 128.0)
        pixels[:16] += 90 * valence
        pixels[16:] += 90 * arousal
        pixels[..., 0] += 30 * (person % 2)
        noisy = np.clip(pixels + rng.normal(0, 8, pixels.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(tmp_path / f"{i:03d}.png")
        split = "train" if person < 9 else "val"
        rows.append(
            {
                "path": f"{i:03d}.png",
                "subject": f"p{person}",
                "split": split,
                "valence": valence,
                "arousal": arousal,
                "detector": "none",  # each picture is whole, as a crop is
            }
        )
    manifest = Manifest.from_frame(pd.DataFrame(rows), tmp_path)
    manifest.write(tmp_path / "manifest.parquet")
    return manifest


@pytest.fixture
def squares_table(squares: Manifest) -> AttributeTable:
    """What a perfect retrieval would say of `squares`: tint red or plain, size always one of three."""
    person = squares.frame["subject"].str[1:].astype(int).to_numpy()
    red = np.where(person % 2 == 1, 0.95, 0.05)
    third = 0.1 + 0.7 * np.eye(3)[person % 3]
    rng = np.random.default_rng(1)
    text = rng.normal(size=(5, 8))
    table = AttributeTable(
        path=squares.frame["path"].to_numpy(),
        frame=squares.frame["frame"].to_numpy(),
        box=(None,) * len(squares),
        errors=np.full(len(squares), "", dtype=object),
        levels={"tint": ["red", "plain"], "group": ["a", "b", "c"]},
        posteriors=np.column_stack([red, 1 - red, third]).astype(np.float32),
        embedding=rng.normal(size=(len(squares), 8)).astype(np.float32),
        text=(text / np.linalg.norm(text, axis=1, keepdims=True)).astype(np.float32),
    )
    table.write(squares.root / "attributes.parquet")
    return table
