"""What a model says of real photographs, measured: faces that are known to smile, frown or rest.

    python benchmarks/photographs.py synthetic-tiny --muxspace CHECKOUT --detector-file YUNET.onnx
    python benchmarks/photographs.py runs/a --against runs/b --muxspace CHECKOUT
    python benchmarks/photographs.py model.onnx --photographs FOLDER

MODEL is a run's folder, a shipped model, an ONNX file or module:NAME. CHECKOUT is one of
github.com/muxspace/facial_expressions: 200 random photographs a class, fixed by --seed; measured is how
often (AUC) a smile is read as more pleasant than a neutral, sad or angry face, a neutral face than an angry
one, and surprise as more active than a neutral face. FOLDER holds your own: `neutral` and `smile`, a person's
files named alike; or give a table (path, subject, expression, and columns such as gender): measured are smile
over neutral of the same person and across people, and how far neutral faces of groups differ in predicted
valence. With --people the same is measured of CHECKOUT: a neutral face and a smile of everybody whose first
name is mostly women's, or mostly men's.

Intervals come from resampled people; --against compares two models on the same faces and draws. Faces that
the detector does not find are counted and left out. Writes results/photographs.json, where each set, model
and seed has its record, and a line in results/photographs.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idfer.data.locate import Located, locate
from idfer.errors import IdferError, UsageError
from idfer.evaluation.forward import Pass
from idfer.evaluation.models import open_model, vectors_of
from idfer.experiments.jobs import source
from idfer.experiments.ledger import commit_of_code, today
from idfer.results import write_json
from idfer.types import FaceModel
from photograph_ledger import append
from photograph_sets import COUNT, FIRST_NAME, NEUTRAL, SMILE, Photographs, muxspace, muxspace_people, own
from ranking import Measured, People

PAIRS = {  # measure: dimension, upper, lower class
    "happy over neutral": (0, "happiness", "neutral"),
    "happy over sad": (0, "happiness", "sadness"),
    "happy over angry": (0, "happiness", "anger"),
    "neutral over angry": (0, "neutral", "anger"),
    "surprise over neutral, arousal": (1, "surprise", "neutral"),
}
RESULTS = Path(__file__).parent / "results"
LEAST = 5  # people of a group whose mean is told


@dataclass(frozen=True)
class Said:
    """What a model says of photographs: (N, 2) valence and arousal, NaN where it says nothing."""

    values: NDArray[np.float64]

    @property
    def there(self) -> NDArray[np.bool_]:
        """(N,) which photographs it says something of."""
        return np.isfinite(self.values).all(axis=1)


def placed(photographs: Photographs, model: FaceModel, detector: str | None) -> Located:
    """Where the faces are: by the detector asked for, else the model's own, else whichever is at hand."""
    contract = getattr(model.preprocess, "detector", "auto")
    return locate(photographs.manifest(), detector or (contract if contract in ("yunet", "haar") else "auto"))


def say(model: FaceModel, located: Located) -> Said:
    """Run a model over the faces that were found.

    Raises:
        IdferError: it can use none of them.
    """
    faces = located.manifest
    answers = Pass().run(model, faces, vectors_of(model, faces, None), located.errors)
    return Said(answers.valence_arousal)


def measured(photographs: Photographs, said: Said, seen: NDArray[np.bool_]) -> dict[str, Measured]:
    """The measures of a set, on the photographs that a mask (N,) keeps."""
    frame = photographs.frame
    people = People.named(frame["subject"].tolist())
    values = np.where(np.isfinite(said.values), said.values, 0.0)
    shown = {word: (frame["expression"] == word).to_numpy() & seen for word in set(frame["expression"])}
    if SMILE not in shown:
        none = np.zeros(len(frame), bool)
        return {
            name: people.auc(values[:, axis], shown.get(upper, none), shown.get(lower, none))
            for name, (axis, upper, lower) in PAIRS.items()
        }
    valence, smile, neutral = values[:, 0], shown[SMILE], shown[NEUTRAL]
    found = {
        "smile over neutral, same person": people.within(valence, smile, neutral),
        "smile over neutral, across people": people.auc(valence, smile, neutral),
    }
    for column in photographs.groupings:
        for first, second in _largest(photographs, column, neutral):
            masks = [neutral & (frame[column].astype(str) == level).to_numpy() for level in (first, second)]
            found[f"neutral valence, {column}: {first} - {second}"] = people.difference(valence, *masks)
    return found


def _largest(photographs: Photographs, column: str, neutral: NDArray[np.bool_]) -> list[tuple[str, str]]:
    """The largest group of a column beside every other of at least `LEAST` people."""
    frame = photographs.frame[neutral]
    people = frame.dropna(subset=[column]).groupby(frame[column].astype(str))["subject"].nunique()
    kept = [str(n) for n in people[people >= LEAST].sort_values(ascending=False, kind="stable").index]
    return [(kept[0], other) for other in kept[1:]]


def recipe(model: FaceModel) -> str:
    """How a model was made, as far as it says."""
    record = getattr(model, "record", None)
    if record is None:
        return type(model).__name__
    s, data = record.settings, record.data
    varied = {True: "mild", False: "none"}.get(s.augmentation, s.augmentation)
    made = "drawn " if data.get("drawn") else "drawn or rendered " if data.get("synthetic") else ""
    faces = f"{data.get('rows', '?')} {made}faces"
    parts = [
        s.method, f"{s.backbone} {record.preprocess.size} px", faces, f"{s.epochs} epochs of lr {s.lr:g}",
        f"alignment {s.alignment}", f"augmentation {varied}", f"seed {s.seed}",
    ]  # fmt: skip
    parts += [f"learning rate held at {s.min_lr:g}"] if s.min_lr else []
    parts += [f"moving average {s.ema:g}"] if s.ema else []
    parts += ["mirror images too"] if s.mirror else []
    parts += [f"{s.dropout:.0%} of features left out"] if s.dropout else []
    return ", ".join(parts)


def weights(given: str, model: FaceModel) -> str:
    """12 hex digits of a model's weights; "" where it has no file."""
    path = getattr(model, "path", None)
    file = Path(path) / "model.safetensors" if path is not None else Path(given)
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12] if file.is_file() else ""


def run(given: argparse.Namespace, photographs: Photographs) -> dict[str, Any]:
    """Measure one or two models on a set; the record of it."""
    models = [open_model(name, "cpu") for name in (given.model, given.against) if name]
    located = placed(photographs, models[0], given.detector)
    answers = [say(model, located) for model in models]
    seen = np.logical_and.reduce([said.there for said in answers])
    measures = [measured(photographs, said, seen) for said in answers]
    names = [given.name or models[0].name, *(model.name for model in models[1:])]
    if len(set(names)) < len(names):
        raise UsageError(f"both models are called {names[0]}; call the first otherwise with --name.")
    shown = photographs.frame["expression"]
    told = {}
    for name, asked, model, found in zip(names, (given.model, given.against), models, measures, strict=False):
        made = given.recipe if model is models[0] and given.recipe else recipe(model)
        told[name] = {"recipe": made, "weights": weights(asked, model), "measures": _plain(found)}
    record: dict[str, Any] = {
        "set": photographs.name, "detector": located.detector,
        "seed": given.seed, "draw": photographs.draw,
        "counts": photographs.counts, "photographs": shown.value_counts().to_dict(),
        "seen": shown[seen].value_counts().to_dict(), "no face found": located.faceless,
        "cannot be used": int((~seen).sum()) - located.faceless, "models": told, "source": source(),
        "commit": commit_of_code(), "date": today(), "note": given.note,
    }  # fmt: skip
    if len(models) == 2:
        record["difference"] = _plain({k: measures[0][k].minus(measures[1][k]) for k in measures[0]})
    if given.scores:
        # names tell nothing of one person
        table = photographs.frame.drop(columns=FIRST_NAME, errors="ignore")
        table = table.assign(valence=answers[0].values[:, 0], arousal=answers[0].values[:, 1])
        table.assign(error=[located.errors.get(row, "") for row in range(len(table))]).to_csv(
            given.scores, index=False
        )
    return record


def _plain(measures: Mapping[str, Measured]) -> dict[str, Any]:
    return {name: measure.plain() for name, measure in measures.items()}


def text(measure: Mapping[str, float | None], signed: bool = False) -> str:
    """`.77 [.72, .82]`."""
    if measure["value"] is None:
        return "-"
    numbers = [measure[key] for key in ("value", "low", "high")]
    value, low, high = (
        "?" if n is None else f"{n:{'+' if signed else ''}.3f}".replace("0.", ".", 1) for n in numbers
    )
    return f"{value} [{low}, {high}]"


def lines(record: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """The ledger's lines of a record: section, and cell by column."""
    total, seen = sum(record["photographs"].values()), sum(record["seen"].values())
    ends = {
        "detector": record["detector"], "seen": f"{seen} of {total}",
        "seed": record["draw"].removeprefix("seed "), "note": record["note"], "source": record["source"],
    }  # fmt: skip
    made = []
    for name, model in record["models"].items():
        cells = {
            "date": record["date"],
            "model": f"{name} {model['weights']}".strip(),
            "recipe": model["recipe"],
        }
        cells |= {key: text(m, "valence" in key) for key, m in model["measures"].items()} | ends
        made.append((record["set"], cells))
    if "difference" in record:
        cells = {"date": record["date"], "models": " - ".join(record["models"])}
        cells |= {key: text(m, signed=True) for key, m in record["difference"].items()} | ends
        made.append((f"{record['set']}, differences", cells))
    return made


def by_draw(kept: dict[str, Any]) -> dict[str, Any]:
    """Records by set, detector, models and draw; earlier files had one of each models, whatever the draw."""
    return {
        name: {
            detector: {
                models: {f"seed {record['seed']}": record} if "models" in record else record
                for models, record in records.items()
            }
            for detector, records in detectors.items()
        }
        for name, detectors in kept.items()
    }


def keep(record: Mapping[str, Any], results: Path) -> None:
    """Write a record into the results, where it replaces that of the same models and draw, and the ledger."""
    file = results / "photographs.json"
    kept = by_draw(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
    place = kept.setdefault(record["set"], {}).setdefault(record["detector"], {})
    of = place.setdefault(" - ".join(record["models"]), {})
    of[record["draw"]] = {k: v for k, v in record.items() if k not in ("set", "detector")}
    write_json(file, kept)
    for section, cells in lines(record):
        append(results / "photographs.md", section, cells)


def _muxspace(given: argparse.Namespace) -> Photographs:
    if given.people:
        return muxspace_people(given.muxspace, given.seed)
    return muxspace(given.muxspace, given.count, given.seed)


def main(words: list[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a run's folder, a shipped model, an ONNX file or module:NAME")
    parser.add_argument("--against", default="", help="another model, compared on the same faces")
    parser.add_argument("--muxspace", type=Path, help="a checkout of muxspace/facial_expressions")
    parser.add_argument("--people", action="store_true", help="of CHECKOUT: people by first names")
    parser.add_argument("--photographs", type=Path, help="your own: a folder or a table")
    parser.add_argument("--detector", help="auto, yunet or haar; the model's own by default")
    parser.add_argument("--detector-file", dest="detector", help="YuNet's .onnx file")
    parser.add_argument("--count", type=int, default=COUNT, help="photographs a class (not with --people)")
    parser.add_argument("--seed", type=int, default=0, help="of which photographs are drawn")
    parser.add_argument("--name", default="", help="of the model in the results; its own by default")
    parser.add_argument("--recipe", default="", help="how it was made; what its record says by default")
    parser.add_argument("--note", default="development", help="what this measurement is for")
    parser.add_argument("--scores", type=Path, help="a CSV to write what is said of each photograph to")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of results and ledger")
    given = parser.parse_args(words)
    try:
        if given.people and not given.muxspace:
            parser.error("--people is of a checkout: give --muxspace CHECKOUT too")
        if not (given.muxspace or given.photographs):
            parser.error("give photographs: --muxspace CHECKOUT, --photographs FOLDER, or both")
        sets = [_muxspace(given)] if given.muxspace else []
        sets += [own(given.photographs)] if given.photographs else []
        for photographs in sets:
            record = run(given, photographs)
            print(json.dumps(record, indent=1))
            keep(record, given.results)
    except IdferError as error:
        print(f"photographs: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
