"""The verdict on a data set, in three sentences: who is in it, what labels say of them, what stays unseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from idfer.auditing.sample import Sample
from idfer.auditing.tables import records

if TYPE_CHECKING:
    import pandas as pd

EVEN = 0.9  # from here on the least even attribute is called even


def data_verdict(
    sample: Sample,
    representation: pd.DataFrame,
    stereotype: pd.DataFrame,
    cells: pd.DataFrame,
    *,
    name: str,
    level: float,
    min_people: int,
) -> tuple[str, str, str]:
    """Three sentences from the tables of a data set.

    Args:
        sample: what was audited.
        representation: table.
        stereotype: table.
        cells: table.
        name: of the data set.
        level: 1 - level is the chance of any false alarm among the associations.
        min_people: smallest group that is shown.
    """
    return (
        _who(sample, records(representation), name, min_people),
        _told(records(stereotype), records(cells), name, level),
        _unseen(sample, records(representation), records(stereotype), min_people),
    )


def _who(sample: Sample, rows: Sequence[Mapping[str, Any]], name: str, min_people: int) -> str:
    faces = f"{len(sample.key):,} faces"
    if sample.subject is not None:
        faces += f" of {int(sample.people.max()) + 1:,} people"
    uneven = min(rows, key=lambda row: row["evenness"])
    own = [row for row in rows if row["attribute"] == uneven["attribute"]]
    shown = [row for row in own if row["share"] == row["share"]]
    few = [str(row["level"]) for row in own if row["share"] != row["share"]]
    shares = [f"{row['share']:.0%} {row['level']}" for row in sorted(shown, key=lambda row: -row["share"])]
    said = f"from {shares[0]} to {shares[-1]}" if len(shares) > 1 else ", ".join(shares)
    if few:
        units = "people" if sample.subject is not None else "faces"
        said += f"{' and ' if said else ''}fewer than {min_people} {units} of {', '.join(few[:3])}"
        said += f" and {len(few) - 3} more" if len(few) > 3 else ""
    how = "still even" if uneven["evenness"] >= EVEN else "uneven"
    return (
        f"In {name} there are {faces}; its least even attribute is {uneven['attribute']} ({how}: evenness "
        f"{uneven['evenness']:.2f} of 1): {said}."
    )


def _told(
    rows: Sequence[Mapping[str, Any]], cells: Sequence[Mapping[str, Any]], name: str, level: float
) -> str:
    if not rows:
        return f"In {name} there are no labels, so nothing can be said of what they tell."
    sure = [row for row in rows if row["p_adjusted"] <= 1 - level]
    if not sure:
        return (
            "Its labels tell nothing of any attribute beyond what chance makes of so many people "
            f"({len(rows)} associations tested)."
        )
    row = max(sure, key=lambda row: row["normalised"])
    beyond = row["mutual_information"] - row["null_mean"]
    label = "valence and arousal together" if row["label"] == "both" else row["label"]
    said = (
        f"Labels tell of {row['attribute']}: {label} {'hold' if row['label'] == 'both' else 'holds'} "
        f"{beyond:.2f} nats more than chance, {row['normalised']:.0%} of all there is to know"
    )
    own = [c for c in cells if c["attribute"] == row["attribute"] and c["z"] == c["z"] and c["expected"] > 0]
    if own:
        cell = max(own, key=lambda c: abs(c["z"]))
        said += (
            f"; {cell['dimension']} {cell['bin']} is {cell['ratio']:.1f} times as common among "
            f"{cell['level']} as if labels were alike for all"
        )
    return f"{said}: a model can learn this shortcut."


def _unseen(
    sample: Sample,
    representation: Sequence[Mapping[str, Any]],
    stereotype: Sequence[Mapping[str, Any]],
    least: int,
) -> str:
    few = [row["level"] for row in representation if row["share"] != row["share"]]
    units = "rows" if sample.subject is None else "people"
    said = []
    if stereotype:
        small, large = (pick(row["null_high"] for row in stereotype) for pick in (min, max))
        said.append(f"associations below {small:.3f} to {large:.3f} nats are not told from chance")
    if few:
        said.append(
            f"{', '.join(map(str, few[:4]))} {'is' if len(few) == 1 else 'are'} fewer than {least} {units}"
        )
    said.append("what faces really felt, and attributes that nobody named, are not in the table")
    return f"What this audit could not see: {'; '.join(said)}."
