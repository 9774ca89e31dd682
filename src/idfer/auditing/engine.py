"""`run`: a `Sample` in, an `Audit` out. People, not rows, are the unit everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from idfer.auditing import tables
from idfer.auditing.sample import Sample
from idfer.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "idfer.audit/1"


@dataclass(frozen=True)
class AuditSettings:
    """How an audit is made.

    Attributes:
        level: confidence of every interval; 1 - level is the family-wise error of the gap tests and of the
            information tests.
        replicates: bootstrap replicates over people.
        permutations: of people, for the tests.
        min_people: groups of fewer people are merged (ordered attributes) or withheld: no number is shown.
        intersections: largest number of attributes that are crossed; 1 for none.
        power: chance of finding a gap that `detectable` speaks of.
        standardised_bins: label bins per dimension in which groups are made alike for standardised gaps.
        probed_rows: rows that probes read at most, evenly over people.
        probes: "linear", "nonlinear", or both.
        verification: whether identity (same person or not) is probed too.
        seed: of every draw; equal inputs, settings and seed give equal tables.
    """

    level: float = 0.95
    replicates: int = 2000
    permutations: int = 2000
    min_people: int = 20
    intersections: int = 2
    power: float = 0.8
    standardised_bins: int = 3
    probed_rows: int = 3000
    probes: tuple[str, ...] = ("linear", "nonlinear")
    verification: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (("level", 0.5, 0.999), ("power", 0.05, 0.999)):
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name}={getattr(self, name)!r}: wanted between {low} and {high}.")
        for name, least in (
            ("replicates", 100), ("permutations", 100), ("min_people", 2), ("intersections", 1),
            ("standardised_bins", 2), ("probed_rows", 100), ("seed", 0),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise UsageError(f"{name}={getattr(self, name)!r}: wanted at least {least}.")


@dataclass(frozen=True)
class Check:
    """One thing to know before reading the numbers.

    Attributes:
        code: IDF301 to IDF310.
        level: "error", "warning" or "info".
        message: what was seen and what to do, as a sentence or two.
        attribute: which attribute it is about, or None.
    """

    code: str
    level: str
    message: str
    attribute: str | None = None


@dataclass(frozen=True)
class Audit:
    """What an audit found: tidy tables (`tables.COLUMNS` has their columns), checks and a verdict.

    In all tables `attribute` of an intersection is "age x gender" and its levels "older, women's
    presentation"; `dimension` is "valence", "arousal" or (accuracy, groups, gaps) "mean", the mean of both
    dimensions' values. Metrics are `ccc` (in [-1, 1]), `rmse` (in label units), `bias` (mean of prediction -
    label), `slope` (of label on prediction; 1 is calibrated) and, where there are no labels, `mean` (of the
    prediction). Intervals are at `settings.level`, over people.

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
        information: nats of each attribute's level in each feature, beyond what the labels tell ("prediction
            | labels") and without (plain names); `null_high` is the upper end of the permutation null.
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
        return replace(self, checks=(*self.checks, *checks), **more)


def run(sample: Sample, settings: AuditSettings | None = None, *, name: str = "model") -> Audit:
    """Audit a sample.

    Args:
        sample: what to audit.
        settings: how; the defaults where None.
        name: of the model or data set, for the verdict.

    Raises:
        IdferError: nothing can be audited (no predictions and no labels).
    """
    settings = settings or AuditSettings()
    kind = "data" if sample.predicted is None else "predictions"
    about = {
        "name": name,
        "kind": kind,
        "rows": len(sample.key),
        "people": None if sample.subject is None else int(sample.people.max()) + 1,
        "attributes": [attribute.name for attribute in sample.attributes],
        "command": "",
    }
    return Audit(**tables.empty(), checks=(), verdict=("", "", ""), settings=settings, about=about)
