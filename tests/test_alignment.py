"""Faces brought into place by landmarks: in the contract, in training data and in prediction alike."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from idfer import Manifest
from idfer.data.detection import Face
from idfer.data.haar import Haar
from idfer.data.landmarks import TEMPLATE, landmarks_of, similarity
from idfer.data.loader import FaceDataset
from idfer.data.locate import locate
from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError
from idfer.inference.predictor import Predictor
from idfer.training.settings import Settings
from photographs import VA, save

MARKS = np.array([[88, 42], [107, 42], [99, 53], [91, 63], [106, 63]], float)  # of the half-size astronaut


def dots(places: np.ndarray, size: int) -> np.ndarray:
    """A picture with a soft bright dot per landmark."""
    y, x = np.mgrid[:size, :size] + 0.5
    glow = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18) for px, py in places)
    return np.repeat((20 + 220 * np.clip(glow, 0, 1)).astype(np.uint8)[..., None], 3, 2)


@pytest.mark.parametrize("margin", [0.0, 0.25])
@pytest.mark.parametrize("scale", [0.6, 1.0, 3.3])
@pytest.mark.parametrize("degrees", [0, 25, -120])
def test_landmarks_come_to_lie_on_the_template(degrees: float, scale: float, margin: float) -> None:
    turn = cv2.getRotationMatrix2D((0, 0), degrees, scale * 64)
    places = (TEMPLATE - 0.5) @ turn[:, :2].T + [180, 170]
    contract = Preprocess(64, margin, "landmarks")
    face = contract.crop(dots(places, 360), None, places)[..., 0].astype(float)
    assert face.shape == (64, 64)
    for x, y in 64 * ((TEMPLATE - 0.5) / (1 + 2 * margin) + 0.5):
        column, row = int(x), int(y)
        patch = face[row - 2 : row + 3, column - 2 : column + 3] - 20
        rows, columns = np.mgrid[row - 2 : row + 3, column - 2 : column + 3] + 0.5
        centre = [(columns * patch).sum() / patch.sum(), (rows * patch).sum() / patch.sum()]
        assert np.abs(np.array(centre) - [x, y]).max() < 0.6


def test_the_similarity_is_least_squares_and_never_a_mirror() -> None:
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(2, 5, 2))
    matrix = similarity(source, target)

    def loss(m: np.ndarray) -> float:
        return float(((source @ m[:, :2].T + m[:, 2] - target) ** 2).sum())

    best = loss(matrix)
    for _ in range(200):
        a, b, x, y = rng.normal(0, 0.05, 4)
        near = matrix + np.array([[a, -b, x], [b, a, y]])
        assert loss(near) >= best
    assert np.linalg.det(matrix[:, :2]) > 0
    with pytest.raises(IdferError, match="in one point"):
        similarity(np.ones((5, 2)), target)


def test_without_landmarks_an_aligned_contract_refuses() -> None:
    with pytest.raises(IdferError, match=r"no landmarks.*yunet.*`landmarks`"):
        Preprocess(16, alignment="landmarks").crop(np.zeros((40, 40, 3), np.uint8), (0, 0, 40, 40))


@pytest.mark.parametrize(
    "value", [MARKS.tolist(), MARKS, MARKS.ravel().tolist(), json.dumps(MARKS.tolist()), list(MARKS)]
)
def test_landmarks_as_tables_hold_them(value: object) -> None:
    frame = pd.DataFrame({"path": ["a", "b", "c"], "landmarks": [None, value, ""]})
    places = landmarks_of(frame)
    assert np.isnan(places[[0, 2]]).all()
    assert np.array_equal(places[1], MARKS)
    assert landmarks_of(frame[["path"]]) is None


@pytest.mark.parametrize(
    "value", ["[1, 2]", "eyes", 7, [["a"] * 2] * 5, [[1, float("nan")]] * 5, [[1, 2]] * 6]
)
def test_landmarks_that_are_none_are_named(value: object) -> None:
    frame = pd.DataFrame({"path": ["a.png", "b.png"], "landmarks": [MARKS.tolist(), value]}, dtype=object)
    with pytest.raises(IdferError, match=r"faces.csv: row 1 \(b\.png\): landmarks are .*5 pairs"):
        landmarks_of(frame, "faces.csv")


class Marks:
    """A detector that knows the astronaut."""

    name = fingerprint = "yunet"

    def __call__(self, image: np.ndarray) -> list[Face]:
        return [Face(75, 25, 45, 56, 0.9, MARKS.astype(np.float32))]


def with_contract(model: Predictor, contract: Preprocess) -> Predictor:
    """The model, as if trained with another preprocessing."""
    return Predictor(replace(model.checkpoint, record=replace(model.checkpoint.record, preprocess=contract)))


def test_training_data_and_prediction_align_alike(
    model: Predictor, astronaut: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a.png", astronaut)
    monkeypatch.setattr("idfer.data.locate.load_detector", lambda _: Marks())
    monkeypatch.setattr("idfer.inference.framing.load_detector", lambda _: Marks())
    contract = replace(model.checkpoint.preprocess, alignment="landmarks", detector="yunet")
    expected = contract.crop(astronaut, None, MARKS)
    assert not np.array_equal(expected, replace(contract, alignment="none").crop(astronaut, (75, 25, 45, 56)))

    faces = Manifest.from_frame(pd.DataFrame({"path": [path.name], "valence": 0.0, "arousal": 0.0}), tmp_path)
    for _ in range(2):  # found, then from the cache
        located = locate(faces, "yunet", progress=False)
        crop = FaceDataset(located.manifest, contract).read(0)
        assert np.array_equal(crop.permute(1, 2, 0).numpy(), expected)
    again = Manifest.read(located.manifest.write(tmp_path / "placed.parquet"))
    assert np.array_equal(FaceDataset(again, contract).read(0), crop), "the column survives writing"

    aligned = Predictor(
        replace(model.checkpoint, record=replace(model.checkpoint.record, preprocess=contract))
    )
    found = aligned(astronaut).frame()[VA].to_numpy()[0]
    with torch.inference_mode():
        wanted = model.checkpoint.network(contract.normalise(crop[None])).valence_arousal[0]
    assert found == pytest.approx(wanted.tolist(), abs=1e-6)


def test_a_face_without_landmarks_is_a_row_with_its_reason(model: Predictor, photos: Path) -> None:
    contract = replace(model.checkpoint.preprocess, alignment="landmarks")
    aligned = Predictor(
        replace(model.checkpoint, record=replace(model.checkpoint.record, preprocess=contract))
    )
    frame = aligned(photos / "a one.png", detector="none").frame()
    assert "a one.png: the face has no landmarks" in frame["error"].iloc[0]


def test_haar_places_landmarks_where_they_lie_on_average(astronaut: np.ndarray) -> None:
    face = Haar()(astronaut)[0]
    assert face.landmarks is not None
    shown = np.array([[101, 53], [122, 53], [110, 63], [101, 72], [120, 72]])
    apart = np.linalg.norm(face.landmarks - shown, axis=1)
    assert apart.max() < 0.3 * (shown[1, 0] - shown[0, 0]), "of the distance between the eyes"


def test_runs_without_the_newer_settings_did_without_them() -> None:
    older = Settings.of(method="erm").to_dict()
    did = {"alignment": "none", "ema": 0.0, "mirror": False, "min_lr": 0.0, "dropout": 0.0}
    for name in did:
        del older[name]
    read = Settings.from_dict(older)
    assert {name: getattr(read, name) for name in did} == did
