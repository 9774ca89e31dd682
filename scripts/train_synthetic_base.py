"""Train a model on rendered faces that is meant for photographs, and measure it on some.

    python scripts/train_synthetic_base.py [RECIPE.yaml] [-o FOLDER] [--assets FILE.npz ...]
        [--muxspace CHECKOUT] [--detector-file YUNET.onnx] [--ship]

Draws the recipe's faces (and, with --assets, renders its mesh faces) into FOLDER, trains every run of it on
all of them, aligned by landmarks that the renderer knows, writes each with its weights in 16 bits to
FOLDER/NAME-half, and measures `ship` against `against` on photographs. --ship puts `ship` into the package
as `synthetic-base`. What is finished is kept: the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from idfer.attributes.table import AttributeTable, retrieve
from idfer.data.manifest import Manifest
from idfer.errors import IdferError, unknown
from idfer.files import atomic, read_yaml
from idfer.synthetic.dataset import synth
from idfer.training.checkpoint import MODEL, SHIPPED, load_checkpoint, save_model
from idfer.training.fit import fit_settings
from idfer.training.settings import Settings

ROOT = Path(__file__).parent.parent
RECIPE = Path(__file__).parent / "synthetic_base.yaml"
NAME = "synthetic-base"
LIMIT = 12_000_000  # bytes
_KEYS = ("drawn", "mesh", "val", "attributes", "fit", "runs", "ship", "against")
_FACES = ("identities", "per_identity", "size", "seed")
_MAY = ("variety",)


def read_recipe(path: Path) -> dict[str, Any]:
    """A recipe, checked before anything is drawn.

    Raises:
        IdferError: it cannot be read, or something is missing from it.
        UsageError: a key, setting or run that does not exist.
    """
    recipe = read_yaml(path)
    for key in recipe:
        if key not in _KEYS:
            raise unknown("key of a recipe", key, list(_KEYS))
    for key in ("drawn", "val", "fit", "runs", "ship"):
        if not recipe.get(key):
            raise IdferError(f"{path}: {key} is missing.")
    for part in ("drawn", "mesh", "val"):
        if part in recipe and set(recipe[part]) - set(_MAY) != set(_FACES):
            raise IdferError(
                f"{path}: {part} is {recipe[part]}; it needs {', '.join(_FACES)}, may have "
                f"{', '.join(_MAY)}, and nothing else."
            )
    for key in ("ship", "against"):
        if key in recipe and recipe[key] not in recipe["runs"]:
            raise unknown("run", recipe[key], list(recipe["runs"]), f"`{key}` names one of them.")
    for name in recipe["runs"]:
        settings_of(recipe, name)
    return recipe


def settings_of(recipe: Mapping[str, Any], name: str) -> Settings:
    """The settings of one run."""
    return Settings.of(**{**recipe["fit"], **recipe["runs"][name]})


def faces_of(recipe: Mapping[str, Any], folder: Path, assets: list[str]) -> Manifest:
    """All faces of a recipe as one manifest: train, and val of other people.

    Raises:
        IdferError: the folder holds faces of another recipe, which would be taken for these.
    """
    wanted = {name: dict(recipe[name]) for name in ("drawn", "val")}
    if assets and "mesh" in recipe:
        wanted["mesh"] = {**recipe["mesh"], "assets": [str(Path(file).absolute()) for file in assets]}
    _check_same(wanted, folder)
    parts = {"drawn": _made(recipe["drawn"], folder / "drawn", "train")}
    if "mesh" in wanted:
        parts["mesh"] = _made(recipe["mesh"], folder / "mesh", "train", assets)
    parts["val"] = _made(recipe["val"], folder / "val", "val")
    tables = []
    for name, manifest in parts.items():
        table = manifest.frame.copy()
        table["path"] = f"{name}/" + table["path"]
        table["subject"] = f"{name}-" + table["subject"]
        tables.append(table)
    joined = Manifest.from_frame(pd.concat(tables, ignore_index=True), folder, name=str(folder))
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


def _made(faces: Mapping[str, Any], out: Path, split: str, assets: Sequence[str] = ()) -> Manifest:
    """Faces of the drawn engine, or with assets of the mesh engine; those of an earlier call are kept."""
    if (out / "manifest.parquet").is_file():
        return Manifest.read(out)
    return synth(out, **faces, split=split, engine="mesh" if assets else "drawn", assets=assets)


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
    command += ["--muxspace", str(given.muxspace), "--note", given.note]
    command += ["--detector-file", given.detector_file] if given.detector_file else []
    command += ["--results", str(given.results)] if given.results else []
    if subprocess.run(command, check=False).returncode:
        raise IdferError("the photographs could not be measured; what is above says why.")


def run(given: argparse.Namespace) -> None:
    """All of it."""
    recipe, folder = read_recipe(given.recipe), Path(given.out)
    faces = faces_of(recipe, folder, given.assets)
    table = attributes_of(recipe, faces, folder)
    models = {}
    for name in recipe["runs"]:
        trained = fit_settings(
            faces, table, settings_of(recipe, name), out=folder / name, device=given.device
        )
        models[name] = halved(trained, folder / f"{name}-half")
    if given.muxspace:
        measure(given, recipe, models)
    if given.ship:
        halved(folder / recipe["ship"], SHIPPED / NAME)


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
    parser.add_argument("--results", type=Path, help="folder of the ledger; benchmarks/results by default")
    parser.add_argument("--ship", action="store_true", help="write the model into the package")
    try:
        run(parser.parse_args(words))
    except IdferError as error:
        print(f"train_synthetic_base: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
