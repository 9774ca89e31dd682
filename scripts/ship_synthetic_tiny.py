"""Make the shipped model `synthetic-tiny`: the idfer run of the demo's recipe, its weights in 16 bits.

    python scripts/ship_synthetic_tiny.py [--demo runs/demo]

Runs `idfer demo` (seed 0) into that folder unless it is finished there, writes the model into the package and
measures the written one on the demo's test splits, so that the model card's numbers are of what is shipped.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from idfer.data.manifest import Manifest
from idfer.evaluation.suite import measure
from idfer.experiments.demo import demo
from idfer.experiments.protocol import TESTS
from idfer.results import write_json
from idfer.training.checkpoint import MODEL, SHIPPED, load_checkpoint, save_model

LIMIT = 4_000_000  # bytes: every clone and wheel carries the model


def main() -> None:
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    parser.add_argument("--demo", default="runs/demo", help="folder of the demo")
    root = Path(parser.parse_args().demo)
    demo(root)
    trained, folder = load_checkpoint(root / "idfer"), SHIPPED / "synthetic-tiny"
    folder.mkdir(parents=True, exist_ok=True)
    # whole drawn faces are framed much as a detector's boxes are; photographs are what strangers give it
    preprocess = replace(trained.preprocess, detector="auto")
    replace(trained.record, preprocess=preprocess).write(folder)
    save_model(folder, trained.network, half=True)
    evaluation = measure("synthetic-tiny", Manifest.read(root / "faces"), splits=list(TESTS), device="cpu")
    scores = {key: evaluation.metrics[key] for key in ("accuracy", "leakage", "settings")}
    note = {"command": "python scripts/ship_synthetic_tiny.py", **scores}
    write_json(folder / "metrics.json", note)
    size = (folder / MODEL).stat().st_size
    if size > LIMIT:
        raise SystemExit(f"{folder / MODEL} has {size} bytes, more than {LIMIT}; choose a smaller backbone.")
    print(f"{folder}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
