"""Is a comparison of two audits right as often as it says? `python benchmarks/compare_calibration.py`.

Two simulated models read the same people (`benchmarks/audit_calibration.py` draws them: uneven rows, heavy
tails, errors of people), with errors that are partly common; through `idfer.auditing.compare`:

- alike: the models differ by chance alone; how often any difference, of gaps or overall, is significant;
- one worse: the second has larger errors with everybody; how often any difference of gaps is;
- planted: the second reads the first gender higher; how often that is found.

Beside them, how often 95 % intervals hold the difference. Writes results/compare_calibration.json and .md.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idfer.auditing.compare import differences
from idfer.auditing.engine import AuditSettings
from idfer.auditing.sample import Sample
from idfer.results import write_json

sys.path.insert(0, str(Path(__file__).parent))
from audit_calibration import PLAIN, World, draw

Array = NDArray[np.float64]
RESULTS = Path(__file__).parent / "results"
SETTINGS = AuditSettings(permutations=399)
CASES = {
    "alike, 45 people": (45, 1.0, 0.0),
    "alike, 70 people": (70, 1.0, 0.0),
    "alike, 150 people": (150, 1.0, 0.0),
    "one worse, 45 people": (45, 1.3, 0.0),
    "one worse, 70 people": (70, 1.3, 0.0),
    "planted bias of 0.12, 70 people": (70, 1.0, 0.12),
    "alike, 100 people": (100, 1.0, 0.0),
}  # people, error of the second model over the first's, bias of the second with the first gender


def pair(people: int, worse: float, planted: float, rng: np.random.Generator) -> tuple[Sample, Sample]:
    """Two models' predictions of the same faces."""
    first = draw(World(people=people, attributes=(PLAIN, "age", "glasses")), rng)
    who = first.people

    def error() -> Array:
        own = 0.08 * rng.standard_t(5, (people, 2))[who]
        scale = 0.2 * np.exp(rng.normal(0, 0.3, people))[who, None]
        return np.asarray(own + scale * rng.standard_t(5, (len(who), 2)))

    assert first.label is not None
    common = 0.05 + 0.7 * first.label + 0.7 * error()
    other = common + 0.5 * worse * error()
    other[first.attributes[0].posterior[:, 0] == 1, 0] += planted
    return replace(first, predicted=common + 0.5 * error()), replace(first, predicted=other)


def simulate(people: int, worse: float, planted: float, audits: int, seed: int) -> dict[str, Any]:
    """Alarms, coverage, and how often what was planted is found."""
    alarms, tests, held, found = 0, 0, [], 0
    for i in range(audits):
        samples = pair(people, worse, planted, np.random.default_rng([seed, i]))
        settings = replace(SETTINGS, seed=seed + i)
        gaps, overall = differences(*samples, settings)
        p = gaps["p_adjusted"].to_numpy()
        p = p if worse != 1 else np.r_[p, overall["p_adjusted"].to_numpy()]
        alarms += int((p <= 0.05).any())
        tests += len(p)
        true = np.where((gaps["attribute"] == PLAIN) & (gaps["metric"] == "bias"), planted, 0.0)
        true = np.where(
            gaps["dimension"] == "mean", true / 2, np.where(gaps["dimension"] == "valence", true, 0)
        )
        known = (gaps["metric"] == "bias").to_numpy() if planted else np.ones(len(gaps), bool)
        held += ((gaps["low"] <= true) & (true <= gaps["high"]))[known].tolist()
        at = (gaps["attribute"] == PLAIN) & (gaps["metric"] == "bias") & (gaps["dimension"] == "valence")
        found += int((gaps["p_adjusted"][at] <= 0.05).any())
    return {
        "audits": audits,
        "tests": tests / audits,
        "alarms": None if planted else alarms / audits,
        "alarms_error": math.sqrt(0.05 * 0.95 / audits),
        "found": found / audits if planted else None,
        "coverage": float(np.mean(held)),
    }


def main() -> None:
    """Simulate and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audits", type=int, default=2000)
    parser.add_argument(
        "--cases", nargs="+", choices=CASES, default=list(CASES), help="others stay as they were"
    )
    given = parser.parse_args()
    path = RESULTS / "compare_calibration.json"
    results: dict[str, Any] = {"cases": {}, "cpu_seconds": 0}
    if given.cases != list(CASES):
        results = json.loads(path.read_text(encoding="utf-8"))
    started = time.process_time()
    for i, (name, (people, worse, planted)) in enumerate(CASES.items()):
        if name not in given.cases:
            continue
        results["cases"][name] = simulate(people, worse, planted, given.audits, 6_000_000 + 10_000 * i)
        print(name, results["cases"][name], flush=True)
    results["cases"] = {name: results["cases"][name] for name in CASES if name in results["cases"]}
    results["cpu_seconds"] += round(time.process_time() - started)
    write_json(path, results)
    (RESULTS / "compare_calibration.md").write_text(table(results), encoding="utf-8")
    print(table(results))


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "# Calibration of comparisons",
        "",
        "Made by `python benchmarks/compare_calibration.py`, which says how models are drawn. Stated: 5 %.",
        "",
        "| models | comparisons | tests each | any false alarm | planted one found | intervals that hold |",
        "|---|---|---|---|---|---|",
    ]
    for name, of in results["cases"].items():
        alarm = "" if of["alarms"] is None else f"{100 * of['alarms']:.1f} ± {100 * of['alarms_error']:.1f} %"
        found = "" if of["found"] is None else f"{100 * of['found']:.0f} %"
        lines.append(
            f"| {name} | {of['audits']} | {of['tests']:.0f} | {alarm} | {found} "
            f"| {100 * of['coverage']:.1f} % |"
        )
    return "\n".join([*lines, "", f"Seconds of one core: {results['cpu_seconds']}.", ""])


if __name__ == "__main__":
    main()
