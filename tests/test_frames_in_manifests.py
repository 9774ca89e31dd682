"""Rows that are frames of videos: each video is decoded once a pass, and what fails fails one row."""

from __future__ import annotations

import builtins
import sys
import threading
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

import films
import idfer
import tiny_clip
from idfer.cli import main
from idfer.data import film as film_module
from idfer.data import loader
from idfer.data.film import Film
from idfer.data.frames import VideoFile
from idfer.data.images import read_image
from idfer.data.loader import FaceDataset, face_batches
from idfer.data.locate import locate
from idfer.data.manifest import Manifest
from idfer.data.pictures import Pictures, Read, reading_order
from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError
from idfer.inference.predictor import predict
from photographs import save

SIZE = 32


def faces(root: Path, rows: Sequence[tuple[str, int]], **columns: object) -> Manifest:
    table = pd.DataFrame(rows, columns=["path", "frame"]).assign(valence=0.0, arousal=0.0)
    return Manifest.from_frame(table.assign(**columns), root)


def boxes(rows: Sequence[tuple[str, int]]) -> list[list[int]]:
    """Where the face of `films.walk` is in each frame."""
    return [[10 + 2 * frame, 30, films.SIDE, films.SIDE] for _, frame in rows]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the videos that are opened, in order."""
    opened: list[str] = []

    class Counted(VideoFile):
        def __init__(self, path: str | Path) -> None:
            opened.append(Path(path).name)
            super().__init__(path)

    monkeypatch.setattr(film_module, "VideoFile", Counted)
    return opened


ROWS = [("b.mp4", 7), ("a.mp4", 2), ("still.png", -1), ("b.mp4", 0), ("a.mp4", 2), ("b.mp4", 29)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    films.walk(tmp_path / "a.mp4", 12)
    films.walk(tmp_path / "b.mp4")
    save(tmp_path / "still.png", films.picture((0, 10 + 2 * 4, 30)))
    return tmp_path


def expected(root: Path, path: str, frame: int) -> np.ndarray:
    if frame < 0:
        return read_image(root / path)
    with VideoFile(root / path) as video:
        return next(f.image for f in video if f.number == frame)


def test_rows_show_their_own_frames_and_each_video_is_opened_once(root: Path, decoded: list[str]) -> None:
    manifest, contract = faces(root, ROWS, box=boxes(ROWS)), Preprocess(SIZE, 0.1)
    assert reading_order(manifest).tolist() == [3, 0, 5, 1, 4, 2]
    wanted = [contract.crop(expected(root, *row), manifest.box(i)) for i, row in enumerate(ROWS)]
    seen = {}
    for rows, pixels, messages in face_batches(manifest, contract, batch_size=4):
        assert not messages
        seen |= dict(zip(rows.tolist(), pixels.permute(0, 2, 3, 1).numpy(), strict=True))
    assert sorted(seen) == list(range(len(ROWS)))
    for row, face in enumerate(wanted):
        np.testing.assert_array_equal(seen[row], face)
    loaded = FaceDataset(manifest, contract).load(progress=False)
    assert loaded.pixels is not None
    np.testing.assert_array_equal(loaded.pixels.permute(0, 2, 3, 1).numpy(), np.stack(wanted))
    assert sorted(decoded) == ["a.mp4", "a.mp4", "b.mp4", "b.mp4"], "once in each of two passes"


def test_faces_are_found_in_frames_and_not_looked_for_twice(
    root: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    finder = films.Bright()
    monkeypatch.setattr("idfer.data.locate.load_detector", lambda name: finder)
    manifest = faces(root, ROWS)
    located = locate(manifest, "haar", progress=False)
    assert finder.asked == 5, "two rows show one picture"
    for row, (_, frame) in enumerate(ROWS):
        assert located.manifest.boxes[row, 0] == pytest.approx(10 + 2 * (frame if frame >= 0 else 4), abs=2)
    again = locate(manifest, "haar", progress=False)
    np.testing.assert_array_equal(again.manifest.boxes, located.manifest.boxes)
    assert finder.asked == 5
    assert sorted(decoded) == ["a.mp4", "b.mp4"]


def test_what_cannot_be_had_is_the_error_of_its_row(root: Path) -> None:
    (root / "no.mp4").write_bytes(b"these are no frames")
    films.damage(films.walk(root / "hurt.mp4", 8, codec="mjpeg"), 3)
    (root / "cut.avi").write_bytes(films.walk(root / "whole.avi", codec="mjpeg").read_bytes()[:-9000])
    rows = [("a.mp4", 11), ("a.mp4", 12), ("no.mp4", 0), ("no.mp4", 5), ("gone.mp4", 0), ("hurt.mp4", 3),
            ("hurt.mp4", 4), ("cut.avi", 29), ("a.mp4", 12)]  # fmt: skip
    reasons = {1: r"a.mp4: frame 12: there is no such frame, the last is 11", 2: "no.mp4: is not a video",
               3: "no.mp4: is not a video", 4: "gone.mp4: no such file", 5: "hurt.mp4: frame 3: ",
               7: "cut.avi: frame 29: is damaged or cut off after frame", 8: "a.mp4: frame 12: "}  # fmt: skip
    manifest = faces(root, rows)
    found: dict[int, str] = {}
    good: list[int] = []
    for readable, _, messages in face_batches(manifest, Preprocess(SIZE)):
        found |= messages
        good += readable.tolist()
    assert sorted(good) == [0, 6]
    assert sorted(found) == sorted(reasons)
    for row, reason in reasons.items():
        assert found[row].startswith(f"row {row}: {root}/"), found[row]
        assert reason in found[row]
    loaded = FaceDataset(manifest, Preprocess(SIZE)).load(progress=False)
    assert loaded.errors == found
    findings = idfer.check(manifest, progress=False)
    told = {check.code: check.message for check in findings.checks}
    assert told["IDF203"].startswith("1 file is not there")
    assert told["IDF204"].startswith("5 pictures are unreadable; the first: ")
    assert "frame 12: there is no such frame" in told["IDF204"]


def test_without_pyav_each_frame_says_what_to_install(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def importing(name: str, *given: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return real(name, *given)

    monkeypatch.setattr(builtins, "__import__", importing)
    monkeypatch.delitem(sys.modules, "av", raising=False)
    manifest = faces(root, ROWS, box=boxes(ROWS))
    ((rows, _, messages),) = face_batches(manifest, Preprocess(SIZE))
    assert rows.tolist() == [2], "images need no PyAV"
    assert all("pip install idfer[video]" in message and ".mp4: " in message for message in messages.values())


def test_memory_does_not_grow_with_a_video(tmp_path: Path) -> None:
    big = cv2.resize(films.picture((0, 10, 30)), (800, 480), interpolation=cv2.INTER_NEAREST)
    films.film(tmp_path / "big.mp4", [big] * 40)
    manifest = faces(tmp_path, [("big.mp4", frame) for frame in range(40)])
    tracemalloc.start()
    try:
        done = sum(len(rows) for rows, _, _ in face_batches(manifest, Preprocess(SIZE), num_workers=2))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done == 40
    assert most < 15 * big.nbytes


def test_decoding_waits_for_slower_work(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that pile up would fill the memory."""
    decoded, done, most = 0, 0, 0
    frame = Film.frame

    def counted(self: Film, number: int) -> np.ndarray:
        nonlocal decoded, most
        decoded += 1
        most = max(most, decoded - done)
        return frame(self, number)

    def slow(row: int, read: Read) -> int:
        nonlocal done
        read()
        time.sleep(0.005)
        done += 1
        return row

    monkeypatch.setattr(Film, "frame", counted)
    manifest = faces(root, [("b.mp4", frame) for frame in range(30)])
    with Pictures(manifest, threads=1) as pictures:
        assert [row for row, _ in pictures.each(range(30), slow)] == list(range(30))
    assert decoded == 30
    assert most <= 3


def test_what_is_not_asked_for_is_not_converted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    converted: list[int] = []
    upright = VideoFile._upright
    monkeypatch.setattr(
        VideoFile, "_upright", lambda self, frame: converted.append(1) or upright(self, frame)
    )
    film = Film(root / "b.mp4")
    film.frame(5)
    film.frame(5)
    film.frame(9)
    assert len(converted) == 2
    with pytest.raises(ValueError, match="frame 3 is asked for after frame 9"):
        film.frame(3)
    film.close()


def test_stopping_in_the_middle_ends(root: Path) -> None:
    """A thread that waits for room must not keep the program."""
    manifest = faces(root, [("b.mp4", frame) for frame in range(30)])
    for rows, _, _ in face_batches(manifest, Preprocess(SIZE), batch_size=1, num_workers=1):
        assert rows.tolist() == [0]
        break


def test_stopping_does_not_wait_for_a_distant_frame(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    films.walk(root / "long.mp4", 60)
    decoded: list[int] = []
    begun = threading.Event()
    frames = VideoFile.frames

    def slow(self: VideoFile, wanted: Any) -> Any:
        for frame in frames(self, wanted):
            decoded.append(frame.number)
            if frame.number == 2:
                begun.set()
                while not pictures._closed:
                    time.sleep(0.01)
            yield frame

    monkeypatch.setattr(VideoFile, "frames", slow)
    manifest = faces(root, [("long.mp4", 0), ("long.mp4", 59)])
    pictures = Pictures(manifest, 1)
    made = pictures.each(range(2), lambda row, read: row)
    next(made)
    assert begun.wait(10)
    pictures.close()
    assert decoded == [0, 1, 2]


def test_crops_of_frames_are_stills_that_say_where_they_are_from(root: Path, decoded: list[str]) -> None:
    rows = [*ROWS, ("b.mp4", 99)]
    manifest = faces(root, rows, box=boxes(rows))
    made = idfer.crop(manifest, root / "out", size=SIZE, margin=0.1, progress=False)
    assert made.frames.tolist() == [-1] * 6
    assert made.frame["original"].tolist() == [path for path, _ in ROWS]
    assert made.frame["original_frame"].tolist() == [frame for _, frame in ROWS]
    left = pd.read_csv(root / "out" / "left_out.csv")
    assert left["row"].tolist() == [6]
    assert "frame 99: there is no such frame" in left["reason"].iloc[0]
    for row, file in enumerate(made.files):
        face = Preprocess(SIZE, 0.1).crop(expected(root, *ROWS[row]), manifest.box(row))
        np.testing.assert_array_equal(read_image(file), face)
    before = len(decoded)
    idfer.crop(manifest.rows(np.arange(6)), root / "out", size=SIZE, margin=0.1, progress=False)
    assert len(decoded) == before, "what is there is not made again"
    smaller = idfer.crop(made, root / "smaller", size=16, progress=False)
    assert smaller.frame["original"].tolist() == made.frame["path"].tolist()
    assert "original_frame" not in smaller.frame, "the frames of other files"


def test_training_in_memory_and_evaluation_take_frames_and_other_training_is_told_to_crop(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("b.mp4", frame) for frame in range(24)] + [("a.mp4", frame) for frame in range(12)]
    split = ["train"] * 24 + ["test"] * 12
    manifest = faces(root, rows, box=boxes(rows), split=split, subject=[path for path, _ in rows])
    options: dict[str, Any] = {
        "method": "erm", "backbone": "conv4", "size": SIZE, "epochs": 1, "batch_size": 8, "device": "cpu",
        "num_workers": 0, "progress": False,
    }  # fmt: skip
    run = idfer.fit(manifest, out=root / "run", **options)
    evaluation = idfer.evaluate(run, manifest, progress=False)
    assert evaluation.predictions["frame"].tolist() == list(range(12))
    assert evaluation.predictions["error"].eq("").all()
    monkeypatch.setattr(loader, "MEMORY_LIMIT", 0)
    with pytest.raises(IdferError, match=r"24 of 24 training faces are frames of videos; .*`idfer crop"):
        idfer.fit(manifest, out=root / "other", **options)
    with pytest.raises(IdferError, match=r"row 3: .*b.mp4: frames of a video cannot be read one by one"):
        FaceDataset(manifest, Preprocess(SIZE))[3]


def test_retrieval_reads_frames_once_and_resumes(
    root: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = f"local-dir:{tiny_clip.make(root / 'clip')}"
    rows = [*ROWS, ("b.mp4", 99), ("no.mp4", 1)]
    table = idfer.retrieve(faces(root, rows, box=boxes(rows)), spec, batch_size=3, progress=False)
    assert decoded.count("b.mp4") == 1
    assert "b.mp4: frame 99: there is no such frame" in table.errors[6]
    assert "no.mp4: no such file" in table.errors[7]
    from idfer.attributes.clip import load_clip

    clip = load_clip(spec)
    manifest = faces(root, ROWS, box=boxes(ROWS))
    for row, shown in enumerate(ROWS):
        image = clip.preprocess(expected(root, *shown), manifest.box(row))
        exact = clip.encode_for_retrieval(image[None])[0]
        np.testing.assert_allclose(table.embedding[row], exact.astype(np.float32), atol=2e-3)
    decoded.clear()
    again = idfer.retrieve(manifest, spec, progress=False)
    np.testing.assert_array_equal(again.embedding, table.embedding[:6])
    assert not decoded, "all was in the cache"


def test_what_predict_writes_of_a_video_is_a_manifest(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = idfer.load("synthetic-tiny", device="cpu")
    monkeypatch.setattr("idfer.inference.predictor.detector_for", lambda *_: (films.Bright(), ""))
    images = [films.picture((0, 10 + 2 * i, 30), (1, 110, 30)) for i in range(6)]
    images[2] = films.picture()
    films.film(root / "two.mp4", images)
    written, target = root / "said.parquet", root / "m.parquet"
    predict([root / "two.mp4"], "synthetic-tiny", out=written, detect_every=2, device="cpu", progress=False)
    said = pd.read_parquet(written).query("error == ''")
    assert set(said["detector"]) == {"haar", "haar/track"}
    assert main(["manifest", "table", str(written), "--columns", "path=input", "-o", str(target)]) == 0
    manifest = Manifest.read(target)
    assert manifest.frames.tolist() == said["frame"].tolist()
    located = locate(manifest, progress=False)
    assert located.detector == "haar"
    ((rows, pixels, messages),) = face_batches(located.manifest, model.checkpoint.preprocess)
    assert not messages
    again = model.checkpoint.predict(pixels.permute(0, 2, 3, 1).numpy()).valence_arousal
    np.testing.assert_allclose(again, said[["valence", "arousal"]].to_numpy()[rows], atol=1e-4)
