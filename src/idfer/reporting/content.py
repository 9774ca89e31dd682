"""What stands on the report's page: tables and pictures, taken from evaluations, ready for the template."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idfer.evaluation import anova
from idfer.evaluation.checks import LEVELS
from idfer.reporting import figures, invariance, probes
from idfer.reporting.svg import Chart, legend

if TYPE_CHECKING:
    import pandas as pd

    from idfer.evaluation.evaluation import Evaluation


def page_content(evaluations: Sequence[Evaluation], show_faces: bool | None = None) -> dict[str, Any]:
    """Everything that the template shows, by name.

    Args:
        evaluations: one or several, of the same manifest; the first is the baseline of comparisons.
        show_faces: whether pictures of faces may be shown; None: only faces that `idfer synth` made.
    """
    names = distinct_names(evaluations)
    synthetic = all(e.metrics["data"]["synthetic"] for e in evaluations)
    shown = synthetic if show_faces is None else show_faces
    scores = _stacked([e.accuracy for e in evaluations], names)
    leaks = _stacked([e.leakage for e in evaluations], names)
    predictions = _stacked([e.predictions for e in evaluations], names)
    plotted = _plotted(predictions[predictions["error"] == ""])
    measured = leaks[leaks["score"].notna()]
    return {
        "names": names,
        "runs": [e.metrics for e in evaluations],
        "synthetic": synthetic,
        "faces_shown": shown,
        "checks": _checks(evaluations, names),
        "splits": list(dict.fromkeys(scores["split"])),
        "scores": scores.to_dict("records"),
        "leaks": leaks.to_dict("records"),
        "certificates": [
            {"name": name, **e.metrics["certificate"]}
            for e, name in zip(evaluations, names, strict=True)
            if e.metrics["certificate"] is not None
        ],
        "invariance": _invariance(evaluations, names),
        "differences": comparison(evaluations).to_dict("records"),
        "sheet": _sheet(evaluations) if shown else [],
        "accuracy": _accuracy(scores, names) if len(scores) else None,
        "leakage": _leakage(measured, names) if len(measured) else None,
        "circumplex": _circumplex(plotted),
        "circumplex_split": plotted["split"].iloc[0],
        "detached": [
            _detached(e, name, shown) for e, name in zip(evaluations, names, strict=True) if len(e.detached)
        ],
    }


def comparison(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """Paired differences of every later run to the first: `accuracy.compare`, with `model` and `baseline`."""
    import pandas as pd

    from idfer.evaluation.accuracy import compare

    names = distinct_names(evaluations)
    base = evaluations[0]
    tables = [
        compare(base.predictions, e.predictions, seed=e.metrics["settings"]["seed"]).assign(
            model=name, baseline=names[0]
        )
        for e, name in zip(evaluations[1:], names[1:], strict=True)
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def distinct_names(evaluations: Sequence[Evaluation]) -> list[str]:
    """Names that tell the runs apart: the folder's, with its parent where two are alike."""
    names = [e.name for e in evaluations]
    if len(set(names)) == len(names):
        return names
    return [
        f"{Path(e.metrics['run'].get('path') or '.').parent.name}/{e.name} ({i + 1})"
        for i, e in enumerate(evaluations)
    ]


def _stacked(tables: list[pd.DataFrame], names: list[str]) -> pd.DataFrame:
    """The runs' tables under one another, told apart by `model`."""
    import pandas as pd

    tables = [table.assign(model=name) for table, name in zip(tables, names, strict=True)]
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def _checks(evaluations: Sequence[Evaluation], names: list[str]) -> list[dict[str, Any]]:
    """The runs' coded checks, worst first; what holds for several runs stands once, with their names."""
    models: dict[tuple[str, str, str], list[str]] = {}
    for evaluation, name in zip(evaluations, names, strict=True):
        for check in evaluation.metrics["checks"]:
            models.setdefault((check["code"], check["level"], check["message"]), []).append(name)
    ordered = sorted(models, key=lambda key: (LEVELS.index(key[1]), key[0]))
    return [
        {"code": code, "level": level, "message": message, "models": models[code, level, message]}
        for code, level, message in ordered
    ]


def _accuracy(scores: pd.DataFrame, names: list[str]) -> Chart:
    keys = legend(names) if len(names) > 1 else []
    return Chart(figures.accuracy(scores), figures.accuracy_alt(scores), keys, across=3)


def _leakage(measured: pd.DataFrame, names: list[str]) -> Chart:
    return Chart(
        probes.leakage(measured), probes.leakage_alt(measured), probes.probe_legend(list(measured["kind"])),
        across=len(names) if len(names) in (2, 3) else 2,
    )  # fmt: skip


def _circumplex(plotted: pd.DataFrame) -> Chart:
    panels = figures.circumplex(plotted)
    return Chart(panels, figures.circumplex_alt(plotted), across=min(len(panels), 3), kind="square")


def _plotted(predictions: pd.DataFrame) -> pd.DataFrame:
    """Predictions of one split: `balanced` where there is one, else the first."""
    splits = list(dict.fromkeys(predictions["split"]))
    return predictions[predictions["split"] == ("balanced" if "balanced" in splits else splits[0])]


def _detached(evaluation: Evaluation, name: str, shown: bool) -> dict[str, Any]:
    """A few faces of one run under each detach setting: a panel and a table row each."""
    labels = evaluation.predictions.set_index("row")[["valence", "arousal"]].add_prefix("label_")
    table = evaluation.detached.join(labels, on="row")
    settings = list(dict.fromkeys(table["detached"]))
    rows = list(dict.fromkeys(table["row"]))
    return {
        "name": name,
        "settings": [{"none": "nothing", "all": "everything"}.get(s, s) for s in settings],
        "legend": figures.detached_legend(settings),
        "alt": figures.detached_alt(table),
        "examples": [
            {
                "row": row,
                "panel": panel,
                "image": figures.face_uri(evaluation.faces[row], 64) if shown else "",
                "said": part[["valence", "arousal"]].to_numpy(float).tolist(),
                "label": part[["label_valence", "label_arousal"]].to_numpy(float)[0].tolist(),
            }
            for row, panel in zip(rows, figures.detached(table), strict=True)
            for part in [table[table["row"] == row]]
        ],
    }


def _invariance(evaluations: Sequence[Evaluation], names: list[str]) -> dict[str, Any] | None:
    """What the full cross says of each run that was measured on one; None where none was."""
    runs = {
        name: e.metrics["invariance"]
        for e, name in zip(evaluations, names, strict=True)
        if e.metrics["invariance"] is not None
    }
    if not runs:
        return None
    attributes = invariance.shown_attributes(runs)
    first = next(iter(runs.values()))
    return {
        "runs": runs,
        "split": first["split"],
        "people": first["people"],
        "expressions": first["expressions"],
        "left_out": max(run["left_out"] for run in runs.values()),
        "attributes": {name: invariance.in_words(name) for name in attributes},
        "unnamed": sum(name not in anova.NAMED for name in first["effects"]),
        "shown": sum(name not in anova.NAMED for name in attributes),
        "chart": Chart(
            invariance.panels(runs), invariance.alt(runs), legend(names) if len(names) > 1 else [], across=3
        ),
    }


def _sheet(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Sample faces with their label and what every run says, ordered by true valence."""
    first = evaluations[0]
    answers = [_by_row(e.predictions, "predicted_valence", "predicted_arousal") for e in evaluations]
    label = _by_row(first.predictions, "valence", "arousal")
    split = dict(zip(first.predictions["row"], first.predictions["split"], strict=True))
    return [
        {
            "image": figures.face_uri(first.faces[row]),
            "split": split[row],
            "label": label[row],
            "said": [answer[row] for answer in answers if row in answer],
        }
        for row in sorted(first.faces, key=lambda row: -label[row][0])
    ]


def _by_row(table: pd.DataFrame, *columns: str) -> dict[int, list[float]]:
    return dict(zip(table["row"].tolist(), table[list(columns)].to_numpy(float).tolist(), strict=True))
