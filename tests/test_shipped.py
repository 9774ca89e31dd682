"""The model that ships still fits the faces that are drawn, and says what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from skimage import data, io

from idfer import cli
from idfer.evaluation.metrics import ccc
from idfer.synthetic.factors import sample
from idfer.synthetic.render import render
from idfer.training.checkpoint import SHIPPED, load_checkpoint

FOLDER = SHIPPED / "synthetic-tiny"


def test_it_reads_the_expression_of_unseen_people() -> None:
    """Fails when the drawing of faces changed and the model was not made again."""
    faces = sample(60, 5, seed=77)
    model = load_checkpoint("synthetic-tiny")
    with torch.no_grad():
        found = model.network(model.preprocess.normalise(render(faces, model.preprocess.size)))
    labels = torch.stack([faces.valence, faces.arousal], 1).numpy()
    valence, arousal = ccc(labels, found.valence_arousal.double().numpy())
    assert valence > 0.35
    assert arousal > 0.7


def test_it_is_small_and_its_card_travels_with_it() -> None:
    assert (FOLDER / "model.safetensors").stat().st_size < 4_000_000
    assert load_checkpoint("synthetic-tiny").network.attributes == ("gender", "age", "skin")
    assert (FOLDER / "metrics.json").is_file()
    card = (Path(__file__).parent.parent / "docs" / "model-card.md").read_text(encoding="utf-8")
    assert "Not for" in card


def test_predicting_with_it_says_plainly_that_it_is_not_fit_for_photographs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    io.imsave(tmp_path / "photo.png", data.astronaut(), check_contrast=False)
    assert cli.main(["predict", str(tmp_path / "photo.png"), "--progress", "false"]) == 0
    shown = capsys.readouterr()
    assert "not fit for real photographs" in shown.err
    assert len(shown.out.splitlines()) == 2
