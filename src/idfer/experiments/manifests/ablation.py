"""An ablation grid on a user's own faces: every variant at every place of `idfer benchmark compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.data.manifest import FACTOR
from idfer.errors import UsageError
from idfer.experiments.ablate_report import Sheet
from idfer.experiments.command import named
from idfer.experiments.compare import PLACING, check_attributes
from idfer.experiments.grid import BASE, Grid, Variant
from idfer.experiments.jobs import Workers, origins, run_jobs
from idfer.experiments.manifests.faces import prepare
from idfer.experiments.manifests.measures import compared, measures_of, probed
from idfer.experiments.manifests.places import places
from idfer.experiments.manifests.study import finished
from idfer.experiments.manifests.trial import job
from idfer.experiments.manifests.words import data_record, data_text, missing_text, test_text
from idfer.experiments.measures import values
from idfer.experiments.protocol import sized
from idfer.experiments.scores import Row

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest


def on_manifest(
    grid: str | Path,
    manifest: str | Path | Manifest,
    attributes: str | Path | AttributeTable | None,
    runs: Path,
    folds: int | None,
    by: str | None,
    seeds: Sequence[int] | None,
    workers: Workers,
    size: str,
    device: str,
    progress: bool,
) -> tuple[str, dict[str, Any], Sheet]:
    """Run a grid; returns the name of its files, what they say, and how it is shown.

    Raises:
        UsageError: as `idfer benchmark compare`, or a variant that places faces otherwise than the base.
        IdferError: the grid, the manifest or the table cannot be used, or jobs failed.
    """
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest

    table = AttributeTable.read(attributes) if isinstance(attributes, (str, Path)) else attributes
    asked = Grid.read(grid, sized(size)[1], None if table is None else list(table.levels))
    check_attributes([variant.settings for variant in asked.variants], attributes, manifest)
    base = asked.variants[0].settings
    whole = manifest if isinstance(manifest, Manifest) else Manifest.read(manifest)
    variants, untrue = _with_truth(asked.variants, table, whole)
    if untrue and untrue[0] == BASE:
        raise UsageError(
            f"{grid}: base: retrieval truth needs the manifest's columns factor.NAME; use soft, or add them."
        )
    for variant in variants:
        for name in PLACING:
            if getattr(variant.settings, name) != getattr(base, name):
                raise UsageError(
                    f"{grid}: {variant.group}: {variant.name}: {name} differs from the base's; on a manifest "
                    "all variants see the same faces. Run two grids."
                )
    faces = prepare(whole, attributes, runs, base, progress)
    divided = places(faces.manifest, folds, by, seeds)
    spots = [(variant, at) for at in range(len(divided.every)) for variant in variants]
    for place in divided.every:
        place.write(runs, faces.digest)
    jobs = [
        job(
            f"{variant.name}, {divided.every[at].name}", faces.digest, divided.every[at], variant.settings,
            device,
        )
        for variant, at in spots
    ]  # fmt: skip
    results = finished(jobs, run_jobs(jobs, runs, workers, "ablation", progress))
    rows = [Row.of(variant.name, at, result) for (variant, at), result in zip(spots, results, strict=True)]
    data = data_record(faces, divided, named(manifest), named(attributes))
    measures = measures_of(rows)
    shown = [key for key in compared(measures) if np.isfinite(values(rows, BASE, measures[key])).all()]
    rare = [measures[key].title for key in compared(measures) if key not in shown]
    words = [
        "Each variant changes the base in one respect; division and measures are those of "
        "`idfer benchmark compare`."
        + (f" Left out, for the manifest has no columns factor.NAME: {', '.join(untrue)}." if untrue else ""),
        *[line for line in data_text(data) if line],
        test_text(data["division"]),
        missing_text(data, probed(rows))
        + (
            f" Not shown, for people of a level were too few at some place: {', '.join(rare)}."
            if rare
            else ""
        ),
    ]
    main = [name for name in shown if name.endswith("ccc")]
    sheet = Sheet(measures, shown, main, words, divided.overlap)
    content = {
        "data": data,
        **origins({"trials": jobs}, runs),
        "variants": variants,
        "left_out": untrue,
        "rows": rows,
    }
    return asked.name, content, sheet


def _with_truth(
    variants: Sequence[Variant], table: AttributeTable | None, faces: Manifest
) -> tuple[list[Variant], list[str]]:
    """Variants that these faces can be trained with, and the names of those that ask for unknown truth."""
    untrue = []
    for variant in variants:
        settings = variant.settings
        names = settings.use or (() if table is None else tuple(table.levels))
        if settings.retrieval == "truth" and any(FACTOR + name not in faces.frame for name in names):
            untrue.append(variant.name)
    return [variant for variant in variants if variant.name not in untrue], untrue
