"""Coded checks of an audit: what makes its numbers worthless, or say less than they seem to.

IDF301 warning  subjects unknown: rows count as people
IDF302 info     groups of fewer people than the minimum are merged or withheld
IDF303 error    all predictions of a dimension are one number
IDF304 warning  levels of an attribute come from different sources
IDF305 warning  labels differ between the levels of an attribute
IDF306 warning  an attribute comes from a classifier
IDF307 error    too few people for any test
IDF308 info     drawn faces are not photographs
IDF309 warning  predictions outside [-1, 1]
IDF310 info     an attribute varies within people
IDF311 info     more people than are tested one by one; pools of people stand for them
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from idfer.auditing.extent import Extent
from idfer.auditing.grouping import Grouped
from idfer.auditing.sample import Attribute
from idfer.auditing.structure import PeopleSums

LEVELS = ("error", "warning", "info")  # worst first
APART = 0.3  # from three rows in ten on, a group gap may be a gap between sources


@dataclass(frozen=True)
class Check:
    """One thing to know before reading the numbers.

    Attributes:
        code: IDF301 to IDF330, see docs/audit.md.
        level: "error", "warning" or "info".
        message: what was seen and what to do, as a sentence or two.
        attribute: which attribute it is about, or None.
    """

    code: str
    level: str
    message: str
    attribute: str | None = None


def checks(
    sums: PeopleSums,
    extent: Extent,
    groups: Sequence[Grouped],
    attributes: Sequence[Attribute],
    differences: Mapping[str, tuple[float, str, bool]],
    interventions: Mapping[str, Any] | None,
    min_people: int,
) -> tuple[Check, ...]:
    """Look an audit over, worst first.

    Args:
        sums: what was added up.
        extent: range and sources.
        groups: as shown.
        attributes: name, softness and source of each (their rows do not matter).
        differences: per attribute whose labels differ: how far, in what, and whether gaps at equal labels
            exist.
        interventions: of the sample.
        min_people: of the settings.
    """
    found = [
        *_people(sums, groups, min_people),
        *_predictions(sums, extent),
        *_attributes(sums, extent, groups, attributes, differences),
    ]
    if interventions:
        warning = interventions.get("warning") or "drawn faces are not photographs"
        found.append(Check("IDF308", "info", f"effects are measured on drawn faces: {warning}."))
    return tuple(sorted(found, key=lambda check: (LEVELS.index(check.level), check.code)))


def _people(sums: PeopleSums, groups: Sequence[Grouped], least: int) -> Iterator[Check]:
    if not sums.known:
        yield Check(
            "IDF301", "warning",
            "people are unknown, so every row counts as a person: if people have several "
            "rows, intervals are too "
            "narrow and tests find too much; give a column subject.",
        )  # fmt: skip
    elif sums.pooled:
        yield Check(
            "IDF311", "info",
            f"{sums.people:,} people are more than are tested one by one, and were put together into "
            f"{len(sums.sizes):,} units, which stand for people in intervals and tests.",
        )  # fmt: skip
    if groups and not any(grouped.tests for grouped in groups):
        yield Check(
            "IDF307", "error",
            f"no attribute has two groups of {least} people, so nothing is tested; "
            "give more people, or lower the minimum knowing that less can be said.",
        )  # fmt: skip
    for grouped in groups:
        structure = grouped.structure
        if grouped.crossing:
            continue
        merged = [label for label, of in zip(structure.labels, structure.merged, strict=False) if of]
        withheld = [label for label, shown in zip(structure.labels, grouped.shown, strict=True) if not shown]
        said = []
        if merged:
            said.append(f"{', '.join(merged)} {'was' if len(merged) == 1 else 'were'} merged of small levels")
        if merged and len(structure.labels) == 1:
            said.append("that is everybody, so no gap of it is tested (for numbers, ask for fewer --bins)")
        if withheld:
            said.append(f"{', '.join(withheld)} {'is' if len(withheld) == 1 else 'are'} withheld")
        if said:
            yield Check(
                "IDF302", "info",
                f"{structure.name}: {'; '.join(said)}: fewer than {least} people say too "
                "little of a group, and "
                "could be recognised.", structure.name,
            )  # fmt: skip
    crossings = [grouped for grouped in groups if grouped.crossing]
    hidden = sum(int((~grouped.shown & (grouped.structure.people > 0)).sum()) for grouped in crossings)
    if hidden:
        total = sum(int((grouped.structure.people > 0).sum()) for grouped in crossings)
        yield Check(
            "IDF302", "info", f"{hidden} of {total} intersections have fewer than {least} "
            "people and are withheld."
        )  # fmt: skip


def _predictions(sums: PeopleSums, extent: Extent) -> Iterator[Check]:
    for i, name in enumerate(("valence", "arousal")):
        if extent.constant[i]:
            yield Check(
                "IDF303", "error",
                f"every prediction of {name} is {extent.low[i]:.3g}: the model has collapsed, "
                "and a model that says "
                "nothing shows no gaps in CCC; train it again.",
            )  # fmt: skip
    if extent.outside:
        yield Check(
            "IDF309", "warning",
            f"{extent.outside:,} of {sums.rows:,} rows have predictions outside [-1, 1] (down to "
            f"{extent.low.min():.3g}, up to {extent.high.max():.3g}); they are used as they "
            "are. Is the scale right?",
        )  # fmt: skip


def _attributes(
    sums: PeopleSums,
    extent: Extent,
    groups: Sequence[Grouped],
    attributes: Sequence[Attribute],
    differences: Mapping[str, tuple[float, str, bool]],
) -> Iterator[Check]:
    shown = {g.structure.name: g for g in groups if not g.crossing}
    for k, attribute in enumerate(attributes):
        grouped = shown[attribute.name]
        structure = grouped.structure
        members = [
            [attribute.levels.index(name) for name in structure.members(i)]
            for i in grouped.shown.nonzero()[0].tolist()
        ]
        if (apart := extent.apart(k, members)) >= APART:
            yield Check(
                "IDF304", "warning",
                f"{attribute.name}: {apart:.0%} of the rows of two of its levels come from "
                "different sources, so "
                "gaps between them may be gaps between data sets; audit each source alone.", attribute.name,
            )  # fmt: skip
        if attribute.name in differences:
            size, what, standardised = differences[attribute.name]
            cure = (
                "see the gaps at equal labels"
                if standardised
                else "their labels overlap too little for gaps at equal labels"
            )
            unit = "on a log scale" if what.startswith("spread") else "standard deviations"
            yield Check(
                "IDF305", "warning",
                f"{attribute.name}: {what} differs between levels by {size:.2g} {unit}, which "
                "alone makes gaps, "
                f"even of a model that treats everybody alike; {cure}.", attribute.name,
            )  # fmt: skip
        if attribute.soft:
            yield Check(
                "IDF306", "warning",
                f"{attribute.name} is {attribute.source}: it describes how people look to a "
                "classifier, is partly "
                "wrong, and weakens gaps; see the sensitivity to its errors.", attribute.name,
            )  # fmt: skip
        if attribute.soft and grouped.mode == "permuted":
            yield Check(
                "IDF310", "info",
                f"{attribute.name}: {structure.between:.0%} of its probabilities' variance "
                "lies between people, so "
                "it is taken as theirs, and averaged over each person's rows.", attribute.name,
            )  # fmt: skip
        elif grouped.mode == "signed" and not sums.pooled:
            some = "its probabilities vary" if attribute.soft else f"{structure.varying_people:,} people vary"
            yield Check(
                "IDF310", "info",
                f"{attribute.name}: {some} within people, so rows are grouped one by one, and "
                "tests change the "
                "signs of people's contributions instead of dealing the attribute anew.", attribute.name,
            )  # fmt: skip
