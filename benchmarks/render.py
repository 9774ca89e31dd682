"""How fast and in how much memory embedded faces are drawn: `python benchmarks/render.py [--size 64]`.

Prints, for each number of faces, the best of several runs in faces per second and the peak memory of the
process afterwards: the speed should not fall and the memory not rise with the number of faces drawn.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import torch

from idfer.synthetic.dataset import write_splits
from idfer.synthetic.factors import Factors, sample
from idfer.synthetic.render import render


def best_of(repeats: int, faces: Factors, size: int) -> tuple[float, float]:
    """Best wall time of rendering and the processor time of that run, in seconds."""
    taken = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        for start in range(0, len(faces), 512):  # as `idfer synth` does, so that images are not kept
            render(faces.rows(slice(start, start + 512)), size)
        taken.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(taken)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 1000, 2000])
    given = parser.parse_args()

    print(f"{torch.get_num_threads()} threads, {given.size} px, best of {given.repeats}")
    print(f"{'faces':>6} {'faces/s':>9} {'ms of processor/face':>21} {'peak MiB':>9}")
    render(sample(64, 1, seed=0), given.size)  # first use loads libraries
    for count in given.counts:
        faces = sample(count, 1, seed=1)
        wall, cpu = best_of(given.repeats, faces, given.size)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{count:6d} {count / wall:9.0f} {1000 * cpu / count:21.2f} {peak:9.0f}")
    with tempfile.TemporaryDirectory() as folder:
        count = given.counts[0]
        start = time.perf_counter()
        write_splits({"train": sample(count, 1, seed=1)}, Path(folder) / "out", given.size, progress=False)
        print(f"{count / (time.perf_counter() - start):.0f} faces/s written as a data set, sheet included")


if __name__ == "__main__":
    main()
