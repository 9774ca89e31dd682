"""What reading faces costs beside bare decoding: `python benchmarks/loading.py [--faces 600]`.

Faces are crops of scikit-image's astronaut with noise, as JPEG (quality 90) and PNG files of the network's
own size, as `idfer crop` writes them. Bare decoding is Pillow alone: open, convert to RGB, array. Threads:
`face_batches` (evaluation) against a pool of as many. Processes: `FaceDataset.batches` (training that does
not fit into memory) against torch's DataLoader with as many, over a data set that decodes.

Videos: a pass over all frames of a manifest against iterating over PyAV's frames as RGB, a pass over every
tenth, and what a random frame found by seeking costs, in frames decoded in order (H.264, 640 x 360, a key
frame every 250 frames).

All is timed in turn in one process, so that what is compared meets the same machine. A ratio is bare / ours
of one round (for "seek" the other way round), median, least and most of the rounds: of CPU time, which other
work on the machine hardly moves, and of wall time, which it does. Writes results/loading.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pandas as pd
import skimage.data
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from idfer.data.loader import FaceDataset, face_batches
from idfer.data.manifest import Manifest
from idfer.data.preprocess import Preprocess
from side_by_side import Times, ratio, timed

SIDES, FORMATS, BATCH = (96, 160, 224), ("jpeg", "png"), 64
HEAD = (20, 220, 140, 305)  # top, bottom, left, right of the astronaut's head


def decode(file: Path) -> np.ndarray:
    """Bare decoding: (H, W, 3) uint8."""
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


class Bare(Dataset[torch.Tensor]):
    """Bare decoding as a data set: (3, H, W) uint8."""

    def __init__(self, files: list[Path]):
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> torch.Tensor:
        return torch.from_numpy(decode(self.files[row]).copy()).permute(2, 0, 1)


def faces(folder: Path, side: int, kind: str, count: int) -> Manifest:
    """A manifest of made faces."""
    top, bottom, left, right = HEAD
    head = cv2.resize(
        skimage.data.astronaut()[top:bottom, left:right], (side, side), interpolation=cv2.INTER_AREA
    )
    rng = np.random.default_rng(side)
    folder.mkdir()
    names = [f"{number:05d}.{kind}" for number in range(count)]
    for name in names:
        noisy = head * rng.uniform(0.6, 1.2) + rng.normal(0, 3, head.shape)
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(folder / name, quality=90)
    table = pd.DataFrame({"path": names, "valence": 0.0, "arousal": 0.0, "detector": "none"})
    return Manifest.from_frame(table, folder)


def works(manifest: Manifest, side: int, workers: int) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    files, contract = manifest.files, Preprocess(side)
    order = np.array_split(np.random.default_rng(0).permutation(len(files)), max(1, len(files) // BATCH))
    batches = [part.tolist() for part in order]

    def threads() -> None:
        with ThreadPoolExecutor(workers) as pool:
            for _ in pool.map(decode, files):
                pass

    def processes() -> None:
        loader: Any = DataLoader(Bare(files), batch_sampler=batches, num_workers=workers)  # type: ignore[arg-type]
        for _ in loader:
            pass

    return {
        "bare threads": threads,
        "face_batches": lambda: all(True for _ in face_batches(manifest, contract, BATCH, workers)),
        "bare processes": processes,
        "FaceDataset.batches": lambda: all(
            True for _ in FaceDataset(manifest, contract).batches(batches, workers)
        ),
    }


def stills(given: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """A row per size and format."""
    found = []
    for side in SIDES:
        for kind in FORMATS:
            manifest = faces(folder / f"{side}-{kind}", side, kind, given.faces)
            times = timed(works(manifest, side, given.workers), given.rounds, warm_up=1)
            found.append({
                "side": side, "format": kind,
                "cpu_us_per_face": {
                    name: round(1e6 * statistics.median(t.cpu) / given.faces, 1) for name, t in times.items()
                },
                "threads": ratio(times["bare threads"], times["face_batches"]),
                "processes": ratio(times["bare processes"], times["FaceDataset.batches"]),
            })  # fmt: skip
            print(json.dumps(found[-1]), flush=True)
    return found


def videos(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Frames in order through a manifest against bare decoding, and at random by seeking."""
    count, size, side = given.frames, (640, 360), 96
    file = folder / "clip.mp4"
    picture = cv2.resize(skimage.data.astronaut(), size, interpolation=cv2.INTER_AREA)
    with av.open(str(file), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"crf": "23"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, 2 * number, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    table = pd.DataFrame({"path": "clip.mp4", "frame": range(count), "valence": 0.0, "arousal": 0.0})
    manifest = Manifest.from_frame(table.assign(x=200, y=80, width=side, height=side), folder)
    tenth = manifest.rows(np.arange(0, count, 10))
    rng = np.random.default_rng(0)

    def bare() -> None:
        with av.open(str(file)) as opened:
            for frame in opened.decode(video=0):
                frame.to_ndarray(format="rgb24")

    def seeking() -> None:
        with av.open(str(file)) as opened:
            stream = opened.streams.video[0]
            for number in rng.integers(0, count, given.seeks):
                stamp = int(number / 25 / stream.time_base)
                opened.seek(stamp, stream=stream)
                next(f for f in opened.decode(stream) if f.pts >= stamp).to_ndarray(format="rgb24")

    def through(what: Manifest) -> None:
        for _ in face_batches(what, Preprocess(side), BATCH, given.workers):
            pass

    times = timed(
        {"bare": bare, "manifest": lambda: through(manifest), "every tenth": lambda: through(tenth),
         "seeking": seeking}, given.rounds,
    )  # fmt: skip
    decoded = times["bare"]
    one = Times([t / count for t in decoded.cpu], [t / count for t in decoded.wall])
    sought = times["seeking"]
    each = Times([t / given.seeks for t in sought.cpu], [t / given.seeks for t in sought.wall])
    return {
        "frames": count, "cpu_ms_per_frame_bare": round(1e3 * statistics.median(one.cpu), 3),
        "manifest": ratio(decoded, times["manifest"]), "every_tenth": ratio(decoded, times["every tenth"]),
        "seek": ratio(each, one),
    }  # fmt: skip


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--faces", default=600, type=int)
    parser.add_argument("--frames", default=600, type=int)
    parser.add_argument("--seeks", default=20, type=int)
    parser.add_argument("--workers", default=2, type=int)
    parser.add_argument("--rounds", default=7, type=int)
    parser.add_argument("--note", default="", help="what else the machine was doing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        results = {
            "cores": os.cpu_count(), "workers": given.workers, "rounds": given.rounds, "note": given.note,
            "load_before": round(load, 1),
            "stills": stills(given, Path(folder)), "video": videos(given, Path(folder)),
        }  # fmt: skip
    target = Path(__file__).parent / "results" / "loading.json"
    target.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results["video"], indent=1))


if __name__ == "__main__":
    main()
