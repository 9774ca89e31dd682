"""Faces are placed in `predict` and `evaluate` as in `fit`: one photograph, one number, on every road."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage import data

import idfer
from idfer import Manifest
from idfer.evaluation.evaluation import Evaluation
from idfer.evaluation.suite import measure

OPTIONS: dict[str, Any] = {
    "backbone": "conv4", "size": 32, "batch_size": 2, "dim": 8, "epochs": 15, "device": "cpu",
    "progress": False, "method": "erm", "augmentation": False, "lr": 5e-3,
}  # fmt: skip


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """One face at four places of larger photographs; the manifest says nothing of where it is."""
    root = tmp_path_factory.mktemp("photographs")
    face = data.astronaut()[:260, 100:360]
    for number in range(4):
        canvas = np.full((400, 460, 3), 90, np.uint8)
        top, left = 20 + 30 * number, 10 + 50 * number
        canvas[top : top + 260, left : left + 260] = face
        Image.fromarray(canvas).save(root / f"{number}.png")
    frame = pd.DataFrame({"path": [f"{n}.png" for n in range(4)], "subject": list("abcd")})
    labels = np.linspace(-0.8, 0.8, 4)
    return Manifest.from_frame(frame.assign(valence=labels, arousal=labels[::-1]), root)


def evaluated(run: Path, faces: Manifest, detector: str | None = None) -> Evaluation:
    return measure(run, faces, suites=["accuracy"], detector=detector, device="cpu", progress=False)


def predicted(run: Path, faces: Manifest, **options: Any) -> np.ndarray:
    table = idfer.load(str(run), device="cpu")(faces.files, **options).frame()
    values: np.ndarray = table.loc[table["face_id"] == 0, ["valence", "arousal"]].to_numpy(float)
    return values


def said(evaluation: Evaluation) -> np.ndarray:
    return evaluation.predictions[["predicted_valence", "predicted_arousal"]].to_numpy()


@pytest.mark.parametrize("detector", ["haar", "none"])
def test_a_photograph_has_one_number_on_every_road(
    detector: str, photographs: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = idfer.fit(photographs, out=tmp_path / "run", detector=detector, **OPTIONS)
    assert idfer.load(str(run)).checkpoint.preprocess.detector == detector
    evaluation = evaluated(run, photographs)
    np.testing.assert_allclose(predicted(run, photographs), said(evaluation), atol=1e-5)
    assert evaluation.metrics["data"]["faces_placed_by"] == detector
    assert "IDF107" not in {check.code for check in evaluation.checks}
    capsys.readouterr()

    other = "none" if detector == "haar" else "haar"
    elsewhere = predicted(run, photographs, detector=other)
    assert np.abs(elsewhere - said(evaluation)).max() > 1e-3  # the framing matters
    assert other in (warned := capsys.readouterr().err) and detector in warned
    assert "IDF107" in {check.code for check in evaluated(run, photographs, other).checks}


def test_what_predict_found_can_be_trained_on(photographs: Manifest, tmp_path: Path) -> None:
    """Its columns are boxes of a manifest: crops and weights are those of finding the faces again."""
    found = idfer.load(device="cpu")(photographs.files, detector="haar").frame()
    largest = found[found["face_id"] == 0].reset_index(drop=True)
    boxes = largest[["x", "y", "width", "height", "detector"]]
    given = Manifest.from_frame(photographs.frame.drop(columns="detector").join(boxes), photographs.root)
    runs = [
        idfer.fit(photographs, out=tmp_path / "found", detector="haar", **OPTIONS),
        idfer.fit(given, out=tmp_path / "given", **OPTIONS),
    ]
    first, second = ((run / "model.safetensors").read_bytes() for run in runs)
    assert first == second
    assert idfer.load(str(runs[1])).checkpoint.preprocess.detector == "haar"


def test_a_face_in_a_given_box_is_aligned_as_predict_aligns_it(tmp_path: Path) -> None:
    """Boxes without landmarks, as AffectNet has them, could not be aligned at all: every row was an error."""
    face = data.astronaut()[:260, 100:360]
    small = np.asarray(Image.fromarray(face).resize((180, 180), Image.Resampling.BOX))
    for number in range(4):
        canvas = np.full((400, 640, 3), 90, np.uint8)
        canvas[20:280, 10:270], canvas[150 + 10 * number : 330 + 10 * number, 400:580] = face, small
        Image.fromarray(canvas).save(tmp_path / f"{number}.png")
    frame = pd.DataFrame({"path": [f"{n}.png" for n in range(4)], "subject": list("abcd")})
    frame[["valence", "arousal"]] = np.linspace(-0.8, 0.8, 8).reshape(4, 2)
    boxes = [[455, 190 + 10 * n, 64, 80] for n in range(4)]  # the smaller face, not quite as Haar marks it
    given = Manifest.from_frame(frame.assign(box=boxes), tmp_path)
    run = idfer.fit(given, out=tmp_path / "run", detector="haar", alignment="landmarks", **OPTIONS)
    assert idfer.load(str(run)).checkpoint.preprocess.detector == "haar"
    evaluation = evaluated(run, given)
    assert evaluation.metrics["data"]["faces_placed_by"] == "haar"
    table = idfer.load(str(run), device="cpu")(given.files).frame()
    smaller = table.loc[table["face_id"] == 1, ["valence", "arousal"]].to_numpy(float)
    np.testing.assert_allclose(smaller, said(evaluation), atol=2e-3)
    larger = table.loc[table["face_id"] == 0, ["valence", "arousal"]].to_numpy(float)
    assert np.abs(larger - said(evaluation)).max() > 0.02
