"""`run`: a `Sample` in, an `Audit` out. People, not rows, are the unit everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.auditing import tables
from idfer.auditing.accumulate import Accumulator
from idfer.auditing.checks import LEVELS, Check, checks
from idfer.auditing.extent import Extent
from idfer.auditing.gaps import Tested, accuracy_rows, gap_rows, group_rows, tested_gaps
from idfer.auditing.grouping import Grouped, group
from idfer.auditing.information import information_rows
from idfer.auditing.leak import leakage_rows, shown_levels
from idfer.auditing.moments import METRICS, UNLABELLED
from idfer.auditing.power import power_rows, sensitivity_rows
from idfer.auditing.reserve import Reserve, rows_of
from idfer.auditing.sample import Sample
from idfer.auditing.standardised import label_difference, standardised_gap
from idfer.auditing.verdict import verdict
from idfer.errors import IdferError, UsageError, unknown

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "idfer.audit/1"
CHUNK = 50_000  # rows added up at a time


@dataclass(frozen=True)
class AuditSettings:
    """How an audit is made.

    Attributes:
        level: confidence of every interval; 1 - level is the family-wise error of the gap tests.
        permutations: of people, for the tests; those of labels take more where their number asks for it.
        min_people: groups of fewer people are merged (ordered attributes) or withheld: no number is shown.
        intersections: largest number of attributes that are crossed; 1 for none.
        power: chance of finding a gap that `detectable` speaks of.
        standardised_bins: cells per dimension of the label plane that share a weight in gaps at equal labels.
        probed_rows: rows that probes read at most, evenly over people.
        probes: "linear", "nonlinear", or both.
        verification: whether identity (same person or not) is probed too.
        information: whether nats are estimated.
        seed: of every draw; equal inputs, settings and seed give equal tables.
    """

    level: float = 0.95
    permutations: int = 2000
    min_people: int = 20
    intersections: int = 2
    power: float = 0.8
    standardised_bins: int = 4
    probed_rows: int = 3000
    probes: tuple[str, ...] = ("linear", "nonlinear")
    verification: bool = True
    information: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (("level", 0.5, 0.999), ("power", 0.05, 0.999)):
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name}={getattr(self, name)!r}: wanted between {low} and {high}.")
        for name, least in (
            ("permutations", 100), ("min_people", 2), ("intersections", 1),
            ("standardised_bins", 2), ("probed_rows", 100), ("seed", 0),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise UsageError(f"{name}={getattr(self, name)!r}: wanted at least {least}.")


@dataclass(frozen=True)
class Audit:
    """What an audit found: tidy tables (`tables.COLUMNS` has their columns), checks and a verdict.

    In all tables `attribute` of an intersection is "age x gender" and its levels "older, women's
    presentation"; `dimension` is "valence", "arousal" or (accuracy, groups, gaps) "mean", the mean of both
    dimensions' values. Metrics are `ccc` (in [-1, 1]), `rmse` (in label units), `bias` (mean of prediction -
    label), `slope` (of label on prediction; 1 is calibrated) and, where there are no labels, `mean` (of the
    prediction). Intervals are at `settings.level`, over people; those of `leakage` and `effects` at 95 %.

    Attributes:
        accuracy: of everybody.
        groups: of each level and intersection. Withheld groups have NaN numbers (people too) and a note
            "withheld: fewer than 20 people"; merged ones "merged from older, old".
        gaps: value of level_a minus value of level_b. `kind` is "pair" (two levels of one attribute) or
            "rest" (an intersection as level_a against "everybody else"). `p` is one test's, `p_adjusted`
            over all tests of the table (max-T), `significant` p_adjusted <= 1 - level. `standardised_*` is
            the gap at equal labels; NaN where labels are not confounded with the attribute.
        leakage: what probes read of attributes on unseen people. `feature` is "prediction", a feature's
            name, or "labels" (the control); `probe` "linear", "nonlinear", "verification" (attribute
            "identity"). `score`, `chance` and `ceiling` are on one scale (0 chance, 1 read perfectly);
            `ceiling` is what the noise of the levels allows (1 for given levels).
        information: nats of each attribute's level in the prediction, beyond what the labels tell
            ("prediction | labels") and without, and in the labels; `null_high` is the upper end of the
            permutation null.
        effects: of drawn interventions; empty without.
        power: per gap test: the smallest true gap found with `settings.power` at the adjusted level.
        sensitivity: per gap of a soft attribute.
        representation: of data sets (`idfer.auditing.representation`).
        stereotype: of data sets (`idfer.auditing.stereotype`).
        cells: of data sets.
        circumplex: RMSE over the plane of labels by group; bins of fewer than min_people are left out.
        checks: worst first.
        verdict: three sentences.
        about: name, kind ("predictions", "model", "data"), rows, people, attributes, command.
        settings: of the audit.
        components: of drawn interventions: what spreads the predictions, expression, person or the rest.
        sample: what was audited, for `write` and for a comparison; None where it was not kept.
        failures: what lies above the limits of a gate (`--fail-on`), a sentence each.
    """

    accuracy: pd.DataFrame
    groups: pd.DataFrame
    gaps: pd.DataFrame
    leakage: pd.DataFrame
    information: pd.DataFrame
    effects: pd.DataFrame
    power: pd.DataFrame
    sensitivity: pd.DataFrame
    representation: pd.DataFrame
    stereotype: pd.DataFrame
    cells: pd.DataFrame
    circumplex: pd.DataFrame
    checks: tuple[Check, ...]
    verdict: tuple[str, str, str]
    settings: AuditSettings
    about: dict[str, Any] = field(default_factory=dict)
    components: pd.DataFrame = field(default_factory=lambda: tables.table("components"))
    sample: Sample | None = field(default=None, repr=False, compare=False)
    failures: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """Of the command: 3 where a gate stopped it, else 0."""
        return 3 if self.failures else 0

    def frame(self, name: str | None = None) -> pd.DataFrame:
        """One table by name, or every number of all of them as one tidy table (see `summary.tidy`)."""
        from idfer.auditing.summary import tidy

        if name is None:
            return tidy(self)
        if name not in tables.COLUMNS:
            raise unknown("table of an audit", name, list(tables.COLUMNS))
        found: pd.DataFrame = getattr(self, name)
        return found.copy()

    def write(self, folder: str | Path) -> Path:
        """Write audit.json, a CSV per table and the faces into a folder; returns the path of audit.json.

        Raises:
            IdferError: the folder cannot be written.
        """
        from idfer.auditing.folder import write_audit

        return write_audit(self, folder, self.sample)

    def __str__(self) -> str:
        from idfer.auditing.summary import summary

        return summary(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain data in the layout of audit.json: tables as lists of rows, NaN as None."""
        from idfer.results import environment, json_ready

        content: dict[str, Any] = {"schema": SCHEMA, "about": self.about, "settings": asdict(self.settings)}
        for name in tables.COLUMNS:
            content[name] = getattr(self, name).to_dict("records")
        content["checks"] = [asdict(check) for check in self.checks]
        content["verdict"] = list(self.verdict)
        content["environment"] = environment()
        ready: dict[str, Any] = json_ready(content)
        return ready

    def with_tables(self, *, checks: Sequence[Check] = (), **more: Any) -> Audit:
        """The same audit with tables (or verdict, about) put in and checks added, e.g. of a data set."""
        worst_first = sorted((*self.checks, *checks), key=lambda check: LEVELS.index(check.level))
        return replace(self, checks=tuple(worst_first), **more)


def run(sample: Sample, settings: AuditSettings | None = None, *, name: str = "the model") -> Audit:
    """Audit a sample.

    Args:
        sample: what to audit.
        settings: how; the defaults where None.
        name: of the model or data set, for the verdict.

    Raises:
        IdferError: nothing can be audited (no predictions, no labels and no features).
    """
    size = range(0, len(sample.key), CHUNK)
    chunks = (
        sample if len(size) == 1 else rows_of(sample, np.arange(i, min(i + CHUNK, len(sample.key))))
        for i in size
    )
    return stream(chunks, settings, name=name)


def stream(
    chunks: Iterable[Sample], settings: AuditSettings | None = None, *, name: str = "the model"
) -> Audit:
    """Audit a sample that comes in parts, of any size; only sums of people and some thousand rows are kept.

    Args:
        chunks: parts with the same attributes, levels and columns; a person may be in several.
            `interventions`
            are those of the first.
        settings: how; the defaults where None.
        name: of the model or data set, for the verdict.

    Raises:
        IdferError: no rows, parts that differ in columns, or nothing that can be audited.
    """
    settings = settings or AuditSettings()
    parts = iter(chunks)
    first = next(parts, None)
    if first is None:
        raise IdferError("no rows to audit.")
    if first.predicted is None and first.label is None and not first.features:
        raise IdferError("nothing to audit: neither predictions nor labels nor features.")
    added = Accumulator(_filled(first), settings.intersections, settings.standardised_bins, settings.seed)
    extent, reserve = Extent(first), Reserve(settings.probed_rows, settings.seed)
    for chunk in chain([first], parts):
        added.add(_filled(chunk))
        extent.add(chunk)
        reserve.add(chunk)
    return _audit(first, added, extent, reserve.finish() or first, settings, name)


def _filled(sample: Sample) -> Sample:
    """A data set before any model is added up as if labels were predictions, for who is at which level."""
    if sample.predicted is not None:
        return sample
    stand_in = sample.label if sample.label is not None else np.zeros((len(sample.key), 2))
    return replace(sample, predicted=stand_in)


def _audit(
    first: Sample, added: Accumulator, extent: Extent, probed: Sample, settings: AuditSettings, name: str
) -> Audit:
    sums = added.finish()
    groups = group(sums, settings.min_people)
    modelled = first.predicted is not None
    metrics = METRICS if sums.labelled else UNLABELLED
    filled: dict[str, list[dict[str, Any]]] = {}
    tested: list[Tested] = []
    if modelled:
        filled["accuracy"] = accuracy_rows(sums, metrics, settings.level)
        filled["groups"], estimates = group_rows(groups, metrics, settings.level, settings.min_people)
        tested = tested_gaps(
            groups, estimates, metrics,
            sizes=sums.sizes, level=settings.level, permutations=settings.permutations, seed=settings.seed,
        )  # fmt: skip
        filled["power"] = power_rows(tested, metrics, settings.power)
        filled["sensitivity"] = sensitivity_rows(tested, metrics, settings.level)
    if modelled and sums.labelled:
        names = [(attribute.name, attribute.levels) for attribute in first.attributes]
        filled["circumplex"] = added.circumplex.rows(groups, names, settings.min_people)
    levels = shown_levels(probed, groups)
    if settings.probes or settings.verification:
        filled["leakage"] = leakage_rows(
            probed, levels, settings.probes, settings.verification, settings.seed
        )
    if settings.information:
        filled["information"] = information_rows(
            probed.predicted, probed.label, probed.people,
            {attribute: posterior for attribute, (_, posterior) in levels.items()},
            settings.level, settings.seed,
        )  # fmt: skip
    filled["effects"] = _effects(first.interventions)
    differences: dict[str, tuple[float, str, bool]] = {}
    rows = gap_rows(tested, metrics, settings.level)
    if sums.labelled:
        differences = _standardise(rows, groups, tested, metrics, settings)
    filled["gaps"] = rows
    made = {**tables.empty(), **{table: tables.table(table, found) for table, found in filled.items()}}
    strength = np.abs(np.array([test.statistic for test in tested], np.float64)).ravel()
    withheld = [
        label
        for grouped in groups
        if not grouped.crossing
        for label, shown in zip(grouped.structure.labels, grouped.shown, strict=True)
        if not shown
    ]
    about = {
        "name": name,
        "kind": "predictions" if modelled else "data",
        "rows": sums.rows,
        "people": sums.people if sums.known else None,
        "attributes": [attribute.name for attribute in first.attributes],
        "command": "",
    }
    return Audit(
        **made,
        checks=checks(
            sums, extent, groups, first.attributes, differences, first.interventions, settings.min_people
        ),
        verdict=verdict(
            made["gaps"].assign(strength=strength), made["leakage"], made["power"], name=name,
            people=sums.people, units="people" if sums.known else "rows", withheld=withheld,
            error=1 - settings.level, found_with=settings.power,
        ),
        settings=settings,
        about=about,
    )  # fmt: skip


def _standardise(
    rows: list[dict[str, Any]],
    groups: Sequence[Grouped],
    tested: Sequence[Tested],
    metrics: tuple[str, ...],
    settings: AuditSettings,
) -> dict[str, tuple[float, str, bool]]:
    """Fill in gaps at equal labels where labels differ; per such attribute how far, in what, if it worked."""
    differences: dict[str, tuple[float, str, bool]] = {}
    for grouped in groups:
        if grouped.crossing:
            continue
        size, what = label_difference(grouped.structure, np.flatnonzero(grouped.shown))
        if what:
            differences[grouped.structure.name] = (size, what, False)
    each = len(metrics) * 3
    for i, test in enumerate(tested):
        name = test.grouped.structure.name
        if name not in differences:
            continue
        found = standardised_gap(test.grouped.structure, test.a, test.b, metrics, settings.level)
        part = rows[i * each : (i + 1) * each]
        if found is None:
            for row in part:
                row["note"] = "labels overlap too little for a gap at equal labels"
            continue
        differences[name] = (*differences[name][:2], True)
        gap, low, high = (values.ravel() for values in found)
        for k, row in enumerate(part):
            row["standardised_gap"], row["standardised_low"], row["standardised_high"] = (
                gap[k],
                low[k],
                high[k],
            )
    return differences


def _effects(interventions: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Rows of the table `effects` from `anova.Invariance.to_dict()`."""
    return [
        {
            "attribute": attribute, "dimension": dimension, "effect": found["value"],
            "low": found["low"], "high": found["high"],
        }
        for attribute, of in (interventions or {}).get("effects", {}).items()
        for dimension, found in of.items()
    ]  # fmt: skip
