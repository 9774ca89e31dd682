"""A trial: train one method on one seed's faces and measure it, as a list of scores.

All that benchmarks report comes from here, so that `benchmark shift` and `ablate` measure alike and share
results. A trial is told from others by its settings with every default filled in (`idfer.training.settings`):
a default that changes makes another trial, never a stale number.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from idfer.experiments.jobs import Job, Workers, origins, run_jobs
from idfer.experiments.protocol import CHANGED, CORRELATION, PROBED, Protocol
from idfer.experiments.protocols.design import load_design
from idfer.experiments.scores import Score, result_of

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest
    from idfer.training.settings import Settings

TRIAL, DRAW = "idfer.experiments.trial:trial", "idfer.experiments.trial:draw"
Measured = Literal["all", "selection", "effects"]
_TABLE = "attributes.parquet"


def job(
    name: str,
    protocol: Protocol,
    seed: int,
    data: str,
    settings: Settings,
    device: str = "cpu",
    measure: Measured = "all",
    design: str = CORRELATION,
) -> Job:
    """A trial as a job.

    Args:
        name: for people.
        protocol: sizes of the splits.
        seed: of faces, weights and order; replaces that of the settings.
        data: what is learned from: a level of the protocol (`shifted` where there is one), or `oracle` for
            training and held-out faces without the shift.
        settings: of the run.
        device: where it is trained.
        measure: "selection": what settings are chosen by, and accuracy on the tests; "effects": that, drift
            and the cross, but no probes; "all": of `correlation` alone, which has people to probe.
        design: name of the shift protocol.
    """  # fmt: skip
    settings = replace(settings, seed=seed)
    arguments = {"protocol": protocol, "data": data, "settings": settings, "device": device}
    return Job(name, TRIAL, arguments | {"measure": measure} | _named(design))


def _named(design: str) -> dict[str, str]:
    """A protocol as an argument of a job: left out for the first, whose jobs are older than the others."""
    return {} if design == CORRELATION else {"design": design}


def run_trials(
    jobs: Sequence[Job], out: Path, workers: Workers, what: str, progress: bool = True
) -> list[dict[str, Any] | str]:
    """Draw the faces that jobs without a result need, then run those jobs; returns as `run_jobs`."""
    draws = _draws([job for job in jobs if job.result(out) is None])
    missing = [draw for draw in draws if not is_drawn(out, **draw.arguments)]
    for draw in missing:
        draw.file(out).unlink(missing_ok=True)  # its folder was deleted
    drawn = run_jobs(missing, out, workers, "drawing faces", progress)
    failed = {_world_of(d): r for d, r in zip(missing, drawn, strict=True) if isinstance(r, str)}
    possible = [job for job in jobs if _faces_of(job)[1:] not in failed]
    results = dict(
        zip([job.key for job in possible], run_jobs(possible, out, workers, what, progress), strict=True)
    )
    return [results.get(job.key) or f"no faces: {failed[_faces_of(job)[1:]]}" for job in jobs]


def _draws(jobs: Sequence[Job]) -> list[Job]:
    """The jobs that draw the faces of these trials."""
    needed = {_faces_of(job) for job in jobs}
    return [
        Job(f"faces of {design}, seed {seed}", DRAW, {"protocol": protocol, "seed": seed} | _named(design))
        for protocol, seed, design in sorted(needed, key=lambda faces: faces[1:])
    ]


def provenance(parts: Mapping[str, Sequence[Job]], out: Path) -> dict[str, Any]:
    """Hashes of the source (see `jobs.source`) that a report comes from: `source`, `source_of` each part.

    Args:
        parts: trials by what they are for; `faces`, those that they learn and are tested on, is added.
        out: folder of their results.
    """
    every = [job for jobs in parts.values() for job in jobs]
    return origins({**parts, "faces": _draws(every)}, out)


def _faces_of(job: Job) -> tuple[Protocol, int, str]:
    """Sizes, seed and protocol of a trial's faces."""
    return job.arguments["protocol"], job.arguments["settings"].seed, _design_of(job)


def _world_of(draw: Job) -> tuple[int, str]:
    return draw.arguments["seed"], _design_of(draw)


def _design_of(job: Job) -> str:
    return str(job.arguments.get("design", CORRELATION))


def world(out: Path, protocol: Protocol, seed: int, design: str = CORRELATION) -> Path:
    """Folder of one seed's faces."""
    digest = hashlib.sha256(json.dumps(asdict(protocol), sort_keys=True).encode()).hexdigest()
    place = out / "faces" if design == CORRELATION else out / "faces" / design.replace(":", ".")
    return place / f"{digest[:8]}-seed{seed}"


def is_drawn(out: Path, protocol: Protocol, seed: int, design: str = CORRELATION) -> bool:
    """Whether `draw` has drawn these faces, whole."""
    folder = world(out, protocol, seed, design)
    return all((folder / name / _TABLE).is_file() for name in load_design(design).folders)


def draw(out: Path, protocol: Protocol, seed: int, design: str = CORRELATION) -> dict[str, Any]:
    """Draw one seed's faces and retrieve their attributes, once for all methods."""
    from idfer.attributes.table import retrieve
    from idfer.experiments.protocol import write_world

    folder, misread = world(out, protocol, seed, design), load_design(design).misread
    manifests = write_world(protocol, folder, seed, progress=False, design=design)
    for name, faces in manifests.items():
        table = retrieve(faces, clip="builtin", device="cpu", progress=False)
        (misread(table, faces, seed) if misread else table).write(folder / name / _TABLE)
    return {"faces": sum(len(faces) for faces in manifests.values())}


def trial(
    out: Path,
    protocol: Protocol,
    data: str,
    settings: Settings,
    device: str,
    measure: Measured = "all",
    design: str = CORRELATION,
) -> dict[str, Any]:
    """Train and measure.

    Args:
        out: folder of runs and faces.
        protocol: sizes of the splits.
        data: see `job`.
        settings: of the run.
        device: where it is trained.
        measure: see `job`.
        design: see `job`.

    Returns:
        `scores`, a list of records (see `Score`), and always: on held-out people (`val`) of the training
        distribution their CCC, `selection` (the same under decorrelation weights, what settings are chosen
        by) and its `effective` sample as a share; CCC and RMSE per test split and dimension; `seconds`. With
        "effects" and "all" also `drift` and what `measuring.invariance` gives; with "all" leaks of the
        sampled feature and of its mean with their chance, and what `measuring.certificate` and
        `measuring.attached` give.

    Raises:
        UsageError: no such protocol, or the protocol has no such `data` or no people to probe.
        IdferError: training diverged, or faces are missing.
    """
    from idfer.experiments import measuring
    from idfer.training.checkpoint import load_checkpoint
    from idfer.training.fit import fit_settings

    seed, asked = settings.seed, load_design(design)
    asked.check_level(data)
    run = out / "runs" / job("", protocol, seed, data, settings, device, measure, design).key
    faces, table = read_level(world(out, protocol, seed, design) / asked.home)
    learned, learned_table = faces, table
    if data != asked.home:
        learned, learned_table = read_level(world(out, protocol, seed, design) / data)
    many = faces.select(PROBED) if measure == "all" else faces
    start = time.monotonic()
    # without `val`: scoring it every epoch would cost a tenth of the time
    fit_settings(learned.select("train"), learned_table, settings, out=run, device=device, progress=False)
    trained = time.monotonic()
    checkpoint = load_checkpoint(run, device)
    read = measuring.Reader(checkpoint, seed)
    val, tests = learned.select("val"), faces.select(asked.tests)
    scores = measuring.selection(read(val, learned_table), val, learned_table, seed)
    said = read(tests, table)
    splits = {name: tests.frame["split"].to_numpy() == name for name in asked.tests}
    for name, rows in splits.items():
        scores += measuring.accuracy(name, said.rows(rows), tests.rows(rows))
    rows = splits[asked.balanced]
    balanced, people = said.rows(rows), tests.rows(rows)
    if measure != "selection":
        changed = faces.select(CHANGED)
        scores += measuring.drift(balanced, read(changed, table), people, changed)
        scores += measuring.invariance(faces, table, read, [factor for factor, _ in asked.shortcuts])
    if measure == "all":
        probed = read(many, table)
        scores += measuring.leaks(probed, many, seed)
        scores += measuring.certificate(probed, many, seed)
        scores += measuring.sampled(balanced, people, checkpoint)
        scores += measuring.attached(tests, table, read)
    scores.append(Score("seconds", trained - start, of="fit"))
    scores.append(Score("seconds", time.monotonic() - trained, of="measuring"))
    return result_of(scores)


def read_level(folder: Path) -> tuple[Manifest, AttributeTable]:
    """Faces of a level of a world, and their retrieved attributes."""
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest

    return Manifest.read(folder), AttributeTable.read(folder / _TABLE)
