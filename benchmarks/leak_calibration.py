"""Do intervals of leakage probes hold? `python benchmarks/leak_calibration.py [--audits 200]`.

Simulated people whose truth is known, through `idfer.evaluation.leakage.probe`:

- nothing: features that know who someone is and nothing of the attribute; how often the lower end of the
  95 % interval lies above 0 (2.5 % is stated);
- planted: one coordinate of the feature is moved by the attribute; how often the interval holds the score
  that a probe of so many people has on average (over all samples of the world).

Both are counted for the interval as it is (`evaluation.probe_intervals`) and for one that only draws the
people who are read anew. People have 1 to 8 rows. Writes results/leak_calibration.json and .md.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idfer.evaluation import leakage, probe_intervals
from idfer.evaluation.probe_intervals import Scored
from idfer.results import write_json

Array = NDArray[np.float64]
RESULTS = Path(__file__).parent / "results"
KINDS = ("linear", "nonlinear")


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


def main() -> None:
    """Simulate and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audits", type=int, default=30)
    given = parser.parse_args()
    started = time.process_time()
    results: dict[str, Any] = {"worlds": {}, "pooled": {}}
    seed = 5_000_000
    for name, world in WORLDS.items():
        results["worlds"][name] = {}
        for target in ("two levels", "three levels", "number"):
            for kind in KINDS:
                if target == "three levels" and kind == "nonlinear":
                    continue
                seed += 1
                one = simulate(world, target, kind, given.audits, seed)
                results["worlds"][name][f"{target}, {kind}"] = one
                print(name, target, kind, one, flush=True)
    for name, of in results["worlds"].items():
        levels = [one for target, one in of.items() if "levels" in target]
        results["pooled"][name] = {key: float(np.mean([one[key] for one in levels])) for key in levels[0]}
    results["cpu_seconds"] = round(time.process_time() - started)
    write_json(RESULTS / "leak_calibration.json", results)
    (RESULTS / "leak_calibration.md").write_text(table(results), encoding="utf-8")
    print(table(results))


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
    return "\n".join([*lines, "", f"Seconds of one core: {results['cpu_seconds']}.", ""])


if __name__ == "__main__":
    main()
