"""`scripts/train_synthetic_base.py` at a tiny size: from a recipe to models in 16 bits, and on again."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from idfer.data.manifest import Manifest
from idfer.errors import UsageError
from idfer.synthetic.perceived import baring_teeth
from idfer.training.checkpoint import MODEL, load_checkpoint

SCRIPTS = Path(__file__).parents[1] / "scripts"
RECIPE: dict[str, Any] = {
    "train": {
        "plain": {"identities": 5, "per_identity": 4, "size": 32, "seed": 1},
        "wide": {"identities": 3, "per_identity": 4, "size": 32, "seed": 4, "variety": "wide"},
    },
    "val": {"identities": 3, "per_identity": 4, "size": 32, "seed": 2},
    "labels": "meant", "repeat_toothy_smiles": 1, "keep_bared_teeth": 1, "attributes": ["age", "skin"],
    "fit": {"backbone": "conv4", "size": 32, "margin": 0.0, "alignment": "landmarks", "epochs": 1,
            "batch_size": 16, "dim": 8},
    "runs": {"idfer": {"augmentation": "strong"}, "erm": {"method": "erm"}},
    "ship": "idfer", "against": "erm",
}  # fmt: skip


@pytest.fixture
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPTS / "train_synthetic_base.py"))


def write(path: Path, recipe: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump(recipe))
    return str(path)


def test_a_recipe_becomes_models_for_photographs(script: dict[str, Any], tmp_path: Path) -> None:
    recipe, out = write(tmp_path / "recipe.yaml", RECIPE), tmp_path / "out"
    assert script["main"]([recipe, "-o", str(out), "--device", "cpu"]) == 0
    shipped = load_checkpoint(out / "idfer-half")
    assert shipped.preprocess.detector == "auto" and shipped.preprocess.alignment == "landmarks"
    assert shipped.attributes == ("age", "skin")
    assert shipped.record.settings.augmentation == "strong"
    assert (out / "idfer-half" / MODEL).stat().st_size < 0.6 * (out / "idfer" / MODEL).stat().st_size
    faces = Manifest.read(out)
    assert faces.frame["split"].value_counts().to_dict() == {"train": 32, "val": 12}
    assert faces.frame["subject"].nunique() == 11, "people of two sets are two people"
    kept = (out / "erm" / MODEL).stat().st_mtime_ns
    assert script["main"]([recipe, "-o", str(out), "--device", "cpu"]) == 0
    assert (out / "erm" / MODEL).stat().st_mtime_ns == kept, "what is finished is kept"


def test_labels_are_what_faces_show_where_a_recipe_asks_for_that(
    script: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = script["faces_of"]({**RECIPE, "labels": "perceived"}, tmp_path, []).frame
    meant = script["faces_of"](RECIPE, tmp_path, []).frame
    assert (meant["valence"] == meant["factor.valence"]).all()
    assert (shown["factor.valence"] == meant["valence"]).all() and (shown["path"] == meant["path"]).all()
    assert shown["valence"].corr(meant["valence"]) < 0.98
    unknown = write(tmp_path / "recipe.yaml", {**RECIPE, "labels": "felt"})
    assert script["main"]([unknown, "-o", str(tmp_path / "none")]) == 2
    assert "unknown labels of a recipe 'felt'" in capsys.readouterr().err


def test_the_cross_is_labelled_as_the_faces_to_train_on(script: dict[str, Any], tmp_path: Path) -> None:
    assert script["test_faces"](RECIPE, tmp_path) is None
    cross = {"identities": 2, "per_identity": 3, "size": 32, "seed": 6}
    recipe = {**RECIPE, "test": cross, "labels": "perceived"}
    script["faces_of"](recipe, tmp_path, [])
    shown = script["test_faces"](recipe, tmp_path).frame
    assert set(shown["label_source"]) == {"action units"} and len(shown) == 6
    assert (shown["valence"] != shown["factor.valence"]).any()


def test_smiles_that_show_teeth_stand_as_often_as_a_recipe_says(
    script: dict[str, Any], tmp_path: Path, capsys: Any
) -> None:
    once = script["faces_of"](RECIPE, tmp_path, []).frame
    thrice = script["faces_of"]({**RECIPE, "repeat_toothy_smiles": 3}, tmp_path, []).frame
    toothy = (once["factor.au12"] > 0.45) & (once["factor.au25"] > 0.35)
    train = toothy & (once["split"] == "train")
    assert 0 < train.sum() < min(16, toothy.sum()), "of val too, which stays as it is"
    counts = thrice["path"].value_counts()
    assert set(counts.index[counts == 3]) == set(once["path"][train])
    assert set(counts) == {1, 3} and set(counts.index) == set(once["path"])
    wrong = write(tmp_path / "recipe.yaml", {**RECIPE, "repeat_toothy_smiles": 0.5})
    assert script["main"]([wrong, "-o", str(tmp_path / "none")]) == 1
    assert "give how often each is shown, 1 or more" in capsys.readouterr().err


def test_of_bared_teeth_to_train_on_a_share_is_kept_the_same_each_time(
    script: dict[str, Any], tmp_path: Path, capsys: Any
) -> None:
    wide = {"identities": 20, "per_identity": 6, "size": 32, "seed": 4, "variety": "wide"}
    recipe = {**RECIPE, "train": {"wide": wide}}
    every = script["faces_of"](recipe, tmp_path, []).frame
    bared = baring_teeth(Manifest(every, tmp_path)) & (every["split"] == "train").to_numpy()
    fewer = [script["faces_of"]({**recipe, "keep_bared_teeth": 0.4}, tmp_path, []).frame for _ in "ab"]
    assert fewer[0]["path"].tolist() == fewer[1]["path"].tolist()
    gone = set(every["path"]) - set(fewer[0]["path"])
    assert gone < set(every["path"][bared]) and 0.2 < len(gone) / bared.sum() < 0.95
    none = script["faces_of"]({**recipe, "keep_bared_teeth": 0}, tmp_path, []).frame
    assert none["path"].tolist() == every["path"][~bared].tolist()
    wrong = write(tmp_path / "recipe.yaml", {**recipe, "keep_bared_teeth": 3})
    assert script["main"]([wrong, "-o", str(tmp_path / "none")]) == 1
    assert "give the share that is kept, from 0 to 1" in capsys.readouterr().err


def test_a_folder_of_another_recipe_is_refused_and_left_alone(
    script: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script["faces_of"](RECIPE, tmp_path / "out", [])
    more = {**RECIPE, "train": {"wide": {**RECIPE["train"]["wide"], "identities": 9}}}
    assert script["main"]([write(tmp_path / "recipe.yaml", more), "-o", str(tmp_path / "out")]) == 1
    assert "its wide faces are of" in capsys.readouterr().err
    assert len(Manifest.read(tmp_path / "out")) == 44


def test_a_rendered_set_needs_its_heads(script: dict[str, Any], tmp_path: Path) -> None:
    with_mesh = {**RECIPE, "train": {"heads": {**RECIPE["val"], "engine": "mesh"}}}
    with pytest.raises(UsageError, match="--assets"):
        script["faces_of"](with_mesh, tmp_path / "out", [])
    with pytest.raises(UsageError, match=r"none\.npz does not exist"):
        script["faces_of"](with_mesh, tmp_path / "out", [str(tmp_path / "none.npz")])


def test_what_was_measured_last_travels_with_the_weights(script: dict[str, Any], tmp_path: Path) -> None:
    def measured(date: str, value: float) -> dict[str, Any]:
        models = {"synthetic-base": {"measures": {"happy over neutral": {"value": value}}}}
        return {"seed 0": {"date": date, "models": models}}

    kept = {"muxspace": {"yunet": {
        "synthetic-base - older": measured("2026-01-01", 0.7),
        "synthetic-base - erm": measured("2026-02-02", 0.8),
        "synthetic-tiny": {"seed 0": {"date": "2026-03-03", "models": {"synthetic-tiny": {}}}},
    }}}  # fmt: skip
    (tmp_path / "photographs.json").write_text(json.dumps(kept))
    script["note_measures"](tmp_path, None, tmp_path)
    noted = json.loads((tmp_path / "metrics.json").read_text())
    assert noted["photographs"] == {"happy over neutral": {"value": 0.8}} and noted["detector"] == "yunet"


def test_what_is_shipped_is_measured(script: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    assert (
        script["main"]([write(tmp_path / "recipe.yaml", RECIPE), "-o", str(tmp_path / "out"), "--ship"]) == 2
    )
    assert "give --muxspace" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", sorted(path.name for path in SCRIPTS.glob("*.yaml")))
def test_recipes_of_this_repository_can_be_read(script: dict[str, Any], name: str) -> None:
    recipe = script["read_recipe"](SCRIPTS / name)
    assert script["settings_of"](recipe, recipe["ship"]).alignment == "landmarks"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trian": {}}, "Did you mean 'train'"),
        ({"train": {"identities": 8, "per_identity": 4, "size": 32, "seed": 1}}, "a set of faces needs"),
        ({"runs": {"idfer": {"augmentation": "strnog"}}, "against": "idfer"}, "Did you mean 'strong'"),
        ({"ship": "idfr"}, "Did you mean 'idfer'"),
        ({"val": {"identities": 3}}, "val is"),
        ({"fit": None}, "fit is missing"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_before_anything_is_drawn(
    script: dict[str, Any], tmp_path: Path, change: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write(tmp_path / "recipe.yaml", {**RECIPE, **change})
    assert script["main"]([recipe, "-o", str(tmp_path / "out")]) > 0
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
