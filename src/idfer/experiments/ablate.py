"""`idfer ablate`: a base and its variants from one YAML file, under the shift protocol or on a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from idfer.errors import UsageError

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest
    from idfer.experiments.ablate_report import Sheet
    from idfer.experiments.jobs import Workers


def ablate(
    grid: str | Path,
    manifest: str | Path | Manifest | None = None,
    attributes: str | Path | AttributeTable | None = None,
    out: str | Path | None = None,
    runs: str | Path | None = None,
    folds: int | None = None,
    by: str | None = None,
    seeds: list[int] | str | None = None,
    workers: int | None = None,
    ray: bool = False,
    size: Literal["full", "tiny"] = "full",
    device: str | None = None,
    progress: bool = True,
) -> str:
    """Change one thing at a time and measure what it did, under the shift protocol or on your own faces.

    Without --manifest, trials are those of `idfer benchmark shift` and shared with it; with it, those of
    `idfer benchmark compare`, over the same folds of people. What is finished is not run again, also after an
    interruption. Writes ablation.html, ablation.md, ablation.json and a heat map
    ablation.png.

    Args:
        grid: YAML file, e.g. ablations/default.yaml: a base and its variants, grouped by question.
        manifest: your own faces in place of the protocol's: manifest.parquet, or a CSV.
        attributes: attributes.parquet of `idfer retrieve`, of the manifest's faces.
        out: folder of the results; benchmarks/results by default, compare with --manifest.
        runs: folder of trained runs and trials; runs/shift by default, runs/compare with --manifest.
        folds: with --manifest: deal so many folds, whatever splits or folds it has; 5 where it has none.
        by: with --manifest: column whose rows stay together in folds; subject by default.
        seeds: of people, weights and order; the grid's by default. With --manifest each deals folds anew, or
            trains official splits anew; 1 by default, 1,2,3,4,5 of splits.
        workers: processes; as many as there are cores by default, 1 on a GPU with --manifest.
        ray: run on Ray (pip install 'idfer[ray]') instead of processes; `runs` must be visible to every node.
        size: full, or tiny (seconds; shows that everything works, measures nothing).
        device: auto, cpu, cuda, cuda:N or mps; cpu by default, auto with --manifest.
        progress: show progress bars.

    Returns:
        The table of results, and where the files are.

    Raises:
        UsageError: the grid asks for something that does not exist, options of a manifest without one, too
            few people, or Ray is not installed.
        IdferError: the grid or the manifest cannot be used, or jobs failed; each is named and the others are
            kept.
    """
    from idfer.experiments.ablate_report import write
    from idfer.experiments.command import command_line
    from idfer.experiments.compare import device_and_workers
    from idfer.experiments.jobs import Workers
    from idfer.experiments.seeds import numbers

    chosen = None if seeds is None else numbers("seeds", seeds)
    if manifest is None:
        for name, value in (("attributes", attributes), ("folds", folds), ("by", by)):
            if value is not None:
                raise UsageError(f"--{name} is of your own faces; give --manifest too, or leave it out.")
        pool = Workers.of(workers, ray)
        where = device or "cpu"
        name, content, sheet = _on_protocol(
            grid, Path(runs or "runs/shift"), chosen, pool, size, where, progress
        )
    else:
        from idfer.experiments.manifests.ablation import on_manifest

        where, count = device_and_workers(device or "auto", workers)
        name, content, sheet = on_manifest(
            grid, manifest, attributes, Path(runs or "runs/compare"), folds, by, chosen,
            Workers.of(count, ray), size, where, progress,
        )  # fmt: skip
    command = command_line(
        ("ablate", str(grid)), manifest=manifest, attributes=attributes, folds=folds, by=by,
        seeds=chosen, size=None if size == "full" else size,
        device=None if device in (None, "cpu" if manifest is None else "auto") else device,
    )  # fmt: skip
    default = "benchmarks/results" if manifest is None else "compare"
    return write({"command": command} | content, name, Path(out or default), sheet)


def _on_protocol(
    grid: str | Path,
    runs: Path,
    seeds: list[int] | None,
    workers: Workers,
    size: str,
    device: str,
    progress: bool,
) -> tuple[str, dict[str, Any], Sheet]:
    """Name, content and sheet of an ablation under the shift protocol."""
    from idfer.experiments.ablate_report import shift_sheet
    from idfer.experiments.grid import Grid
    from idfer.experiments.jobs import fail, failures
    from idfer.experiments.protocol import SHIFTED, sized
    from idfer.experiments.scores import Row
    from idfer.experiments.trial import job, provenance, run_trials

    protocol, changes = sized(size)
    asked = Grid.read(grid, changes)
    chosen_seeds = asked.seeds if seeds is None else seeds
    places = [(variant, seed) for seed in chosen_seeds for variant in asked.variants]
    jobs = [
        job(f"{variant.name}, seed {seed}", protocol, seed, SHIFTED, variant.settings, device)
        for variant, seed in places
    ]
    results = run_trials(jobs, runs, workers, "ablation", progress)
    fail(failures(jobs, results))
    rows = [
        Row.of(variant.name, seed, result)
        for (variant, seed), result in zip(places, results, strict=True)
        if not isinstance(result, str)
    ]
    content = {
        "protocol": protocol,
        "seeds": chosen_seeds,
        **provenance({"trials": jobs}, runs),
        "variants": asked.variants,
        "rows": rows,
    }
    return asked.name, content, shift_sheet(chosen_seeds)
