"""Landmarks of drawn faces: where the drawing has eyes, nose and mouth, in any pose; faces align by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import idfer
from idfer.data.landmarks import TEMPLATE, landmarks_of
from idfer.data.loader import FaceDataset
from idfer.data.preprocess import Preprocess
from idfer.synthetic.factors import Factors, sample
from idfer.synthetic.landmarks import landmarks
from idfer.synthetic.render import STUDIO, render

SIZE = 128
POSES = {"yaw": 18.0, "pitch": 12.0, "roll": 15.0, "shift_x": 0.12, "scale": 0.85}


def one(**changes: float) -> Factors:
    plain = sample(1, 1, seed=4).replace(
        **STUDIO, asymmetry=0.0, lopsided=0.0, glasses=0.0, hair_style=0.0, fringe=0.0, facial_hair=0.0
    )
    return plain.replace(**changes)


def change(before: Factors, after: Factors) -> np.ndarray:
    """(H, W) how much each pixel changes."""
    pixels = [render(f, SIZE)[0].float().numpy() for f in (before, after)]
    return np.abs(pixels[0] - pixels[1]).sum(axis=0)


def centre(weight: np.ndarray) -> np.ndarray:
    rows, columns = np.indices(weight.shape) + 0.5
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("pose", [{}, *({name: value} for name, value in POSES.items()), POSES])
def test_eyes_are_where_another_iris_changes_the_picture(pose: dict[str, float]) -> None:
    face = one(**pose, au5=0.5, au43=0.0, au6=0.0, au7=0.0)
    changed = change(face.replace(iris=0.0), face.replace(iris=4.0))
    said = landmarks(face, SIZE)[0]
    between = said[:2].mean(axis=0)
    along = (said[1] - said[0]) / np.linalg.norm(said[1] - said[0])
    columns, rows = np.indices(changed.shape)[::-1] + 0.5
    right = (columns - between[0]) * along[0] + (rows - between[1]) * along[1] > 0
    for eye, half in zip(said[:2], (~right, right), strict=True):
        assert np.linalg.norm(centre(changed * half) - eye) < 0.03 * SIZE


def test_corners_of_the_mouth_follow_a_smile() -> None:
    still, smiling = (landmarks(one(au12=value, au25=0.0), SIZE)[0] for value in (0.0, 1.0))
    assert smiling[4, 0] - smiling[3, 0] > 1.2 * (still[4, 0] - still[3, 0]), "wider"
    assert (smiling[3:, 1] < still[3:, 1] - 0.02 * SIZE).all(), "higher"
    np.testing.assert_allclose(smiling[:3], still[:3], atol=0.5)


def test_drawn_faces_align_by_the_landmarks_of_their_manifest(tmp_path: Path) -> None:
    faces = idfer.synth(tmp_path, identities=6, per_identity=2, size=64, progress=False)
    known = landmarks_of(faces.frame)
    assert known is not None
    factors = Factors.from_frame(faces.frame)
    np.testing.assert_allclose(known, landmarks(factors, 64), atol=0.01)
    aligned = FaceDataset(faces, Preprocess(64, alignment="landmarks"))
    face = aligned.read(0)
    assert face.shape == (3, 64, 64)
    # a face that is turned comes out upright: its eyes lie level on the template
    turned = factors.rows([0]).replace(roll=20.0)
    crop = Preprocess(64, alignment="landmarks").crop(
        render(turned, 64)[0].permute(1, 2, 0).numpy(), None, landmarks(turned, 64)[0]
    )
    upright = aligned.preprocess.crop(
        render(turned.replace(roll=0.0), 64)[0].permute(1, 2, 0).numpy(),
        None,
        landmarks(turned.replace(roll=0.0), 64)[0],
    )
    middle = slice(12, 56)
    apart = np.abs(crop.astype(float) - upright)[middle, middle].mean()
    assert apart < 12, "but for light that does not turn with it"
    assert TEMPLATE[0, 1] == pytest.approx(TEMPLATE[1, 1], abs=0.01)
