"""Which part of a person moves the prediction: `python benchmarks/drift_sources.py`.

After `idfer benchmark shift`, whose runs and pairs (the same expression on another person's face) it reads.
It changes one group of identity factors at a time: skin only, hair only, ... The drift of each group is the
mean |change of valence and arousal|. Groups do not add up to the whole: their squares nearly do.

Writes results/drift_sources.json and results/drift_sources.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from idfer.data.manifest import Manifest
from idfer.experiments.protocol import CHANGED, ORACLE, SHIFTED, Protocol
from idfer.experiments.trial import job, world
from idfer.results import write_json
from idfer.synthetic.factors import IDENTITY, Factors
from idfer.synthetic.render import render
from idfer.training.checkpoint import Checkpoint, load_checkpoint
from idfer.training.settings import Settings

GROUPS: dict[str, tuple[str, ...]] = {
    "skin": ("skin", "freckles"),
    "hair": ("hair_style", "hair_colour", "hair_grey", "hairline", "hair_volume", "fringe", "parting"),
    "age (wrinkles)": ("age",),
    "head": (
        "face_width", "face_length", "jaw_width", "chin_length", "chin_width", "cheekbones", "cheek_fullness",
        "forehead", "ear_size",
    ),
    "eyes": ("eye_size", "eye_spacing", "eye_tilt", "eye_openness", "iris"),
    "resting mouth": ("mouth_curve", "mouth_width", "mouth_height", "lip_fullness"),
    "gender presentation": ("gender",),
    "beard": ("facial_hair", "beard_shape"),
    "nose and brows": (
        "nose_width", "nose_length", "brow_height", "brow_thickness", "brow_tilt", "brow_arch",
    ),
    "glasses, make-up": ("glasses", "frame_tone", "makeup", "lipstick"),
    "everything": IDENTITY,
}  # fmt: skip
METHODS = ("erm", "oracle", "idfer")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/shift"), help="of `idfer benchmark shift`")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    bench = json.loads((given.results / "shift.json").read_text(encoding="utf-8"))
    rows = [row for seed in bench["seeds"] for row in of_seed(bench, given.runs, seed)]
    table = {
        group: {
            method: round(float(np.mean([r["drift"][group] for r in rows if r["method"] == method])), 4)
            for method in METHODS
        }
        for group in GROUPS
    }
    order = sorted(table, key=lambda group: -table[group]["oracle"])
    lines = [
        "# Which part of a person moves the prediction",
        "",
        f"`python benchmarks/drift_sources.py` on the runs of `{bench['command']}`; seeds "
        f"{', '.join(map(str, bench['seeds']))}; mean |change of valence and arousal| when one group of "
        "identity factors becomes another person's and the expression stays.",
        "",
        f"| changed | {' | '.join(METHODS)} |",
        "|---|" + "---|" * len(METHODS),
        *(f"| {group} | " + " | ".join(f"{table[group][m]:.3f}" for m in METHODS) + " |" for group in order),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    (given.results / "drift_sources.md").write_text(text, encoding="utf-8")
    content = {"command": "python benchmarks/drift_sources.py", "summary": table, "rows": rows}
    write_json(given.results / "drift_sources.json", content)


def of_seed(bench: dict[str, Any], runs: Path, seed: int) -> list[dict[str, Any]]:
    """Drift of every group and method on one seed's pairs."""
    faces = Manifest.read(world(runs, protocol_of(bench), seed) / SHIFTED)
    shown, other = (Factors.from_frame(faces.select(name).frame) for name in ("balanced", CHANGED))
    changed = {
        group: shown.replace(**{name: getattr(other, name) for name in names})
        for group, names in GROUPS.items()
    }
    size = bench["protocol"]["size"]
    pixels = {name: draw(factors, size) for name, factors in {"": shown, **changed}.items()}
    rows = []
    for method in METHODS:
        checkpoint = load_checkpoint(run_of(bench, runs, method, seed))
        said = {name: predict(checkpoint, images) for name, images in pixels.items()}
        drift = {group: float((said[group] - said[""]).abs().mean()) for group in GROUPS}
        rows.append({"method": method, "seed": seed, "drift": drift})
    return rows


def run_of(bench: dict[str, Any], runs: Path, method: str, seed: int) -> Path:
    """The run that the benchmark reports for a method and seed."""
    chosen = next(tried["settings"] for tried in bench["tuning"][method] if tried["chosen"])
    data = ORACLE if method == ORACLE else SHIFTED
    return runs / "runs" / job("", protocol_of(bench), seed, data, Settings.from_dict(chosen)).key


def protocol_of(bench: dict[str, Any]) -> Protocol:
    """The sizes of a benchmark."""
    return Protocol(**{name: tuple(v) if isinstance(v, list) else v for name, v in bench["protocol"].items()})


def draw(factors: Factors, size: int, batch: int = 250) -> torch.Tensor:
    """(N, 3, size, size) uint8."""
    parts = [slice(k, k + batch) for k in range(0, len(factors), batch)]
    return torch.cat([render(factors.rows(part), size) for part in parts])


def predict(checkpoint: Checkpoint, pixels: torch.Tensor) -> torch.Tensor:
    """(N, 2) valence and arousal."""
    crops = [part.permute(0, 2, 3, 1).numpy() for part in pixels.split(250)]
    return torch.cat([torch.from_numpy(checkpoint.predict(part).valence_arousal) for part in crops])


if __name__ == "__main__":
    main()
