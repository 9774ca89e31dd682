"""`scripts/train_synthetic_base.py` at a tiny size: from a recipe to models in 16 bits, and on again."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from idfer.data.manifest import Manifest
from idfer.training.checkpoint import MODEL, load_checkpoint

SCRIPTS = Path(__file__).parents[1] / "scripts"
RECIPE: dict[str, Any] = {
    "drawn": {"identities": 8, "per_identity": 4, "size": 32, "seed": 1},
    "val": {"identities": 3, "per_identity": 4, "size": 32, "seed": 2},
    "attributes": ["age", "skin"],
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
    assert len(faces) == 44 and set(faces.frame["split"]) == {"train", "val"}
    kept = (out / "erm" / MODEL).stat().st_mtime_ns
    assert script["main"]([recipe, "-o", str(out), "--device", "cpu"]) == 0
    assert (out / "erm" / MODEL).stat().st_mtime_ns == kept, "what is finished is kept"


@pytest.mark.parametrize("name", ["synthetic_base.yaml", "synthetic_base_small.yaml"])
def test_recipes_of_this_repository_can_be_read(script: dict[str, Any], name: str) -> None:
    recipe = script["read_recipe"](SCRIPTS / name)
    assert script["settings_of"](recipe, recipe["ship"]).alignment == "landmarks"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"drawm": {}}, "Did you mean 'drawn'"),
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
