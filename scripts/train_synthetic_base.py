"""Train a model on rendered faces that is meant for photographs, and measure it on some.

    python scripts/train_synthetic_base.py [RECIPE.yaml] [-o FOLDER] [--assets FILE.npz ...]
        [--muxspace CHECKOUT] [--detector-file YUNET.onnx] [--ship]

Draws or renders the recipe's sets of faces into FOLDER (those of `engine: mesh` need --assets), trains every
run of it on all of them, aligned by landmarks that the renderer knows, writes each with its weights in 16
bits to FOLDER/NAME-half, and measures `ship` against `against` on photographs. --ship puts `ship` into the
package as `synthetic-base` before it is measured, and what was measured beside it. What is finished is kept:
the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from idfer.attributes.table import AttributeTable, retrieve
from idfer.data.manifest import Manifest
from idfer.errors import IdferError, UsageError, unknown
from idfer.evaluation.suite import measure as evaluate
from idfer.files import atomic, read_yaml
from idfer.results import write_json
from idfer.synthetic import variety
from idfer.synthetic.dataset import synth
from idfer.synthetic.mesh import engine as mesh
from idfer.synthetic.perceived import as_perceived, baring_teeth, smiling
from idfer.training.checkpoint import MODEL, SHIPPED, load_checkpoint, save_model
from idfer.training.fit import fit_settings
from idfer.training.settings import Settings
from idfer.training.shipped import METRICS

ROOT = Path(__file__).parent.parent
RECIPE = Path(__file__).parent / "synthetic_base.yaml"
RESULTS = ROOT / "benchmarks" / "results"
NAME = "synthetic-base"
VAL, TEST = "val", "test"
LIMIT = 12_000_000  # bytes
_SMILES, _BARED = "repeat_toothy_smiles", "keep_bared_teeth"
_KEYS = ("train", "val", "test", "labels", _SMILES, _BARED, "attributes", "fit", "runs", "ship", "against")
_LABELS = {"meant": lambda faces: faces, "perceived": as_perceived}
_DEFAULTS = {"labels": "meant", _SMILES: 1, _BARED: 1.0}
_LOT = 7  # seed of which bared teeth are left out
_FACES = ("identities", "per_identity", "size", "seed")  # of a set
_MAY = ("engine", "variety")


def read_recipe(path: Path) -> dict[str, Any]:
    """A recipe, checked before anything is drawn.

    Raises:
        IdferError: it cannot be read, or something is missing from it.
        UsageError: a key, setting or run that does not exist.
    """
    recipe = {**_DEFAULTS, **read_yaml(path)}
    for key in recipe:
        if key not in _KEYS:
            raise unknown("key of a recipe", key, list(_KEYS))
    for key in ("train", "val", "fit", "runs", "ship"):
        if not recipe.get(key):
            raise IdferError(f"{path}: {key} is missing.")
    for name, faces in sets_of(recipe).items():
        if not isinstance(faces, dict) or set(faces) - set(_MAY) != set(_FACES):
            raise IdferError(
                f"{path}: {name} is {faces}; a set of faces needs {', '.join(_FACES)}, may have "
                f"{', '.join(_MAY)}, and nothing else."
            )
    for key in ("ship", "against"):
        if key in recipe and recipe[key] not in recipe["runs"]:
            raise unknown("run", recipe[key], list(recipe["runs"]), f"`{key}` names one of them.")
    if type(times := recipe[_SMILES]) is not int or times < 1:
        raise IdferError(f"{path}: {_SMILES} is {times!r}; give how often each is shown, 1 or more.")
    if type(share := recipe[_BARED]) not in (int, float) or not 0 <= share <= 1:
        raise IdferError(f"{path}: {_BARED} is {share!r}; give the share that is kept, from 0 to 1.")
    if recipe["labels"] not in _LABELS:
        raise unknown("labels of a recipe", recipe["labels"], list(_LABELS))
    for name in recipe["runs"]:
        settings_of(recipe, name)
    return recipe


def labelled(recipe: Mapping[str, Any], faces: Manifest) -> Manifest:
    """Faces with the labels that the recipe asks for: what they mean, or what they show."""
    return _LABELS[recipe["labels"]](faces)


def settings_of(recipe: Mapping[str, Any], name: str) -> Settings:
    """The settings of one run."""
    return Settings.of(**{**recipe["fit"], **recipe["runs"][name]})


def test_faces(recipe: Mapping[str, Any], folder: Path) -> Manifest | None:
    """The cross of a folder under the recipe's labels; None where the recipe has none."""
    return labelled(recipe, Manifest.read(folder / TEST)) if TEST in recipe else None


def as_often_as_photographed(recipe: Mapping[str, Any], faces: Manifest) -> Manifest:
    """Faces of which those to train on show teeth for the reasons that photographs have, as the recipe says.

    Of teeth bared without a smile a share is kept, by lot; smiles that show teeth are repeated.
    """
    learned = (faces.frame["split"] == "train").to_numpy()
    drawn = np.random.default_rng(_LOT).random(len(learned))
    kept = ~(learned & baring_teeth(faces) & (drawn > recipe[_BARED]))
    more = faces.frame[kept & smiling(faces) & learned]
    table = pd.concat([faces.frame[kept], *([more] * (recipe[_SMILES] - 1))], ignore_index=True)
    return Manifest.from_frame(table, faces.root, name=str(faces.root))


def sets_of(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Sets of faces by name: those to train on, `val`, and `test` where there is one: a full cross.

    Raises:
        IdferError: they have no names.
    """
    if not isinstance(recipe["train"], dict) or {VAL, TEST} & set(recipe["train"]):
        raise IdferError("train: give its sets of faces names of their own, e.g. `train: {wide: {...}}`.")
    return {**recipe["train"], **{name: recipe[name] for name in (VAL, TEST) if name in recipe}}


def faces_of(recipe: Mapping[str, Any], folder: Path, assets: list[str]) -> Manifest:
    """All faces of a recipe as one manifest: train, and val of other people.

    Raises:
        IdferError: the folder holds faces of another recipe, which would be taken for these.
        UsageError: a set is rendered, and no assets are given.
    """
    heads, sets = [str(Path(file).absolute()) for file in assets], sets_of(recipe)
    rendered = [name for name, faces in sets.items() if faces.get("engine") == "mesh"]
    if rendered and not heads:
        raise UsageError(f"{', '.join(rendered)}: of the mesh engine; give --assets (docs/mesh.md).")
    wanted = {
        name: {**faces, "assets": list(heads)} if name in rendered else dict(faces)
        for name, faces in sets.items()
    }
    made_by = f"mesh {mesh.VERSION}, variety {variety.VERSION}"
    _check_same({name: {**faces, "made by": made_by} for name, faces in wanted.items()}, folder)
    tables = []
    for name, faces in wanted.items():
        made = folder / name
        if not (made / "manifest.parquet").is_file():
            split = {TEST: None, VAL: VAL}.get(name, "train")  # a cross names its own
            synth(made, **faces, split=split, cross=name == TEST)
        if name == TEST:
            continue
        table = Manifest.read(made).frame.copy()
        table["path"] = f"{name}/" + table["path"]
        table["subject"] = f"{name}-" + table["subject"]
        tables.append(table)
    whole = Manifest.from_frame(pd.concat(tables, ignore_index=True), folder, name=str(folder))
    joined = as_often_as_photographed(recipe, labelled(recipe, whole))
    joined.write(folder / "manifest.parquet")
    return joined


def _check_same(wanted: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Note which faces a folder is for, where it does not say otherwise."""
    note = folder / "faces.yaml"
    known = read_yaml(note) if note.is_file() else {}
    for name, faces in wanted.items():
        if known.get(name, faces) != faces:
            raise IdferError(
                f"{folder}: its {name} faces are of {known[name]}, not {dict(faces)}; choose another -o, or "
                "remove the folder."
            )
    with atomic(note) as temporary:
        temporary.write_text(yaml.safe_dump({**known, **wanted}), encoding="utf-8")


def attributes_of(recipe: Mapping[str, Any], faces: Manifest, folder: Path) -> AttributeTable | None:
    """Retrieved attributes of the faces, where a run of the recipe needs them."""
    if not any(settings_of(recipe, name).needs_attributes for name in recipe["runs"]):
        return None
    table = retrieve(faces, clip="builtin", out=folder / "attributes.parquet", device="cpu")
    return table.select(recipe["attributes"]) if "attributes" in recipe else table


def halved(run: Path, out: Path) -> Path:
    """A run as it is shipped: weights in 16 bits, faces of photographs found by a detector."""
    trained = load_checkpoint(run)
    out.mkdir(parents=True, exist_ok=True)
    preprocess = replace(trained.preprocess, detector="auto")  # rendered faces needed none
    replace(trained.record, preprocess=preprocess).write(out)
    save_model(out, trained.network, half=True, text=trained.text)
    if (size := (out / MODEL).stat().st_size) > LIMIT:
        raise IdferError(f"{out / MODEL}: has {size} bytes, more than {LIMIT}; choose a smaller backbone.")
    return out


def measure(given: argparse.Namespace, recipe: Mapping[str, Any], models: Mapping[str, Path]) -> None:
    """Measure what is to be shipped on photographs, against another run where the recipe names one."""
    command = [sys.executable, str(ROOT / "benchmarks" / "photographs.py"), str(models[recipe["ship"]])]
    if "against" in recipe:
        command += ["--against", str(models[recipe["against"]])]
    command += ["--muxspace", str(given.muxspace), "--note", given.note, "--results", str(given.results)]
    command += ["--detector-file", given.detector_file] if given.detector_file else []
    if subprocess.run(command, check=False).returncode:
        raise IdferError("the photographs could not be measured; what is above says why.")


def note_measures(results: Path, test: Manifest | None, out: Path, against: Path | None = None) -> None:
    """Write beside the shipped weights what was measured of them, on photographs and on rendered people.

    Args:
        results: folder of photographs.json; a copy is written there, too.
        test: the rendered people, if there are any.
        out: folder of the shipped model.
        against: a model to be measured beside it.
    """
    kept = json.loads((results / "photographs.json").read_text(encoding="utf-8"))["muxspace"]
    measured = [
        {"set": "muxspace", "detector": detector, "date": record["date"],
         "photographs": record["models"][NAME]["measures"]}
        for detector, of in kept.items()
        for name, of_draw in of.items()
        for record in of_draw.values()
        if name.split(" - ")[0] == NAME
    ]  # fmt: skip
    command = "python scripts/train_synthetic_base.py --assets mh.npz ict.npz --muxspace CHECKOUT --ship"
    noted = {"command": command, **max(measured, key=lambda record: str(record["date"]))}
    if test is not None:
        for key, model in (("rendered", NAME), *((("rendered, against", against),) if against else ())):
            found = evaluate(model, test, device="cpu").metrics
            noted[key] = {part: found[part] for part in ("accuracy", "invariance", "leakage")}
    for file in (out / METRICS, results / f"{NAME}.json"):  # the second is what documents quote
        write_json(file, noted)


def run(given: argparse.Namespace) -> None:
    """All of it.

    Raises:
        UsageError: a model is to be shipped that is not measured.
    """
    if given.ship and not given.muxspace:
        raise UsageError("--ship: what is shipped is measured on photographs; give --muxspace.")
    recipe, folder = read_recipe(given.recipe), Path(given.out)
    faces = faces_of(recipe, folder, given.assets)
    table = attributes_of(recipe, faces, folder)
    models = {}
    for name in recipe["runs"]:
        trained = fit_settings(
            faces, table, settings_of(recipe, name), out=folder / name, device=given.device
        )
        models[name] = halved(trained, folder / f"{name}-half")
    if given.ship:
        models[recipe["ship"]] = halved(folder / recipe["ship"], SHIPPED / NAME)
    if given.muxspace:
        measure(given, recipe, models)
    if given.ship:
        test = test_faces(recipe, folder)
        note_measures(given.results, test, SHIPPED / NAME, models.get(recipe.get("against", "")))


def main(words: list[str] | None = None) -> int:
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    parser.add_argument("recipe", nargs="?", type=Path, default=RECIPE, help="a YAML file")
    parser.add_argument("-o", "--out", default="runs/synthetic-base", help="folder of faces and runs")
    parser.add_argument("--assets", nargs="*", default=[], help="of the mesh engine, see `idfer assets`")
    parser.add_argument("--muxspace", type=Path, help="a checkout of muxspace/facial_expressions")
    parser.add_argument("--detector-file", default="", help="YuNet's .onnx file")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--note", default="development", help="for the ledger of photographs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the ledger")
    parser.add_argument("--ship", action="store_true", help="write the model into the package")
    try:
        run(parser.parse_args(words))
    except IdferError as error:
        print(f"train_synthetic_base: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
