"""The model that ships still fits the faces that are drawn, and says what it is."""

from __future__ import annotations

import json
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


def test_predicting_without_a_model_says_what_the_one_that_comes_along_was_measured_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    io.imsave(tmp_path / "photo.png", data.astronaut(), check_contrast=False)
    words = ["predict", str(tmp_path / "photo.png"), "--detector", "haar", "--progress", "false"]
    assert cli.main(words) == 0
    shown = capsys.readouterr()
    measured = json.loads((SHIPPED / "synthetic-base" / "metrics.json").read_text())["photographs"]
    smile = round(100 * measured["happy over neutral"]["value"])
    assert f"in {smile} of 100 pairs" in shown.err and "never on a photograph" in shown.err
    row = dict(zip(*(line.split(",") for line in shown.out.splitlines()), strict=True))
    assert float(row["valence"]) > 0.2, "she smiles"


def test_the_model_for_photographs_is_small_and_says_what_it_knows_of_people() -> None:
    model = load_checkpoint("synthetic-base")
    assert (model.path / "model.safetensors").stat().st_size < 12_000_000
    assert model.attributes == ("gender", "age", "skin")
    assert model.preprocess.alignment == "landmarks" and model.preprocess.detector == "auto"
    measured = json.loads((model.path / "metrics.json").read_text())
    quoted = Path(__file__).parents[1] / "benchmarks" / "results" / "synthetic-base.json"
    assert json.loads(quoted.read_text()) == measured, "documents quote what travels with the weights"
    probes = measured["rendered"]["leakage"]["probes"]
    leaks = {p["target"] for p in probes if p["features"] == "expression" and p["score"] is not None}
    assert leaks == {"gender", "age", "skin", "identity"}
