"""`evaluate`: measure a run and write metrics.json, predictions.parquet and report.html."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idfer.errors import UsageError
from idfer.files import atomic
from idfer.names import split_names

if TYPE_CHECKING:
    import pandas as pd

    from idfer.data.manifest import Manifest
    from idfer.evaluation.evaluation import Evaluation

METRICS, PREDICTIONS, REPORT = "metrics.json", "predictions.parquet", "report.html"
_TEMPLATE = "report.html.jinja"


def evaluate(
    run: str | Path,
    manifest: str | Path | Manifest,
    attributes: str | Path | None = None,
    out: str | Path | None = None,
    splits: list[str] | str | None = None,
    batch_size: int = 256,
    device: str = "auto",
    seed: int = 0,
    controls: bool = True,
    progress: bool = True,
) -> Evaluation:
    """Measure how well a model reads valence and arousal, and what its features tell about the person.

    Accuracy (RMSE, SAGR, PCC, CCC) per split with intervals over people; leakage of gender presentation,
    age and skin tone from the expression feature and from the plain backbone, by probes tested on people
    they were not fitted to; for a run with an information budget its certificate, an upper bound on what a
    sampled expression feature can tell about identity.

    Args:
        run: a run's folder, or a shipped model's name.
        manifest: manifest.parquet, or a CSV with columns path, valence, arousal.
        attributes: attributes.parquet of `idfer retrieve`, for data without ground-truth attributes and for
            runs whose residual form reads retrieved ID vectors.
        out: folder for metrics.json, predictions.parquet and report.html; None writes nothing.
        splits: which splits, e.g. balanced,reversed; all but `train` by default.
        batch_size: faces per forward pass.
        device: auto, cpu, cuda, cuda:N or mps.
        seed: of probes and bootstrap.
        controls: also probe an untrained backbone and the labels themselves.
        progress: show a progress bar.

    Raises:
        UsageError: an unknown run, split or device.
        IdferError: unusable data, or `out` cannot be written.
    """
    from idfer.evaluation.suite import measure

    found = measure(
        run, manifest, attributes, split_names(splits), batch_size=batch_size, device=device, seed=seed,
        controls=controls, progress=progress,
    )  # fmt: skip
    if out is not None:
        folder = Path(out)
        write_metrics([found], folder / METRICS)
        with atomic(folder / PREDICTIONS) as temporary:
            found.predictions.to_parquet(temporary, index=False)
        command = f"idfer evaluate {run} {found.metrics['data']['manifest']} -o {out} --seed {seed}"
        command += f" --attributes {attributes}" if isinstance(attributes, (str, Path)) else ""
        write_report([found], folder / REPORT, command=command)
    return found


def write_metrics(evaluations: Sequence[Evaluation], path: str | Path) -> Path:
    """Write metrics.json: one evaluation's metrics, or {"runs": [...], "comparison": [...]} of several.

    Undefined values are null; the file never holds NaN.
    """
    from idfer.results import json_ready

    if len(evaluations) == 1:
        content: dict[str, Any] = evaluations[0].metrics
    else:
        content = {
            "schema": evaluations[0].metrics["schema"],
            "runs": [e.metrics for e in evaluations],
            "comparison": comparison(evaluations).to_dict("records"),
        }
    with atomic(path) as temporary:
        text = json.dumps(json_ready(content), indent=1, allow_nan=False, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return Path(path)


def comparison(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """Paired differences of every later run to the first: `accuracy.compare`, with `model` and `baseline`."""
    import pandas as pd

    from idfer.evaluation.accuracy import compare

    names = _names(evaluations)
    base = evaluations[0]
    tables = [
        compare(base.predictions, e.predictions, seed=e.metrics["settings"]["seed"]).assign(
            model=name, baseline=names[0]
        )
        for e, name in zip(evaluations[1:], names[1:], strict=True)
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def write_report(
    evaluations: Sequence[Evaluation], path: str | Path, title: str = "", command: str = ""
) -> Path:
    """Write one self-contained HTML page on one run, or on several measured on the same manifest.

    The page needs no network, no script and no font; pictures are inside it.

    Args:
        evaluations: what `measure` returned; the first is the baseline of comparisons.
        path: the HTML file.
        title: the page's title; made from the runs' names when empty.
        command: the command that made it, shown under provenance.

    Raises:
        UsageError: no evaluation.
        IdferError: the file cannot be written; what stood there is kept.
    """
    if not evaluations:
        raise UsageError("no evaluation to report on.")
    from importlib.resources import files

    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = number
    source = (files("idfer.reporting") / "templates" / _TEMPLATE).read_text(encoding="utf-8")
    names = _names(evaluations)
    page = environment.from_string(source).render(
        title=title or f"How {' and '.join(names)} {'read' if len(names) > 1 else 'reads'} faces",
        names=names,
        runs=[e.metrics for e in evaluations],
        command=command,
        synthetic=_synthetic(evaluations),
        **_content(evaluations, names),
    )
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def number(value: float | None, places: int = 2, signed: bool = False) -> str:
    """A number for a table: "0.41", with a true minus sign; "n/a" where there is none."""
    if value is None or value != value:
        return "n/a"
    text = f"{value:+.{places}f}" if signed else f"{value:.{places}f}"
    if float(text) == 0:
        text = text.replace("-", "+" if signed else "")
    return text.replace("-", "−")


def _content(evaluations: Sequence[Evaluation], names: list[str]) -> dict[str, Any]:
    """Tables and pictures of the page."""
    import pandas as pd

    from idfer.reporting import figures

    def stacked(tables: list[pd.DataFrame]) -> pd.DataFrame:
        tables = [t.assign(model=n) for t, n in zip(tables, names, strict=True)]
        return pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True)

    scores = stacked([e.accuracy for e in evaluations])
    leaks = stacked([e.leakage for e in evaluations])
    predictions = stacked([e.predictions for e in evaluations])
    predictions = predictions[predictions["error"] == ""]
    plotted = _plotted(predictions)
    measured = leaks[leaks["score"].notna()]
    moved = [_moved(e) for e in evaluations]
    return {
        "splits": list(dict.fromkeys(scores["split"])),
        "scores": scores.to_dict("records"),
        "leaks": leaks.to_dict("records"),
        "certificates": _certificates(evaluations, names),
        "differences": comparison(evaluations).to_dict("records"),
        "sheet": _sheet(evaluations),
        "accuracy_figure": figures.data_uri(figures.accuracy(scores)) if len(scores) else "",
        "leakage_figure": figures.data_uri(figures.leakage(measured)) if len(measured) else "",
        "circumplex_figure": figures.data_uri(figures.circumplex(plotted)),
        "circumplex_split": plotted["split"].iloc[0],
        "detached": [
            {
                "name": name,
                "figure": figures.data_uri(figures.detached(table, e.faces)),
                "rows": table.to_dict("records"),
                "faces": {row: figures.face_uri(e.faces[row], 64) for row in set(table["row"])},
            }
            for e, name, table in zip(evaluations, names, moved, strict=True)
            if len(table)
        ],
    }


def _certificates(evaluations: Sequence[Evaluation], names: list[str]) -> list[dict[str, Any]]:
    """The runs' certificates, each with how many equally likely cases its nats tell apart."""
    return [
        {"name": name, "cases": f"{math.exp(min(found['rate_nats'], 50)):,.0f}", **found}
        for e, name in zip(evaluations, names, strict=True)
        if (found := e.metrics["certificate"]) is not None
    ]


def _plotted(predictions: pd.DataFrame) -> pd.DataFrame:
    """Predictions of one split: `balanced` where there is one, else the first."""
    splits = list(dict.fromkeys(predictions["split"]))
    return predictions[predictions["split"] == ("balanced" if "balanced" in splits else splits[0])]


def _moved(evaluation: Evaluation) -> pd.DataFrame:
    """The detach table with each face's label beside it."""
    labels = evaluation.predictions.set_index("row")[["valence", "arousal"]].add_prefix("label_")
    return evaluation.detached.join(labels, on="row")


def _sheet(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Sample faces with their label and what every run says, ordered by true valence."""
    from idfer.reporting import figures

    first = evaluations[0]
    said = [_by_row(e.predictions, "predicted_valence", "predicted_arousal") for e in evaluations]
    label = _by_row(first.predictions, "valence", "arousal")
    split = dict(zip(first.predictions["row"], first.predictions["split"], strict=True))
    return [
        {
            "image": figures.face_uri(first.faces[row]),
            "split": split[row],
            "label": label[row],
            "said": [one[row] for one in said if row in one],
        }
        for row in sorted(first.faces, key=lambda row: -label[row][0])
    ]


def _by_row(table: pd.DataFrame, *columns: str) -> dict[int, list[float]]:
    return dict(zip(table["row"].tolist(), table[list(columns)].to_numpy(float).tolist(), strict=True))


def _names(evaluations: Sequence[Evaluation]) -> list[str]:
    """Names that tell the runs apart: the folder's, with its parent where two are alike."""
    names = [e.name for e in evaluations]
    if len(set(names)) == len(names):
        return names
    return [
        f"{Path(e.metrics['run']['path']).parent.name}/{e.name} ({i + 1})" for i, e in enumerate(evaluations)
    ]


def _synthetic(evaluations: Sequence[Evaluation]) -> bool:
    return any("synthetic" in source for e in evaluations for source in e.metrics["data"]["sources"])
