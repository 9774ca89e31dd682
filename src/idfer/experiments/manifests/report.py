"""What `benchmark compare` finds, as JSON and Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.evaluation.multiplicity import holm
from idfer.experiments.grid import shown_as
from idfer.experiments.manifests.measures import (
    at_places,
    compared,
    estimate_of,
    measures_of,
    probed,
    reference_of,
)
from idfer.experiments.manifests.people import OverPeople, records
from idfer.experiments.manifests.study import Tried, regret
from idfer.experiments.manifests.tables import (
    accuracy_table,
    leakage_table,
    number,
    sampled_table,
)
from idfer.experiments.manifests.words import data_text, missing_text, test_text
from idfer.experiments.measures import Measure, Rows, compare
from idfer.experiments.scores import names_of
from idfer.experiments.tables import (
    bracket,
    columns,
    flat,
    interval_text,
    p_text,
    pipes,
    settings_text,
    source_text,
    verdict,
)
from idfer.experiments.writer import write_results
from idfer.files import atomic

if TYPE_CHECKING:
    import pandas as pd

NAME = "compare"
WEIGHTED = (
    "Among a method's settings, at each place the one with the highest CCC on held-out people of the "
    "training distribution (`val`) under decorrelation weights, estimated from labels and from retrieved "
    "attributes averaged over a person's faces: an importance-weighted estimate of accuracy without what "
    "labels and attributes share. The test people take no part. [ours]"
)
PLAIN = (
    "Among a method's settings, at each place the one with the highest CCC on held-out people of the "
    "training distribution (`val`). The test people take no part."
)


def write(
    content: Mapping[str, Any], rows: Rows, people: Mapping[str, OverPeople], table: pd.DataFrame, out: Path
) -> str:
    """Write compare.json, .md, .png and .parquet; returns the main table and where the files are.

    Args:
        content: `command, rule, budget, data, methods, source, source_of, tuning`.
        rows: one per method and place, `seed` the number of the place.
        people: accuracy over people.
        table: all predictions.
        out: folder.

    Raises:
        IdferError: a file cannot be written.
    """
    from idfer.experiments.manifests.chart import compare_chart

    measures, overlap = measures_of(rows), content["data"]["division"]["overlap"]
    places = [place["name"] for place in content["data"]["division"]["places"]]
    tuning = content["tuning"]
    whole = {
        **content,
        "chosen": {
            m: {places[at]: dict(t.given) for t in of for at in t.chosen_at} for m, of in tuning.items()
        },
        "regret": {method: regret(tried) for method, tried in tuning.items()},
        "summary": {
            name: {key: _ends(rows, name, measure, overlap) for key, measure in measures.items()}
            for name in names_of(rows)
        },
        "comparisons": comparisons(rows, measures, overlap),
        "over_people": records(people),
        "rows": [row.to_dict() | {"place": places[row.seed]} for row in rows],
    }
    figure = compare_chart(rows, measures, overlap)
    files = write_results(out, NAME, whole, markdown(whole, rows, measures, people), figure)
    with atomic(out / f"{NAME}.parquet") as temporary:
        table.to_parquet(temporary, index=False)
    return (
        f"{columns(accuracy_table(rows, measures, overlap))}\n\n{files}\nfaces    {out / f'{NAME}.parquet'}"
    )


def _ends(rows: Rows, name: str, measure: Measure, overlap: float) -> dict[str, float]:
    found = estimate_of(rows, name, measure, overlap)
    return {"value": found.value, "low": found.low, "high": found.high}


def comparisons(rows: Rows, measures: Mapping[str, Measure], overlap: float) -> list[dict[str, Any]]:
    """Every other method minus idfer, or minus the first where idfer is not among them, place by place.

    `p_holm` is corrected for how many comparisons there are in all.
    """
    names, second = names_of(rows), reference_of(rows)
    lines = [
        {"measure": key, "first": first, "second": second}
        | flat(compare(at_places(rows, measures[key]), first, second, measures[key], overlap))
        for first in names
        if first != second
        for key in compared(measures)
        if at_places(rows, measures[key])
    ]
    for line, corrected in zip(lines, holm([line["p"] for line in lines]), strict=True):
        line["p_holm"] = corrected
    return lines


def _over_people(people: Mapping[str, OverPeople], second: str) -> list[str]:
    """Accuracy with its interval over people, a row per method."""
    table = [["method", "CCC", f"minus {second}"]]
    for method, of in people.items():
        difference = "-" if of.difference is None else interval_text(of.difference, 3, "+")
        table.append([shown_as(method), interval_text(of.ccc), difference])
    return [
        "## Over people", "",
        "The trained models stay and the people tested are drawn again (cluster bootstrap, percentile "
        "intervals of 95 %, the same draws for all methods), all test people of a seed together and seeds "
        "averaged. That tells what other people like these would change, not what training again would: a "
        "difference to rely on leaves 0 out here and above.",
        "", *pipes(table), "",
    ]  # fmt: skip


def markdown(
    whole: Mapping[str, Any], rows: Rows, measures: Mapping[str, Measure], people: Mapping[str, OverPeople]
) -> str:
    """The whole page, naming its command.

    Args:
        whole: the numbers as they go to JSON.
        rows: a row per method and place.
        measures: of the rows.
        people: accuracy over people.
    """
    data, overlap = whole["data"], whole["data"]["division"]["overlap"]
    given = ", ".join(f"{name} {value}" for name, value in whole["budget"].items())
    tries = len(next(iter(whole["tuning"].values())))
    settings = (
        f"{tries} settings per method, at each place, the learning rate among what is searched."
        if tries > 1
        else "Every method with its defaults; nothing was searched."
    )
    lines = [
        "# Methods compared on one manifest", "", f"`{whole['command']}`", "", *data_text(data),
        f"Budget of all: {given}. {settings}", "",
        *([f"Choice of settings: {whole['rule']}", ""] if tries > 1 else []),
        test_text(data["division"], people=True), "", f"![figure]({NAME}.png)", "",
        "## Accuracy", "",
        "Of the test people, means over places: CCC and RMSE, each of valence and arousal. "
        + (
            "Weighted: CCC under weights that make labels independent of the retrieved attributes, an "
            "estimate for people in whom the two do not go together; the weights leave "
            f"{_effective(rows)}. "
            if "weighted_ccc" in measures
            else ""
        )
        + "val: the held-out people of training.", "",
        *pipes(accuracy_table(rows, measures, overlap)), "",
        *_against(whole["comparisons"], measures),
        *_over_people(people, reference_of(rows)),
        "## Leakage", "", missing_text(data, probed(rows)), "",
    ]  # fmt: skip
    if probed(rows):
        lines += [
            "0 is chance, 1 is read perfectly (nonlinear probes; balanced accuracy or R² rescaled, for "
            "identity 2 AUC - 1). Probes are trained and scored on disjoint people who were not learned "
            "from. Where a level has too few people at a place, the place is left out for all methods. "
            "Labels and attributes may go together in these data, and then a good "
            "prediction itself tells of attributes.", "",
            *pipes(leakage_table(rows, measures, overlap)), "",
        ]  # fmt: skip
    if len(nats := sampled_table(rows, measures, overlap)) > 1:
        lines += [
            "## Sampled and attached", "",
            "Rate: nats that one draw of a sampled feature tells about the image in all; residual: beyond "
            "what the label says, under a density fitted on other people. Predictions are made from the "
            "mean, which neither covers; so accuracy of one draw stands beside it. Attached: with all "
            "attributes left in.",
            "", *pipes(nats), "",
        ]  # fmt: skip
    lines += [*_choices(whole), f"Source: {source_text(whole['source_of'])}."]
    return "\n".join(lines) + "\n"


def _effective(rows: Rows) -> str:
    """What share of the test faces the weights leave, and of how many places that is the mean."""
    found = {row.seed: row.value("effective", "test") for row in rows}
    there = [share for share in found.values() if np.isfinite(share)]
    told = f"{np.mean(there):.0%} of the test faces in effect"
    if len(there) == len(found):
        return told
    return f"{told} (at {len(there)} of {len(found)} places; at the others a single person is tested)"


def _against(lines: Sequence[Mapping[str, Any]], measures: Mapping[str, Measure]) -> list[str]:
    if not lines:
        return []
    second = lines[0]["second"]
    table = [["method", "measure", f"method minus {second}", "p", "p, Holm", "places higher", "verdict"]]
    for line in lines:
        measure = measures[line["measure"]]
        told = verdict(line, measure.higher, "p_holm")
        table.append(
            [
                shown_as(line["first"]), measure.title + ("" if measure.higher else " (lower is better)"),
                bracket(line, "difference", "low", "high", "+.3f"), p_text(line["p"]), p_text(line["p_holm"]),
                f"{line['higher']} of {line['seeds']}", told,
            ]
        )  # fmt: skip
    note = (
        f"Place by place; verdicts are of the method against {second} and go by p corrected for all "
        f"{len(lines)} comparisons of this page (Holm 1979). Intervals are not corrected. "
        "`not told apart` is no proof of equality: with so few places only large differences show."
    )
    return [f"## Against {second}", "", note, "", *pipes(table), ""]


def _choices(whole: Mapping[str, Any]) -> list[str]:
    """Every setting tried, where it was chosen, and what the choice cost in hindsight."""
    tuning: Mapping[str, Sequence[Tried]] = whole["tuning"]
    count = len(whole["data"]["division"]["places"])
    if len(next(iter(tuning.values()))) < 2:
        return []
    table = [
        ["method", "setting", "chosen at", "chosen by", "CCC val", "CCC test (not looked at)", "at an edge"]
    ]
    for method, tried in tuning.items():
        for one in tried:
            test = float(np.mean(one.test_ccc))
            numbers = [number(value) for value in (one.selection, one.val_ccc, test)]
            times = f"{len(one.chosen_at)} of {count}"
            table.append([shown_as(method), settings_text(one.given), times, *numbers, ", ".join(one.edges)])
    costs = ", ".join(f"{method} {number(cost)}" for method, cost in whole["regret"].items())
    return [
        "## Settings tried", "",
        "Means over places. At an edge: in the outer tenth of its range, where a wider one might have "
        "served better. CCC of the test people that the best setting in hindsight would have added, mean "
        "over places: "
        f"{costs}.", "", *pipes(table), "",
    ]  # fmt: skip
