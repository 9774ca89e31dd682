"""What `measure` found about one model: tables, arrays, and everything as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idfer.evaluation.anova import NAMED

if TYPE_CHECKING:
    import pandas as pd

    from idfer.evaluation.checks import Check

_FEATURE = {"expression": "expression feature", "expression mean": "mean of the expression feature"}


@dataclass(frozen=True)
class Evaluation:
    """What was found about a model on a manifest.

    Attributes:
        name: the model's short name.
        metrics: everything measured and its provenance, ready for JSON (undefined values are None). Keys:
            `schema`; `run` (name, path, method, attributes, config); `data` (manifest, label source, splits
            with rows, failed rows, subjects and rows seen in training, and whether all faces are `drawn`, and
            whether they are `synthetic`, that is drawn or rendered by idfer);
            `checks` (see `checks.Check`); `accuracy` {split: {valence | arousal | mean: {metric: {value, low,
            high}}}}; `author_protocol` (see `author_metrics.by_split`), or None where none was asked for;
            `leakage` {splits, rows, subjects, problems, probes: a record per probe, see `Leak`};
            `certificate` (see `certificate.certificate`), or None for a model without an information budget;
            `invariance` (`split`, people `left_out` for faces that could not be read, and see
            `anova.Invariance.to_dict`), or None where no split is a full cross of people and expressions;
            `settings` (seed, replicates, ...); `environment` (library versions).
        accuracy: the accuracy table (see `accuracy.accuracy`).
        leakage: the leakage table (see `leakage.leakage`); no rows where the suite was not asked for.
        checks: what a reader must know before any number, in coded words.
        predictions: a row per evaluated face: `row` (of the manifest), `path, frame, subject, split, valence,
            arousal, predicted_valence, predicted_arousal, seen, error`. `seen` is "image" where the model was
            trained on this image, "person" where on others of the person, else "".
        detached: for a few faces, `row, detached, valence, arousal`, where `detached` is "none", one
            attribute's name, or "all" (the model's own prediction).
        features: (n, D) float32 by name, of the probed rows: "expression" (with an information budget a
            sample, fixed by seed and face, beside "expression mean"), others of the model's, and controls.
        feature_rows: (n,) manifest rows of `features`.
        faces: (S, S, 3) uint8 crops of a sample of faces, by manifest row.
    """

    name: str
    metrics: dict[str, Any]
    accuracy: pd.DataFrame
    leakage: pd.DataFrame
    checks: list[Check]
    predictions: pd.DataFrame
    detached: pd.DataFrame
    features: dict[str, NDArray[np.float32]]
    feature_rows: NDArray[np.intp]
    faces: dict[int, NDArray[np.uint8]]

    def frame(self) -> pd.DataFrame:
        """Every number as one tidy table.

        A row per number: `run, suite, split, subject_of` (the dimension, or the features), `measure` (the
        metric, "TARGET (PROBE)", "residual (nats)" and "rate (nats)" of the certificate, or of the suite
        `invariance` a component, a ratio or "effect ATTRIBUTE"), `value, low, high`.
        """
        import pandas as pd

        splits = "+".join(self.metrics["leakage"]["splits"])
        accuracy = self.accuracy.rename(columns={"dimension": "subject_of", "metric": "measure"})
        leakage = self.leakage.rename(columns={"features": "subject_of", "score": "value"}).drop(
            columns="measure"
        )
        leakage = leakage.assign(measure=leakage["target"] + " (" + leakage["kind"] + ")", split=splits)
        parts = [accuracy.assign(suite="accuracy"), leakage.assign(suite="leakage")]
        columns = ["run", "suite", "split", "subject_of", "measure", "value", "low", "high"]
        if certified := self.metrics["certificate"]:
            rates = pd.DataFrame(certified["splits"]).T.rename(columns={"rate_nats": "value"})
            rates = rates.rename_axis("split").reset_index()
            parts.append(rates.assign(suite="certificate", subject_of="expression", measure="rate (nats)"))
            if beyond := certified["beyond_label"]:
                line = pd.DataFrame([beyond]).rename(columns={"residual_nats": "value"})
                where = {"suite": "certificate", "subject_of": "expression", "split": splits}
                parts.append(line.assign(measure="residual (nats)", **where))
        if crossed := self.metrics["invariance"]:
            parts.append(pd.DataFrame(_cells(crossed)).assign(suite="invariance", split=crossed["split"]))
        return pd.concat([t[columns[1:]] for t in parts if len(t)]).assign(run=self.name)[columns]

    def __str__(self) -> str:
        """Checks, accuracy, leakage of the expression feature and the certificate, for a terminal."""
        import pandas as pd

        text = "".join(f"{check.level.upper()} {check.code}: {check.message}\n" for check in self.checks)
        numbers = self.accuracy[["value", "low", "high"]].to_numpy()
        cells = self.accuracy.assign(cell=[f"{v:.3f} [{a:.3f}, {b:.3f}]" for v, a, b in numbers])
        if len(cells):
            table = cells.pivot_table("cell", ["split", "dimension"], "metric", aggfunc="first", sort=False)
            text += table.rename_axis(columns=None).to_string()
        else:
            text += "no accuracy was measured."
        if asked := self.metrics.get("author_protocol"):
            rows = {
                (split, dimension): cells
                for split, dimensions in asked["splits"].items()
                for dimension, cells in dimensions.items()
            }
            theirs = pd.DataFrame(rows, dtype=float).T.round(3)
            text += f"\n\nby the protocol `{asked['name']}`, {asked['note']}\n"
            text += theirs.to_string(na_rep="n/a")
        for name in ("expression", "expression mean", "prediction"):
            leaks = self.leakage[self.leakage["features"] == name]
            if len(leaks) and leaks["score"].isna().all():
                text += (
                    f"\n\nleakage of the {_FEATURE.get(name, name)}: not measured ({leaks['note'].iloc[0]})"
                )
            elif len(leaks):
                shown = leaks.pivot_table("score", "target", "kind", sort=False).rename_axis(columns=None)
                of = _FEATURE.get(name, name)
                text += f"\n\nleakage of the {of} (0 none, 1 all)\n{shown.round(3).to_string()}"
        if certified := self.metrics["certificate"]:
            text += f"\n\ncertificate: {certified['statement']} {certified['reading']}"
        if crossed := self.metrics["invariance"]:
            text += (
                f"\n\nsame expression, another person ({crossed['people']} people, "
                f"{crossed['expressions']} expressions): person / expression "
                f"{_shown(crossed['components']['both']['person_ratio'])}, interaction / expression "
                f"{_shown(crossed['components']['both']['interaction_ratio'])}"
            )
            for name in NAMED:
                by = crossed["effects"][name]
                text += (
                    f"\neffect of {name}: valence {_shown(by['valence'])}, arousal {_shown(by['arousal'])}"
                )
        return text


def _cells(crossed: dict[str, Any]) -> list[dict[str, Any]]:
    """The numbers of a full cross as rows of the tidy table."""
    rows = [
        {"subject_of": dimension, "measure": part.replace("_ratio", " / expression"), **cell}
        for dimension, parts in crossed["components"].items()
        for part, cell in parts.items()
    ]
    for name, by_dimension in crossed["effects"].items():
        rows += [{"subject_of": d, "measure": f"effect {name}", **cell} for d, cell in by_dimension.items()]
    return rows


def _shown(cell: dict[str, Any]) -> str:
    value, low, high = (float("nan") if cell[k] is None else cell[k] for k in ("value", "low", "high"))
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"
