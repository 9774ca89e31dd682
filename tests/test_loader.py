"""Faces as tensors: whatever is wrong with one image is the error of its row, and of no other."""

from __future__ import annotations

import os
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from idfer.data.loader import FaceDataset, face_batches
from idfer.data.manifest import Manifest
from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError

SIZE = 16


def faces(root: Path, paths: list[str], **columns: object) -> Manifest:
    return Manifest.from_frame(pd.DataFrame({"path": paths, "valence": 0.0, "arousal": 0.0} | columns), root)


@pytest.fixture
def bad(tmp_path: Path) -> dict[str, str]:
    """Files that cannot be used, and a part of what is said of each; `good.png` is beside them."""
    Image.new("RGB", (40, 40), (10, 20, 30)).save(tmp_path / "good.png")
    Image.new("RGB", (1, 60000)).save(tmp_path / "line.png")
    Image.new("L", (9000, 9000)).save(tmp_path / "vast.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "loop.png").symlink_to("loop.png")
    return {"line.png": "3600 million pixels", "vast.png": "81 million pixels", "cut.png": "damaged",
            "pipe.png": "pipe", "zero.png": "device", "loop.png": "symbolic links", "x" * 300: "too long",
            "nul\0": "null"}  # fmt: skip


@pytest.mark.timeout(60)
def test_every_failure_is_the_error_of_one_row(tmp_path: Path, bad: dict[str, str]) -> None:
    manifest = faces(tmp_path, [*bad, "good.png"])
    ((rows, pixels, messages),) = face_batches(manifest, Preprocess(SIZE))
    assert rows.tolist() == [len(bad)]
    assert (pixels[0].permute(1, 2, 0).numpy() == [10, 20, 30]).all()
    assert len(messages) == len(bad)
    assert sorted(messages) == list(range(len(bad)))
    for row, reason in enumerate(bad.values()):
        message = messages[row]
        assert message.startswith(f"row {row}: ")
        assert reason in message
    loaded = FaceDataset(manifest, Preprocess(SIZE)).load(progress=False)
    assert loaded.errors == messages


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("PIL.ImageFile.ImageFile.load", MemoryError()),
        ("PIL.ImageFile.ImageFile.load", RecursionError("deep")),
        ("PIL.ImageFile.ImageFile.load", ValueError("odd")),
        ("cv2.resize", MemoryError()),
        ("cv2.resize", cv2.error("no")),
    ],
)
def test_a_library_that_fails_fails_one_row(
    tmp_path: Path, bad: dict[str, str], place: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(place, fail)
    with pytest.raises(IdferError, match=r"row 0: .*good\.png: "):
        FaceDataset(faces(tmp_path, ["good.png"]), Preprocess(SIZE)).read(0)


def test_a_box_outside_its_image_names_row_and_file(tmp_path: Path, bad: dict[str, str]) -> None:
    manifest = faces(tmp_path, ["good.png"] * 2, box=[[0, 0, 9, 9], [50, 0, 9, 9]])
    with pytest.raises(
        IdferError, match=r"row 1: .*good\.png: face box .* does not fit the image of 40 x 40"
    ):
        FaceDataset(manifest, Preprocess(SIZE)).read(1)


@pytest.mark.parametrize("use", ["batches", "load", "read"])
def test_rows_known_to_be_unusable_are_never_read(tmp_path: Path, bad: dict[str, str], use: str) -> None:
    """A row whose face was not found must not become a whole photograph."""
    manifest = faces(tmp_path, ["good.png", "cut.png", "good.png"])
    errors = {1: "cut.png: no face found", 2: "good.png: no face found"}
    expected = {row: f"row {row}: {message}" for row, message in errors.items()}
    dataset = FaceDataset(manifest, Preprocess(SIZE), errors)
    match use:
        case "batches":
            ((rows, pixels, messages),) = face_batches(manifest, Preprocess(SIZE), errors=errors)
            assert (rows.tolist(), len(pixels), messages) == ([0], 1, expected)
        case "load":
            dataset.load(progress=False)
            assert dataset.errors == expected
            assert not dataset.pixels[1:].any()
        case "read":
            for row in errors:
                with pytest.raises(IdferError, match=f"^row {row}: .*no face found$"):
                    dataset.read(row)


def test_the_next_of_the_batch_stands_in_for_a_face_that_cannot_be_read(
    tmp_path: Path, bad: dict[str, str]
) -> None:
    for number in range(4):
        Image.new("RGB", (SIZE, SIZE), (number, 0, 0)).save(tmp_path / f"{number}.png")
    manifest = faces(tmp_path, ["0.png", "1.png", "cut.png", "cut.png", "2.png", "3.png"])
    dataset = FaceDataset(manifest, Preprocess(SIZE))
    batch, wanted = [5, 0, 2, 4, 3], [5, 0, 4, 4, 5]
    whole = dataset.portion(batch)
    assert whole.rows.tolist() == wanted
    assert whole.pixels[:, 0, 0, 0].tolist() == [3, 0, 2, 2, 3]
    assert list(whole.unread) == [2, 3]
    assert whole.unread[2].startswith("row 2: ") and "cut.png" in whole.unread[2]
    for share in (slice(0, 3), slice(3, 5)):  # of two processes: the same, though it is another's face
        portion = dataset.portion(batch, share)
        assert portion.rows.tolist() == wanted[share]
        assert (portion.pixels == whole.pixels[share]).all()
    none = dataset.portion([2, 3])
    assert (len(none.rows), len(none.pixels), len(none.unread)) == (0, 0, 2)
    good = dataset.portion([5, 0, 4])
    loaded = dataset.load(progress=False).portion([5, 0, 4])
    assert (loaded.pixels == good.pixels).all() and loaded.rows.tolist() == [5, 0, 4]


@pytest.mark.timeout(60)
def test_workers_start_after_opencv_has_used_its_threads(tmp_path: Path, bad: dict[str, str]) -> None:
    """They waited for ever for threads that a forked process does not have; faces are found with them."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        for _ in range(5):
            cv2.cvtColor(np.zeros((3000, 3000, 3), np.uint8), cv2.COLOR_RGB2GRAY)
        time.sleep(0.3)  # until they sleep
        dataset = FaceDataset(faces(tmp_path, ["good.png"] * 2), Preprocess(SIZE))
        assert [portion.rows.tolist() for portion in dataset.batches([[1], [0]], num_workers=1)] == [[1], [0]]
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)
