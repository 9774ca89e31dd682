"""A trial: train one method on one seed's faces and measure it, as a list of scores.

All that benchmarks report comes from here, so that `benchmark shift` and `ablate` measure alike and share
results. A trial is told from others by its settings with every default filled in (`idfer.training.settings`):
a default that changes makes another trial, never a stale number.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idfer.experiments.jobs import Job, Workers, run_jobs
from idfer.experiments.protocol import CHANGED, ORACLE, SHIFTED, TESTS, Protocol
from idfer.experiments.scores import Score

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest
    from idfer.evaluation.forward import Answers
    from idfer.training.settings import Settings

TRIAL, DRAW = "idfer.experiments.trial:trial", "idfer.experiments.trial:draw"
ATTRIBUTES = ("gender", "age", "skin")
_TABLE = "attributes.parquet"


def job(name: str, protocol: Protocol, seed: int, data: str, settings: Settings, device: str = "cpu") -> Job:
    """A trial as a job.

    Args:
        name: for people.
        protocol: sizes of the splits.
        seed: of faces, weights and order; replaces that of the settings.
        data: `shifted`, or `oracle` for training and held-out faces without the shortcut.
        settings: of the run.
        device: where it is trained.
    """
    settings = replace(settings, seed=seed)
    return Job(name, TRIAL, {"protocol": protocol, "data": data, "settings": settings, "device": device})


def run_trials(
    jobs: Sequence[Job], out: Path, workers: Workers, what: str, progress: bool = True
) -> list[dict[str, Any] | str]:
    """Draw the faces that jobs without a result need, then run those jobs; returns as `run_jobs`."""
    needed = {_faces_of(job) for job in jobs if job.result(out) is None}
    draws = [
        Job(f"faces of seed {seed}", DRAW, {"protocol": protocol, "seed": seed})
        for protocol, seed in sorted(needed, key=lambda world_of: world_of[1])
    ]
    missing = [draw for draw in draws if not _drawn(world(out, **draw.arguments))]
    for draw in missing:
        draw.file(out).unlink(missing_ok=True)  # its folder was deleted
    drawn = run_jobs(missing, out, workers, "drawing faces", progress)
    problems = {d.arguments["seed"]: r for d, r in zip(missing, drawn, strict=True) if isinstance(r, str)}
    possible = [job for job in jobs if _faces_of(job)[1] not in problems]
    results = dict(
        zip([job.key for job in possible], run_jobs(possible, out, workers, what, progress), strict=True)
    )
    return [results.get(job.key) or f"no faces: {problems[_faces_of(job)[1]]}" for job in jobs]


def _faces_of(job: Job) -> tuple[Protocol, int]:
    return job.arguments["protocol"], job.arguments["settings"].seed


def world(out: Path, protocol: Protocol, seed: int) -> Path:
    """Folder of one seed's faces."""
    digest = hashlib.sha256(json.dumps(asdict(protocol), sort_keys=True).encode()).hexdigest()
    return out / "faces" / f"{digest[:8]}-seed{seed}"


def _drawn(folder: Path) -> bool:
    return all((folder / name / _TABLE).is_file() for name in (SHIFTED, ORACLE))


def draw(out: Path, protocol: Protocol, seed: int) -> dict[str, Any]:
    """Draw one seed's faces and retrieve their attributes, once for all methods."""
    from idfer.attributes.table import retrieve
    from idfer.experiments.protocol import write_world

    folder = world(out, protocol, seed)
    manifests = write_world(protocol, folder, seed, progress=False)
    for name, faces in manifests.items():
        retrieve(faces, clip="builtin", out=folder / name / _TABLE, device="cpu", progress=False)
    return {"faces": sum(len(faces) for faces in manifests.values())}


def trial(out: Path, protocol: Protocol, data: str, settings: Settings, device: str) -> dict[str, Any]:
    """Train and measure.

    Returns:
        `scores`, a list of records (see `Score`): on held-out people (`val`) of the training distribution
        their CCC, `selection` (the same under decorrelation weights, what settings are chosen by) and its
        `effective` sample as a share; CCC and RMSE per test split and dimension; leaks of the sampled feature
        and of its mean with their chance; `drift`, `rate` and `seconds`.

    Raises:
        IdferError: training diverged, or faces are missing.
    """
    from idfer.evaluation.forward import Pass
    from idfer.training.checkpoint import load_checkpoint
    from idfer.training.fit import fit_settings
    from idfer.training.retrieval import vectors_for

    run = out / "runs" / job("", protocol, settings.seed, data, settings, device).key
    shifted, table = _faces(world(out, protocol, settings.seed) / SHIFTED)
    learned, learned_table = shifted, table
    if data != SHIFTED:
        learned, learned_table = _faces(world(out, protocol, settings.seed) / data)
    start = time.monotonic()
    # without `val`: scoring it every epoch would cost a tenth of the time
    fit_settings(learned.select("train"), learned_table, settings, out=run, device=device, progress=False)
    trained = time.monotonic()
    checkpoint = load_checkpoint(run, device)

    def answers(faces: Manifest, attributes: AttributeTable) -> Answers:
        vectors = vectors_for(checkpoint, faces, attributes)
        return Pass(seed=settings.seed, strict=True).run(checkpoint, faces, vectors)

    val, tests = learned.select("val"), shifted.select([*TESTS, CHANGED])
    said = answers(tests, table)
    split = tests.frame["split"].to_numpy()
    scores = _selection(answers(val, learned_table), val, learned_table, settings.seed)
    for name in TESTS:
        scores += _accuracy(name, said.rows(split == name), tests.rows(split == name))
    balanced, changed = (said.rows(split == name) for name in ("balanced", CHANGED))
    people = tests.rows(split == "balanced")
    scores += _drift(balanced, changed, people, tests.rows(split == CHANGED))
    scores += _leakage(balanced, people, settings.seed)
    scores.append(Score("rate", None if balanced.rate is None else float(balanced.rate.mean())))
    scores.append(Score("seconds", trained - start, of="fit"))
    scores.append(Score("seconds", time.monotonic() - trained, of="measuring"))
    return {"scores": [replace(score, value=_rounded(score.value)).to_dict() for score in scores]}


def _rounded(value: float | None) -> float | None:
    return round(float(value), 6) if value is not None and np.isfinite(value) else None


def _faces(folder: Path) -> tuple[Manifest, AttributeTable]:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest

    return Manifest.read(folder), AttributeTable.read(folder / _TABLE)


def _selection(said: Answers, val: Manifest, table: AttributeTable, seed: int) -> list[Score]:
    """Mean CCC on held-out training-distribution people, and its estimate without the shortcut.

    Decorrelation weights from *retrieved* attributes make labels and attributes independent, so the weighted
    CCC estimates accuracy where the shortcut is gone, from the training distribution alone.
    """
    import torch

    from idfer.objectives.va import correlations
    from idfer.statistics.decorrelation import decorrelation_weights

    weights = decorrelation_weights(val.targets, table.align(val).free, val.subjects, seed=seed)
    predicted, target = torch.from_numpy(said.valence_arousal), torch.from_numpy(val.targets).double()
    plain = correlations(predicted, target)[1]
    weighted = correlations(predicted, target, torch.from_numpy(weights.values).double())[1]
    return [
        Score("selection", float(weighted.mean())),
        Score("effective", weights.effective / len(val), "val"),
        Score("ccc", float(plain.mean()), "val", "mean"),
    ]


def _accuracy(split: str, said: Answers, faces: Manifest) -> list[Score]:
    """CCC and RMSE of valence and arousal, and their means."""
    from idfer.evaluation import metrics

    scores = []
    for name, metric in (("ccc", metrics.ccc), ("rmse", metrics.rmse)):
        valence, arousal = metric(faces.targets, said.valence_arousal).tolist()
        by_dimension = {"mean": (valence + arousal) / 2, "valence": valence, "arousal": arousal}
        scores += [Score(name, value, split, dimension) for dimension, value in by_dimension.items()]
    return scores


def _drift(said: Answers, changed: Answers, faces: Manifest, others: Manifest) -> list[Score]:
    from idfer.evaluation.counterfactual import check_pairs, drift_of

    check_pairs(faces, others)
    return [Score("drift", drift_of(said.valence_arousal, changed.valence_arousal, faces.subjects).value)]


def _leakage(said: Answers, faces: Manifest, seed: int) -> list[Score]:
    """Probes on the balanced faces; where nothing is sampled both features are one and probed once."""
    from idfer.evaluation.forward import EXPRESSION
    from idfer.evaluation.leakage import Target, leakage
    from idfer.synthetic.factors import PREFIX

    targets = {
        name: Target(faces.frame[PREFIX + name].to_numpy(np.float64), "ground truth") for name in ATTRIBUTES
    }
    features: dict[str, NDArray[np.float32]] = {"mean": said.mean}
    if said.rate is not None:
        features = {"sampled": said.feature(EXPRESSION), "mean": said.mean}
    scores = []
    for leak in leakage(features, targets, faces.subjects, seed=seed).to_dict("records"):
        verified = leak["kind"] == "verification"
        # identity: AUC of verification; both are put on the scale of the score
        chance = 2 * leak["chance"] - 1 if verified else leak["chance"]
        for feature in [leak["features"]] if said.rate is not None else ["sampled", "mean"]:
            where = {"of": leak["target"], "feature": feature, "probe": leak["kind"]}
            scores += [Score("leak", leak["score"], **where), Score("chance", chance, **where)]
    return scores
