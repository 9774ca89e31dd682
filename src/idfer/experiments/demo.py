"""`idfer demo`: the main job from faces to report, offline, on embedded data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from idfer.errors import UsageError, unknown
from idfer.experiments.protocol import TESTS, Protocol
from idfer.files import atomic, contents
from idfer.ranges import check_seed

if TYPE_CHECKING:
    from idfer.data.manifest import Manifest
    from idfer.evaluation.evaluation import Evaluation

# Of its decoders: small pictures, few epochs, to stay within six minutes on 2 cores
DECODER: dict[str, Any] = {"size": 32, "epochs": 10, "precision": "bf16-mixed"}
# One budget for both methods [ours]: that of `idfer benchmark shift` (shift.yaml)
BUDGET: dict[str, Any] = {"backbone": "conv4", "lr": 2.5e-3, "epochs": 8, "batch_size": 64}
TINY = Protocol(train=(24, 16), val=(6, 4), test=(24, 4))
SIZES = {"full": Protocol(), "tiny": TINY}
STAMP = "demo.json"  # tells our folders from others, also after a kill; holds size and seed


def demo(
    out: str | Path = "runs/demo",
    size: Literal["full", "tiny"] = "full",
    decode: bool = False,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> str:
    """Run the main job offline: draw faces, retrieve attributes, train ERM and idfer, evaluate, report.

    The faces are synthetic and their identity is known: training people show emotions correlated with their
    age and gender presentation, test people the same, none, or the reverse of it. Both methods get the same
    budget. What is finished is kept: after an interruption the same command goes on.

    Args:
        out: folder for faces, runs, metrics.json and report.html; new, empty, or of this same demo before.
        size: full (a few minutes on 2 cores) or tiny (seconds; shows that everything works, learns nothing).
        decode: also train decoders (see `idfer decode fit`) and show in the report what the features of both
            methods still show of a face: small pictures, a few epochs.
        seed: of people, weights and order; 0 to 5592404.
        device: auto, cpu, cuda, cuda:N or mps.
        progress: show progress bars.

    Returns:
        A table of mean CCC and leakage, and where the report is.

    Raises:
        UsageError: an unknown size, a seed out of range, or a folder that holds other files or a demo of
            another size or seed; nothing was changed.
    """
    if size not in SIZES:
        raise unknown("size", size, list(SIZES))
    from idfer.synthetic.factors import SEED_MOST

    check_seed(seed, most=(SEED_MOST - 2) // 3)  # the protocol draws people from three seeds made of it
    root, protocol = Path(out), SIZES[size]
    _claim(root, protocol, seed)
    from idfer.attributes.table import retrieve
    from idfer.evaluation.suite import measure
    from idfer.reporting.report import write_metrics, write_report
    from idfer.training.fit import fit

    faces = _faces(protocol, root, seed, progress)
    table = retrieve(faces, clip="builtin", out=root / "attributes.parquet", device=device, progress=progress)
    budget = BUDGET | ({"epochs": 2, "batch_size": 64} if size == "tiny" else {})
    evaluations = []
    for method in ("erm", "idfer"):
        run = fit(
            faces, table, method=method, out=root / method, size=protocol.size, seed=seed, device=device,
            progress=progress, **budget,
        )  # fmt: skip
        controls = method == "erm"  # the same for both runs
        evaluation = measure(
            run, faces, table, list(TESTS), device=device, seed=seed, controls=controls, progress=progress
        )
        evaluations.append(evaluation)
    pictures = _decoded(root, faces, size, seed, device, progress) if decode else []
    table_of_results = summary(evaluations)
    write_metrics(evaluations, root / "metrics.json")
    command = f"idfer demo -o {out} --size {size} --seed {seed}{' --decode true' if decode else ''}"
    write_report(
        evaluations, root / "report.html", title="idfer demo: unseen people, shifted", command=command,
        decodings=pictures,
    )  # fmt: skip
    return f"{table_of_results}\n\nreport   {root / 'report.html'}\nmetrics  {root / 'metrics.json'}"


def _decoded(
    root: Path, faces: Manifest, size: str, seed: int, device: str, progress: bool
) -> list[dict[str, Any]]:
    """What decoders of idfer's features, and of ERM's as a control, show of test faces; trained once."""
    from idfer.decoding.checkpoint import CONFIG, FOLDER
    from idfer.decoding.fit import decode_fit
    from idfer.reporting.decoded import decoded

    budget = DECODER | ({"size": 16, "epochs": 1} if size == "tiny" else {})
    ours, control = root / "idfer", root / "erm"
    for run in (ours, control):
        if not (run / FOLDER / CONFIG).is_file():
            decode_fit(run, faces, identity=ours, seed=seed, device=device, progress=progress, **budget)
    shown = decoded(ours, faces.select(list(TESTS)), control, device, seed)
    return [] if shown is None else [shown]


def _claim(root: Path, protocol: Protocol, seed: int) -> None:
    """Stamp a new or empty folder as this demo's; refuse one that is a user's or another demo's."""
    stamp = root / STAMP
    wanted = json.loads(json.dumps(asdict(protocol) | {"seed": seed}))
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is a file; choose a folder for the demo.")
    if root.is_dir() and contents(root):
        stamped = _read_stamp(stamp)
        if stamped.keys() != wanted.keys():
            raise UsageError(f"{root} holds other files; nothing was changed. Choose a new or empty folder.")
        if stamped != wanted:
            raise UsageError(f"{root} holds a demo of another size or seed; choose another -o or delete it.")
    with atomic(stamp) as temporary:
        temporary.write_text(json.dumps(wanted), encoding="utf-8")


def _read_stamp(stamp: Path) -> dict[str, Any]:
    """What a demo wrote of itself; empty where the file is none of ours."""
    try:
        stamped: Any = json.loads(stamp.read_text(encoding="utf-8")) if stamp.is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return stamped if isinstance(stamped, dict) else {}


def _faces(protocol: Protocol, root: Path, seed: int, progress: bool) -> Manifest:
    """The protocol's faces: those an earlier run of the same demo drew, or new ones."""
    from idfer.data.manifest import Manifest
    from idfer.experiments.protocol import write

    folder = root / "faces"
    if (folder / "manifest.parquet").is_file():
        return Manifest.read(folder)
    return write(protocol, folder, seed, progress)


def summary(evaluations: Sequence[Evaluation]) -> str:
    """Mean CCC per test split and leakage of the expression feature per attribute, a row per method."""
    import pandas as pd

    rows = []
    for evaluation in evaluations:
        scores = evaluation.accuracy.query("dimension == 'mean' and metric == 'ccc'").set_index("split")
        row = {"method": evaluation.name}
        for split in TESTS:
            value, low, high = (scores[column][split] for column in ("value", "low", "high"))
            row[f"CCC {split}"] = f"{value:.3f} [{low:.3f}, {high:.3f}]"
        found = evaluation.leakage.query("features == 'expression' and kind == 'nonlinear'")
        leaks = found.set_index("target")
        rows.append(row | {f"leak {name}": f"{leaks.loc[name, 'score']:.2f}" for name in leaks.index})
    table = pd.DataFrame(rows).set_index("method").T
    return table.to_string()
