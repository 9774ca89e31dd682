"""A trial: train one method on one seed's faces and measure it, as a flat dict of numbers.

All that benchmarks report comes from here, so that `benchmark shift` and `ablate` measure alike and share
results. What a trial is compared by (`settings`) has every default filled in: a default that changes makes
another trial, never a stale number.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.errors import UsageError, unknown
from idfer.experiments.jobs import Job, Workers, run_jobs
from idfer.experiments.protocol import CHANGED, ORACLE, SHIFTED, TESTS, Protocol
from idfer.names import is_path, split_names

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest
    from idfer.evaluation.outputs import Outputs

TRIAL, DRAW = "idfer.experiments.trial:trial", "idfer.experiments.trial:draw"
ATTRIBUTES = ("gender", "age", "skin")
FEATURES = ("sampled", "mean")
_TABLE = "attributes.parquet"
_NOT_SETTINGS = {"out", "seed", "device", "num_workers", "save_minutes", "progress", "precision", "margin"}


def job(
    name: str, protocol: Protocol, seed: int, data: str, settings: Mapping[str, Any], device: str = "cpu"
) -> Job:
    """A trial as a job.

    Args:
        name: for people.
        protocol: sizes of the splits.
        seed: of faces, weights and order.
        data: `shifted`, or `oracle` for training and held-out faces without the shortcut.
        settings: of `resolve`.
        device: where it is trained.
    """
    arguments = {
        "protocol": json.loads(json.dumps(asdict(protocol))), "seed": seed, "data": data,
        "settings": dict(settings), "device": device,
    }  # fmt: skip
    return Job(name, TRIAL, arguments)


def resolve(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of `idfer fit` with every default written out.

    Args:
        given: options of `fit` by name; `method` among them.

    Raises:
        UsageError: a setting, method, term, estimator, attribute, form or retrieval that does not exist.
    """
    from idfer.attributes.vocabulary import Vocabulary
    from idfer.methods.catalogue import METHODS, NETWORK
    from idfer.methods.common import terms_of
    from idfer.models.forms import FORMS
    from idfer.objectives import ESTIMATORS
    from idfer.training.fit import fit
    from idfer.training.retrieval import RETRIEVALS

    parameters = signature(fit).parameters.values()
    known = {p.name: p.default for p in parameters if p.kind is Parameter.KEYWORD_ONLY}
    known = {name: value for name, value in known.items() if name not in _NOT_SETTINGS}
    for name in given:
        if name not in known:
            raise unknown("setting", name, list(known), "These are options of `idfer fit`.")
    settings = known | dict(given)
    if settings["method"] not in METHODS:
        raise unknown("method", settings["method"], list(METHODS))
    entry = METHODS[settings["method"]]
    defaults = {**NETWORK, **entry.network, "decorrelate": entry.weights}
    for name in ("form", "retrieval", "code", "decorrelate"):
        settings[name] = defaults[name] if settings[name] is None else settings[name]
    for name, allowed in (("form", FORMS), ("retrieval", RETRIEVALS)):
        if settings[name] not in allowed:
            kind = "residual form" if name == "form" else name
            raise unknown(kind, str(settings[name]), list(allowed))
    settings["use"] = split_names(settings["use"])
    attributes = list(Vocabulary.load("default").levels)
    for attribute in settings["use"] or []:
        if attribute not in attributes:
            raise unknown("attribute", attribute, attributes)
    terms = settings["terms"] or {}
    if not isinstance(terms, Mapping):
        raise UsageError(f"terms is {terms!r}; give a mapping of term names to values.")
    settings["terms"] = asdict(terms_of(entry.load().Terms, {**entry.terms, **terms}))
    estimator = settings["terms"].get("estimator", "club")
    if estimator not in ESTIMATORS and not is_path(estimator):
        raise unknown("estimator", estimator, list(ESTIMATORS))
    return settings


def run_trials(
    jobs: Sequence[Job], out: Path, workers: Workers, what: str, progress: bool = True
) -> list[dict[str, Any] | str]:
    """Draw the faces that jobs without a result need, then run those jobs; returns as `run_jobs`."""
    needed = {
        (json.dumps(one.arguments["protocol"]), one.arguments["seed"])
        for one in jobs
        if one.result(out) is None
    }
    draws = [
        Job(f"faces of seed {seed}", DRAW, {"protocol": json.loads(protocol), "seed": seed})
        for protocol, seed in sorted(needed)
    ]
    missing = [d for d in draws if not _drawn(world(out, **d.arguments))]
    for one in missing:
        one.file(out).unlink(missing_ok=True)  # its folder was deleted
    drawn = run_jobs(missing, out, workers, "drawing faces", progress)
    problems = {d.arguments["seed"]: r for d, r in zip(missing, drawn, strict=True) if isinstance(r, str)}
    possible = [one for one in jobs if one.arguments["seed"] not in problems]
    found = dict(
        zip([one.key for one in possible], run_jobs(possible, out, workers, what, progress), strict=True)
    )
    return [found.get(one.key) or f"no faces: {problems[one.arguments['seed']]}" for one in jobs]


def world(out: Path, protocol: Mapping[str, Any], seed: int) -> Path:
    """Folder of one seed's faces."""
    digest = hashlib.sha256(json.dumps(protocol, sort_keys=True).encode()).hexdigest()
    return out / "faces" / f"{digest[:8]}-seed{seed}"


def _drawn(folder: Path) -> bool:
    return all((folder / name / _TABLE).is_file() for name in (SHIFTED, ORACLE))


def draw(out: Path, protocol: dict[str, Any], seed: int) -> dict[str, Any]:
    """Draw one seed's faces and retrieve their attributes, once for all methods."""
    from idfer.attributes.table import retrieve
    from idfer.experiments.protocol import write_world

    folder = world(out, protocol, seed)
    sizes: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in protocol.items()}
    found = write_world(Protocol(**sizes), folder, seed, progress=False)
    for name, faces in found.items():
        retrieve(faces, clip="builtin", out=folder / name / _TABLE, device="cpu", progress=False)
    return {"faces": sum(len(faces) for faces in found.values())}


def trial(
    out: Path, protocol: dict[str, Any], seed: int, data: str, settings: dict[str, Any], device: str
) -> dict[str, Any]:
    """Train and measure.

    Returns:
        Flat numbers. `val_ccc` on held-out people of the training distribution, `selection` the same under
        decorrelation weights (what settings are chosen by), `val_effective` their effective sample size as a
        share; per test split `SPLIT_ccc`, `SPLIT_ccc_valence`, ... and `rmse` alike; per feature (`sampled`,
        `mean`) `leak_FEATURE_TARGET_PROBE`, its `chance_...`, and `leak_FEATURE_identity`; `drift`, `rate`,
        `seconds_fit` and `seconds_measure`.

    Raises:
        IdferError: training diverged, or faces are missing.
    """
    from idfer.evaluation.outputs import outputs
    from idfer.training.checkpoint import load_checkpoint
    from idfer.training.fit import fit

    arguments = {"protocol": protocol, "seed": seed, "data": data, "settings": settings, "device": device}
    run = out / "runs" / Job("", TRIAL, arguments).key
    shifted, table = _faces(world(out, protocol, seed) / SHIFTED)
    learned, own = _faces(world(out, protocol, seed) / data) if data != SHIFTED else (shifted, table)
    start = time.monotonic()
    # without `val`: scoring it every epoch would cost a tenth of the time
    fit(learned.select("train"), own, **settings, out=run, seed=seed, device=device, progress=False)
    trained = time.monotonic()
    checkpoint = load_checkpoint(run, device)
    val, tests = learned.select("val"), shifted.select([*TESTS, CHANGED])
    found = outputs(checkpoint, tests, table, seed=seed)
    held_out = outputs(checkpoint, val, own, seed=seed)
    split = tests.frame["split"].to_numpy()
    numbers = _selection(held_out, val, own, seed)
    for name in TESTS:
        numbers |= _accuracy(name, found.rows(split == name), tests.rows(split == name))
    balanced, changed = (found.rows(split == name) for name in ("balanced", CHANGED))
    people = tests.rows(split == "balanced")
    numbers |= _drift(balanced, changed, people, tests.rows(split == CHANGED))
    numbers |= _leakage(balanced, people, seed) | {"rate": float(balanced.rate.mean())}
    numbers |= {"seconds_fit": trained - start, "seconds_measure": time.monotonic() - trained}
    return {name: _plain(value) for name, value in numbers.items()}


def _plain(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None


def _faces(folder: Path) -> tuple[Manifest, AttributeTable]:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest

    return Manifest.read(folder), AttributeTable.read(folder / _TABLE)


def _selection(found: Outputs, val: Manifest, table: AttributeTable, seed: int) -> dict[str, float]:
    """Mean CCC on held-out training-distribution people, and its estimate without the shortcut.

    Decorrelation weights from *retrieved* attributes make labels and attributes independent, so the weighted
    CCC estimates accuracy where the shortcut is gone, from the training distribution alone.
    """
    import torch

    from idfer.objectives.va import correlations
    from idfer.statistics.decorrelation import decorrelation_weights

    weights = decorrelation_weights(val.targets, table.align(val).free, val.subjects, seed=seed)
    guess, target = torch.from_numpy(found.valence_arousal), torch.from_numpy(val.targets).double()
    plain = correlations(guess, target)[1]
    weighted = correlations(guess, target, torch.from_numpy(weights.values).double())[1]
    return {
        "selection": float(weighted.mean()),
        "val_ccc": float(plain.mean()),
        "val_effective": weights.effective / len(val),
    }


def _accuracy(split: str, found: Outputs, faces: Manifest) -> dict[str, float]:
    """CCC and RMSE of valence and arousal, and their means."""
    from idfer.evaluation import metrics

    numbers: dict[str, float] = {}
    for name, metric in (("ccc", metrics.ccc), ("rmse", metrics.rmse)):
        valence, arousal = metric(faces.targets, found.valence_arousal).tolist()
        numbers |= {
            f"{split}_{name}": (valence + arousal) / 2, f"{split}_{name}_valence": valence,
            f"{split}_{name}_arousal": arousal,
        }  # fmt: skip
    return numbers


def _drift(found: Outputs, changed: Outputs, faces: Manifest, others: Manifest) -> dict[str, float]:
    from idfer.evaluation.counterfactual import check_pairs, drift_of

    check_pairs(faces, others)
    return {"drift": drift_of(found.valence_arousal, changed.valence_arousal, faces.subjects).value}


def _leakage(found: Outputs, faces: Manifest, seed: int) -> dict[str, float]:
    """Probes on the balanced faces; where nothing is sampled both features are one and probed once."""
    from idfer.evaluation.leakage import Target, leakage
    from idfer.synthetic.factors import PREFIX

    targets = {
        name: Target(faces.frame[PREFIX + name].to_numpy(np.float64), "ground truth") for name in ATTRIBUTES
    }
    sampled = bool(np.isfinite(found.rate).all())
    features = {name: getattr(found, name) for name in (FEATURES if sampled else ("mean",))}
    numbers: dict[str, float] = {}
    for leak in leakage(features, targets, faces.subjects, seed=seed).to_dict("records"):
        probe = "" if leak["kind"] == "verification" else f"_{leak['kind']}"
        for name in [leak["features"]] if sampled else FEATURES:
            where = f"{name}_{leak['target']}{probe}"
            # identity: AUC of verification; both are put on the scale of the score
            chance = leak["chance"] if probe else 2 * leak["chance"] - 1
            numbers |= {f"leak_{where}": leak["score"], f"chance_{where}": chance}
    return numbers
