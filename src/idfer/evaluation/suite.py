"""Measure a model on a manifest: one pass of the model, then every suite on what it said."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idfer.data.manifest import Manifest
from idfer.errors import UsageError, unknown
from idfer.evaluation.evaluation import Evaluation
from idfer.ranges import check_seed
from idfer.results import environment, json_ready

if TYPE_CHECKING:
    import pandas as pd

    from idfer.attributes.table import AttributeTable
    from idfer.data.locate import Located
    from idfer.evaluation.checks import Check
    from idfer.evaluation.forward import Answers
    from idfer.evaluation.leakage import Target
    from idfer.types import FaceModel

SCHEMA = "idfer.metrics/1"
SUITES = ("accuracy", "leakage")
_log = logging.getLogger(__name__)
_EXAMPLES = 4  # faces shown with each attribute detached


def measure(
    model: str | Path | FaceModel,
    manifest: str | Path | Manifest,
    table: str | Path | AttributeTable | None = None,
    splits: Sequence[str] | None = None,
    suites: Sequence[str] = SUITES,
    *,
    detector: str | None = None,
    batch_size: int = 256,
    device: str = "auto",
    seed: int = 0,
    replicates: int = 1000,
    controls: bool = True,
    protocol: str | None = None,
    progress: bool = True,
) -> Evaluation:
    """Run a model over faces and measure it.

    Args:
        model: a run's folder, a shipped model's name, or anything that is an `idfer.types.FaceModel` (or
            `module:NAME` of one, or of a function or class that makes one).
        manifest: the faces, or their path.
        table: retrieved attributes, probed for where the manifest has no ground truth `factor.NAME`; runs
            whose residual form reads retrieved ID vectors need it.
        splits: which splits; all but `train` by default (or all rows, where there is nothing else).
        suites: of `SUITES`.
        detector: what finds faces that the manifest does not place; as in training by default.
        batch_size: faces per forward pass.
        device: auto, cpu, cuda, cuda:N or mps, for runs of idfer's.
        seed: of the probes, the bootstrap and the choice of sample faces.
        replicates: bootstrap replicates over subjects.
        controls: also probe what leakage must be read against: an untrained backbone (what any network of
            this kind lets through; runs of idfer's only) and the labels themselves (what a perfect model must
            let through, since labels and attributes may be correlated in these data).
        protocol: also compute the metrics as some authors do, of `author_metrics.AUTHORS`.
        progress: show a progress bar.

    Raises:
        UsageError: an unknown split, suite, protocol or run.
        IdferError: no face could be read, the model's output is not finite, or the table was made by
            another CLIP or vocabulary than a run that reads ID vectors was trained with.
    """
    from idfer.attributes.table import AttributeTable
    from idfer.data.locate import locate_for
    from idfer.evaluation.accuracy import accuracy
    from idfer.evaluation.author_metrics import by_split, check_protocol
    from idfer.evaluation.forward import Pass
    from idfer.evaluation.models import open_model, vectors_of
    from idfer.evaluation.seen import seen_rows
    from idfer.evaluation.selection import evaluated_rows, probe_targets, probed_rows, shown_rows

    for suite in suites:
        if suite not in SUITES:
            raise unknown("suite", suite, list(SUITES))
    if batch_size < 1 or replicates < 1:
        raise UsageError("batch_size and replicates must be 1 or more.")
    check_seed(seed)
    if protocol is not None:
        check_protocol(protocol)
    faces = manifest if isinstance(manifest, Manifest) else Manifest.read(manifest)
    opened = open_model(model, device)
    rows = evaluated_rows(faces, splits)
    part = faces.rows(rows)
    if isinstance(table, (str, Path)):
        table = AttributeTable.read(table)
    vectors = vectors_of(opened, part, table)
    targets, problems = probe_targets(part, opened.attributes, table)
    probing = "leakage" in suites
    probed, probed_splits = probed_rows(part, seed) if probing else (np.empty(0, np.intp), [])
    placed = locate_for(part, opened.preprocess, detector, progress=progress)
    answers = Pass(
        batch_size, seed, probed, shown_rows(part, probed, seed).tolist(), controls and probing,
        progress=progress,
    ).run(opened, placed.manifest, vectors, placed.errors)  # fmt: skip
    predictions = _predictions(part, rows, answers, seen_rows(opened, part))
    scores = accuracy(
        predictions if "accuracy" in suites else predictions.iloc[:0], replicates=replicates, seed=seed
    )
    features = _probed_features(answers, part, controls) if probing else {}
    leaks = _leaks(features, answers, part, targets, seed)
    certified = _certificate(answers, part, predictions, targets, replicates, seed)
    checks = _checks(opened, predictions, part, placed, certified, table)
    detached = _detached(opened, answers, predictions, vectors)
    crossed = _invariance(part, answers, replicates, seed)
    metrics = {
        "schema": SCHEMA,
        "run": _run(opened),
        "data": _data(manifest, part, predictions, placed),
        "checks": checks,
        "accuracy": _nested(scores),
        "author_protocol": None if protocol is None else by_split(predictions, protocol),
        "leakage": {
            "splits": probed_splits,
            "rows": len(answers.feature_rows) if probing else 0,
            "subjects": len(np.unique(part.subjects[answers.feature_rows])) if probing else 0,
            "problems": problems,
            "probes": leaks.to_dict("records"),
        },
        "certificate": certified,
        "invariance": crossed,
        "settings": {
            "seed": seed, "replicates": replicates, "batch_size": batch_size, "suites": list(suites),
            "controls": controls, "detector": placed.detector, "device": str(getattr(opened, "device", "")),
        },
        "environment": environment(),
    }  # fmt: skip
    return Evaluation(
        name=opened.name,
        metrics=json_ready(metrics),
        accuracy=scores,
        leakage=leaks,
        checks=checks,
        predictions=predictions,
        detached=detached,
        features=features,
        feature_rows=rows[answers.feature_rows],
        faces={int(rows[row]): crop for row, crop in answers.crops.items()},
    )


def _predictions(
    part: Manifest, rows: NDArray[np.intp], answers: Answers, seen: NDArray[np.str_] | None
) -> pd.DataFrame:
    """A row per evaluated face (see `Evaluation.predictions`)."""
    from idfer.evaluation.seen import split_names

    predictions = part.frame[["path", "frame", "subject", "split", "valence", "arousal"]].copy()
    predictions.insert(0, "row", rows)
    predictions["subject"] = part.subjects
    predictions["split"] = split_names(part.frame["split"].to_numpy(str), seen)
    predictions["predicted_valence"], predictions["predicted_arousal"] = answers.valence_arousal.T
    predictions["seen"] = "" if seen is None else seen
    predictions["error"] = answers.errors
    return predictions


def _probed_features(answers: Answers, part: Manifest, controls: bool) -> dict[str, NDArray[np.float32]]:
    """What is probed: the model's features, its prediction (in which identity does harm), and the labels."""
    features = dict(answers.features)
    features["prediction"] = answers.valence_arousal[answers.feature_rows].astype(np.float32)
    if controls:
        features["labels"] = part.targets[answers.feature_rows]
    return features


def _leaks(
    features: dict[str, NDArray[np.float32]],
    answers: Answers,
    part: Manifest,
    targets: dict[str, Target],
    seed: int,
) -> pd.DataFrame:
    import pandas as pd

    from idfer.evaluation.leakage import Leak, leakage

    if not features:
        return pd.DataFrame(columns=list(Leak.__dataclass_fields__))
    probed = answers.feature_rows
    chosen = {name: target.rows(probed) for name, target in targets.items()}
    return leakage(features, chosen, part.subjects[probed], seed=seed)


def _certificate(
    answers: Answers,
    part: Manifest,
    predictions: pd.DataFrame,
    targets: dict[str, Target],
    replicates: int,
    seed: int,
) -> dict[str, Any] | None:
    from idfer.evaluation.certificate import certificate

    if answers.rate is None:
        return None
    return certificate(
        answers.rate, part.subjects, predictions["split"].to_numpy(), replicates=replicates, seed=seed,
        attributes={name: target.values for name, target in targets.items()},
        residuals=_residuals(answers, part, seed), labels=part.targets,
    )  # fmt: skip


def _residuals(answers: Answers, part: Manifest, seed: int) -> NDArray[np.float64] | None:
    """(N,) nats beyond the label, of the rows whose features were kept; None where nothing is sampled."""
    from idfer.evaluation.residual import residual_nats

    rows = answers.feature_rows
    if answers.spread is None or len(np.unique(part.subjects[rows])) < 2:
        return None
    residuals = np.full(len(part), np.nan)
    residuals[rows] = residual_nats(
        answers.mean, answers.spread, part.targets[rows], part.subjects[rows], seed
    )
    return residuals


def _invariance(part: Manifest, answers: Answers, replicates: int, seed: int) -> dict[str, Any] | None:
    """Analysis of variance on the first split that is a full cross; None where none is."""
    from idfer.evaluation import anova

    for split in part.splits:
        rows = np.flatnonzero((part.frame["split"] == split).to_numpy())
        table = part.frame.iloc[rows]
        if (cells := anova.layout(table)) is None:
            continue
        said = answers.valence_arousal[rows]
        if np.isfinite(said[cells]).all(axis=(1, 2)).sum() < 2:
            _log.warning("split %r: fewer than 2 people were read whole; invariance is not measured.", split)
            continue
        measured = anova.measure(table, said, replicates=replicates, seed=seed)
        return {"split": split, "left_out": len(cells) - measured.people, **measured.to_dict()}
    return None


def _checks(
    model: FaceModel,
    predictions: pd.DataFrame,
    part: Manifest,
    placed: Located,
    certified: dict[str, Any] | None,
    table: AttributeTable | None,
) -> list[Check]:
    from idfer.evaluation.checks import run_checks
    from idfer.evaluation.seen import HELD_OUT, TRAINED
    from idfer.training.checkpoint import Checkpoint

    seen, split = predictions["seen"].to_numpy(str), predictions["split"].to_numpy(str)
    if (split == HELD_OUT).any():  # those trained on have a split of their own, which says so
        seen = np.where(split == TRAINED, "", seen)
    seen = np.where(predictions["error"] == "", seen, "")
    knows = isinstance(model, Checkpoint) and model.seen is not None
    forgets = isinstance(model, Checkpoint) and model.seen is None and not model.shipped
    return run_checks(
        predictions[["predicted_valence", "predicted_arousal"]].to_numpy(np.float64),
        part.targets,
        part.frame["subject"].to_numpy(str),
        predictions["error"].to_numpy(str),
        splits=split,
        seen_rows=seen == "image" if knows else None,
        seen_people=seen != "" if knows else None,
        certificate=certified,
        trained_detector=model.preprocess.detector if isinstance(model, Checkpoint) else None,
        detector=placed.detector,
        clip="" if table is None else str(table.source.get("clip", "")),
        drawn=part.drawn,
        synthetic=part.synthetic,
        remembers=not forgets,
        videos="video" in part.subject_kinds,
    )


def _detached(
    model: FaceModel,
    answers: Answers,
    predictions: pd.DataFrame,
    vectors: NDArray[np.float32] | None,
) -> pd.DataFrame:
    """Predict a few faces with no attribute detached, each alone, and all: those that this moves most."""
    import pandas as pd

    columns = ["row", "detached", "valence", "arousal"]
    if not model.attributes or not answers.crops:
        return pd.DataFrame(columns=columns)
    strengths = {"none": {}, **{name: {name: 1.0} for name in model.attributes}}
    strengths["all"] = dict.fromkeys(model.attributes, 1.0)

    def said(rows: Sequence[int], name: str) -> NDArray[Any]:
        given: dict[str, Any] = {} if vectors is None else {"retrieved": vectors[np.array(rows)]}
        crops = np.stack([answers.crops[row] for row in rows])
        return model.predict(crops, strengths[name], **given).valence_arousal

    shown = list(answers.crops)
    moved = np.linalg.norm(said(shown, "all") - said(shown, "none"), axis=1)
    chosen = [shown[k] for k in np.argsort(-moved, kind="stable")[:_EXAMPLES]]
    table = []
    for name in strengths:
        values = said(chosen, name)
        for row, (valence, arousal) in zip(predictions.loc[chosen, "row"], values, strict=True):
            table.append({"row": int(row), "detached": name, "valence": valence, "arousal": arousal})
    return pd.DataFrame(table, columns=columns)


def _run(model: FaceModel) -> dict[str, Any]:
    """Which model it was; a run of idfer's with its whole record."""
    from idfer.training.checkpoint import Checkpoint

    described: dict[str, Any] = {
        "name": model.name, "path": "", "method": type(model).__name__,
        "attributes": list(model.attributes), "config": {},
    }  # fmt: skip
    if isinstance(model, Checkpoint):
        described |= {
            "path": str(model.path),
            "method": model.record.settings.method,
            "config": model.record.to_dict(),
        }
    return described


def _data(
    manifest: str | Path | Manifest, part: Manifest, predictions: pd.DataFrame, placed: Located
) -> dict[str, Any]:
    table = predictions.assign(failed=predictions["error"] != "", seen=predictions["seen"] != "")
    groups = table.groupby("split", sort=False)
    splits = groups.agg(
        rows=("row", "size"), failed=("failed", "sum"), subjects=("subject", "nunique"), seen=("seen", "sum")
    )
    frame = part.frame
    return {
        "manifest": str(part.root if isinstance(manifest, Manifest) else manifest),
        "sources": sorted(set(frame["source"]) - {""}),
        "label_sources": sorted(set(frame["label_source"]) - {""}),
        "subject_kinds": part.subject_kinds,
        "drawn": part.drawn,
        "synthetic": part.synthetic,
        "faces_placed_by": placed.detector,
        "splits": splits.to_dict("index"),
    }


def _nested(table: pd.DataFrame) -> dict[str, Any]:
    """The accuracy table as {split: {dimension: {metric: {value, low, high}}}}."""
    nested: dict[str, Any] = {}
    for line in table.to_dict("records"):
        cell = {key: line[key] for key in ("value", "low", "high")}
        nested.setdefault(line["split"], {}).setdefault(line["dimension"], {})[line["metric"]] = cell
    return nested
