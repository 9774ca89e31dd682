"""`--mirror`: a trained network sees a face and its mirror image, and training is as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

import idfer
from idfer import AttributeTable, Manifest
from idfer.evaluation.models import open_model
from idfer.training.checkpoint import load_checkpoint

from conftest import BACKBONE

CROPS = np.random.default_rng(1).integers(0, 256, (6, 32, 32, 3), np.uint8)
MIRRORED = np.ascontiguousarray(CROPS[:, :, ::-1])


@pytest.fixture
def runs(squares: Manifest, squares_table: AttributeTable, tmp_path: Path) -> tuple[Path, Path]:
    """The same training without and with `--mirror`."""
    without, with_mirror = (
        idfer.fit(
            squares, squares_table, out=tmp_path / f"run-{mirror}", mirror=mirror,
            backbone=BACKBONE, size=32, batch_size=16, dim=16, epochs=2, ema=0.9, device="cpu",
            progress=False,
        )
        for mirror in (False, True)
    )  # fmt: skip
    return without, with_mirror


def test_the_weights_are_those_of_a_run_without_it(runs: tuple[Path, Path]) -> None:
    without, with_mirror = (load_file(run / "model.safetensors") for run in runs)
    assert without.keys() == with_mirror.keys()
    assert all(bool((without[name] == with_mirror[name]).all()) for name in without)


def test_a_face_and_its_mirror_image_are_read_alike_from_the_mean_of_both(runs: tuple[Path, Path]) -> None:
    without, with_mirror = (load_checkpoint(run) for run in runs)
    for detach in (None, {}):
        said, mirrored = (with_mirror.predict(crops, detach) for crops in (CROPS, MIRRORED))
        np.testing.assert_allclose(said.valence_arousal, mirrored.valence_arousal, atol=1e-5)
    assert np.abs(said.valence_arousal - without.predict(CROPS, {}).valence_arousal).max() > 1e-4
    both = [without.predict(crops).features["backbone"] for crops in (CROPS, MIRRORED)]
    np.testing.assert_allclose(
        with_mirror.predict(CROPS).features["backbone"], np.mean(both, axis=0), atol=1e-5
    )


def test_an_exported_file_sees_both_too(runs: tuple[Path, Path], tmp_path: Path) -> None:
    model = open_model(idfer.export(runs[1], tmp_path / "model.onnx"))
    wanted = load_checkpoint(runs[1]).predict(CROPS).valence_arousal
    for crops in (CROPS, MIRRORED):
        np.testing.assert_allclose(model.predict(crops).valence_arousal, wanted, atol=1e-4)
