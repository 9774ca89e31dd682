"""How long an audit of many faces takes, from files to files, and how much memory: stage by stage.

python benchmarks/audit_scale.py [--rows 100000] [--people 1000] [-o benchmarks/results/audit_scale.json]

Predictions are a CSV, attributes a Parquet file in another order: six of them, two of numbers, two of
categories, two of posteriors. Each stage runs in this process, so the peak is that of all stages before it.
`seconds` are those of a clock on the wall, which runs on while other jobs have the processor; `cpu_seconds`
are this process's own.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from idfer.auditing.engine import AuditSettings, run
from idfer.auditing.folder import write_audit
from idfer.auditing.inputs import read_sample
from idfer.auditing.representation import representation
from idfer.auditing.stereotype import stereotype
from idfer.results import environment, write_json


def files(folder: Path, rows: int, people: int) -> tuple[Path, Path]:
    """Write predictions and attributes of people whose faces are uneven in number."""
    rng = np.random.default_rng(0)
    person = np.sort(rng.choice(people, rows, p=rng.dirichlet(np.full(people, 2.0))))
    label = np.clip(rng.normal(0, 0.4, (rows, 2)), -1, 1)
    said = np.clip(
        0.8 * label + rng.normal(0, 0.1, (people, 2))[person] + rng.normal(0, 0.2, (rows, 2)), -1, 1
    )
    paths = [f"{p:06d}/{i:07d}.jpg" for i, p in enumerate(person)]
    table = pd.DataFrame({"path": paths, "subject": [f"p{p}" for p in person]})
    table[["valence", "arousal"]], table[["valence_pred", "arousal_pred"]] = label.round(4), said.round(4)
    table.to_csv(folder / "predictions.csv", index=False)
    age, tone = rng.uniform(18, 90, people)[person], rng.uniform(1, 10, people)[person]
    older = np.clip((age - 18) / 72 + rng.normal(0, 0.1, rows), 0.01, 0.99)
    light = np.clip(1 - tone / 10 + rng.normal(0, 0.1, rows), 0.01, 0.99)
    attributes = {
        "path": paths, "age": age, "tone": tone, "gender": np.array(["feminine", "masculine"])[person % 2],
        "region": np.array([*"abcd"])[person % 4], "looks/young": 1 - older, "looks/older": older,
        "skin/light": light, "skin/dark": 1 - light,
    }  # fmt: skip
    pd.DataFrame(attributes).sample(frac=1, random_state=0).to_parquet(
        folder / "attributes.parquet", index=False
    )
    return folder / "predictions.csv", folder / "attributes.parquet"


def measure(rows: int, people: int) -> dict[str, Any]:
    """Seconds and peak memory of each stage."""
    stages: dict[str, dict[str, float]] = {}

    def timed(name: str, function: Any) -> Any:
        start, worked = time.perf_counter(), time.process_time()
        found = function()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        stages[name] = {
            "seconds": round(time.perf_counter() - start, 1),
            "cpu_seconds": round(time.process_time() - worked, 1),
            "peak_gb": round(peak, 2),
        }
        return found

    with tempfile.TemporaryDirectory() as folder:
        given = files(Path(folder), rows, people)
        sample = timed("read", lambda: read_sample(*given)).sample
        audit = timed("measure", lambda: run(sample, AuditSettings()))
        timed("labels and attributes", lambda: (stereotype(sample, AuditSettings()), representation(sample)))
        timed("write", lambda: write_audit(audit, Path(folder) / "out", sample))
    total = {name: sum(s[name] for s in stages.values()) for name in ("seconds", "cpu_seconds")}
    return {
        "rows": rows, "people": people, "attributes": len(sample.attributes), "tests": len(audit.gaps),
        "stages": stages, **{name: round(value, 1) for name, value in total.items()},
        "peak_gb": max(s["peak_gb"] for s in stages.values()),
    }  # fmt: skip


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--note", default="", help="what else the machine was doing")
    parser.add_argument("-o", "--out", default="benchmarks/results/audit_scale.json")
    given = parser.parse_args()
    found = measure(given.rows, given.people)
    load = round(os.getloadavg()[0], 1)
    write_json(given.out, found | {"load": load, "note": given.note, "environment": environment()})
    print(found)


if __name__ == "__main__":
    main()
