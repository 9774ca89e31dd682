"""Do intervals of leakage hold? `python benchmarks/leak_calibration.py [--audits 200] [--parts identity]`.

Simulated people whose truth is known, through `idfer.evaluation.leakage.probe`:

- nothing: features that know who someone is and nothing of the attribute; how often the lower end of the
  95 % interval lies above 0 (2.5 % is stated);
- planted: one coordinate of the feature is moved by the attribute; how often the interval holds the score
  that a probe of so many people has on average (over all samples of the world).

Both are counted for the interval as it is (`evaluation.probe_intervals`) and for one that only draws the
people who are read anew. People have 1 to 8 rows.

Of identity (`idfer.evaluation.verification`, ten times as many audits: it is fast) both are counted, too: the
interval as it is draws the people who are told apart and nothing else; the other adds what attributes' probes
add, the variance of a score where nobody is told apart. Writes results/leak_calibration.json and .md.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idfer.evaluation import leakage, probe_intervals
from idfer.evaluation.bootstrap import resample
from idfer.evaluation.probe_intervals import Scored
from idfer.evaluation.probes import one_thread
from idfer.evaluation.verification import of_people, per_person
from idfer.results import write_json

Array = NDArray[np.float64]
RESULTS = Path(__file__).parent / "results"
KINDS = ("linear", "nonlinear")
PARTS = ["probes", "identity"]


@dataclass(frozen=True)
class World:
    """People, the feature's width, and how far a standard deviation of the attribute moves one coordinate."""

    people: int
    width: int
    strength: float = 0.0


WORLDS = {
    "nothing, 40 people, width 2": World(40, 2),
    "nothing, 60 people, width 2": World(60, 2),
    "nothing, 60 people, width 16": World(60, 16),
    "nothing, 200 people, width 2": World(200, 2),
    "planted, 60 people, width 2": World(60, 2, 0.8),
    "planted, 60 people, width 16": World(60, 16, 1.6),
    "planted, 200 people, width 2": World(200, 2, 0.8),
}


def draw(world: World, target: str, rng: np.random.Generator) -> tuple[Array, NDArray[Any], NDArray[np.intp]]:
    """Features, attribute and person of each row."""
    who = np.repeat(np.arange(world.people), rng.integers(1, 9, world.people))
    hidden = rng.normal(size=world.people)
    features = rng.normal(size=(world.people, world.width))[who] + rng.normal(size=(len(who), world.width))
    attribute: NDArray[Any] = hidden
    if target == "three levels":
        attribute = np.array(["a", "b", "c"])[np.digitize(hidden, (0.0, 0.84))]  # 50, 30, 20 %
    elif target == "two levels":
        attribute = np.where(hidden > 0, "high", "low")
    features[:, 0] += world.strength * hidden[who]
    return features, attribute[who], who


def simulate(world: World, target: str, kind: Any, audits: int, seed: int) -> dict[str, float]:
    """Scores of simulated audits, and how often both intervals hold what they should."""
    readers: list[tuple[float, float]] = []

    def remembering(sums: Array, continuous: bool, of: int) -> Scored:
        low, high = probe_intervals.of_readers(sums, continuous, of)
        readers.append((float(low), float(high)))
        return probe_intervals.scored(sums, continuous, of)

    usual, leakage.scored = leakage.scored, remembering
    try:
        found = []
        for i in range(audits):
            x, attribute, who = draw(world, target, np.random.default_rng([seed, i]))
            leak = leakage.probe(x, attribute, who, kind, i)
            found.append((leak.score, leak.low, leak.high))
    finally:
        leakage.scored = usual
    score, low, high = np.array(found).T
    read_low, read_high = np.array(readers).T
    mean = float(score.mean())
    return {
        "audits": audits,
        "score": mean,
        "above_0": float((low > 0).mean()),
        "above_0_readers_alone": float((read_low > 0).mean()),
        "holds": float(((low <= mean) & (mean <= high)).mean()),
        "holds_readers_alone": float(((read_low <= mean) & (mean <= read_high)).mean()),
        "length": float((high - low).mean()),
    }


PEOPLE = {
    "nobody told apart, 40 people, width 2": World(40, 2, 0),
    "nobody told apart, 40 people, width 16": World(40, 16, 0),
    "nobody told apart, 200 people, width 2": World(200, 2, 0),
    "a little, 40 people, width 2": World(40, 2, 0.5),
    "a little, 40 people, width 16": World(40, 16, 0.4),
    "a little, 200 people, width 16": World(200, 16, 0.4),
    "nearly always, 60 people, width 16": World(60, 16, 1.5),
}  # strength: how far people lie apart, in standard deviations within people


def identity(world: World, audits: int, seed: int) -> dict[str, float]:
    """Scores of people told apart (0 chance, 1 always), and how often either interval holds their mean."""
    found = []
    for i in range(audits):
        rng = np.random.default_rng([seed, i])
        who = np.repeat(np.arange(world.people), rng.integers(2, 9, world.people))
        lie = world.strength * rng.normal(size=(world.people, world.width))
        spread = np.exp(rng.normal(0, 0.3, world.people))  # some people vary more than others
        features = lie[who] + spread[who, None] * rng.normal(size=(len(who), world.width))
        own, mixed = per_person(features, who, i)[0]
        own, mixed = own[~np.isnan(own)], mixed[~np.isnan(mixed)]
        draws = resample(np.stack([np.ones_like(mixed), mixed], axis=-1), seed=i)
        found.append((own.mean(), *of_people(own, i), 1.96 * (draws[:, 1] / draws[:, 0]).std()))
    score, low, high, learned = 2 * np.array(found).T
    score, low, high = score - 1, low - 1, high - 1
    mean = float(score.mean())
    wide_low, wide_high = score - np.hypot(score - low, learned), score + np.hypot(high - score, learned)
    return {
        "audits": audits,
        "score": mean,
        "above_0": float((low > 0).mean()),
        "above_0_with_learned": float((wide_low > 0).mean()),
        "holds": float(((low <= mean) & (mean <= high)).mean()),
        "holds_with_learned": float(((wide_low <= mean) & (mean <= wide_high)).mean()),
        "spread": float(score.std(ddof=1)),
        "stated_spread": float(((high - low) / (2 * 1.96)).mean()),
    }


def main() -> None:
    """Simulate and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audits", type=int, default=30)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="others stay as they were")
    given = parser.parse_args()
    path = RESULTS / "leak_calibration.json"
    results: dict[str, Any] = {} if given.parts == PARTS else json.loads(path.read_text(encoding="utf-8"))
    if "probes" in given.parts:
        started = time.process_time()
        results |= attributes(given.audits)
        results["cpu_seconds"] = round(time.process_time() - started)
    if "identity" in given.parts:
        started = time.process_time()
        results["identity"] = {}
        for i, (name, people) in enumerate(PEOPLE.items()):
            with one_thread():
                results["identity"][name] = identity(people, 10 * given.audits, 5_500_000 + i)
            print(name, results["identity"][name], flush=True)
        results["identity_cpu_seconds"] = round(time.process_time() - started)
    write_json(path, results)
    (RESULTS / "leak_calibration.md").write_text(table(results), encoding="utf-8")
    print(table(results))


def attributes(audits: int) -> dict[str, Any]:
    """Every world, attribute and probe, and worlds pooled over attributes of levels."""
    results: dict[str, Any] = {"worlds": {}, "pooled": {}}
    seed = 5_000_000
    for name, world in WORLDS.items():
        results["worlds"][name] = {}
        for target in ("two levels", "three levels", "number"):
            for kind in KINDS:
                if target == "three levels" and kind == "nonlinear":
                    continue
                seed += 1
                one = simulate(world, target, kind, audits, seed)
                results["worlds"][name][f"{target}, {kind}"] = one
                print(name, target, kind, one, flush=True)
    for name, of in results["worlds"].items():
        levels = [one for target, one in of.items() if "levels" in target]
        results["pooled"][name] = {key: float(np.mean([one[key] for one in levels])) for key in levels[0]}
    return results


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "# Calibration of leakage probes' intervals",
        "",
        "Made by `python benchmarks/leak_calibration.py`, which says how people are drawn. 95 % intervals; "
        "in brackets those that only draw the people who are read anew.",
        "",
        "| world | attribute, probe | audits | mean score | lower end above 0 | holds the mean score |",
        "|---|---|---|---|---|---|",
    ]
    for name, of in results["worlds"].items():
        for target, one in of.items():
            lines.append(
                f"| {name} | {target} | {one['audits']} | {one['score']:+.3f} "
                f"| {100 * one['above_0']:.1f} % ({100 * one['above_0_readers_alone']:.1f} %) "
                f"| {100 * one['holds']:.1f} % ({100 * one['holds_readers_alone']:.1f} %) |"
            )
    lines += [
        "", "## Identity", "",
        "95 % intervals that draw the people who are told apart; in brackets those with what attributes' "
        "probes add. Spread: of the score over audits, and as intervals state it.", "",
        "| world | audits | mean score | spread | lower end above 0 | holds the mean score |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    lines += [
        f"| {name} | {one['audits']} | {one['score']:+.3f} | {one['spread']:.3f}, {one['stated_spread']:.3f} "
        f"| {100 * one['above_0']:.1f} % ({100 * one['above_0_with_learned']:.1f} %) "
        f"| {100 * one['holds']:.1f} % ({100 * one['holds_with_learned']:.1f} %) |"
        for name, one in results["identity"].items()
    ]
    seconds = f"{results['cpu_seconds']}, of identity {results['identity_cpu_seconds']}"
    return "\n".join([*lines, "", f"Seconds of one core: {seconds}.", ""])


if __name__ == "__main__":
    main()
