"""What `idfer benchmark mi` says of estimators as methods use them: a table, and sentences it bears out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from idfer.experiments.mi.shipped import AMOUNTS, EACH, OF_LABEL, SIDES

Row = dict[str, Any]


def markdown(rows: list[Row]) -> str:
    """The table per estimator, width and number of people, and what it shows.

    Args:
        rows: of `shipped` in mi.json.
    """
    people = max(r["people"] for r in rows)
    heads = ["estimator", "meant as", "width", *(f"fresh, I = {a:g}" for a in AMOUNTS)]
    heads += [*(f"{people} people, I = {a:g}" for a in AMOUNTS), "order"]
    lines = [
        "## As shipped",
        "",
        "Default settings (layer norm; InfoNCE's linear critic), two levels, features 8 and 128 wide, "
        f"{rows[0]['steps']} steps of batches of {rows[0]['batch_size']}. *fresh*: other people in every "
        f"batch. *{people} people*: the same again and again, {EACH} faces each, as in training; the first "
        "number is the estimate on these people, which is what a penalty acts on, the second that on others. "
        f"I in nats, at most ln 2 = {math.log(2):.2f}. The label alone tells {OF_LABEL:g} of it (not at "
        "I = 0), so conditional_club should say that much less. hsic has no unit and is no information: only "
        "its order counts. *order*: rank correlation with I on people not learned from, of fresh people and "
        "of few.",
        "",
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
    ]
    for name in dict.fromkeys(r["estimator"] for r in rows):
        for width in dict.fromkeys(r["width"] for r in rows):
            fresh, few = (_of(rows, name, width, count) for count in (0, people))
            cells = [f"{v:.2f}" for v in _values(fresh, "unseen")]
            cells += [
                f"{a:.2f}, {b:.2f}" for a, b in zip(_values(few, "seen"), _values(few, "unseen"), strict=True)
            ]
            order = f"{_order(fresh):.1f}, {_order(few):.1f}"
            lines.append(f"| {name} | {SIDES[name]} | {width} | " + " | ".join([*cells, order]) + " |")
    said = [text for find in (_memorised, _broken) if (text := find(rows, people))]
    return "\n".join([*lines, "", *said]) if said else "\n".join(lines)


def _memorised(rows: list[Row], people: int) -> str:
    """How far the estimates on people learned from exceed those on others where there is nothing."""
    found = []
    for width in dict.fromkeys(r["width"] for r in rows):
        part = [r for r in _of_kind(rows, width, people) if r["mi"] == 0]
        if part:
            seen, others = (float(np.median([r[key] for r in part])) for key in ("seen", "unseen"))
            found.append(f"{width} wide {seen:.2f} nats on those people and {others:.2f} on others")
    return (
        f"- Where features tell nothing, critics that learned from {people} people say (median of the "
        f"estimators in nats): {'; '.join(found)}. What is above 0 is memory of the people; a penalty on it "
        "works against nothing."
        if found
        else ""
    )


def _broken(rows: list[Row], people: int) -> str:
    """Bounds on the wrong side of the truth by more than 0.05 nats on people not learned from."""
    wrong = []
    for side, sign in (("lower", 1), ("upper", -1)):
        for name in dict.fromkeys(r["estimator"] for r in rows if SIDES[r["estimator"]] == side):
            for count, said in ((0, "fresh"), (people, f"{people}")):
                part = [r for r in rows if r["estimator"] == name and r["people"] == count]
                off = [r for r in part if sign * (r["unseen"] - r["truth"]) > 0.05]
                if off:
                    wrong.append(f"{name} ({side}, {said} people) on {len(off)} of {len(part)}")
    if not wrong:
        return (
            "- No bound is on the wrong side of the truth by more than 0.05 nats on people not learned from."
        )
    return f"- On the wrong side by more than 0.05 nats, on people not learned from: {'; '.join(wrong)}."


def _of(rows: list[Row], estimator: str, width: int, people: int) -> list[Row]:
    return [r for r in _of_kind(rows, width, people, unit=False) if r["estimator"] == estimator]


def _of_kind(rows: list[Row], width: int, people: int, unit: bool = True) -> list[Row]:
    part = [r for r in rows if (r["width"], r["people"]) == (width, people)]
    return [r for r in part if not unit or SIDES[r["estimator"]] != "no unit"]


def _values(rows: list[Row], key: str) -> list[float]:
    """Mean over seeds per amount."""
    return [float(np.mean([r[key] for r in rows if r["mi"] == amount])) for amount in AMOUNTS]


def _order(rows: list[Row]) -> float:
    return float(spearmanr(_values(rows, "truth"), _values(rows, "unseen")).statistic)
