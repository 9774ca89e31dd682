"""How fast `fit` reads faces from files: `python benchmarks/loading.py [--images 1500] [--rounds 5]`.

JPEG files of 224 x 224 pixels (the photographs of scikit-image, cut), as `idfer crop` leaves faces for a
network of that size, read as training reads them when they do not fit in memory: in batches of 64, by
`--num_workers` 0, 1, 2, ... up to the cores. Beside each, bare decoding of the same files by as many
processes (Pillow to an array, nothing else), by the clock and in processor time of all processes together.
All in turn; ratios are of one round, their median is kept. Starting the workers counts, as it does in every
epoch. The load says how busy the machine was with other work. Writes results/loading.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skimage.data
from PIL import Image

from idfer import Manifest
from idfer.data.loader import FaceDataset
from idfer.data.preprocess import Preprocess
from idfer.experiments.jobs import cores

SIDE, BATCH = 224, 64


def write(folder: Path, count: int) -> Manifest:
    """Cuts of photographs as files, each another."""
    photographs = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()]
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        picture = photographs[number % len(photographs)]
        top, left = (int(rng.integers(edge - SIDE + 1)) for edge in picture.shape[:2])
        cut = picture[top : top + SIDE, left : left + SIDE]
        Image.fromarray(cut).save(folder / f"{number:05d}.jpg", quality=90)
        rows.append({"path": f"{number:05d}.jpg", "valence": 0.0, "arousal": 0.0})
    return Manifest.from_frame(pd.DataFrame(rows), folder)


def decode(file: Path) -> int:
    """An image as an array, and no more."""
    with Image.open(file) as opened:
        return int(np.asarray(opened.convert("RGB"))[0, 0, 0])


def bare(manifest: Manifest, workers: int) -> None:
    """Decode every file by as many processes; by this one for 0."""
    if not workers:
        for file in manifest.files:
            decode(file)
        return
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        for _ in pool.imap_unordered(decode, manifest.files, chunksize=BATCH):
            pass


def loaded(manifest: Manifest, workers: int) -> None:
    """Read an epoch as `fit` does."""
    rows = list(range(len(manifest)))
    order = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    for _ in FaceDataset(manifest, Preprocess(SIDE)).batches(order, workers):
        pass


def seconds(
    function: Callable[[Manifest, int], None], manifest: Manifest, workers: int
) -> tuple[float, float]:
    """Time of one call, by the clock and of the processor."""
    busy, start = processor(), time.perf_counter()
    function(manifest, workers)
    return time.perf_counter() - start, processor() - busy


def processor() -> float:
    """Processor time of this process and of those that it has started and ended, s."""
    usage = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in usage)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    rounds: dict[int, list[tuple[tuple[float, float], tuple[float, float]]]] = {
        workers: [] for workers in range(cores() + 1)
    }
    with tempfile.TemporaryDirectory() as folder:
        manifest = write(Path(folder), given.images)
        for _ in range(given.rounds):
            for workers, kept in rounds.items():
                kept.append((seconds(bare, manifest, workers), seconds(loaded, manifest, workers)))
    results = {
        str(workers): {
            "of_bare_decoding": round(statistics.median(b[0] / f[0] for b, f in kept), 3),
            "of_bare_processor_time": round(statistics.median(b[1] / f[1] for b, f in kept), 3),
            "faces_per_second": round(statistics.median(given.images / f[0] for _, f in kept)),
        }
        for workers, kept in rounds.items()
    }
    load = round(os.getloadavg()[0], 1)
    result = {
        "cores": cores(),
        "load": load,
        "images": given.images,
        "rounds": given.rounds,
        "num_workers": results,
    }
    print(json.dumps(result, indent=1))
    (Path(__file__).parent / "results" / "loading.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
