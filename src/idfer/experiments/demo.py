"""`idfer demo`: the main job from faces to report, offline, on embedded data."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from idfer.errors import UsageError
from idfer.experiments.protocol import TESTS, Protocol

if TYPE_CHECKING:
    from idfer.data.manifest import Manifest
    from idfer.evaluation.evaluation import Evaluation

# One budget for both methods [ours]: that of `idfer benchmark shift` (shift.yaml)
BUDGET: dict[str, Any] = {"backbone": "conv4", "lr": 2.5e-3, "epochs": 8, "batch_size": 64}
TINY = Protocol(train=(24, 16), val=(6, 4), test=(24, 4))


def demo(
    out: str | Path = "runs/demo",
    size: Literal["full", "tiny"] = "full",
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> str:
    """Run the main job offline: draw faces, retrieve attributes, train ERM and idfer, evaluate, report.

    The faces are synthetic and their identity is known: training people show emotions correlated with their
    age and gender presentation, test people the same, none, or the reverse of it. Both methods get the same
    budget. What is finished is kept: after an interruption the same command goes on.

    Args:
        out: folder for faces, runs, metrics.json and report.html.
        size: full (a few minutes on 2 cores) or tiny (seconds; shows that everything works, learns nothing).
        seed: of people, weights and order.
        device: auto, cpu, cuda, cuda:N or mps.
        progress: show progress bars.

    Returns:
        A table of mean CCC and leakage, and where the report is.

    Raises:
        UsageError: `out` holds a demo of another size or seed.
    """
    from idfer.attributes.table import retrieve
    from idfer.evaluation.suite import measure
    from idfer.reporting.report import write_metrics, write_report
    from idfer.training.fit import fit

    root = Path(out)
    protocol = TINY if size == "tiny" else Protocol()
    faces = _faces(protocol, root, seed, progress)
    table = retrieve(faces, clip="builtin", out=root / "attributes.parquet", device=device, progress=progress)
    budget = BUDGET | ({"epochs": 2, "batch_size": 64} if size == "tiny" else {})
    found = []
    for method in ("erm", "idfer"):
        run = fit(
            faces, table, method=method, out=root / method, size=protocol.size, seed=seed, device=device,
            progress=progress, **budget,
        )  # fmt: skip
        controls = method == "erm"  # the same for both runs
        one = measure(
            run, faces, table, list(TESTS), device=device, seed=seed, controls=controls, progress=progress
        )
        found.append(one)
    table_of_results = summary(found)
    write_metrics(found, root / "metrics.json")
    command = f"idfer demo -o {out} --size {size} --seed {seed}"
    write_report(found, root / "report.html", title="idfer demo: unseen people, shifted", command=command)
    return f"{table_of_results}\n\nreport   {root / 'report.html'}\nmetrics  {root / 'metrics.json'}"


def _faces(protocol: Protocol, root: Path, seed: int, progress: bool) -> Manifest:
    """The protocol's faces: those an earlier run of the same demo drew, or new ones."""
    from idfer.data.manifest import Manifest
    from idfer.experiments.protocol import write
    from idfer.files import atomic

    stamp, folder = root / "demo.json", root / "faces"
    wanted = json.loads(json.dumps(asdict(protocol) | {"seed": seed}))
    if stamp.is_file() and json.loads(stamp.read_text(encoding="utf-8")) != wanted:
        raise UsageError(f"{root} holds a demo of another size or seed; choose another -o or delete it.")
    with atomic(stamp) as temporary:
        temporary.write_text(json.dumps(wanted), encoding="utf-8")
    if (folder / "manifest.parquet").is_file():
        return Manifest.read(folder)
    return write(protocol, folder, seed, progress)


def summary(found: list[Evaluation]) -> str:
    """Mean CCC per test split and leakage of the expression feature per attribute, a row per method."""
    import pandas as pd

    rows = []
    for one in found:
        mean = one.accuracy.query("dimension == 'mean' and metric == 'ccc'").set_index("split")
        cells = {s: (mean["value"][s], mean["low"][s], mean["high"][s]) for s in TESTS}
        row = {"method": one.name} | {f"CCC {s}": "{:.3f} [{:.3f}, {:.3f}]".format(*cells[s]) for s in TESTS}
        leaks = one.leakage.query("features == 'expression' and kind == 'mlp'").set_index("target")
        rows.append(row | {f"leak {name}": f"{leaks.loc[name, 'score']:.2f}" for name in leaks.index})
    table = pd.DataFrame(rows).set_index("method").T
    return table.to_string()
