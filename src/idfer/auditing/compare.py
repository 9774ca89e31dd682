"""Two audits of the same faces: are their gaps the same? Paired: what is common to both models cancels.

The difference of a metric's gap, second model minus first, is a function of sums over each person's rows,
with the same people in both; the jackknife over people gives its interval (`idfer.auditing.intervals`), and
what people add to it with random signs how large all differences would be by chance (`paired_test`; max-T
over all tests). `benchmarks/compare_calibration.py` measures how often both are right.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idfer.auditing.checks import Check
from idfer.auditing.compared_pairs import compared, left_out_checks, people_at
from idfer.auditing.comparison_verdict import comparison_verdict
from idfer.auditing.engine import Audit, AuditSettings
from idfer.auditing.folder import AUDIT, FACES, TABLES, read_audit, read_faces
from idfer.auditing.intervals import jackknife
from idfer.auditing.joining import places
from idfer.auditing.moments import DIMENSIONS, METRICS, UNLABELLED
from idfer.auditing.paired_sums import added, left_out, unit_sums, units
from idfer.auditing.paired_test import Sides, p_values, sides
from idfer.auditing.sample import Sample
from idfer.auditing.studentised import normal
from idfer.auditing.wording import thousandths
from idfer.errors import IdferError, UsageError
from idfer.files import atomic
from idfer.results import environment, json_ready, write_json

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

SCHEMA = "idfer.comparison/1"
COMPARISON = "comparison.json"
COLUMNS = ("attribute", "level_a", "level_b", "dimension", "metric", "gap_a", "gap_b", "difference", "low",
           "high", "p", "p_adjusted", "people_a", "people_b")  # fmt: skip
OVERALL = ("dimension", "metric", "value_a", "value_b", "difference", "low", "high", "p", "p_adjusted")


@dataclass(frozen=True)
class Comparison:
    """How two models' gaps differ.

    Attributes:
        gaps: a row per pair of levels, dimension and metric: the gap (level_a - level_b) of the first and of
            the second model, their difference (second - first) with its interval, and p-values.
        accuracy: the same of everybody.
        content: everything as plain data, as it stands in comparison.json.
    """

    gaps: pd.DataFrame
    accuracy: pd.DataFrame
    content: dict[str, Any] = field(repr=False)

    def frame(self) -> pd.DataFrame:
        """The table of gaps."""
        return self.gaps.copy()

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return self.content

    def write(self, folder: str | Path) -> Path:
        """Write comparison.json and two tables; returns the path of the former."""
        root = Path(folder)
        for name, table in (("gap_differences", self.gaps), ("accuracy_differences", self.accuracy)):
            with atomic(root / TABLES / f"{name}.csv") as temporary:
                table.to_csv(temporary, index=False)
        return write_json(root / COMPARISON, self.content)

    def __str__(self) -> str:
        lines = [*self.content["verdict"], ""]
        lines += [f"{c['level'].upper()} {c['code']}: {c['message']}" for c in self.content["checks"]]
        shown = self.gaps.sort_values("p_adjusted")[:8].drop(columns=["p", "people_a", "people_b"])
        lines.append(shown.to_string(index=False, float_format=thousandths))
        return "\n".join(lines)


def compare(first: Any, second: Any, *, settings: AuditSettings | None = None) -> Comparison:
    """Compare two audits, paired on the faces that both have.

    Args:
        first: an `Audit`, or the path of its folder or audit.json, with faces.parquet beside it.
        second: the other one.
        settings: level, draws, smallest group (not below that of either audit) and seed.

    Raises:
        UsageError: an audit without its faces, or of a data set.
        IdferError: the two have no faces in common, or other labels of them.
    """
    settings = settings or AuditSettings()
    (a, name_a, least_a), (b, name_b, least_b) = _opened(first), _opened(second)
    settings = replace(settings, min_people=max(settings.min_people, least_a, least_b))
    name_a, name_b = (f"{name_a} (A)", f"{name_b} (B)") if name_a == name_b else (name_a, name_b)
    a, b, checks = _paired(a, b, name_a, name_b)
    checks += left_out_checks(a, settings.min_people)
    gaps, overall = differences(a, b, settings)
    content = {
        "schema": SCHEMA,
        "about": {
            "name": f"{name_a} and {name_b}", "names": [name_a, name_b], "kind": "comparison",
            "rows": len(a.key),
            "people": None if a.subject is None else int(a.people.max()) + 1,
            "attributes": [attribute.name for attribute in a.attributes], "command": "",
        },
        "settings": asdict(settings),
        "comparison": gaps.to_dict("records"),
        "accuracy_comparison": overall.to_dict("records"),
        "checks": [asdict(check) for check in checks],
        "verdict": comparison_verdict(gaps, overall, name_a, name_b, settings),
        "environment": environment(),
    }  # fmt: skip
    return Comparison(gaps, overall, json_ready(content))


def _opened(given: Any) -> tuple[Sample, str, int]:
    """The faces of an audit, its name, and the smallest group that it shows."""
    if isinstance(given, Audit):
        sample, name = given.sample, str(given.about.get("name", "model"))
        least = given.settings.min_people
        if sample is None:
            raise UsageError(f"{name}: this audit has not kept its faces; make it with idfer.audit.")
    else:
        path = Path(given) / AUDIT if Path(given).is_dir() else Path(given)
        content = read_audit(path)
        name, least = (
            str(content["about"].get("name", path.parent.name)),
            int(content["settings"]["min_people"]),
        )
        sample = read_faces(path.with_name(FACES))
    if sample.predicted is None:
        raise UsageError(f"{name}: is the audit of a data set; only audits with predictions compare.")
    return sample, name, least


def _paired(a: Sample, b: Sample, name_a: str, name_b: str) -> tuple[Sample, Sample, list[Check]]:
    """Both samples on their common faces, in the first's order, with its people and attributes."""
    at = places(a.key, b.key, name_b, name_a, "faces")
    both = np.flatnonzero(at >= 0)
    checks = []
    if len(both) < max(len(a.key), len(b.key)):
        checks.append(
            Check(
                "IDF327", "warning",
                f"{len(both):,} faces are in both audits, of {len(a.key):,} of {name_a} and {len(b.key):,} "
                f"of {name_b}; the others do not count.",
            )
        )  # fmt: skip
    there = at[both]
    label = a.label
    if (a.label is None) != (b.label is None):
        label = a.label if a.label is not None else b.label
        label = label[both if a.label is not None else there] if label is not None else None
    elif a.label is not None and b.label is not None:
        label = a.label[both]
        other = np.abs(label - b.label[there]).max(axis=1) > 1e-6
        if other.any():
            row = both[np.flatnonzero(other)[0]]
            raise IdferError(
                f"{int(other.sum()):,} of {len(both):,} faces have other labels in {name_b} than in {name_a} "
                f"(e.g. {a.key[row]!r}); audit both with the same labels."
            )
    assert a.predicted is not None and b.predicted is not None
    subject = None if b.subject is None else b.subject[there]
    subject = subject if a.subject is None else a.subject[both]
    if subject is None:
        checks.append(
            Check(
                "IDF301", "warning",
                "neither audit knows people, so every face counts as a person: if people have several faces, "
                "intervals are too narrow and tests find too much; audit again with a column subject.",
            )
        )  # fmt: skip
    attributes = tuple(replace(each, posterior=each.posterior[both]) for each in a.attributes)
    key = a.key[both]
    return (
        Sample(key, label, a.predicted[both], subject, attributes),
        Sample(key, label, b.predicted[there], subject, attributes),
        checks,
    )


def differences(a: Sample, b: Sample, settings: AuditSettings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of gaps and of accuracy of two samples of the same faces, in the same order."""
    import pandas as pd

    metrics = METRICS if a.label is not None else UNLABELLED
    unit = units(a.people, settings.seed)
    count = int(unit.max()) + 1
    tests: list[dict[str, Any]] = []
    found: list[list[Array]] = []  # gap of A, of B, and both without each person
    by_side: list[Sides] = []

    whole = np.ones((len(a.key), 1))
    sums = [unit_sums(sample, whole, unit, count) for sample in (a, b)]
    found.append(list(left_out(sums, metrics, (0,))))
    by_side.append(_sides(sums, metrics, (0,)))
    tests.append({})
    for attribute, people in zip(a.attributes, people_at(a), strict=True):
        weight = np.nan_to_num(attribute.posterior, nan=0.0)
        sums = [unit_sums(sample, weight, unit, count) for sample in (a, b)]
        for i, j in compared(people, settings.min_people):
            tests.append(
                {
                    "attribute": attribute.name, "level_a": attribute.levels[i],
                    "level_b": attribute.levels[j], "people_a": people[i], "people_b": people[j],
                }
            )  # fmt: skip
            found.append(list(left_out(sums, metrics, (i, j))))
            by_side.append(_sides(sums, metrics, (i, j)))
    gap_a, gap_b, without_a, without_b = (np.stack(parts, axis=-2) for parts in zip(*found, strict=True))
    present = np.stack([(test.share > 0).any(axis=0) for test in by_side], axis=1)[:, :, None]
    known = jackknife(gap_b - gap_a, without_b - without_a, present)
    low, high = known.ends(settings.level)
    usable = np.isfinite(known.value) & (known.error > 0) & np.isfinite(known.pieces).all(axis=0)
    most = normal(known.value, known.error**2, known.df)
    single, adjusted = p_values(by_side, usable, most, settings.permutations, settings.seed)
    rows: list[dict[str, Any]] = []
    for t, test in enumerate(tests):
        for k, metric in enumerate(metrics):
            for d, dimension in enumerate(DIMENSIONS):
                c = k * len(DIMENSIONS) + d
                shown = {"difference": known.value[t, c], "low": low[t, c], "high": high[t, c],
                         "p": single[t, c], "p_adjusted": adjusted[t, c]}  # fmt: skip
                kind = "gap" if test else "value"
                of = {f"{kind}_a": gap_a[t, c], f"{kind}_b": gap_b[t, c]}
                rows.append({**test, "dimension": dimension, "metric": metric, **of, **shown})
    size = len(metrics) * len(DIMENSIONS)
    return pd.DataFrame(rows[size:], columns=list(COLUMNS)), pd.DataFrame(rows[:size], columns=list(OVERALL))


def _sides(sums: list[Array], metrics: tuple[str, ...], levels: tuple[int, ...]) -> Sides:
    return sides([added(sums, metrics, k) for k in levels], [sums[0][:, k, 0] for k in levels])
