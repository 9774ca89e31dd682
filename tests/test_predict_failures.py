"""What cannot be predicted on is a row that says why; wrong requests are refused at once."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

import idfer
from idfer.data.images import read_image
from idfer.errors import IdferError, UsageError
from idfer.inference.predictor import Predictor, predict
from idfer.inference.stream import Stream

from photographs import VA, read, save

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def spoiled(photos: Path) -> Path:
    """The folder with three files that cannot be read among the good ones."""
    whole = save(photos / "b cut.jpg", read_image(photos / "b six.png"), quality=90).read_bytes()
    (photos / "b cut.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "a empty.jpg").touch()
    (photos / "z text.jpg").write_text("I am a letter")
    return photos


def test_bad_images_become_rows_and_the_rest_is_predicted(
    model: Predictor, photos: Path, request: pytest.FixtureRequest
) -> None:
    clean = model(photos, detector="haar").frame()
    frame = model(request.getfixturevalue("spoiled"), detector="haar").frame()
    bad = frame["error"].str.contains("0 bytes|incomplete|not an image")
    assert [Path(p).name for p in frame["input"][bad]] == ["a empty.jpg", "b cut.jpg", "z text.jpg"]
    assert frame.loc[bad, ["face_id", "x", "detector", *VA]].isna().all(axis=None)
    pd.testing.assert_frame_equal(frame[~bad].reset_index(drop=True), clean, atol=1e-5, rtol=0)


def test_unreadable_inputs_are_told_after_all_results_are_written(
    untrained: Path, spoiled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    with pytest.raises(IdferError, match=r"4 of 8 inputs could not be read \(first: .*a empty.jpg") as caught:
        predict([str(spoiled), "gone.png"], str(untrained), detector="none", out=str(out), progress=False)
    assert caught.value.exit_code == 1
    written = read(out)
    assert len(written) == 8
    assert written["valence"].notna().sum() == 4


def test_missing_file_is_a_row(untrained: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    inputs = [str(photos / "gone.png"), str(photos / "a one.png")]
    with pytest.raises(IdferError, match="1 of 2"):
        predict(inputs, str(untrained), detector="none", out=str(out), progress=False)
    assert read(out)["error"].fillna("").str.contains("no such file").tolist() == [True, False]


def test_no_face_is_not_a_failure(untrained: Path, photos: Path, tmp_path: Path) -> None:
    predict([str(photos)], str(untrained), detector="haar", out=str(tmp_path / "out.csv"), progress=False)
    assert (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"detach": ["aeg"]}, "unknown attribute 'aeg'.*Did you mean 'age'.*gender"),
        ({"detach": ["age", "none"]}, "--detach"),
        ({"detach": "age=much"}, "--detach age=much: the strength must be a number"),
        ({"detach": "age=nan"}, "must be a number"),
        ({"detach": "age,age=0.5"}, "'age' twice"),
        ({"detach": ""}, "--detach takes attributes"),
        ({"detach": "none", "swap": "other.png"}, "--swap .* none is detached"),
        ({"out": "out.xlsx"}, r"out\.xlsx.*\.csv"),
        ({"out": "."}, "format|folder"),
        ({"detector": "hear"}, "unknown detector"),
        ({"model": "nowhere"}, "nowhere"),
        ({"inputs": ["clip.mp4"]}, "video"),
        ({"inputs": []}, "nothing to predict"),
        ({"batch_size": 0}, "batch_size"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_wrong_requests_are_refused_before_any_work(
    untrained: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("idfer.inference.stream.read_image", lambda path: pytest.fail("read an image"))
    request = {"inputs": [str(photos)], "model": str(untrained), "out": "out.csv", "progress": False}
    with pytest.raises(UsageError, match=reason):
        predict(**request | change)
    assert not Path("out.csv").exists()


def test_folder_without_images_is_named(untrained: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "a.txt").touch()
    with pytest.raises(IdferError, match=r"bare: holds no image"):
        predict([str(tmp_path / "bare")], str(untrained), progress=False)


def test_unwritable_output_is_found_before_the_work(
    untrained: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idfer.inference.stream.read_image", lambda path: pytest.fail("read an image"))
    (tmp_path / "file").touch()
    with pytest.raises(IdferError, match="cannot write"):
        predict([str(photos)], str(untrained), out=str(tmp_path / "file" / "out.csv"), progress=False)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_stopped_early_keeps_what_was_made(
    untrained: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: type[BaseException],
) -> None:
    queue = Stream._queue

    def stop_at_third(self: Stream, file: Path) -> None:
        if file.name.startswith("c"):
            raise error
        queue(self, file)

    monkeypatch.setattr(Stream, "_queue", stop_at_third)
    out = tmp_path / "out.csv"
    with pytest.raises(error):
        predict([str(photos)], str(untrained), detector="none", out=str(out), batch_size=1, progress=False)
    assert [Path(p).name for p in read(out)["input"]] == ["a one.png", "b six.png"]
    assert "stopped early" in capsys.readouterr().err


def test_a_full_disk_keeps_the_old_results(
    untrained: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(frame: pd.DataFrame, header: bool = False) -> str:
        raise OSError(28, "No space left on device")

    out = tmp_path / "out.csv"
    out.write_text("yesterday's\n")
    monkeypatch.setattr("idfer.inference.output._csv", full)
    with pytest.raises(IdferError, match="No space left"):
        predict([str(photos)], str(untrained), detector="none", out=str(out), progress=False)
    assert out.read_text() == "yesterday's\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.csv", "photos"]


def test_damaged_weights_never_pass_as_numbers(untrained: Path, photos: Path) -> None:
    model = idfer.load(str(untrained), device="cpu")
    with torch.no_grad():
        model.checkpoint.network.head[-1].bias.fill_(float("nan"))
    frame = model(photos / "a one.png", detector="none").frame()
    assert "not a number" in frame["error"].iloc[0]
