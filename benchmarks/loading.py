"""How fast `fit` reads faces from files: `python benchmarks/loading.py [--images 1500] [--rounds 5]`.

JPEG files of 256 x 256 pixels (the photographs of scikit-image, cut), read as training reads them when they
do not fit in memory: cropped, resized to 224 pixels and stacked into batches of 64 by `--num_workers` 0, 1,
2, ... up to the cores. Beside each, bare decoding of the same files by as many processes (Pillow to an array,
nothing else). All in turn in one process; ratios are of one round, their median is kept. Starting the workers
counts, as it does in every epoch. Writes results/loading.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
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

SIDE, SIZE, BATCH = 256, 224, 64


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
    for _ in FaceDataset(manifest, Preprocess(SIZE)).batches(order, workers):
        pass


def seconds(function: Callable[[Manifest, int], None], manifest: Manifest, workers: int) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    function(manifest, workers)
    return time.perf_counter() - start


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    tried = list(range(cores() + 1))
    times: dict[int, list[tuple[float, float]]] = {workers: [] for workers in tried}
    with tempfile.TemporaryDirectory() as folder:
        manifest = write(Path(folder), given.images)
        for _ in range(given.rounds):
            for workers in tried:
                times[workers].append((seconds(bare, manifest, workers), seconds(loaded, manifest, workers)))
    alone = times[0]
    results = {
        str(workers): {
            "of_bare_decoding": round(statistics.median(b / f for b, f in pairs), 3),
            "of_no_worker": round(
                statistics.median(f0 / f for (_, f0), (_, f) in zip(alone, pairs, strict=True)), 3
            ),
            "faces_per_second": round(statistics.median(given.images / f for _, f in pairs)),
        }
        for workers, pairs in times.items()
    }
    result = {"cores": cores(), "images": given.images, "rounds": given.rounds, "num_workers": results}
    print(json.dumps(result, indent=1))
    (Path(__file__).parent / "results" / "loading.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
