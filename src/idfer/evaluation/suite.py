"""Measure a run on a manifest: one pass of the network, then every suite on what it said."""

from __future__ import annotations

import logging
import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idfer.data.manifest import FACTOR, Manifest
from idfer.errors import IdferError, UsageError, unknown

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from idfer.attributes.table import AttributeTable
    from idfer.evaluation.leakage import Target
    from idfer.models.network import Network
    from idfer.training.checkpoint import Checkpoint

SCHEMA = "idfer.metrics/1"
SUITES = ("accuracy", "leakage")
ATTRIBUTES = ("gender", "age", "skin")  # probed wherever the data tell them, so that runs compare
PROBED_ROWS = 3000  # more rows of the same people hardly sharpen a probe
_SHEET, _EXAMPLES = 24, 4  # faces shown; faces shown with each attribute detached
_FEATURE = {"expression": "expression feature", "expression mean": "mean of the expression feature"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What `measure` found.

    Attributes:
        name: the run's short name.
        metrics: everything measured and its provenance, ready for JSON (undefined values are None). Keys:
            `schema`; `run` (name, path, configuration); `data` (manifest, label source, splits with rows,
            failed rows and subjects); `accuracy` {split: {valence | arousal | mean: {metric: {value, low,
            high}}}}; `leakage` {splits, rows, subjects, problems, probes: a record per probe, see `Leak`};
            `certificate` {rate_nats, low, high, rows, splits: {split: the same}, meaning}, see
            `certificate.certificate`, or None for a run without an information budget; `settings` (seed,
            replicates, ...); `environment` (library versions).
        accuracy: the accuracy table (see `accuracy.accuracy`).
        leakage: the leakage table (see `leakage.leakage`); no rows where the suite was not asked for.
        predictions: a row per evaluated face: `row` (of the manifest), `path, frame, subject, split, valence,
            arousal, predicted_valence, predicted_arousal, error`.
        detached: for a few faces, `row, detached, valence, arousal`, where `detached` is "none", one
            attribute's name, or "all" (the model's own prediction).
        features: (n, D) float32 by name, of the probed rows: "expression" (with an information budget a
            sample, fixed by the seed, beside "expression mean"), "backbone", and controls.
        feature_rows: (n,) manifest rows of `features`.
        faces: (S, S, 3) uint8 crops of a sample of faces, by manifest row.
    """

    name: str
    metrics: dict[str, Any]
    accuracy: pd.DataFrame
    leakage: pd.DataFrame
    predictions: pd.DataFrame
    detached: pd.DataFrame
    features: dict[str, NDArray[np.float32]]
    feature_rows: NDArray[np.intp]
    faces: dict[int, NDArray[np.uint8]]

    def frame(self) -> pd.DataFrame:
        """Every number as one tidy table.

        A row per number: `run, suite, split, subject_of` (the dimension, or the features), `measure` (the
        metric, "TARGET (PROBE)", or "rate (nats)" of the certificate), `value, low, high`.
        """
        import pandas as pd

        splits = "+".join(self.metrics.get("leakage", {}).get("splits", []))
        accuracy = self.accuracy.rename(columns={"dimension": "subject_of", "metric": "measure"})
        leakage = self.leakage.rename(columns={"features": "subject_of", "score": "value"}).drop(
            columns="measure"
        )
        leakage = leakage.assign(measure=leakage["target"] + " (" + leakage["kind"] + ")", split=splits)
        parts = [accuracy.assign(suite="accuracy"), leakage.assign(suite="leakage")]
        columns = ["run", "suite", "split", "subject_of", "measure", "value", "low", "high"]
        if certified := self.metrics.get("certificate"):
            rates = pd.DataFrame(certified["splits"]).T.rename(columns={"rate_nats": "value"})
            rates = rates.rename_axis("split").reset_index()
            parts.append(rates.assign(suite="certificate", subject_of="expression", measure="rate (nats)"))
        return pd.concat([t[columns[1:]] for t in parts if len(t)]).assign(run=self.name)[columns]

    def __str__(self) -> str:
        """Accuracy, leakage of the expression feature and the certificate, for a terminal."""
        numbers = self.accuracy[["value", "low", "high"]].to_numpy()
        cells = self.accuracy.assign(cell=[f"{v:.3f} [{a:.3f}, {b:.3f}]" for v, a, b in numbers])
        table = cells.pivot_table("cell", ["split", "dimension"], "metric", aggfunc="first", sort=False)
        text = table.rename_axis(columns=None).to_string()
        for name in ("expression", "expression mean"):
            leaks = self.leakage[self.leakage["features"] == name]
            if len(leaks):
                shown = leaks.pivot_table("score", "target", "kind", sort=False).rename_axis(columns=None)
                text += f"\n\nleakage of the {_FEATURE[name]} (0 none, 1 all)\n{shown.round(3).to_string()}"
        if certified := self.metrics.get("certificate"):
            low, high = (float("nan") if certified[k] is None else certified[k] for k in ("low", "high"))
            text += (
                f"\n\ncertificate: a sampled expression feature carries at most {certified['rate_nats']:.2f} "
                f"[{low:.2f}, {high:.2f}] nats about the image. {certified['reading']} "
                "The feature's mean is not bounded."
            )
        return text


def measure(
    run: str | Path | Checkpoint,
    manifest: str | Path | Manifest,
    table: str | Path | AttributeTable | None = None,
    splits: Sequence[str] | None = None,
    suites: Sequence[str] = SUITES,
    *,
    batch_size: int = 256,
    device: str = "auto",
    seed: int = 0,
    replicates: int = 1000,
    controls: bool = True,
    progress: bool = True,
) -> Evaluation:
    """Run a model over faces and measure it.

    Args:
        run: a run's folder, a shipped model's name, or an opened checkpoint.
        manifest: the faces, or their path.
        table: retrieved attributes, probed for where the manifest has no ground truth `factor.NAME`; runs
            whose residual form reads retrieved ID vectors need it.
        splits: which splits; all but `train` by default (or all rows, where there is nothing else).
        suites: of `SUITES`.
        batch_size: faces per forward pass.
        device: auto, cpu, cuda, cuda:N or mps.
        seed: of the probes, the bootstrap and the choice of sample faces.
        replicates: bootstrap replicates over subjects.
        controls: also probe what leakage must be read against: an untrained backbone (what any network of
            this kind lets through) and the labels themselves (what a perfect model must let through, since
            labels and attributes may be correlated in these data).
        progress: show a progress bar.

    Raises:
        UsageError: an unknown split, suite or run.
        IdferError: no face could be read, the network's output is not finite, or the table was made by
            another CLIP or vocabulary than a run that reads ID vectors was trained with.
    """
    from idfer.attributes.table import AttributeTable
    from idfer.evaluation.accuracy import accuracy
    from idfer.evaluation.certificate import certificate
    from idfer.evaluation.checks import run_checks
    from idfer.evaluation.leakage import Leak, leakage
    from idfer.training.checkpoint import Checkpoint, load_checkpoint
    from idfer.training.retrieval import vectors_for

    for suite in suites:
        if suite not in SUITES:
            raise unknown("suite", suite, list(SUITES))
    if batch_size < 1 or replicates < 1:
        raise UsageError("batch_size and replicates must be 1 or more.")
    import pandas as pd

    faces = manifest if isinstance(manifest, Manifest) else Manifest.read(manifest)
    checkpoint = run if isinstance(run, Checkpoint) else load_checkpoint(run, device)
    rows = _evaluated(faces, splits)
    part = faces.rows(rows)
    if isinstance(table, (str, Path)):
        table = AttributeTable.read(table)
    vectors = vectors_for(checkpoint, part, table)
    targets, problems = _targets(part, checkpoint.network.attributes, table)
    probed, probed_splits = _probed(part, seed) if "leakage" in suites else (np.empty(0, np.intp), [])
    sheet = _sheet(part, probed, seed)

    control = controls and "leakage" in suites
    seen = _Pass(checkpoint, part, batch_size, control, set(sheet.tolist()), vectors)
    predicted, features, crops, errors, rates = seen.run(probed, seed, progress)
    predictions = part.frame[["path", "frame", "subject", "split", "valence", "arousal"]].copy()
    predictions.insert(0, "row", rows)
    predictions["subject"] = part.subjects
    predictions["predicted_valence"], predictions["predicted_arousal"] = predicted.T
    predictions["error"] = errors
    _check_output(checkpoint, predictions)

    scores = accuracy(predictions, replicates=replicates, seed=seed) if "accuracy" in suites else None
    leaks = pd.DataFrame(columns=list(Leak.__dataclass_fields__))
    read = errors[probed] == ""
    probed = probed[read]
    if "leakage" in suites:
        features = {name: values[read] for name, values in features.items()}
        if controls:
            features["labels"] = part.targets[probed]
        chosen = {name: target.rows(probed) for name, target in targets.items()}
        leaks = leakage(features, chosen, part.subjects[probed], seed=seed)
    found = Evaluation(
        name=checkpoint.name,
        metrics={},
        accuracy=accuracy(predictions.iloc[:0]) if scores is None else scores,
        leakage=leaks,
        predictions=predictions,
        detached=_detached(checkpoint, crops, predictions, vectors),
        features=features,
        feature_rows=rows[probed],
        faces={int(rows[row]): crop for row, crop in crops.items()},
    )
    found.metrics.update(
        schema=SCHEMA,
        run=_run(checkpoint),
        data=_data(manifest, part, predictions),
        accuracy=_nested(found.accuracy),
        leakage={
            "splits": probed_splits,
            "rows": len(probed),
            "subjects": len(np.unique(part.subjects[probed])),
            "problems": problems,
            "probes": leaks.to_dict("records"),
        },
        certificate=None
        if rates is None
        else certificate(
            rates, part.subjects, part.frame["split"].to_numpy(), replicates=replicates, seed=seed,
            attributes={name: target.values for name, target in targets.items()},
        ),
        settings={
            "seed": seed, "replicates": replicates, "batch_size": batch_size, "suites": list(suites),
            "controls": controls, "device": str(next(checkpoint.network.parameters()).device),
        },
        environment=environment(),
    )  # fmt: skip
    found.metrics["checks"] = [
        check.to_dict()
        for check in run_checks(
            predicted,
            part.targets,
            part.frame["subject"].to_numpy(str),
            errors,
            splits=part.frame["split"].to_numpy(str),
            certificate=found.metrics["certificate"],
            drawn=part.drawn,
        )
    ]
    clean = json_ready(found.metrics)
    found.metrics.clear()
    found.metrics.update(clean)
    return found


def environment() -> dict[str, str]:
    """Versions of what the numbers depend on, and the platform."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("idfer", "torch", "timm", "numpy", "pandas", "open-clip-torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def json_ready(value: Any) -> Any:
    """`value` with numpy numbers as Python's and numbers that are not finite as None, all the way down."""
    if isinstance(value, dict):
        return {str(k): json_ready(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [json_ready(v) for v in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, str) else str(value)


class _Pass:
    """One pass of a network over faces, keeping only what the suites need."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        faces: Manifest,
        batch_size: int,
        control: bool,
        keep: set[int],
        vectors: NDArray[np.float32] | None,
    ) -> None:
        self.checkpoint, self.faces, self.batch_size = checkpoint, faces, batch_size
        self.control, self.keep, self.vectors = control, keep, vectors

    def run(
        self, probed: NDArray[np.intp], seed: int, progress: bool
    ) -> tuple[
        NDArray[np.float64],
        dict[str, NDArray[np.float32]],
        dict[int, NDArray[np.uint8]],
        NDArray[Any],
        NDArray[np.float64] | None,
    ]:
        """Predictions (N, 2), features of the probed rows, crops of the kept rows, errors (N,), rates (N,).

        Rates, in nats, are None without an information budget.
        """
        import torch

        from idfer.data.loader import face_batches
        from idfer.objectives.budget import rate
        from idfer.progress import bar

        network, contract = self.checkpoint.network, self.checkpoint.preprocess
        device = next(network.parameters()).device
        plain = _untrained(self.checkpoint, seed).to(device) if self.control and len(probed) else None
        count = len(self.faces)
        predicted, errors = np.full((count, 2), np.nan), np.full(count, "", object)
        place = np.full(count, -1)
        place[probed] = np.arange(len(probed))
        features: dict[str, NDArray[np.float32]] = {}
        rates = None if network.gaussian is None else np.full(count, np.nan)
        # Drawn beforehand, a row per probed face, so that a face's sample does not hang on the batch size.
        noise = torch.randn(len(probed), network.dim, generator=torch.Generator().manual_seed(seed))
        crops: dict[int, NDArray[np.uint8]] = {}

        def keep(name: str, at: NDArray[np.intp], values: torch.Tensor) -> None:
            shape = (len(probed), values.shape[1])
            features.setdefault(name, np.full(shape, np.nan, np.float32))[at] = values.float().cpu().numpy()

        start = 0
        with bar("running the network", count, progress) as advance, torch.inference_mode():
            for rows, pixels, messages in face_batches(self.faces, contract, self.batch_size):
                stretch = np.arange(start, min(start + self.batch_size, count))
                start += self.batch_size
                errors[np.setdiff1d(stretch, rows)] = messages
                advance(len(stretch))
                if self.vectors is not None:
                    known = np.isfinite(self.vectors[rows]).all(axis=(1, 2))
                    errors[rows[~known]] = "it has no retrieved ID vectors, which this run reads"
                    rows, pixels = rows[known], pixels[torch.from_numpy(known)]
                if not len(rows):
                    continue
                image = contract.normalise(pixels.to(device))
                output = network(image, retrieved=_picked(self.vectors, rows, device))
                predicted[rows] = output.valence_arousal.double().cpu().numpy()
                if rates is not None and output.log_variance is not None:
                    rates[rows] = rate(output.mean.double(), output.log_variance.double()).cpu().numpy()
                inside = place[rows] >= 0
                if inside.any():
                    at, mask = place[rows][inside], torch.as_tensor(inside, device=device)
                    if output.log_variance is None:
                        keep("expression", at, output.expression[mask])
                    else:
                        spread = (0.5 * output.log_variance[mask]).exp().cpu()
                        keep("expression", at, output.mean[mask].cpu() + spread * noise[at])
                        keep("expression mean", at, output.mean[mask])
                    keep("backbone", at, output.backbone[mask])
                    if plain is not None:
                        keep("untrained backbone", at, plain(image[mask]))
                for i in np.flatnonzero(np.isin(rows, list(self.keep))):
                    crops[int(rows[i])] = pixels[i].permute(1, 2, 0).contiguous().numpy()
        if (errors != "").all():
            raise IdferError(f"none of the {count} faces could be read; the first: {errors[0]}")
        return predicted, features, crops, errors, rates


def _untrained(checkpoint: Checkpoint, seed: int) -> torch.nn.Module:
    """The run's backbone with fresh random weights."""
    import torch

    from idfer.models.backbone import create_backbone

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return create_backbone(checkpoint.config["backbone"], checkpoint.preprocess.size).eval()


def _picked(
    vectors: NDArray[np.float32] | None, rows: NDArray[np.intp], device: torch.device
) -> torch.Tensor | None:
    """(n, A, E) ID vectors of some rows, where the network reads any."""
    import torch

    return None if vectors is None else torch.from_numpy(vectors[rows]).to(device)


def _evaluated(faces: Manifest, splits: Sequence[str] | None) -> NDArray[np.intp]:
    """Manifest rows to evaluate."""
    if splits is not None:
        for one in splits:
            if one not in faces.splits:
                raise unknown("split", one, faces.splits)
        return np.flatnonzero(faces.frame["split"].isin(list(splits)).to_numpy())
    rows = np.flatnonzero((faces.frame["split"] != "train").to_numpy())
    if not len(rows):
        _log.warning("the manifest has only the split 'train': these scores may be of people trained on.")
        return np.arange(len(faces))
    return rows


def _probed(faces: Manifest, seed: int) -> tuple[NDArray[np.intp], list[str]]:
    """Rows to probe: of `balanced` where it exists (labels tell nothing of attributes there), else all.

    At most `PROBED_ROWS`, as evenly over people as can be.
    """
    splits = ["balanced"] if "balanced" in faces.splits else faces.splits
    rows = np.flatnonzero(faces.frame["split"].isin(splits).to_numpy())
    if len(rows) > PROBED_ROWS:
        rows = np.random.default_rng(seed).permutation(rows)
        turn = faces.frame["subject"].where(faces.frame["subject"] != "", faces.frame["path"])
        turns = turn.iloc[rows].groupby(turn.iloc[rows]).cumcount().to_numpy()  # a person's 1st, 2nd, ... row
        rows = np.sort(rows[np.argsort(turns, kind="stable")[:PROBED_ROWS]])
        _log.warning("leakage is probed on %d of the rows, evenly over people.", PROBED_ROWS)
    return rows, list(splits)


def _targets(
    faces: Manifest, attributes: Sequence[str], table: AttributeTable | None
) -> tuple[dict[str, Target], list[str]]:
    """What to probe for, with its source: ground truth where the manifest has it, else retrieved."""
    from idfer.evaluation.leakage import Target

    aligned = None if table is None else table.align(faces)
    found, problems = {}, []
    for name in dict.fromkeys([*ATTRIBUTES, *attributes, *(aligned.levels if aligned else ())]):
        if FACTOR + name in faces.frame.columns:
            values = faces.frame[FACTOR + name]
            numeric = values.dtype.kind in "fiub"
            known = values.to_numpy(np.float64) if numeric else values.fillna("").astype(str).to_numpy(str)
            found[name] = Target(known, "ground truth")
        elif aligned is not None and name in aligned.levels:
            clip = aligned.source.get("clip", "CLIP")
            found[name] = Target(aligned.top(name).astype(str), f"retrieved with {clip}")
        else:
            problems.append(f"{name}: neither factor.{name} in the manifest nor retrieved; not probed.")
    return found, problems


def _sheet(faces: Manifest, probed: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """Rows to show: of different people while there are enough."""
    rows = np.random.default_rng(seed).permutation(probed if len(probed) else np.arange(len(faces)))
    first = np.unique(faces.subjects[rows], return_index=True)[1]
    order = np.concatenate([rows[np.sort(first)], np.delete(rows, first)])
    return order[:_SHEET]


def _detached(
    checkpoint: Checkpoint,
    crops: dict[int, NDArray[np.uint8]],
    predictions: pd.DataFrame,
    vectors: NDArray[np.float32] | None,
) -> pd.DataFrame:
    """Predict a few expressive faces with no attribute detached, each alone, and all."""
    import pandas as pd
    import torch

    network: Network = checkpoint.network
    columns = ["row", "detached", "valence", "arousal"]
    if not network.attributes or not crops:
        return pd.DataFrame(columns=columns)
    shown = predictions.iloc[list(crops)]
    quadrant = 2 * (shown["valence"] > 0) + (shown["arousal"] > 0)
    strong = (shown["valence"] ** 2 + shown["arousal"] ** 2).groupby(quadrant).idxmax()
    chosen = list(dict.fromkeys([*strong, *shown.index]))[:_EXAMPLES]
    device = next(network.parameters()).device
    pixels = torch.stack([torch.from_numpy(crops[int(i)].transpose(2, 0, 1).copy()) for i in chosen])
    image = checkpoint.preprocess.normalise(pixels.to(device))
    settings: dict[str, list[str]] = {"none": [], **{a: [a] for a in network.attributes}}
    settings["all"] = list(network.attributes)
    retrieved = _picked(vectors, np.array(chosen), device)
    table = []
    with torch.inference_mode():
        for name, detach in settings.items():
            values = network(image, detach=detach, retrieved=retrieved).valence_arousal.double().cpu().numpy()
            for row, (valence, arousal) in zip(predictions.loc[chosen, "row"], values, strict=True):
                table.append({"row": int(row), "detached": name, "valence": valence, "arousal": arousal})
    return pd.DataFrame(table, columns=columns)


def _check_output(checkpoint: Checkpoint, predictions: pd.DataFrame) -> None:
    values = predictions[["predicted_valence", "predicted_arousal"]].to_numpy()
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1) & (predictions["error"] == "").to_numpy())
    if bad.size:
        first = predictions.iloc[bad[0]]
        raise IdferError(
            f"{checkpoint.path}: predicts {values[bad[0]].tolist()} for row {first['row']} "
            f"({first['path']}), {bad.size} such rows: the weights have diverged; train again "
            "with a smaller learning rate."
        )


def _run(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "name": checkpoint.name,
        "path": str(checkpoint.path),
        "method": checkpoint.config.get("method", "unknown"),
        "attributes": list(checkpoint.network.attributes),
        "config": checkpoint.config,
    }


def _data(manifest: str | Path | Manifest, part: Manifest, predictions: pd.DataFrame) -> dict[str, Any]:
    table = predictions.assign(failed=predictions["error"] != "").groupby("split", sort=False)
    splits = table.agg(rows=("row", "size"), failed=("failed", "sum"), subjects=("subject", "nunique"))
    frame = part.frame
    return {
        "manifest": str(part.root if isinstance(manifest, Manifest) else manifest),
        "sources": sorted(set(frame["source"]) - {""}),
        "label_sources": sorted(set(frame["label_source"]) - {""}),
        "splits": splits.to_dict("index"),
        "drawn": part.drawn,
    }


def _nested(table: pd.DataFrame) -> dict[str, Any]:
    """The accuracy table as {split: {dimension: {metric: {value, low, high}}}}."""
    nested: dict[str, Any] = {}
    for line in table.to_dict("records"):
        cell = {key: line[key] for key in ("value", "low", "high")}
        nested.setdefault(line["split"], {}).setdefault(line["dimension"], {})[line["metric"]] = cell
    return nested
