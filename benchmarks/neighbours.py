"""What busy neighbours cost a training: `python benchmarks/neighbours.py [--rounds 3]`.

Runs `idfer fit` on drawn faces with threads that wait asleep and with threads that spin, alone and beside a
process for each core that keeps it busy; in turn, on all cores. Prints ratios of wall time, start included,
with the spread over rounds, and writes results/neighbours.json. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from idfer.results import write_json
from idfer.synthetic.dataset import synth
from idfer.workers import cores
from side_by_side import ratio, timed

RESULTS = Path(__file__).parent / "results" / "neighbours.json"
WAYS = {"asleep": {"OMP_WAIT_POLICY": "passive"}, "spinning": {"GOMP_SPINCOUNT": "300000"}}  # libgomp's own


def train(faces: Path, folder: Path, way: str) -> None:
    """One training in a process of its own."""
    command = [sys.executable, "-m", "idfer", "fit", str(faces), "--method", "erm", "--backbone", "conv4"]
    command += ["--size", "64", "--epochs", "3", "--device", "cpu", "--out", tempfile.mkdtemp(dir=folder)]
    kept = {k: v for k, v in os.environ.items() if k not in {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}}
    subprocess.run(command, env={**kept, **WAYS[way]}, check=True, capture_output=True)


def beside(faces: Path, folder: Path, way: str) -> None:
    """The same beside a process for each core that keeps it busy."""
    neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores())]
    try:
        train(faces, folder, way)
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        faces = folder / "faces"
        synth(faces, identities=60, per_identity=20, size=64, progress=False)
        work = {
            f"{way}, {where}": lambda way=way, do=do: do(faces, folder, way)
            for where, do in (("alone", train), ("beside", beside))
            for way in WAYS
        }
        times = timed(work, given.rounds, warm_up=1)

    pairs = {
        "spinning / asleep, alone": ("spinning, alone", "asleep, alone"),
        "spinning / asleep, beside busy processes": ("spinning, beside", "asleep, beside"),
        "beside / alone, asleep": ("asleep, beside", "asleep, alone"),
        "beside / alone, spinning": ("spinning, beside", "spinning, alone"),
    }
    found = {
        "command": f"python benchmarks/neighbours.py --rounds {given.rounds}",
        "cores": cores(),
        **{name: ratio(times[first], times[second])["wall"] for name, (first, second) in pairs.items()},
    }
    write_json(RESULTS, found)
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
