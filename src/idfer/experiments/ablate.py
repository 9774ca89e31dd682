"""`idfer ablate`: a base and its variants under the shift protocol, from one YAML file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal


def ablate(
    grid: str | Path,
    out: str | Path = "benchmarks/results",
    runs: str | Path = "runs/shift",
    seeds: list[int] | str | None = None,
    workers: int | None = None,
    ray: bool = False,
    size: Literal["full", "tiny"] = "full",
    device: str = "cpu",
    progress: bool = True,
) -> str:
    """Change one thing at a time and measure what it did, under the shift protocol.

    Trials are those of `idfer benchmark shift` and shared with it: what either has finished is not run again,
    also after an interruption. Writes ablation.html, ablation.md, ablation.json and a heat map ablation.png.

    Args:
        grid: YAML file, e.g. ablations/default.yaml: a base and its variants, grouped by question.
        out: folder of the results.
        runs: folder of faces, trained runs and trials.
        seeds: of people, weights and order; the grid's by default.
        workers: processes; as many as there are cores by default.
        ray: run on Ray (pip install 'idfer[ray]') instead of processes; `runs` must be visible to every node.
        size: full, or tiny (seconds; shows that everything works, measures nothing).
        device: auto, cpu, cuda, cuda:N or mps.
        progress: show progress bars.

    Returns:
        The table of results, and where the files are.

    Raises:
        UsageError: the grid asks for something that does not exist, or Ray is not installed.
        IdferError: the grid cannot be read, or jobs failed; each is named and the others are kept.
    """
    from idfer.experiments.ablate_report import write
    from idfer.experiments.grid import Grid
    from idfer.experiments.jobs import Workers, fail
    from idfer.experiments.protocol import SHIFTED, sized
    from idfer.experiments.scores import Row
    from idfer.experiments.seeds import numbers
    from idfer.experiments.trial import job, provenance, run_trials

    protocol, changes = sized(size)
    asked = Grid.read(grid, changes)
    chosen_seeds = asked.seeds if seeds is None else numbers("seeds", seeds)
    places = [(variant, seed) for seed in chosen_seeds for variant in asked.variants]
    jobs = [
        job(f"{variant.name}, seed {seed}", protocol, seed, SHIFTED, variant.settings, device)
        for variant, seed in places
    ]
    results = run_trials(jobs, Path(runs), Workers.of(workers, ray), "ablation", progress)
    fail([f"{j.name}: {r}" for j, r in zip(jobs, results, strict=True) if isinstance(r, str)])
    rows = [
        Row.of(variant.name, seed, result)
        for (variant, seed), result in zip(places, results, strict=True)
        if not isinstance(result, str)
    ]
    words = ["idfer", "ablate", str(grid)]
    words += ["--seeds", ",".join(map(str, chosen_seeds))] if seeds is not None else []
    words += ["--size", size] if size != "full" else []
    words += ["--device", device] if device != "cpu" else []
    content = {
        "command": shlex.join(words),
        "protocol": protocol,
        "seeds": chosen_seeds,
        **provenance({"trials": jobs}, Path(runs)),
        "variants": asked.variants,
        "rows": rows,
    }
    return write(content, asked.name, Path(out))
