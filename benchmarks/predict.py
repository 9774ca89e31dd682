"""What `predict` costs beside its bare stages: `python benchmarks/predict.py --yunet FILE [--images 24]`.

On 1350 x 1350 JPEG photographs: decoding, one search by YuNet at 640 pixels (ours, and as OpenCV runs it) and
the network, each timed alone on one thread, against `predict` from files to a table on all cores and on one;
and which faces of 24 pixels and up it finds, against a search of whole images at 640 and at 1280 pixels. On
one image of 480 x 480: one face a call against 16 images a call. All is timed in turn in one process, so that
what is compared meets the same machine; ratios are medians over the rounds, of CPU time and of wall time.
Scenes are the astronaut of scikit-image, turned, dimmed and blurred, on photographs of scikit-image and
scikit-learn. Writes results/predict.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

import idfer
from idfer.data import faces, yunet
from idfer.data.detection import Detector, shrink
from idfer.data.images import read_image
from idfer.inference.threads import workers_for
from side_by_side import Times, ratio, timed

SIDE, SMALLEST, LARGEST, FACES = 1350, 24, 400, 6
HEAD = (140, 20, 165, 200)  # x, y, width, height of the astronaut's head
FACE = (38, 43, 90, 113)  # the face in it, as YuNet marks it
Box = tuple[float, float, float, float]


class WholeSearch(yunet.YuNet):
    """YuNet that searches the whole of large images at both sizes."""

    def _again(self, image: np.ndarray, hints: np.ndarray) -> np.ndarray:
        rows = self._rows(image, self.score_threshold)
        return rows[rows[:, 2:4].max(axis=1) <= self._largest]


def backgrounds() -> list[np.ndarray]:
    """Photographs without a face."""
    given = [skimage.data.coffee(), skimage.data.chelsea(), skimage.data.rocket()]
    return [*given, load_sample_image("china.jpg"), load_sample_image("flower.jpg")]


def scenes(count: int, seed: int) -> Iterator[tuple[np.ndarray, list[Box]]]:
    """Photographs with up to `FACES` faces each, of heights even on a log scale, and the faces' boxes."""
    rng = np.random.default_rng(seed)
    behind = [cv2.resize(b, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for b in backgrounds()]
    for number in range(count):
        image, taken, boxes = behind[number % len(behind)].copy(), [], []
        for _ in range(rng.integers(1, FACES + 1)):
            patch, box = head(float(np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST)))), rng)
            height, width = patch.shape[:2]
            left, top = int(rng.integers(0, SIDE - width)), int(rng.integers(0, SIDE - height))
            if any(left < r and x < left + width and top < b and y < top + height for x, y, r, b in taken):
                continue
            image[top : top + height, left : left + width] = patch
            taken.append((left, top, left + width, top + height))
            boxes.append((left + box[0], top + box[1], box[2], box[3]))
        yield image, boxes


def head(size: float, rng: np.random.Generator) -> tuple[np.ndarray, Box]:
    """The astronaut's head, its face `size` pixels high, and where in it the face is."""
    x, y, width, height = HEAD
    patch = skimage.data.astronaut()[y : y + height, x : x + width]
    if mirrored := rng.random() < 0.5:
        patch = patch[:, ::-1]
    patch = np.clip(patch * rng.uniform(0.6, 1.2) + rng.uniform(-15, 15), 0, 255).astype(np.uint8)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-20, 20), 1)
    patch = cv2.warpAffine(
        np.ascontiguousarray(patch), turn, (width, height), borderMode=cv2.BORDER_REPLICATE
    )
    factor = size / FACE[3]
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    patch = cv2.resize(patch, (round(width * factor), round(height * factor)), interpolation=how)
    if rng.random() < 0.5:
        patch = cv2.GaussianBlur(patch, (0, 0), max(0.3, factor * rng.uniform(0.3, 2)))
    left = width - FACE[0] - FACE[2] if mirrored else FACE[0]
    return patch, (left * factor, FACE[1] * factor, FACE[2] * factor, FACE[3] * factor)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def recall(count: int, detectors: dict[str, Detector]) -> dict[str, dict[str, Any]]:
    """Of each detector: faces found, by height, and finds that are no face."""
    found: dict[str, dict[str, Any]] = {n: {"of": {}, "found": {}, "false": 0} for n in detectors}
    for image, boxes in scenes(count, seed=1):
        for name, detector in detectors.items():
            given, said = found[name], [face.box for face in detector(image)]
            given["false"] += sum(all(overlap(s, b) < 0.1 for b in boxes) for s in said)
            for box in boxes:
                size = "24 to 48 px" if box[3] < 48 else "48 to 96 px" if box[3] < 96 else "96 to 400 px"
                given["of"][size] = given["of"].get(size, 0) + 1
                hit = any(overlap(s, box) > 0.4 for s in said)
                given["found"][size] = given["found"].get(size, 0) + hit
    return found


def seconds(work: Callable[[], object]) -> float:
    """Wall time of some work."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def alone(work: Callable[[], object]) -> float:
    """Wall time of some work on one thread of OpenCV and torch."""
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        return seconds(work)
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])


def photographs(model: idfer.inference.predictor.Predictor, given: argparse.Namespace, folder: Path) -> Any:
    """Milliseconds an image and ratios, on large photographs."""
    files = []
    for number, (image, _) in enumerate(scenes(given.images, seed=0)):
        files.append(folder / f"{number:03d}.jpg")
        Image.fromarray(image).save(files[-1], quality=90)
    finder, contract = faces.load_detector("yunet"), model.checkpoint.preprocess
    search = opencv_search(os.environ["IDFER_YUNET"])
    images = [read_image(f) for f in files]
    small = [shrink(image, 640)[0] for image in images]
    crops = np.stack([contract.crop(i, face.box) for i in images for face in finder(i)])
    batches = [crops[start : start + 32] for start in range(0, len(crops), 32)]
    work: dict[str, Callable[[], object]] = {
        "decode": lambda: alone(lambda: sum(read_image(f).size for f in files)),  # one at a time in memory
        "yunet at 640": lambda: alone(lambda: [finder(image) for image in small]),
        "network": lambda: alone(lambda: [model.checkpoint.predict(batch) for batch in batches]),
        "opencv's yunet at 640": lambda: alone(lambda: [search(image) for image in small]),
        "predict, one core": lambda: alone(lambda: list(model.stream().run(sources(files), 1))),
        "predict, all cores": lambda: model(files),
    }
    times = timed(work, given.rounds, warm_up=1)
    bare = {
        "bare stages": ("decode", "yunet at 640", "network"),
        "bare stages with OpenCV's YuNet": ("decode", "opencv's yunet at 640", "network"),
    }
    per_image = {
        kind: spread({name: [1e3 * t / len(files) for t in getattr(of, kind)] for name, of in times.items()})
        for kind in Times._fields
    }
    ratios = {
        f"throughput of {name} / {of} in turn": ratio(in_turn([times[s] for s in stages]), times[name])
        for of, stages in bare.items()
        for name in ("predict, one core", "predict, all cores")
    }
    return {"images": len(files), "faces": len(crops), "ms_per_image": per_image, "ratios": ratios}


def in_turn(stages: list[Times]) -> Times:
    """What some stages take one after the other, round by round."""
    return Times(*([sum(s) for s in zip(*kind, strict=True)] for kind in zip(*stages, strict=True)))


def opencv_search(path: str) -> Callable[[np.ndarray], object]:
    """YuNet as OpenCV runs it, on one (H, W, 3) uint8 RGB image."""
    net = cv2.FaceDetectorYN.create(path, "", (320, 320), 0.6, 0.3, 5000)

    def search(image: np.ndarray) -> object:
        net.setInputSize((image.shape[1], image.shape[0]))
        return net.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    return search


def sources(files: list[Path]) -> Any:
    """The files as sources of a stream."""
    from idfer.inference.inputs import list_images

    return list_images(files).sources


def one_a_call(model: idfer.inference.predictor.Predictor, rounds: int) -> Any:
    """One face a call, as a web service asks, against 16 a call."""
    image = cv2.resize(skimage.data.astronaut(), (480, 480), interpolation=cv2.INTER_AREA)
    model([image] * 16)
    single, batch = [], []
    for _ in range(4 * rounds):
        single.append(statistics.median(1e3 * seconds(lambda: model(image)) for _ in range(4)))
        batch.append(1e3 * seconds(lambda: model([image] * 16)) / 16)
    ratio = [one / many for one, many in zip(single, batch, strict=True)]
    times = {"ms, one a call": single, "ms, of 16 a call": batch, "ratio": ratio}
    return spread(times)


def spread(values: dict[str, list[float]]) -> dict[str, list[float]]:
    """Median, least and most."""
    return {k: [round(f(v), 3) for f in (statistics.median, min, max)] for k, v in values.items()}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--yunet", required=True, type=Path, help="YuNet's .onnx file")
    parser.add_argument("--model", default="synthetic-tiny", help="a run folder or a shipped model")
    parser.add_argument("--images", default=24, type=int)
    parser.add_argument("--rounds", default=5, type=int)
    parser.add_argument("--scenes", default=100, type=int, help="for recall")
    given = parser.parse_args()
    os.environ["IDFER_YUNET"] = str(given.yunet)
    model = idfer.load(given.model, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        large = photographs(model, given, Path(folder))
    detectors = {"windows": yunet.YuNet(given.yunet), "whole": WholeSearch(given.yunet)}
    results = {
        "cores": workers_for(1 << 20), "photographs": large, "one_face": one_a_call(model, given.rounds),
        "recall": recall(given.scenes, detectors),
    }  # fmt: skip
    target = Path(__file__).parent / "results" / "predict.json"
    target.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
