"""Small real inputs that several test files share."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process per core; threads would wait for each other

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import skimage.data
import torch
from PIL import Image

import idfer
from idfer import AttributeTable, Manifest
from idfer.data.images import read_image
from idfer.data.preprocess import Preprocess
from idfer.inference.predictor import Predictor
from idfer.models.network import Network
from photographs import save

from runs import record_of, write_run

YUNET = Path(
    os.environ.get("IDFER_YUNET") or Path(__file__).parents[2] / "shared" / "assets" / "yunet_2023mar.onnx"
)
needs_yunet = pytest.mark.skipif(not YUNET.is_file(), reason="YuNet's ONNX file is not in IDFER_YUNET")
BACKBONE = "test_resnet"  # timm's own model for tests: small, with batch normalisation


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's cache, none waits for a network, and "auto" finds no YuNet."""
    monkeypatch.setenv("IDFER_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("IDFER_OFFLINE", "1")
    monkeypatch.delenv("IDFER_YUNET", raising=False)


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


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tests that predict face by face are faster without threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a small untrained network, its head made sensitive so that inputs matter."""
    contract = Preprocess(32, margin=0.2, detector="auto")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network(BACKBONE, contract.size, ["gender", "age"], 16)
    with torch.no_grad():
        network.head[-1].weight.mul_(5)
    folder = tmp_path_factory.mktemp("untrained")
    return write_run(folder, network, record_of(BACKBONE, ["gender", "age"], 16, contract))


@pytest.fixture
def model(untrained: Path) -> Predictor:
    return idfer.load(str(untrained), device="cpu")


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """The photograph at half size, (256, 256, 3), where Haar is fast; the face is 57 pixels high."""
    return cv2.resize(skimage.data.astronaut(), (256, 256), interpolation=cv2.INTER_AREA)


@pytest.fixture
def photos(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """A folder with one face, six faces, no face, and in a subfolder one more."""
    folder = tmp_path / "photos"
    (folder / "deep" / ".hidden").mkdir(parents=True)
    save(folder / "a one.png", astronaut[:150, :200])
    save(folder / "b six.png", np.tile(astronaut[:130, 50:180], (2, 3, 1)))
    save(folder / "c none.PNG", skimage.data.coffee()[:200, :200])
    save(folder / "deep" / "d.png", astronaut[:120, 45:165, ::-1])
    save(folder / "deep" / ".hidden" / "e.png", astronaut)
    (folder / "notes.txt").write_text("not an image, and not asked about")
    return folder


@pytest.fixture
def spoiled(photos: Path) -> Path:
    """The folder `photos` with three files that cannot be read among the good ones."""
    whole = save(photos / "b cut.jpg", read_image(photos / "b six.png"), quality=90).read_bytes()
    (photos / "b cut.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "a empty.jpg").touch()
    (photos / "z text.jpg").write_text("I am a letter")
    return photos
