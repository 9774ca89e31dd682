"""`idfer predict clip.mp4`: every frame has its rows, and whatever goes wrong is one of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from films import HEIGHT, WIDTH, Bright, damage, film, picture, walk
from idfer.cli import main
from idfer.data.faces import WholeImage
from idfer.data.frames import Frame
from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError
from idfer.inference.ahead import ahead
from idfer.inference.annotate import Annotator
from idfer.inference.drawing import annotate
from idfer.inference.inputs import Source
from idfer.inference.plot import Plot
from idfer.inference.predictor import Predictor, predict
from idfer.inference.smoothing import Smoother
from idfer.inference.stream import Queued, Stream
from idfer.inference.video import Footage, VideoOptions
from idfer.models.network import Network
from photographs import EXPECTED, VA, read, save

from conftest import BACKBONE
from runs import record_of, write_run

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch) -> Bright:
    """The detector of these videos in place of a real one."""
    detector = Bright()
    monkeypatch.setattr("idfer.inference.predictor.detector_for", lambda *_: (detector, ""))
    return detector


def test_every_frame_has_its_rows_with_its_time_and_the_networks_numbers(
    model: Predictor, bright: Bright, tmp_path: Path
) -> None:
    times = [0.04 * i for i in range(12)] + [1.0, 1.5, 1.54]
    images = [picture((0, 10 + 2 * i, 30), (1, 110, 30)) for i in range(15)]
    images[5] = picture()
    path = film(tmp_path / "a.mp4", images, times)
    frame = model(path, batch_size=4).frame()
    assert list(frame.columns) == EXPECTED
    assert frame["frame"].tolist() == sorted([*range(15), *(i for i in range(15) if i != 5)])
    assert frame.groupby("frame")["time"].first().tolist() == pytest.approx(times, abs=1e-6)
    gone = frame[frame["frame"] == 5]
    assert gone["error"].tolist() == ["no face found"]
    assert gone[["face_id", "x", *VA]].isna().all(axis=None)
    faces = frame.drop(index=gone.index)
    assert (faces["error"] == "").all()
    for _, same in faces.groupby("frame"):
        assert same["face_id"].tolist() == [0, 1]
    people = faces.groupby("face_id")["x"]
    assert sorted(spread > 20 for spread in people.max() - people.min()) == [False, True]
    with av.open(str(path)) as container:
        shown = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    row = faces.iloc[7]
    crop = model.checkpoint.preprocess.crop(shown[row["frame"]], row[["x", "y", "width", "height"]].tolist())
    expected = model.checkpoint.predict(crop[None]).valence_arousal[0]
    assert row[VA].tolist() == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batch_size_does_not_change_the_table(
    model: Predictor, bright: Bright, tmp_path: Path, batch_size: int
) -> None:
    path = walk(tmp_path / "a.mp4", 20)
    reference = model(path, batch_size=3).frame()
    pd.testing.assert_frame_equal(model(path, batch_size=batch_size).frame(), reference, atol=1e-5, rtol=0)


def test_photographs_and_videos_keep_the_order_given(
    model: Predictor, untrained: Path, bright: Bright, tmp_path: Path
) -> None:
    still = save(tmp_path / "s.png", picture((0, 40, 30)))
    one, two = walk(tmp_path / "a.mp4", 3), walk(tmp_path / "b.mkv", 2)
    frame = model([still, one, still, two], video=VideoOptions(smooth=0.5)).frame()
    assert [Path(name).name for name in frame["input"]] == [
        "s.png", *["a.mp4"] * 3, "s.png", *["b.mkv"] * 2,
    ]  # fmt: skip
    assert frame["time"].notna().tolist() == [False, *[True] * 3, False, *[True] * 2]
    assert frame["valence_smooth"].notna().tolist() == frame["time"].notna().tolist()
    assert frame["face_id"].tolist() == [0] * 7
    out = tmp_path / "out.parquet"  # whose columns are those of the first rows, a photograph's
    predict([str(still), str(one)], str(untrained), out=str(out), smooth=0.5, progress=False)
    assert read(out)["valence_smooth"].notna().tolist() == [False, *[True] * 3]


def test_without_pyav_a_video_is_refused_before_any_work(
    untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = walk(tmp_path / "a.mp4", 2), tmp_path / "out.csv"
    monkeypatch.setitem(sys.modules, "av", None)  # as where it is not installed
    with pytest.raises(IdferError, match=r"pip install idfer\[video\]"):
        predict([str(path)], str(untrained), out=str(out), detector="none", progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_the_command_streams_draws_plots_and_smooths(
    untrained: Path, bright: Bright, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = [0.0, 0.04, 0.3, 0.34, 1.0, 1.04]
    path = film(tmp_path / "a.mp4", [picture((0, 10 + 9 * i, 40)) for i in range(6)], times)
    out, drawn, plot = tmp_path / "out.parquet", tmp_path / "drawn.mp4", tmp_path / "plot.png"
    arguments = ["predict", str(path), "--model", str(untrained), "-o", str(out), "--annotate", str(drawn)]
    assert main([*arguments, "--plot", str(plot), "--smooth", "0.2", "--batch-size", "4"]) == 0
    assert "6/6" in capsys.readouterr().err
    frame = read(out)
    assert list(frame.columns) == [*EXPECTED, "valence_smooth", "arousal_smooth"]
    assert len(frame) == 6
    with av.open(str(drawn)) as container:
        shown = list(container.decode(video=0))
    assert [one.time for one in shown] == pytest.approx(times, abs=1e-4)
    last = shown[-1].to_ndarray(format="rgb24")
    assert last.shape == (HEIGHT, WIDTH, 3)
    row = frame.iloc[-1]
    label = last[row["y"] - 14 : row["y"] - 2, row["x"] : row["x"] + 60].astype(float)
    assert label[..., 2].mean() > label[..., 0].mean() + 40, "a blue label above face 0"
    assert cv2.imread(str(plot)).std() > 5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "drawn.mp4", "out.parquet", "plot.png"]


def test_smoothing_is_exponential_causal_and_per_face() -> None:
    smoother = Smoother(0.5)
    rows = [
        {"face_id": face, "time": at, "valence": value, "arousal": -value}
        for at, face, value in [(0.0, 0, 0.0), (0.0, 1, 0.8), (0.5, 0, 1.0), (0.5, 1, 0.8), (100.0, 0, -1.0)]
    ]
    for row in rows:
        smoother.add(row)
    step = 1 - np.exp(-1)
    assert [row["valence_smooth"] for row in rows] == pytest.approx([0.0, 0.8, step, 0.8, -1.0])
    assert rows[2]["arousal_smooth"] == pytest.approx(-step)
    nothing = {"face_id": None, "time": 1.0, "error": "no face found"}
    smoother.add(nothing)
    assert "valence_smooth" not in nothing


def test_key_frames_spare_the_detector_and_say_so(model: Predictor, bright: Bright, tmp_path: Path) -> None:
    path = walk(tmp_path / "a.mp4", 30)
    every = model(path).frame()
    assert bright.asked == 30
    bright.asked = 0
    some = model(path, video=VideoOptions(detect_every=5)).frame()
    assert bright.asked < 12
    assert some["detector"].value_counts().to_dict() == {
        "haar/track": 30 - bright.asked,
        "haar": bright.asked,
    }
    assert some["face_id"].tolist() == [0] * 30
    assert (some["x"] - every["x"]).abs().max() <= 3


def test_a_face_that_appears_between_key_frames_is_found_at_the_next(
    model: Predictor, bright: Bright, tmp_path: Path
) -> None:
    images = [picture((0, 10, 30), *([(1, 100, 40)] if i >= 7 else [])) for i in range(12)]
    frame = model(film(tmp_path / "a.mp4", images), video=VideoOptions(detect_every=5)).frame()
    assert frame[frame["face_id"] == 1]["frame"].tolist() == [10, 11]


def broken(tmp_path: Path) -> dict[str, Path]:
    """Files that are no whole video."""
    paths = {name: tmp_path / f"{name}.mp4" for name in ("text", "empty", "headless", "gone")}
    paths["text"].write_text("a letter " * 99)
    paths["empty"].touch()
    paths["headless"].write_bytes(walk(tmp_path / "x.mp4").read_bytes()[:-100])
    return paths


def test_what_is_no_video_is_a_row_and_the_others_go_on(
    untrained: Path, bright: Bright, tmp_path: Path
) -> None:
    good, out = walk(tmp_path / "good.mp4", 3), tmp_path / "out.csv"
    bad = broken(tmp_path)
    with pytest.raises(IdferError, match=r"4 video\(s\) or frame\(s\) could not be read .*text\.mp4"):
        predict([*map(str, bad.values()), str(good)], str(untrained), out=str(out), progress=False)
    frame = read(out)
    assert frame["error"].notna().tolist() == [True] * 4 + [False] * 3
    for name, error in zip(bad, frame["error"][:4], strict=True):
        assert f"{name}.mp4: " in error


def test_a_video_cut_off_keeps_its_rows_and_ends_in_an_error(
    untrained: Path, bright: Bright, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = walk(tmp_path / "a.mp4", 60, fast=True), tmp_path / "out.csv"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 400])
    code = main(["predict", str(path), "--model", str(untrained), "-o", str(out), "--progress", "false"])
    assert code == 1
    assert "2 video(s) or frame(s) could not be read" in capsys.readouterr().err
    frame = read(out)
    assert "cut off" in frame["error"].iloc[-1]
    good = frame[frame["error"].isna()]
    assert len(good) > 20
    assert good["frame"].tolist() == list(range(len(good)))


def test_a_video_without_a_face_is_said_and_no_failure(
    untrained: Path, bright: Bright, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = film(tmp_path / "a.mp4", [picture()] * 300), tmp_path / "out.csv"
    predict([str(path)], str(untrained), out=str(out), plot=str(tmp_path / "p.svg"), progress=False)
    assert "a.mp4: no face was found in any frame" in capsys.readouterr().err
    assert len(read(out)) == 300
    assert (tmp_path / "p.svg").exists()


def test_a_resolution_that_changes_is_followed(model: Predictor, bright: Bright, tmp_path: Path) -> None:
    images = [picture((0, 40, 30)) for _ in range(6)]
    larger = [cv2.resize(i, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST) for i in images]
    parts = [film(tmp_path / "a.ts", images), film(tmp_path / "b.ts", larger)]
    path = tmp_path / "both.mpg"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    drawn = tmp_path / "drawn.mp4"
    frame = model(path, video=VideoOptions(annotate=drawn)).frame()
    assert len(frame) == 12
    assert (frame["error"] == "").all()
    assert frame["face_id"].tolist() == [0] * 12
    assert frame["width"].iloc[-1] > 1.7 * frame["width"].iloc[0]
    with av.open(str(drawn)) as container:
        assert {(f.width, f.height) for f in container.decode(video=0)} == {(WIDTH, HEIGHT)}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_killed_run_goes_on_where_it_was(
    untrained: Path, bright: Bright, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [picture((0, 10 + 2 * i, 20), (1, 120 - 2 * i, 55)) for i in range(40)]
    for i in range(17, 25):
        images[i] = picture((1, 120 - 2 * i, 55))  # one is out of sight where the run is killed
    path = film(tmp_path / "a.mp4", images)
    out, whole = tmp_path / f"out{suffix}", tmp_path / f"whole{suffix}"

    def run(out: Path, resume: bool = False, smooth: float = 0.1) -> None:
        predict(
            [str(path)], str(untrained), out=str(out), batch_size=2, smooth=smooth, resume=resume,
            annotate=str(out.with_suffix(".mp4")), progress=False,
        )  # fmt: skip

    run(whole)
    lines = whole.read_bytes().splitlines(keepends=True)
    partial = tmp_path / f"out.partial{suffix}"
    kept = 45 + (suffix == ".csv")
    partial.write_bytes(b"".join(lines[:kept]) + lines[kept][:9])  # killed in the middle of a row
    with pytest.raises(IdferError, match=r"another model or other options \(frame 2\d differs"):
        changed = Bright()
        changed.name = "yunet"
        monkeypatch.setattr("idfer.inference.predictor.detector_for", lambda *_: (changed, ""))
        run(out, resume=True)
    monkeypatch.setattr("idfer.inference.predictor.detector_for", lambda *_: (bright, ""))
    partial.write_bytes(b"".join(lines[:kept]) + lines[kept][:9])
    bright.asked = 0
    run(out, resume=True)
    assert bright.asked < 20
    before, after = read(whole), read(out)
    pd.testing.assert_frame_equal(after, before, atol=1e-4, rtol=0)
    assert not partial.exists()
    with av.open(str(out.with_suffix(".mp4"))) as container:
        assert len(list(container.decode(video=0))) == 40
    run(tmp_path / f"new{suffix}", resume=True)  # nothing to go on from
    assert len(read(tmp_path / f"new{suffix}")) == len(before)


@pytest.fixture(scope="module")
def aligning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose faces are aligned by landmarks."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network(BACKBONE, 32, ["age"], 16)
    with torch.no_grad():
        network.head[-1].weight.mul_(5)
    contract = Preprocess(32, margin=0.2, detector="auto", alignment="landmarks")
    record = record_of(BACKBONE, ["age"], 16, contract)
    return write_run(tmp_path_factory.mktemp("aligning"), network, record)


@pytest.mark.parametrize("kept", [1, 16, 27])  # in frame 0, in one that is followed, in a key frame
def test_a_run_that_follows_faces_goes_on_as_in_one_run(
    aligning: Path, bright: Bright, tmp_path: Path, kept: int
) -> None:
    shake = np.random.default_rng(0).integers(-3, 4, 24)
    images = [picture((0, 20 + 3 * i, 6), (1, 100 - 2 * i + int(shake[i]), 60)) for i in range(24)]
    images[6:9] = [picture((1, 80, 60))] * 3  # a face is gone at a key frame
    path = film(tmp_path / "a.mp4", images)

    def run(out: Path, resume: bool = False, every: int = 4) -> None:
        predict(
            [str(path)], str(aligning), out=str(out), detect_every=every, smooth=0.2, resume=resume,
            batch_size=4, progress=False,
        )  # fmt: skip

    run(whole := tmp_path / "whole.csv")
    before = read(whole)
    assert before["detector"].str.endswith("/track").sum() > 20 and before["error"].isna().all()
    lines = whole.read_bytes().splitlines(keepends=True)
    partial = tmp_path / "out.partial.csv"
    partial.write_bytes(b"".join(lines[: 1 + kept]) + lines[1 + kept][:9])
    bright.asked = 0
    run(out := tmp_path / "out.csv", resume=True)
    pd.testing.assert_frame_equal(read(out), before, atol=1e-4, rtol=0)
    if kept > 10:
        partial.write_bytes(b"".join(lines[: 1 + kept]))
        with pytest.raises(IdferError, match="other options"):
            run(out, resume=True, every=3)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize("kept", [1, 11, 16])
def test_errors_in_the_rows_kept_still_count(
    untrained: Path, bright: Bright, tmp_path: Path, suffix: str, kept: int
) -> None:
    path, out = walk(tmp_path / "a.mp4", 20), tmp_path / f"out{suffix}"
    damage(path, 10)

    def run(resume: bool) -> None:
        with pytest.raises(IdferError, match=r"^1 video\(s\) or frame\(s\) could not be read"):
            predict([str(path)], str(untrained), out=str(out), resume=resume, progress=False)

    run(False)
    before = read(out)
    lines = out.read_bytes().splitlines(keepends=True)
    (tmp_path / f"out.partial{suffix}").write_bytes(b"".join(lines[: kept + (suffix == ".csv")]))
    run(True)
    pd.testing.assert_frame_equal(read(out), before, atol=1e-5, rtol=0)
    assert before["error"].iloc[10] != ""


def test_rows_of_another_request_are_not_taken_up(untrained: Path, bright: Bright, tmp_path: Path) -> None:
    path, out = walk(tmp_path / "a.mp4", 10), tmp_path / "out.csv"
    predict([str(path)], str(untrained), out=str(out), progress=False)
    rows = out.read_text()
    partial = tmp_path / "out.partial.csv"
    partial.write_text(rows)
    with pytest.raises(IdferError, match="other columns"):
        predict([str(path)], str(untrained), out=str(out), smooth=1.0, resume=True, progress=False)
    partial.write_text(rows.replace("a.mp4", "b.mp4"))
    with pytest.raises(IdferError, match=r"rows of .*b\.mp4"):
        predict([str(path)], str(untrained), out=str(out), resume=True, progress=False)
    assert out.read_text() == rows


@pytest.mark.timeout(120)
def test_a_kill_and_an_interrupt_keep_the_rows_made(untrained: Path, tmp_path: Path) -> None:
    path, out = walk(tmp_path / "a.mp4", 30), tmp_path / "out.csv"
    code = (
        "import sys, time, idfer.inference.video as v\n"
        "look = v._Shot._look\n"
        "v._Shot._look = lambda s, f: time.sleep(300) if f.frame.number == 20 else look(s, f)\n"
        "import idfer\n"
        "idfer.predict([sys.argv[1]], sys.argv[2], detector='none', out=sys.argv[3], batch_size=4)"
    )
    partial = tmp_path / "out.partial.csv"
    command = [sys.executable, "-c", code, str(path), str(untrained), str(out)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            while process.poll() is None and not (
                partial.exists() and partial.read_bytes().count(b"\n") >= 17
            ):
                time.sleep(0.02)
        finally:
            process.kill()
    assert read(partial)["frame"].tolist() == list(range(len(read(partial))))
    assert len(read(partial)) >= 16


def test_an_error_in_a_thread_reaches_the_caller_and_the_thread_ends() -> None:
    def numbers() -> Iterator[int]:
        yield from range(5)
        raise KeyError("six")

    seen: list[int] = []
    with pytest.raises(KeyError, match="six"):
        seen.extend(ahead(numbers()))
    assert seen == list(range(5))
    endless = ahead(iter(int, 1))
    assert next(endless) == 0
    endless.close()
    assert threading.active_count() == 1


class Filmed:
    """A camera that films one face and is then interrupted, as by Ctrl-C."""

    live, name, rate, expected = True, "camera:0", 25.0, None
    closed = False

    def __init__(self, number: int) -> None:
        assert number == 0

    def __iter__(self) -> Iterator[Frame]:
        for i in range(9):
            yield Frame(i, i / 25, picture((0, 10 + i, 30)))
        raise KeyboardInterrupt

    def notes(self) -> list[str]:
        return []

    def close(self) -> None:
        Filmed.closed = True


def test_a_camera_is_watched_until_it_is_interrupted(
    untrained: Path, bright: Bright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idfer.inference.predictor.Camera", Filmed)
    out = tmp_path / "out.csv"
    arguments = ["predict", "--camera", "0", "--model", str(untrained), "-o", str(out), "--batch-size", "4"]
    assert main([*arguments, "--annotate", str(tmp_path / "c.mp4")]) == 0
    frame = read(out)
    assert frame["frame"].tolist() == list(range(9))
    assert frame["input"].unique().tolist() == ["camera:0"]
    assert Filmed.closed
    assert (tmp_path / "c.mp4").exists()


class Endless(Filmed):
    """A camera that films until it is told to end, and presses Ctrl-C itself."""

    pressed_at = 99

    def __iter__(self) -> Iterator[Frame]:
        for i in range(500):
            if i == self.pressed_at:
                signal.raise_signal(signal.SIGINT)  # which reaches the main thread, wherever that is
            yield Frame(i, i / 25, picture((0, 10 + i % 99, 30)))
        pytest.fail("not interrupted")


@pytest.fixture
def listening() -> Iterator[None]:
    """Python's own handler of Ctrl-C, which a process that a shell starts in the background does without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize("pressed_at", ["the camera", "drawing"])
def test_ctrl_c_ends_a_camera_and_loses_no_row(
    untrained: Path, bright: Bright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pressed_at: str
) -> None:
    monkeypatch.setattr("idfer.inference.predictor.Camera", Endless)
    add, drawn = Annotator.add, []

    def pressing(self: Annotator, frame: Frame, rows: list[dict[str, object]]) -> None:
        drawn.append(frame.number)
        if len(drawn) == 6 and pressed_at == "drawing":
            signal.raise_signal(signal.SIGINT)
        add(self, frame, rows)

    monkeypatch.setattr(Annotator, "add", pressing)
    monkeypatch.setattr(Endless, "pressed_at", 20 if pressed_at == "the camera" else 99_999)
    out, video = tmp_path / "out.csv", tmp_path / "c.mp4"
    arguments = ["predict", "--camera", "0", "--model", str(untrained), "-o", str(out), "--batch-size", "4"]
    assert main([*arguments, "--annotate", str(video), "--smooth", "0.5"]) == 0
    frame = read(out)
    assert frame["frame"].tolist() == drawn == list(range(len(drawn)))
    assert len(drawn) >= 8 and frame[["valence", "valence_smooth"]].notna().all(axis=None)
    with av.open(str(video)) as container:
        assert len(list(container.decode(video=0))) == len(drawn)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert [p.name for p in tmp_path.glob("*partial*")] == []


def test_an_interrupt_in_the_midst_of_drawing_keeps_the_rows_and_draws_nothing_twice(
    model: Predictor, bright: Bright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, drawn = Annotator.add, []

    def interrupted(self: Annotator, frame: Frame, rows: list[dict[str, object]]) -> None:
        drawn.append(frame.number)
        if len(drawn) == 6:
            raise KeyboardInterrupt  # as a second Ctrl-C does
        add(self, frame, rows)

    monkeypatch.setattr(Annotator, "add", interrupted)
    footage = Footage(model.stream(batch_size=4), VideoOptions(annotate=tmp_path / "c.mp4"))
    made = pd.concat(list(footage.watch(Filmed(0))))
    assert made["frame"].tolist() == drawn == list(range(len(drawn)))
    assert len(drawn) >= 8 and made["valence"].notna().all()


def test_a_video_whose_drawing_fails_keeps_the_rows_made(
    model: Predictor, bright: Bright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Annotator, frame: Frame, rows: list[dict[str, object]]) -> None:
        if frame.number == 6:
            raise IdferError("the disk is full")

    path, made = walk(tmp_path / "a.mp4", 12), []
    whole = model(path, video=VideoOptions(smooth=0.5)).frame()
    monkeypatch.setattr(Annotator, "add", full)
    options = VideoOptions(smooth=0.5, annotate=tmp_path / "c.mp4")
    footage = Footage(model.stream(batch_size=4), options)
    with pytest.raises(IdferError, match="the disk is full"):
        made.extend(footage.run([Source(path)]))  # takes what comes before the error
    kept = pd.concat(made, ignore_index=True)
    assert kept["frame"].tolist() == list(range(8))
    pd.testing.assert_frame_equal(kept, whole[:8], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no inputs"),
        (["a.mp4", "--camera", "0"], "takes the place of inputs"),
        (["a.mp4", "b.mp4", "--annotate", "c.mp4"], "--annotate takes one video, and 2"),
        (["a.png", "--plot", "c.png"], "--plot takes one video"),
        (["a.png", "--smooth", "1"], "no input is one"),
        (["a.mp4", "--smooth", "0"], "--smooth is 0"),
        (["a.mp4", "--detect-every", "0"], "--detect-every is 0"),
        (["a.mp4", "--annotate", "c.gif"], "cannot tell the format"),
        (["a.mp4", "--annotate", "./a.mp4"], "is the input itself"),
        (["a.mp4", "--resume", "true"], "--resume needs an output file"),
        (["a.mp4", "--resume", "true", "-o", "o.parquet"], "--resume needs an output file"),
    ],
)
def test_what_does_not_go_together_is_refused_before_any_work(
    arguments: list[str], message: str, untrained: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    walk(tmp_path / "a.mp4", 2)
    assert main(["predict", *arguments, "--model", str(untrained), "--detector", "none"]) == 2
    assert message in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("source", [["a.mp4"], ["--camera", "0"]])
@pytest.mark.parametrize(
    ("option", "file", "message"),
    [
        ("--plot", "folder.png", r"--plot folder.png: is a folder; give the name of a file"),
        ("--annotate", "folder.mp4", r"--annotate folder.mp4: is a folder"),
        ("--plot", "a.mp4/va.png", "a.mp4 is a file, not a folder"),
    ],
)
def test_a_file_to_draw_that_cannot_be_written_is_refused_before_any_work(
    source: list[str], option: str, file: str, message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("idfer.inference.predictor.load", lambda *_: pytest.fail("a model was loaded"))
    Path("a.mp4").touch()
    for folder in ("folder.png", "folder.mp4"):
        Path(folder).mkdir()
    assert main(["predict", *source, option, file]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_figure_bears_the_name_of_any_video(tmp_path: Path, suffix: str) -> None:
    plot = Plot(tmp_path / f"plot{suffix}")
    plot.add({"face_id": 0, "time": 0.0, "valence": 0.1, "arousal": 0.2})
    plot.write("clips/a$b_$c.mp4")
    assert (tmp_path / f"plot{suffix}").is_file()


def test_a_video_is_drawn_where_there_is_no_h264(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    times = [0.0, 1001 / 30000, 0.5, 3700.25]
    with Annotator.to(tmp_path / "drawn.mp4", 30000 / 1001) as annotator:
        for i, at in enumerate(times):
            annotator.add(Frame(i, at, picture((0, 10 + 9 * i, 40))), [])
    with av.open(str(tmp_path / "drawn.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
        shown = list(container.decode(video=0))
    assert [frame.time for frame in shown] == pytest.approx(times, abs=1e-4)


def test_drawing_leaves_the_picture_as_it_is_and_stays_inside() -> None:
    image = picture((0, 0, 0))
    before = image.copy()
    rows = [
        {"face_id": 3, "x": -9, "y": -5, "width": 40, "height": 40, "valence": 0.5, "arousal": -0.5},
        {"face_id": 4, "x": 150, "y": 80, "width": 40, "height": 40, "valence": None},
        {"face_id": None, "error": "no face found"},
    ]
    drawn = np.asarray(annotate(image, rows))
    assert np.array_equal(image, before)
    assert drawn.shape == image.shape
    assert (drawn != image).any(axis=2).sum() > 100


def resident() -> float:
    """MiB of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_memory_does_not_grow_with_the_length(
    model: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of a table kept in memory aside: the stream is what is constant."""
    path = film(tmp_path / "a.mp4", [picture((0, 40, 30))] * 3000, preset="ultrafast")

    def zero(self: Stream, batch: list[Queued]) -> None:
        for face in batch:
            face.row.update(valence=0.0, arousal=0.0)

    monkeypatch.setattr(Stream, "_answer", zero)
    footage = Footage(Stream(model.checkpoint, WholeImage(), None, 32), VideoOptions(smooth=1.0))
    rows, early = 0, 0.0
    for table in footage.run([Source(path)]):
        rows += len(table)
        early = early or (resident() if rows > 500 else 0.0)
    assert rows == 3000
    assert resident() - early < 20
