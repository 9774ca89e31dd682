"""Keep a benchmark's finished trials in one file, so that another machine goes on where this one stopped.

    python benchmarks/trials.py pack runs/shift benchmarks/results/trials.jsonl.gz
    python benchmarks/trials.py unpack benchmarks/results/trials.jsonl.gz runs/shift

A trial is a few kB: its arguments, scores, and the source and machine it came from. With them unpacked,
`idfer benchmark shift` runs only what is missing: the rest of an interrupted report, or one more method
beside all that were measured before.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

from idfer.experiments.jobs import JOBS


def pack(runs: Path, kept: Path) -> int:
    """Add the trials of a folder to a file, each once; the number of trials in it."""
    trials = read(kept) if kept.is_file() else {}
    for file in sorted((runs / JOBS).glob("*.json")):
        trials[file.stem] = json.loads(file.read_text(encoding="utf-8"))
    lines = (json.dumps({"key": key, **trials[key]}, sort_keys=True) for key in sorted(trials))
    # no time and no name in the header: equal trials make equal files
    kept.write_bytes(gzip.compress("".join(line + "\n" for line in lines).encode(), mtime=0))
    return len(trials)


def unpack(kept: Path, runs: Path) -> int:
    """Lay a file's trials into a folder that does not have them; the number laid down."""
    (runs / JOBS).mkdir(parents=True, exist_ok=True)
    new = 0
    for key, trial in read(kept).items():
        if not (file := runs / JOBS / f"{key}.json").exists():
            file.write_text(json.dumps(trial), encoding="utf-8")
            new += 1
    return new


def read(kept: Path) -> dict[str, dict[str, object]]:
    """A file's trials by their key."""
    lines = gzip.decompress(kept.read_bytes()).decode().splitlines()
    return {trial.pop("key"): trial for trial in map(json.loads, lines)}


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("pack", "unpack"):
        sys.exit(__doc__)
    print({"pack": pack, "unpack": unpack}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3])), "trials")
