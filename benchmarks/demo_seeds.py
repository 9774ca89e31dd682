"""The full demo for five seeds: does idfer beat ERM where the training correlation is reversed?

    python benchmarks/demo_seeds.py [--seeds 1 2 3 4 5] [--out runs/demo-seeds] [--results benchmarks/results]

Seed 0 is left out: it was looked at while the method was made. Runs `idfer demo` per seed (finished ones are
not run again) and writes demo_seeds.json and demo_seeds.md: mean CCC of valence and arousal per split, and
what an MLP probe reads of each attribute, with the paired difference idfer - ERM and its 95 % t interval.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import t

from idfer.experiments.demo import demo
from idfer.experiments.protocol import TESTS

METHODS = ("erm", "idfer")


def main() -> None:
    """Run, summarise, write."""
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--out", type=Path, default=Path("runs/demo-seeds"))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    rows = []
    for seed in options.seeds:
        folder = options.out / f"seed{seed}"
        demo(folder, seed=seed)
        runs = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["runs"]
        rows += [{"seed": seed} | numbers(run) for run in runs]
    summary = summarise(rows)
    seeds = " ".join(map(str, options.seeds))
    content = {
        "command": f"python benchmarks/demo_seeds.py --seeds {seeds}",
        "rows": rows,
        "summary": summary,
    }
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "demo_seeds.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    text = markdown(rows, summary, content["command"])
    (options.results / "demo_seeds.md").write_text(text, encoding="utf-8")
    print(text)


def numbers(run: dict) -> dict:
    """The figures of one run that are compared."""
    found = {"method": run["run"]["name"]}
    found |= {f"CCC {split}": run["accuracy"][split]["mean"]["ccc"]["value"] for split in TESTS}
    for probe in run["leakage"]["probes"]:
        if probe["features"] == "expression" and probe["kind"] != "linear":
            found[f"leak {probe['target']}"] = probe["score"]
    return found


def summarise(rows: list[dict]) -> dict:
    """Mean per method, and the paired difference with its 95 % t interval over seeds."""
    measures = [key for key in rows[0] if key not in ("seed", "method")]
    summary = {}
    for measure in measures:
        erm, idfer = (np.array([r[measure] for r in rows if r["method"] == m]) for m in METHODS)
        difference = idfer - erm
        half = t.ppf(0.975, len(difference) - 1) * difference.std(ddof=1) / np.sqrt(len(difference))
        summary[measure] = {
            "erm": float(erm.mean()), "idfer": float(idfer.mean()), "difference": float(difference.mean()),
            "low": float(difference.mean() - half), "high": float(difference.mean() + half),
            "seeds where idfer is higher": int((difference > 0).sum()), "seeds": len(difference),
        }  # fmt: skip
    return summary


def markdown(rows: list[dict], summary: dict, command: str) -> str:
    """Both tables, and the command that made them."""
    lines = [f"`{command}`", "", "| | ERM | idfer | idfer - ERM, 95 % interval over seeds | idfer higher |"]
    lines.append("|---|---|---|---|---|")
    for measure, s in summary.items():
        interval = f"{s['difference']:+.3f} [{s['low']:+.3f}, {s['high']:+.3f}]"
        higher = f"{s['seeds where idfer is higher']} of {s['seeds']}"
        lines.append(f"| {measure} | {s['erm']:.3f} | {s['idfer']:.3f} | {interval} | {higher} |")
    names = list(summary)
    lines += ["", "| seed | method | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for row in rows:
        cells = " | ".join(f"{row[name]:.3f}" for name in names)
        lines.append(f"| {row['seed']} | {row['method']} | {cells} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
