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
    development: bool = False,
    again: str = "",
    workers: int | None = None,
    ray: bool = False,
    size: Literal["full", "tiny"] = "full",
    device: str | None = None,
    progress: bool = True,
) -> str:
    """Change one thing at a time and measure what it did, under the shift protocol or on your own faces.

    Without --manifest, trials are those of `idfer benchmark shift` and shared with it; with it, those of
    `idfer benchmark compare`, over the same folds of people. What is finished is not run again, also after an
    interruption. Writes ablation.html, ablation.md, ablation.json and a heat map ablation.png. Without
    --manifest also ablation-nats.png, accuracy against what a feature tells beyond the label, and a report is
    entered in the ledger history.md beside them: seeds are reported once.

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
        development: without --manifest: look at anything, report nothing; the files say so.
        again: without --manifest: why seeds that were reported before are reported once more.
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
    from idfer.experiments.ledger import kind_of
    from idfer.experiments.seeds import numbers

    chosen = None if seeds is None else numbers("seeds", seeds)
    if manifest is None:
        for name, value in (("attributes", attributes), ("folds", folds), ("by", by)):
            if value is not None:
                raise UsageError(f"--{name} is of your own faces; give --manifest too, or leave it out.")
    else:
        for name, given in (("development", development), ("again", again)):
            if given:
                raise UsageError(
                    f"--{name} is of the shift protocol, whose reports stand in a ledger; leave it out, or "
                    "--manifest."
                )
    command = command_line(
        ("ablate", str(grid)), manifest=manifest, attributes=attributes, folds=folds, by=by, seeds=chosen,
        development=development or None, size=None if size == "full" else size,
        device=None if device in (None, "cpu" if manifest is None else "auto") else device,
    )  # fmt: skip
    if manifest is None:
        where = Path(out or "benchmarks/results")
        name, content, sheet = _on_protocol(
            grid, where, Path(runs or "runs/shift"), chosen, command, kind_of(size, development), again,
            Workers.of(workers, ray), size, device or "cpu", progress,
        )  # fmt: skip
        return write({"command": command} | content, name, where, sheet)
    from idfer.experiments.manifests.ablation import on_manifest

    device, count = device_and_workers(device or "auto", workers)
    name, content, sheet = on_manifest(
        grid, manifest, attributes, Path(runs or "runs/compare"), folds, by, chosen, Workers.of(count, ray),
        size, device, progress,
    )  # fmt: skip
    return write({"command": command} | content, name, Path(out or "compare"), sheet)


def _on_protocol(
    grid: str | Path,
    out: Path,
    runs: Path,
    seeds: list[int] | None,
    command: str,
    kind: str,
    again: str,
    workers: Workers,
    size: str,
    device: str,
    progress: bool,
) -> tuple[str, dict[str, Any], Sheet]:
    """Name, content and sheet of an ablation under the shift protocol, entered in the ledger if a report."""
    from idfer.experiments.ablate_report import headline, shift_sheet, summary
    from idfer.experiments.grid import Grid
    from idfer.experiments.jobs import fail, failures
    from idfer.experiments.ledger import REPORT, Ledger
    from idfer.experiments.protocol import SHIFTED, sized
    from idfer.experiments.scores import Row
    from idfer.experiments.tables import source_text
    from idfer.experiments.trial import job, provenance, run_trials

    protocol, changes = sized(size)
    asked = Grid.read(grid, changes)
    chosen_seeds = asked.seeds if seeds is None else seeds
    ledger = Ledger.beside(out)
    ledger.check_allowed(kind, asked.name, chosen_seeds, command, again)
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
    origin = provenance({"trials": jobs}, runs)
    entry, sheet = None, shift_sheet(chosen_seeds)
    if kind == REPORT:
        entry = ledger.enter(
            asked.name, command, chosen_seeds, [], headline(rows), again, summary(rows, sheet),
            source_text(origin["source_of"]),
        )  # fmt: skip
    content = {
        "kind": kind,
        "ledger": entry and entry.name,
        "protocol": protocol,
        "seeds": chosen_seeds,
        **origin,
        "variants": asked.variants,
        "rows": rows,
    }
    return asked.name, content, sheet
