"""Is the audit right as often as it says? `python benchmarks/audit_calibration.py [--audits 500]`.

Simulated audits of predictors whose truth is known, through `idfer.auditing.engine.run`:

- false alarms: predictors that treat everybody alike; how often any test of an audit is significant;
- coverage: how often gap intervals hold the true gap (0, or planted), beside a percentile bootstrap;
- power: gaps of about 0.9 and 1.1 of the size that audits of the same world call detectable are planted; how
  often they are found, and, between the two, a gap of just that size (stated: 80 %);
- equal labels: groups that show other expressions, and a predictor that sees the expression only; how often
  the raw and the standardised gap are found to differ from 0;
- information: how often a prediction that tells nothing has p <= 0.05.

People have uneven numbers of rows (log-normal, 1 to 80), an error of their own, and errors with heavy tails
(Student's t); groups hold 15 to 60 % of people; attributes are one level per person, a noisy classifier's
probabilities, or vary within people. Writes results/audit_calibration.json and .md.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idfer.auditing import moments
from idfer.auditing.engine import Audit, AuditSettings, run
from idfer.auditing.information import measure
from idfer.auditing.sample import Attribute, Sample
from idfer.results import write_json

Array = NDArray[np.float64]
RESULTS = Path(__file__).parent / "results"
SETTINGS = AuditSettings(permutations=199, probes=(), verification=False, information=False)
PLAIN = "gender"  # where gaps are planted: two levels of about half the people


@dataclass(frozen=True)
class World:
    """How people are drawn.

    Attributes:
        people: how many.
        tails: degrees of freedom of Student's t of errors.
        spread: of the logarithm of rows per person.
        subjects: whether the audit is told who is who.
        labelled: whether it is told the labels.
        bias: added to the valence predicted of the first gender.
        noise: factor of the error of its valence.
        slope: factor of its predicted valence.
        happier: added to its valence labels, before they are squashed.
        first: share of people of the first gender.
        attributes: which.
    """

    people: int = 200
    tails: float = 5.0
    spread: float = 0.8
    subjects: bool = True
    labelled: bool = True
    bias: float = 0.0
    noise: float = 1.0
    slope: float = 1.0
    happier: float = 0.0
    first: float = 0.5
    attributes: tuple[str, ...] = (PLAIN, "age", "skin", "glasses")


def draw(world: World, rng: np.random.Generator) -> Sample:
    """One sample of people."""
    people = world.people
    count = np.clip(np.round(rng.lognormal(2, world.spread, people)), 1, 80).astype(int)
    if not world.subjects:
        count = np.ones(people, int)  # a row is a person, and that is true
    who = np.repeat(np.arange(people), count)
    rows = len(who)
    gender, age, skin = (
        rng.choice(len(share), people, p=share) for share in (
            (world.first, 1 - world.first), (0.6, 0.25, 0.15), (0.5, 0.3, 0.2),
        )
    )  # fmt: skip
    first = gender[who] == 0
    state = rng.normal(0, 0.15, (people, 2))[who] + rng.normal(0, 0.4, (rows, 2))
    state[first, 0] += world.happier
    label = np.tanh(state)
    own = 0.08 * rng.standard_t(world.tails, (people, 2))[who]
    scale = 0.2 * np.exp(rng.normal(0, 0.3, people))[who, None]
    error = own + scale * rng.standard_t(world.tails, (rows, 2))
    error[first, 0] *= world.noise
    predicted = 0.05 + 0.7 * label + error
    predicted[first, 0] *= world.slope
    predicted[first, 0] += world.bias
    glasses = np.where(rng.random(rows) < 0.35, rng.random(rows) < 0.3, (rng.random(people) < 0.3)[who])
    made = {
        PLAIN: Attribute(PLAIN, ("women", "men"), np.eye(2)[gender[who]], False, "given"),
        "age": Attribute("age", ("young", "middle", "old"), np.eye(3)[age[who]], False, "given", True),
        "skin": Attribute("skin", ("dark", "medium", "light"), retrieved(skin, who, rng), True, "classifier"),
        "glasses": Attribute("glasses", ("without", "with"), np.eye(2)[glasses.astype(int)], False, "given"),
    }
    return Sample(
        key=np.arange(rows).astype(object),
        label=label if world.labelled else None,
        predicted=predicted,
        subject=who.astype(object) if world.subjects else None,
        attributes=tuple(made[name] for name in world.attributes),
    )


def retrieved(level: NDArray[np.intp], who: NDArray[np.intp], rng: np.random.Generator) -> Array:
    """Probabilities of three levels by a classifier that errs by person and by row."""
    noise = 0.6 * rng.normal(size=(len(who), 3)) + 0.4 * rng.normal(size=(len(level), 3))[who]
    score = np.exp(1.5 * (noise + 2 * np.eye(3)[level[who]]))
    return np.asarray(score / score.sum(axis=1, keepdims=True))


def true_gap(world: World, rng: np.random.Generator) -> Array:
    """Gap of the two genders in a world of very many people, (metrics, dimensions)."""
    sums = np.zeros((2, moments.COLUMNS))
    for _ in range(3):
        sample = draw(replace(world, people=20_000, attributes=(PLAIN,)), rng)
        assert sample.predicted is not None
        rows = moments.row_sums(sample.label, sample.predicted, np.zeros(2))
        sums += sample.attributes[0].posterior.T @ rows
    value = moments.values(sums)
    return np.asarray(value[0] - value[1])


def audit(world: World, seed: int) -> tuple[Sample, Audit]:
    """Draw and audit once."""
    sample = draw(world, np.random.default_rng([seed, 1]))
    return sample, run(sample, replace(SETTINGS, seed=seed))


def percentile(sample: Sample, seed: int) -> Array:
    """Percentile bootstrap over people of the gender gap: (2, metrics, dimensions) ends."""
    assert sample.predicted is not None
    rows = moments.row_sums(sample.label, sample.predicted, np.zeros(2))
    people, levels = sample.people, sample.attributes[0].top
    sums = np.zeros((people.max() + 1, 2, moments.COLUMNS))
    np.add.at(sums, (people, levels), rows)
    rng = np.random.default_rng([seed, 2])
    counts = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=400)
    value = moments.values((counts @ sums.reshape(len(sums), -1)).reshape(-1, 2, moments.COLUMNS))
    return np.asarray(np.quantile(value[:, 0] - value[:, 1], [0.025, 0.975], axis=0))


def null(world: World, audits: int, seed: int) -> dict[str, Any]:
    """False alarms, coverage and detectable gaps where nobody is treated otherwise."""
    alarms, tests = 0, 0
    by_mode = {"dealt": [0, 0], "signed": [0, 0], "pair": [0, 0], "rest": [0, 0]}
    inside: dict[str, list[int]] = {}
    old, detectable, misses = np.zeros((4, 3)), [], 0
    for i in range(audits):
        sample, found = audit(world, seed + i)
        gaps = found.gaps
        tests += len(gaps)
        hit = gaps["significant"].astype(bool)
        alarms += int(hit.any())
        varying = gaps["attribute"].str.contains("glasses") | (not world.subjects and world.people > 3000)
        for name, chosen in (
            ("dealt", ~varying), ("signed", varying), ("pair", gaps["kind"] == "pair"),
            ("rest", gaps["kind"] == "rest"),
        ):  # fmt: skip
            by_mode[name][0] += int((gaps["p"][chosen] <= 0.05).sum())
            by_mode[name][1] += int(chosen.sum())
        held = (gaps["low"] <= 0) & (gaps["high"] >= 0)
        for (metric, kind), part in held.groupby([gaps["metric"], gaps["kind"]]):
            count = inside.setdefault(f"{metric}, {kind}", [0, 0])
            count[0] += int(part.sum())
            count[1] += len(part)
        if world.labelled:
            low, high = percentile(sample, seed + i)
            old += (low <= 0) & (high >= 0)
            part = found.power[found.power["attribute"] == PLAIN]
            detectable.append(part["detectable"].to_numpy(np.float64).reshape(4, 3))
            misses += 1
    return {
        "audits": audits,
        "tests_per_audit": tests / audits,
        "family_wise": alarms / audits,
        "family_wise_error": math.sqrt(0.05 * 0.95 / audits),
        "single_p_05": {name: hits / max(of, 1) for name, (hits, of) in by_mode.items() if of},
        "coverage": {name: hits / of for name, (hits, of) in sorted(inside.items())},
        "coverage_all": sum(h for h, _ in inside.values()) / sum(n for _, n in inside.values()),
        "coverage_percentile_bootstrap": (
            {metric: float(old[k].mean() / misses) for k, metric in enumerate(moments.METRICS)}
            if misses
            else {}
        ),
        "detectable": np.nanmean(detectable, axis=0).tolist() if detectable else None,
    }


def planted(world: World, metric: str, seed: int) -> float:
    """Strength at which the first gender's valence has the gap that audits of this world call detectable."""

    def over(strength: float) -> float:
        """True gap over what a few audits state, less 1."""
        made = strong(world, metric, strength)
        truth = true_gap(made, np.random.default_rng(7))[moments.METRICS.index(metric), 0]
        stated = [_row(audit(made, seed + i)[1].power, metric)["detectable"] for i in range(PILOTS)]
        return float(abs(truth) / np.mean(stated) - 1)

    strengths = [0.1, 0.14] if metric == "bias" else [1.5, 2.0]
    tried = [over(strength) for strength in strengths]
    for _ in range(2):  # the secant through the last two
        step = tried[-1] * (strengths[-1] - strengths[-2]) / (tried[-1] - tried[-2])
        strengths.append(float(np.clip(strengths[-1] - step, strengths[0] / 2, 2 * strengths[-1])))
        tried.append(over(strengths[-1]))
    return strengths[-1]


def strong(world: World, metric: str, strength: float) -> World:
    """The world with this difference between genders; a gap in CCC or RMSE is one of the noise."""
    return replace(world, **{{"bias": "bias", "slope": "slope"}.get(metric, "noise"): strength})


def _row(table: Any, metric: str) -> Any:
    """The one row of gender, valence and this metric."""
    chosen = (table["attribute"] == PLAIN) & (table["dimension"] == "valence") & (table["metric"] == metric)
    return table[chosen].iloc[0]


def power(audits: int, seed: int, metrics: list[str]) -> dict[str, Any]:
    """How often planted gaps around the detectable size are found, and held by their interval."""
    out: dict[str, Any] = {}
    normal = NormalDist()
    for w, (name, (world, least)) in enumerate(PLANTED.items()):
        out[name] = {}
        for metric in [m for m in metrics if m in least]:
            start = seed + 100_000 * w + 20_000 * moments.METRICS.index(metric)
            strength, none = planted(world, metric, start + 15_000), float(metric != "bias")
            points = [
                _found(
                    strong(world, metric, none + part * (strength - none)), metric, audits, start + 7_000 * i
                )
                for i, part in enumerate((0.88, 1.12))
            ]
            one, two = points
            share = (1 - one["ratio"]) / (two["ratio"] - one["ratio"])
            low, high = (normal.inv_cdf((p["found"] * audits + 0.5) / (audits + 1)) for p in points)
            out[name][metric] = {
                "points": points,
                "found_at_detectable": normal.cdf(low + share * (high - low)),
                "error": math.sqrt(0.16 / audits * (share**2 + (1 - share) ** 2)),
                "detectable": one["detectable"] + share * (two["detectable"] - one["detectable"]),
                "coverage": (one["coverage"] + two["coverage"]) / 2,
                "audits": 2 * audits,
            }
            print(name, metric, out[name][metric], flush=True)
    return out


def _found(world: World, metric: str, audits: int, seed: int) -> dict[str, float]:
    """How often one planted gap is found, and how large it is beside what its audits state."""
    truth = float(true_gap(world, np.random.default_rng(8))[moments.METRICS.index(metric), 0])
    found, held, stated = 0, 0, []
    for i in range(audits):
        made = audit(world, seed + i)[1]
        row = _row(made.gaps, metric)
        stated.append(_row(made.power, metric)["detectable"])
        found += int(row["significant"] and np.sign(row["gap"]) == np.sign(truth))
        held += int(row["low"] <= truth <= row["high"])
    return {
        "planted": truth, "detectable": float(np.mean(stated)), "ratio": abs(truth) / float(np.mean(stated)),
        "found": found / audits, "coverage": held / audits,
    }  # fmt: skip


def equal_labels(audits: int, seed: int) -> dict[str, Any]:
    """Groups that show other expressions, and a predictor that only sees the expression."""
    world = World(happier=0.35, attributes=(PLAIN,))
    raw, standardised, asked = np.zeros(4), np.zeros(4), 0
    for i in range(audits):
        gaps = audit(world, seed + i)[1].gaps
        part = gaps[gaps["dimension"] == "valence"]
        raw += ((part["low"] > 0) | (part["high"] < 0)).to_numpy()
        if part["standardised_gap"].notna().all():
            asked += 1
            standardised += ((part["standardised_low"] > 0) | (part["standardised_high"] < 0)).to_numpy()
    return {
        "audits": audits, "with_standardised": asked,
        "raw_differs": dict(zip(moments.METRICS, (raw / audits).tolist(), strict=True)),
        "standardised_differs": dict(
            zip(moments.METRICS, (standardised / max(asked, 1)).tolist(), strict=True)
        ),
    }  # fmt: skip


def information(audits: int, seed: int) -> dict[str, float]:
    """Share of p <= 0.05 of predictions that tell nothing of gender, beyond labels or at all."""
    told, beyond, confounded = 0, 0, 0
    for i in range(audits):
        for happier in (0.0, 0.35):
            world = World(people=80, happier=happier, attributes=(PLAIN,))
            sample = draw(world, np.random.default_rng([seed, i, 3]))
            x, people, target = sample.predicted, sample.people, sample.attributes[0].posterior
            if not happier:
                told += measure(x, None, people, target, 0.95, i)["p"] <= 0.05
                beyond += measure(x, sample.label, people, target, 0.95, i)["p"] <= 0.05
            else:
                confounded += measure(x, sample.label, people, target, 0.95, i)["p"] <= 0.05
    return {
        "audits": audits, "p_05": told / audits, "p_05_beyond_labels": beyond / audits,
        "p_05_beyond_labels_that_differ": confounded / audits,
    }  # fmt: skip


PARTS = ["null", "power", "equal_labels", "information"]
SEED = 20_000_000
PILOTS = 16  # audits that say what is detectable in a world
PLANTED = {
    "200 people, groups of a half": (World(), moments.METRICS),
    "200 people, groups of 20 and 80 %": (World(first=0.2), ("rmse", "bias")),
    "80 people, groups of a half": (World(people=80), ("rmse", "bias")),
}
FULL = 2  # of these worlds with all audits, the others with 3 in 10
WORLDS = {
    "200 people, heavy tails (t5)": World(),
    "80 people, heavy tails (t4)": World(people=80, tails=4),
    "400 people, normal errors": World(people=400, tails=100),
    "people unknown: 300 rows": World(people=300, subjects=False),
    "no labels: gaps of the mean prediction": World(labelled=False),
}


def main() -> None:
    """Run everything and write both files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--audits", type=int, default=500)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="others stay as they were")
    parser.add_argument("--metrics", nargs="+", choices=moments.METRICS, default=list(moments.METRICS))
    given = parser.parse_args()
    path = RESULTS / "audit_calibration.json"
    results: dict[str, Any] = {} if given.parts == PARTS else json.loads(path.read_text(encoding="utf-8"))
    few = max(given.audits * 2 // 5, 1)
    seconds = results.setdefault("cpu_seconds", {})
    for part in given.parts:
        started = time.process_time()
        if part == "null":
            results[part] = {}
            for i, (name, world) in enumerate(WORLDS.items()):
                audits = given.audits if i < FULL else max(given.audits * 3 // 10, 1)
                results[part][name] = null(world, audits, SEED + 100_000 * (i + 1))
                print(name, results[part][name]["family_wise"], flush=True)
        elif part == "power":
            results[part] = {
                **results.get(part, {}),
                **power(max(given.audits // 5, 1), SEED + 2_000_000, given.metrics),
            }
        elif part == "equal_labels":
            results[part] = equal_labels(few, SEED + 3_000_000)
        else:
            results[part] = information(max(given.audits // 5, 1), SEED + 4_000_000)
        seconds[part] = round(time.process_time() - started)
        if all(name in results for name in PARTS):
            write_json(path, results)
            text = table(json.loads(json.dumps(results)))
            (RESULTS / "audit_calibration.md").write_text(text, encoding="utf-8")
    print((RESULTS / "audit_calibration.md").read_text(encoding="utf-8"))


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "# Calibration of the audit",
        "",
        "Made by `python benchmarks/audit_calibration.py`, which says how the worlds are drawn. "
        "Stated level: 5 %.",
        "",
        "## Nobody is treated otherwise",
        "",
        "| world | audits | tests per audit | any false alarm | one test, p <= .05: dealt, signed | "
        "intervals that hold the gap |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in results["null"].items():
        single = found["single_p_05"]
        both = ", ".join(f"{100 * single[mode]:.1f} %" for mode in ("dealt", "signed") if mode in single)
        lines.append(
            f"| {name} | {found['audits']} | {found['tests_per_audit']:.0f} "
            f"| {100 * found['family_wise']:.1f} ± {100 * found['family_wise_error']:.1f} % | {both} "
            f"| {100 * found['coverage_all']:.1f} % |"
        )
    keys = list(next(iter(results["null"].values()))["coverage"])
    lines += ["", "## Intervals that hold the gap, by metric", "", f"| world | {' | '.join(keys)} |"]
    lines.append("|---" * (len(keys) + 1) + "|")
    for name, found in results["null"].items():
        if list(found["coverage"]) == keys:
            held = " | ".join(f"{100 * found['coverage'][key]:.1f} %" for key in keys)
            lines.append(f"| {name} | {held} |")
    lines += ["", "Gender gap with a percentile bootstrap over people instead:", ""]
    for name, found in results["null"].items():
        if old := found["coverage_percentile_bootstrap"]:
            lines.append(f"- {name}: " + ", ".join(f"{m} {100 * v:.1f} %" for m, v in old.items()))
    lines += [
        "", "## Planted gaps about the detectable size (gender, valence)", "",
        "Two gaps each, as shares of the size that their audits state on average, with how often they are "
        "found; and a gap of just that size, by the normal curve through both. Stated: 80 %.", "",
        "| world | metric | stated as detectable | smaller: found | larger: found | at the stated size "
        "| intervals that hold them | audits |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, of in results["power"].items():
        for metric, found in of.items():
            at = f"{100 * found['found_at_detectable']:.0f} ± {100 * found['error']:.0f} %"
            if min(abs(p["ratio"] - 1) for p in found["points"]) > 0.2:
                at, found["detectable"] = (
                    "not read off: both are far from it",
                    found["points"][0]["detectable"],
                )
            two = " | ".join(f"{p['ratio']:.2f}: {100 * p['found']:.0f} %" for p in found["points"])
            lines.append(
                f"| {name} | {metric} | {found['detectable']:.3f} | {two} "
                f"| {at} "
                f"| {100 * found['coverage']:.1f} % | {found['audits']} |"
            )
    equal = results["equal_labels"]
    lines += [
        "", "## Groups with other labels, a predictor that only sees the expression", "",
        f"{equal['audits']} audits, with gaps at equal labels in {equal['with_standardised']}. "
        "Shares of 95 % intervals without 0:", "",
        "| metric | raw gap | gap at equal labels |", "|---|---|---|",
    ]  # fmt: skip
    for metric in equal["raw_differs"]:
        raw, fixed = equal["raw_differs"][metric], equal["standardised_differs"][metric]
        lines.append(f"| {metric} | {100 * raw:.1f} % | {100 * fixed:.1f} % |")
    told = results["information"]
    seconds = ", ".join(f"{part} {count}" for part, count in results["cpu_seconds"].items() if count)
    lines += [
        "", "## Information where there is none", "",
        f"p <= .05 in {100 * told['p_05']:.1f} % of {told['audits']} audits (prediction), "
        f"{100 * told['p_05_beyond_labels']:.1f} % (beyond labels), "
        f"{100 * told['p_05_beyond_labels_that_differ']:.1f} % (beyond labels that differ between groups).",
        "", f"Seconds of one core: {seconds}.", "",
    ]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main()
