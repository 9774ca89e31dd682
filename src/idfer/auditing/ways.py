"""The ways into an audit: a model that is run, a data set; and what is added to the engine's tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idfer.auditing.checks import Check
from idfer.auditing.engine import Audit, AuditSettings
from idfer.auditing.inputs import Read, Reading, read_sample
from idfer.auditing.joining import KEY
from idfer.errors import IdferError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from idfer.types import FaceModel


def of_model(
    model: Any,
    manifest: Any,
    attributes: Any,
    how: Reading,
    settings: AuditSettings,
    *,
    intervene: bool = True,
    size: int | None = None,
    detector: str | None = None,
    batch_size: int = 256,
    device: str = "auto",
    progress: bool = True,
) -> tuple[Read, str]:
    """Run a model over a manifest's faces, and over drawn ones, and read what it said.

    Args:
        model: see `evaluation.models.open_model`.
        manifest: the faces, or their path.
        attributes: a table of them, or what `idfer retrieve` wrote; None: the manifest's ground truth.
        how: names, borders and splits.
        settings: of the audit.
        intervene: whether to run it on drawn faces, too.
        size: side of the crops of a function that does not say it.
        detector: what finds faces that the manifest does not place.
        batch_size: faces per call.
        device: of runs and ONNX files.
        progress: show progress bars.

    Returns:
        What was read, and the model's name.

    Raises:
        UsageError: no such model or split.
        IdferError: unusable faces, attributes or answers.
    """
    from idfer.attributes.table import AttributeTable
    from idfer.auditing.model_run import run_model
    from idfer.data.manifest import Manifest
    from idfer.evaluation.models import open_model

    if batch_size < 1:
        raise UsageError("--batch-size must be 1 or more.")
    opened = open_model(model, device, size)
    faces = manifest if isinstance(manifest, Manifest) else Manifest.read(manifest)
    table = attributes if isinstance(attributes, AttributeTable) else None
    if isinstance(attributes, (str, Path)) and _is_retrieved(attributes):
        table = AttributeTable.read(attributes)
    ran = run_model(
        opened, faces, table, how.splits, detector=detector, batch_size=batch_size, seed=settings.seed,
        progress=progress, rename=how.key == KEY or table is not None,
    )  # fmt: skip
    read = read_sample(
        ran.predictions,
        attributes if table is None else ran.attributes,
        features=ran.features or None,
        how=replace(how, splits=None),
    )
    if ran.seen is not None and (count := int((ran.seen != "").sum())):
        trained = Check(
            "IDF328", "warning",
            f"{count:,} of {len(ran.seen):,} faces are of people that {opened.name} was trained on: its "
            "gaps are smaller there than on people it has not seen; audit it on others.",
        )  # fmt: skip
        read = replace(read, checks=(*read.checks, trained))
    if intervene:
        read = _intervened(read, opened, settings, progress)
    return read, opened.name


def _intervened(read: Read, model: FaceModel, settings: AuditSettings, progress: bool) -> Read:
    """With what the model makes of drawn faces; a check where it cannot be run on them."""
    from idfer.auditing.interventions import interventions

    try:
        found = interventions(model, seed=settings.seed, progress=progress)
    except (IdferError, AssertionError, TypeError) as error:  # a run that reads ID vectors has none here
        reason = " ".join(str(error).split()) or type(error).__name__
        lost = Check("IDF326", "info", f"the model was not run on drawn faces: {reason}")
        return replace(read, checks=(*read.checks, lost))
    return replace(read, sample=replace(read.sample, interventions=found))


def of_data(data: Any, attributes: Any, how: Reading, person: Any = None) -> Read:
    """Read a data set before any model: a manifest or any table, with attributes. Raises as `read_sample`."""
    from idfer.attributes.table import AttributeTable
    from idfer.auditing.model_run import aligned, unique_paths
    from idfer.data.manifest import Manifest

    faces = data
    if isinstance(data, Manifest):
        faces = data.frame.assign(path=unique_paths(data))
        if isinstance(attributes, AttributeTable):
            attributes = aligned(attributes, data)
    return read_sample(None, attributes, faces, subject=person, how=how)


def _is_retrieved(path: str | Path) -> bool:
    from idfer.attributes.table_file import is_table

    return Path(path).is_file() and is_table(Path(path))


def completed(found: Audit, read: Read, settings: AuditSettings, about: Mapping[str, Any]) -> Audit:
    """An audit with what the engine does not measure: stereotype, representation, effects, checks."""
    from idfer.auditing.data_verdict import data_verdict
    from idfer.auditing.representation import representation
    from idfer.auditing.stereotype import stereotype

    sample = read.sample
    told, cells = stereotype(sample, settings)
    tables: dict[str, Any] = {
        "representation": representation(sample, settings.min_people),
        "stereotype": told,
        "cells": cells,
    }
    if sample.interventions is not None:
        tables["components"] = _components(sample.interventions)
    if sample.predicted is None:
        # labels that differ between groups are what `stereotype` measures; there are no gaps to warn of
        found = replace(found, checks=tuple(check for check in found.checks if check.code != "IDF305"))
        tables["verdict"] = data_verdict(
            sample, tables["representation"], told, cells, name=str(about["name"]), level=settings.level,
            min_people=settings.min_people,
        )  # fmt: skip
    return found.with_tables(
        checks=read.checks, sample=sample, about={**found.about, **about, "labels": sample.label is not None},
        **tables,
    )  # fmt: skip


def _components(crossed: Mapping[str, Any]) -> pd.DataFrame:
    """The table of what spreads a model's predictions of drawn faces."""
    from idfer.auditing.tables import table

    return table(
        "components",
        [
            {"dimension": dimension, "part": part, **estimate}
            for dimension, parts in crossed["components"].items()
            for part, estimate in parts.items()
        ],
    )
