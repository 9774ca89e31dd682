"""Faces are framed as in training, and a user is told once of what makes numbers worth less."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import idfer
from idfer.errors import UsageError
from idfer.inference.predictor import Predictor, predict
from photographs import read

pytestmark = pytest.mark.usefixtures("one_thread")


def trained_on(model: Predictor, detector: str) -> Predictor:
    """The model, as if faces had been placed by this detector in training."""
    record = model.checkpoint.record
    contract = replace(record.preprocess, detector=detector)
    return Predictor(replace(model.checkpoint, record=replace(record, preprocess=contract)))


@pytest.mark.parametrize(
    ("trained", "used"), [("none", "none"), ("haar", "haar"), ("box", "haar"), ("auto", "haar")]
)
def test_faces_are_placed_as_in_training(
    model: Predictor, photos: Path, capsys: pytest.CaptureFixture[str], trained: str, used: str
) -> None:
    """Offline, `auto` is Haar."""
    asked = trained_on(model, trained)
    default = asked(photos / "a one.png").frame()
    assert default["detector"].tolist() == [used]
    told = capsys.readouterr().err
    assert ("--detector auto" in told) == (trained == "none")
    assert "framing differs" not in told
    assert asked(photos / "a one.png", detector=used).frame().equals(default)
    asked(photos / "a one.png")
    assert capsys.readouterr().err == "", "said once"


@pytest.mark.parametrize(
    ("trained", "given", "words"),
    [
        ("none", "haar", "detector haar.*whole images"),
        ("none", "auto", "detector haar.*whole images"),
        ("haar", "none", "detector none.*faces found by haar"),
        ("yunet", "haar", "detector haar.*faces found by yunet"),
        ("box", "none", "detector none.*boxes"),
        ("auto", "none", "detector none.*a detector found"),
    ],
)
def test_another_framing_than_in_training_is_said_once(
    model: Predictor, photos: Path, capsys: pytest.CaptureFixture[str], trained: str, given: str, words: str
) -> None:
    asked = trained_on(model, trained)
    for _ in range(2):
        asked(photos / "a one.png", detector=given)
    told = [line for line in capsys.readouterr().err.splitlines() if "framing differs" in line]
    assert len(told) == 1
    assert "expect worse numbers" in told[0]
    position = -1
    for word in words.split(".*"):
        assert (position := told[0].find(word, position + 1)) >= 0


def test_yunet_that_is_not_at_hand_is_replaced_aloud(
    model: Predictor, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = trained_on(model, "yunet")(photos / "a one.png").frame()
    assert frame["detector"].tolist() == ["haar"]
    told = capsys.readouterr().err
    assert "yunet is not at hand" in told
    assert "framed by detector haar" in told


@pytest.mark.parametrize(
    ("name", "said"),
    [("synthetic-tiny", "not fit for real photographs"), ("synthetic-base", "never on a photograph")],
)
def test_a_shipped_model_says_once_what_it_is(
    photos: Path, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = idfer.load(name, device="cpu")
    for _ in range(2):
        shipped(photos / "a one.png", detector="haar")
    assert capsys.readouterr().err.count(said) == 1


def test_attributes_of_photographs_need_a_clip_by_name(
    model: Predictor, photos: Path, untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match=r"--clip ViT-B-16/openai.*builtin"):
        model(photos, attributes=True)
    out = tmp_path / "out.csv"
    predict([str(photos)], str(untrained), out=str(out), attributes=True, clip="builtin", progress=False)
    warned, told = [line for line in capsys.readouterr().err.splitlines() if "CLIP" in line]
    assert "trained on drawn faces only" in warned
    written = read(out)
    faces = written[written["valence"].notna()]
    levels = idfer.Vocabulary.load("default").levels
    for name in levels:
        sure = faces[[f"{name}/{level}" for level in levels[name]]].max(axis=1).mean()
        assert f"{name} {sure:.2f} " in told
