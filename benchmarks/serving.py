"""An exported run against torch: `python benchmarks/serving.py [RUN] [--rounds 30]`.

Times `Checkpoint.predict` and the ONNX file on the same crops, one thread each, in turn in one process,
for one face a call and for 32. Prints CPU milliseconds a face and their ratio. Writes results/serving.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from idfer import export
from idfer.training.checkpoint import load_checkpoint
from side_by_side import Times, ratio, timed

BATCHES = (1, 32)


def milliseconds(times: Times, faces: int) -> float:
    """Median of CPU time a face."""
    return round(1000 * statistics.median(times.cpu) / faces, 3)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", nargs="?", default="synthetic-tiny")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).parent / "results" / "serving.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint = load_checkpoint(given.run)
    size = checkpoint.preprocess.size
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    with tempfile.TemporaryDirectory() as folder:
        file = export(given.run, Path(folder) / "model.onnx")
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    found = {}
    for faces in BATCHES:
        crops = np.random.default_rng(0).integers(0, 256, (faces, size, size, 3), np.uint8)
        times = timed(
            {
                "torch": lambda crops=crops: checkpoint.predict(crops),
                "onnx": lambda crops=crops: session.run(["valence_arousal"], {"image": crops}),
            },
            given.rounds,
            warm_up=3,
        )
        found[f"{faces} a call"] = {
            **{f"{name}_ms_a_face": milliseconds(of, faces) for name, of in times.items()},
            "onnx / torch": ratio(times["onnx"], times["torch"])["cpu"],
        }
    content = {
        "run": checkpoint.name,
        "backbone": checkpoint.record.settings.backbone,
        "size": size,
        "rounds": given.rounds,
        "versions": {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__},
        **found,
    }
    text = json.dumps(content, indent=2)
    print(text)
    given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
