"""What cannot be predicted on is a row that says why; wrong requests are refused at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

import idfer
from idfer.cli import main
from idfer.data.faces import WholeImage
from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError, UsageError
from idfer.inference.predictor import Predictor, predict
from idfer.models.network import Network
from idfer.training.checkpoint import load_checkpoint
from photographs import VA, read, save

from runs import write_run

pytestmark = pytest.mark.usefixtures("one_thread")


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
        ({"inputs": []}, "nothing to predict"),
        ({"inputs": [""]}, "empty name"),
        ({"swap": ""}, "--swap has an empty name"),
        ({"attributes": True}, "--clip ViT-B-16/openai"),
        ({"clip": "builtin"}, "--clip builtin would infer attributes, .* give --attributes true"),
        ({"batch_size": 0}, "batch_size"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_wrong_requests_are_refused_before_any_work(
    untrained: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("idfer.inference.inputs.read_reduced", lambda path: pytest.fail("read an image"))
    request = {"inputs": [str(photos)], "model": str(untrained), "out": "out.csv", "progress": False}
    with pytest.raises(UsageError, match=reason):
        predict(**request | change)
    assert not list(Path().glob("out*"))


def test_folder_without_images_is_named(untrained: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "a.txt").touch()
    with pytest.raises(IdferError, match=r"bare: holds no image"):
        predict([str(tmp_path / "bare")], str(untrained), progress=False)


def test_unwritable_output_is_found_before_the_work(
    untrained: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idfer.inference.inputs.read_reduced", lambda path: pytest.fail("read an image"))
    (tmp_path / "file").touch()
    with pytest.raises(IdferError, match="cannot write"):
        predict([str(photos)], str(untrained), out=str(tmp_path / "file" / "out.csv"), progress=False)


def narrow(path: Path) -> Path:
    """An image of 604 bytes that a square would make 3,600 million pixels of."""
    return save(path, np.zeros((1, 60000, 3), np.uint8))


def test_an_image_too_narrow_for_a_square_is_a_row(untrained: Path, photos: Path, tmp_path: Path) -> None:
    narrow(photos / "b narrow.png")
    out = tmp_path / "out.csv"
    with pytest.raises(IdferError, match=r"1 face\(s\) could not be predicted \(first: .*b narrow\.png: "):
        predict([str(photos)], str(untrained), detector="none", out=str(out), progress=False)
    written = read(out)
    assert written["valence"].notna().tolist() == [True, False, True, True, True]
    assert "60000" in written["error"].iloc[1]


def test_a_swapped_image_that_cannot_be_cut_out_is_named(model: Predictor, photos: Path) -> None:
    other = narrow(photos / "narrow.png")
    with pytest.raises(IdferError, match=r"narrow\.png: .*60000"):
        model(photos / "a one.png", swap=other, detector="none")


@pytest.mark.parametrize("error", [MemoryError(), cv2.error("bad"), ValueError("odd"), OSError(5, "I/O")])
@pytest.mark.parametrize("place", ["detector", "crop"])
def test_whatever_fails_on_one_image_is_its_row(
    model: Predictor, photos: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: Exception
) -> None:
    def failing(work: Callable) -> Callable:
        def or_fail(self: object, image: np.ndarray, *rest: object) -> object:
            if image.shape == (120, 120, 3):  # "d.png"
                raise error
            return work(self, image, *rest)

        return or_fail

    owner, name = {"detector": (WholeImage, "__call__"), "crop": (Preprocess, "crop")}[place]
    monkeypatch.setattr(owner, name, failing(getattr(owner, name)))
    frame = model([photos / "deep" / "d.png", photos / "a one.png"], detector="none").frame()
    assert "d.png: " in frame["error"][0]
    assert frame["valence"].notna().tolist() == [False, True]
    with pytest.raises(IdferError, match=r"d\.png: "):
        model(photos / "a one.png", swap=photos / "deep" / "d.png", detector="none")


def test_a_batch_that_needs_too_much_memory_loses_no_other(
    untrained: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The six faces of one image are three batches; the network fails on the second."""
    forward, batches = Network.forward, []

    def short_of_memory(self: Network, *args: object, **kwargs: object) -> object:
        batches.append(1)
        if len(batches) == 2:
            raise MemoryError
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(Network, "forward", short_of_memory)
    out = tmp_path / "out.csv"
    with pytest.raises(IdferError, match=r"2 face\(s\) could not be predicted .*out of memory.*--batch_size"):
        predict(
            [str(photos / "b six.png")], str(untrained), detector="haar", out=str(out), batch_size=2,
            progress=False,
        )  # fmt: skip
    assert read(out)["valence"].notna().tolist() == [True, True, False, False, True, True]


def test_damaged_weights_are_a_failure(
    untrained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = load_checkpoint(untrained)
    with torch.no_grad():
        checkpoint.network.head[-1].bias[0] = float("nan")
    run = write_run(tmp_path / "damaged", checkpoint.network, checkpoint.record)
    arguments = ["predict", str(photos / "a one.png"), "--model", str(run), "--detector", "none"]
    assert main([*arguments, "--progress", "false", "-o", str(tmp_path / "out.csv")]) == 1
    assert "1 face(s) could not be predicted (first: the model's output is not a number" in (
        capsys.readouterr().err
    )
    assert "not a number" in read(tmp_path / "out.csv")["error"].iloc[0]


def test_damaged_weights_never_pass_as_numbers(untrained: Path, photos: Path) -> None:
    model = idfer.load(str(untrained), device="cpu")
    with torch.no_grad():
        model.checkpoint.network.head[-1].bias.fill_(float("nan"))
    frame = model(photos / "a one.png", detector="none").frame()
    assert "not a number" in frame["error"].iloc[0]
