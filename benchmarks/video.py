"""What predicting on a video costs, stage by stage: `python benchmarks/video.py [--detector FILE.onnx]`.

A drawn face moves over a 640x360 video (H.264, 25 frames a second). Each stage alone (decode, detect,
network, track, write), then all of it end to end, as in `idfer predict VIDEO -o OUT.csv`, in turn in one
process and in several rounds, so that all meet the same machine. Reported are frames a second of the medians,
and the median over the rounds of end to end's ratio to the stage that is slowest alone. Memory: resident MiB
after 1,000 and after 20,000 frames of a small video, with a detector and a network that cost nothing. Writes
results/video.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

import idfer
from idfer.data.faces import WholeImage, load_detector
from idfer.data.frames import VideoFile
from idfer.inference.inputs import Source
from idfer.inference.output import table
from idfer.inference.predictor import predict
from idfer.inference.stream import Stream
from idfer.inference.tracks import Tracker
from idfer.inference.video import Footage, VideoOptions
from idfer.inference.writers import file_writer
from idfer.synthetic.factors import sample
from idfer.synthetic.render import render


def film(path: Path, frames: int, width: int, height: int, side: int) -> Path:
    """A video of one drawn face, `side` pixels high, that wanders over a grey ground."""
    import av

    face = render(sample(1, 1, seed=3), side, nuisance=False)[0].permute(1, 2, 0).numpy()
    ground = np.linspace(70, 150, width)[None, :, None].repeat(height, 0).repeat(3, 2).astype(np.uint8)
    container = av.open(str(path), "w")
    stream: Any = container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.codec_context.time_base = Fraction(1, 25)
    for number in range(frames):
        image = ground.copy()
        x = round((width - side) * (0.5 + 0.4 * np.sin(number / 40)))
        y = round((height - side) * (0.5 + 0.4 * np.cos(number / 31)))
        image[y : y + side, x : x + side] = face
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts = number
        container.mux(stream.encode(frame))
    container.mux(stream.encode())
    container.close()
    return path


def stages(model: Any, detector: Any, path: Path, batch: int, folder: Path) -> dict[str, Callable[[], None]]:
    """Each stage alone, over all frames, with what it needs made beforehand."""
    with VideoFile(path) as video:
        frames = [frame for frame in video if frame.image is not None]
    faces = [detector(frame.image) for frame in frames]
    crops = [
        model.checkpoint.preprocess.crop(f.image, face.box)
        for f, some in zip(frames, faces, strict=True)
        for face in some
    ]
    rows = [
        {"input": str(path), "frame": f.number, "time": f.time, "face_id": 0, "valence": 0.1, "arousal": 0.2}
        for f in frames
    ]

    def decode() -> None:
        with VideoFile(path) as video:
            for _ in video:
                pass

    def detect() -> None:
        for frame in frames:
            detector(frame.image)

    def network() -> None:
        for start in range(0, len(crops), batch):
            model.checkpoint.predict(np.stack(crops[start : start + batch]))

    def track() -> None:
        tracker = Tracker()
        for frame, found in zip(frames, faces, strict=True):
            tracker.update(found, frame.image, frame.time)

    def write() -> None:
        out = folder / "rows.csv"
        out.unlink(missing_ok=True)
        with file_writer(out) as append:
            for start in range(0, len(rows), batch):
                append(table(rows[start : start + batch]))

    return {"decode": decode, "detect": detect, "network": network, "track": track, "write": write}


def seconds(work: Callable[[], None]) -> float:
    """Wall-clock seconds of some work."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def paired(slow: list[float], fast: list[float]) -> dict[str, float]:
    """How many times as fast, round by round: the median, the least and the most."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    found = {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
    return {name: round(value, 3) for name, value in found.items()}


def resident(frames: int) -> float:
    """MiB in memory after so many frames of a small video, nothing kept."""

    class Free(Stream):
        def _answer(self, batch: list[Any]) -> None:
            for face in batch:
                face.row.update(valence=0.0, arousal=0.0)

    with tempfile.TemporaryDirectory() as folder:
        path = film(Path(folder) / "small.mp4", frames, 128, 96, 32)
        model = idfer.load(_untrained(Path(folder)), device="cpu")
        options = VideoOptions(smooth=1.0)
        rows = 0
        for made in Footage(Free(model.checkpoint, WholeImage(), None, 32), options).run([Source(path)]):
            rows += len(made)
        if rows != frames:
            raise SystemExit(f"{rows} rows of {frames} frames")
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _untrained(folder: Path) -> str:
    """A run with the network of the shipped model, not trained: what it costs is the same."""
    from idfer.data.preprocess import Preprocess
    from idfer.models.network import Network
    from idfer.training.checkpoint import save_model
    from idfer.training.record import Record
    from idfer.training.settings import Settings

    names = ["age", "gender"]
    chosen = {"method": "idfer", "backbone": "conv4", "dim": 64, "code": 0, "attachment": "features"}
    torch.manual_seed(0)
    contract = Preprocess(64, margin=0.2, detector="auto")
    run = folder / "untrained"
    run.mkdir(exist_ok=True)
    levels = {name: ["low", "high"] for name in names}
    Record(Settings.of(**chosen), tuple(names), levels, 0, {}, {}, contract).write(run)
    save_model(run, Network("conv4", contract.size, names, 64))
    return str(run)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="a run, or a shipped model; an untrained conv4 at 64 px unless given")
    parser.add_argument("--detector", default="yunet", help="as for idfer predict")
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--face", type=int, default=160, help="height of the face in pixels")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--resident", type=int, help="print the MiB in memory after so many frames and stop")
    given = parser.parse_args()
    if given.resident:
        print(resident(given.resident))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = film(folder / "face.mp4", given.frames, 640, 360, given.face)
        run = given.model or _untrained(folder)
        model, detector = idfer.load(run), load_detector(given.detector)
        found = sum(bool(detector(f.image)) for f in VideoFile(path) if f.image is not None)

        def whole(every: int) -> Callable[[], None]:
            def work() -> None:
                predict(
                    [str(path)], run, out=str(folder / "out.csv"), detector=given.detector,
                    batch_size=given.batch, detect_every=every, progress=False,
                )  # fmt: skip

            return work

        work = stages(model, detector, path, given.batch, folder)
        work |= {"end to end": whole(1), "end to end, --detect-every 5": whole(5)}
        times: dict[str, list[float]] = {stage: [] for stage in work}
        for _ in range(given.rounds):
            for stage, do in work.items():
                times[stage].append(seconds(do))
    rate = {stage: given.frames / statistics.median(taken) for stage, taken in times.items()}
    alone = {stage: rate[stage] for stage in ("decode", "detect", "network", "track", "write")}
    slowest = min(alone, key=lambda stage: alone[stage])
    memory = {
        str(count): float(
            subprocess.run(
                [sys.executable, __file__, "--resident", str(count)],
                capture_output=True, text=True, check=True,
            ).stdout
        )
        for count in (1000, 20000)
    }  # fmt: skip
    result = {
        "command": "python benchmarks/video.py "
        f"--detector {Path(given.detector).name} --frames {given.frames} --rounds {given.rounds}",
        "setting": f"640x360, one face of {given.face} px, {model.checkpoint.record.settings.backbone} at "
        f"{model.checkpoint.preprocess.size} px, {detector.name}, batch {given.batch}, "
        f"{torch.get_num_threads()} torch thread(s), {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "frames with a face": f"{found} of {given.frames}",
        "frames a second": {stage: round(value, 1) for stage, value in rate.items()},
        "slowest stage": slowest,
        "end to end / slowest stage alone": paired(times[slowest], times["end to end"]),
        "end to end / all stages in turn": paired(
            [sum(times[stage][i] for stage in alone) for i in range(given.rounds)], times["end to end"]
        ),
        "--detect-every 5 / every frame": paired(times["end to end"], times["end to end, --detect-every 5"]),
        "resident MiB after frames": {count: round(value, 1) for count, value in memory.items()},
        "growth, MiB": round(memory["20000"] - memory["1000"], 1),
    }
    print(json.dumps(result, indent=1))
    given.results.mkdir(parents=True, exist_ok=True)
    (given.results / "video.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
