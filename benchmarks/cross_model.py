"""Trained on faces of one model, tested on those of another.

    python benchmarks/cross_model.py --assets mh.npz ict.npz

Two sculptors made the heads of the mesh engine, MakeHuman's and ICT FaceKit's, with another topology and
other muscles; the drawn engine is a third hand. Each method learns from faces of one of them, in which age
goes with valence and gender with arousal as in `idfer benchmark shift`, with the settings that were chosen
there, attributes read from the factors; and is asked about unseen people of all three, whose expressions are
independent of who they are (a full cross): agreement with the labels (CCC), and what the person adds to the
prediction (analysis of variance), as in that benchmark.

Finished faces and runs are kept in --runs: the same command goes on. Writes results/cross-model.md and
.json, and a report in the ledger; --development looks without one.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from idfer.attributes.table import AttributeTable, retrieve
from idfer.catalogue import DEFAULT_METHOD as OURS
from idfer.data.manifest import Manifest
from idfer.errors import IdferError
from idfer.evaluation import anova, metrics
from idfer.evaluation.forward import Pass
from idfer.experiments.grid import Plan
from idfer.experiments.jobs import source
from idfer.experiments.ledger import REPORT, Ledger, kind_of
from idfer.experiments.protocol import CROSS, RHO, Protocol, correlation, sized
from idfer.experiments.protocols.drawing import learned
from idfer.experiments.seeds import numbers
from idfer.experiments.shift import PLAN
from idfer.experiments.statistics import mean_interval
from idfer.experiments.tables import pipes
from idfer.experiments.tuning import read_chosen
from idfer.progress import track
from idfer.results import write_json
from idfer.synthetic.cross import cross
from idfer.synthetic.dataset import write_splits
from idfer.synthetic.engine import Engine, engine_of
from idfer.synthetic.mesh import asset
from idfer.training.checkpoint import load_checkpoint
from idfer.training.fit import fit_settings
from idfer.training.settings import Settings

RESULTS = Path(__file__).parent / "results"
NAME = "cross-model"
METHODS = ("erm", "groupdro", "adversarial", OURS)  # the best baselines of the shift benchmark
SEEDS, EPOCHS = "51,52,53", 24
DRAWN = "drawn"
SIZES = Protocol(train=(150, 12), val=(20, 10), cross=(60, 10))
MEASURES = {
    "ccc": "CCC", "person_ratio": "person / expression", "interaction_ratio": "interaction / expression",
    "age": "effect of age on valence", "gender": "effect of gender on arousal",
}  # fmt: skip


def _digest(engine: Engine) -> str:
    """Of the engine as it is: another version draws other faces."""
    return hashlib.sha256(engine.fingerprint().encode()).hexdigest()[:8]


def faces_of(engine: Engine, sizes: Protocol, folder: Path, seed: int) -> Manifest:
    """Faces of one model: `train` and `val` with the shortcut, and `cross`; finished ones are kept."""
    if (folder / "manifest.parquet").is_file():
        return Manifest.read(folder)
    shortcut = vars(learned(sizes, seed, correlation(RHO)))
    parts = {**shortcut, CROSS: cross(*sizes.cross, seed=3 * seed + 2)}
    return write_splits(parts, folder, size=sizes.size, seed=seed, progress=False, engine=engine)


def trained(
    method: str,
    faces: Manifest,
    table: AttributeTable,
    out: Path,
    chosen: Mapping[str, Any],
    seed: int,
    tiny: bool,
) -> Path:
    """A run of one method on one model's faces; a finished one is kept."""
    changes = sized("tiny")[1] if tiny else {"epochs": EPOCHS}
    settings = Settings.of(
        method=method, **{**Plan.read(PLAN).budget, **chosen.get(method, {}), **changes}, retrieval="truth",
        seed=seed,
    )  # fmt: skip
    return fit_settings(faces, table, settings, out=out, device="cpu", progress=False)


def measured(run: Path, faces: Manifest) -> dict[str, float]:
    """What a run says of a full cross."""
    said = Pass(strict=True).run(load_checkpoint(run, "cpu"), faces).valence_arousal
    parts = anova.measure(faces.frame, said, replicates=2)  # intervals are over seeds
    return {
        "ccc": float(np.mean(metrics.ccc(faces.targets, said))),
        "person_ratio": parts.person_ratio.value,
        "interaction_ratio": parts.interaction_ratio.value,
        "age": parts.effects["age", "valence"].value,
        "gender": parts.effects["gender", "arousal"].value,
    }


def of_seed(given: argparse.Namespace, heads: Mapping[str, str], seed: int) -> list[dict[str, Any]]:
    """Every method, trained on every model's faces and asked about every model's."""
    place = Path(given.runs) / f"{'tiny-' * given.tiny}seed{seed}"
    sizes = sized("tiny")[0] if given.tiny else SIZES
    engines = {DRAWN: engine_of(), **{name: engine_of("mesh", file) for name, file in heads.items()}}
    hands = list(engines)
    faces = {
        hand: faces_of(engine, sizes, place / "faces" / f"{hand}-{_digest(engine)}", seed)
        for hand, engine in engines.items()
    }
    learned_from = {hand: each.select(["train", "val"]) for hand, each in faces.items()}
    tables = {
        hand: retrieve(each, clip="builtin", device="cpu", progress=False)
        for hand, each in learned_from.items()
    }
    chosen = read_chosen(given.results / "shift.json")
    rows = []
    for method, hand in track(product(METHODS, hands), f"seed {seed}", len(METHODS) * len(hands), True):
        out = place / "runs" / f"{method}-{hand}"
        run = trained(method, learned_from[hand], tables[hand], out, chosen, seed, given.tiny)
        rows += [
            {"seed": seed, "method": method, "trained": hand, "tested": other}
            | measured(run, faces[other].select(CROSS))
            for other in hands
        ]
    return rows


def summarised(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean and t interval over seeds of every measure, by method and pair of models."""
    table = pd.DataFrame(rows)
    return [
        dict(zip(("method", "trained", "tested"), key, strict=True))
        | {name: asdict(mean_interval(part.sort_values("seed")[name].to_numpy())) for name in MEASURES}
        for key, part in table.groupby(["method", "trained", "tested"], sort=False)
    ]


def gains(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """CCC of idfer minus that of each other method, paired by seed, by pair of models."""
    table = pd.DataFrame(rows).pivot_table("ccc", ["trained", "tested", "seed"], "method", sort=False)
    lines = []
    for (hand, other), part in table.groupby(level=[0, 1], sort=False):
        for method in METHODS[:-1]:
            difference = asdict(mean_interval((part[OURS] - part[method]).to_numpy()))
            lines.append({"trained": hand, "tested": other, "against": method, **difference})
    return lines


def markdown(content: Mapping[str, Any]) -> str:
    """The page."""
    kept = {(row["method"], row["trained"], row["tested"]): row for row in content["summary"]}
    hands = list(dict.fromkeys(row["trained"] for row in content["summary"]))
    standing = (
        f"Report {content['ledger']} of [history.md](history.md)." if content["ledger"] else "Development."
    )
    seeds = ", ".join(map(str, content["seeds"]))
    lines = [
        "# Trained on faces of one model, tested on those of another", "", f"`{content['command']}`", "",
        standing, "",
        f"Seeds {seeds}; {content['faces']}. Trained with the shortcut of the shift benchmark, tested on "
        "unseen people of a full cross. Mean over seeds and 95 % interval (t).",
    ]  # fmt: skip
    for name, title in MEASURES.items():
        lines += ["", f"## {title}", ""]
        table = [["trained on", "tested on", *METHODS]]
        for hand, other in product(hands, hands):
            cells = [kept[method, hand, other][name] for method in METHODS]
            table.append(
                [hand, other, *(f"{c['value']:.3f} [{c['low']:.3f}, {c['high']:.3f}]" for c in cells)]
            )
        lines += pipes(table)
    lines += ["", "## CCC of idfer minus that of others, seed by seed", ""]
    table = [["trained on", "tested on", "against", "difference"]]
    for line in content["gains"]:
        said = f"{line['value']:+.3f} [{line['low']:+.3f}, {line['high']:+.3f}]"
        table.append([line["trained"], line["tested"], line["against"], said])
    return "\n".join([*lines, *pipes(table)]) + "\n"


def run(given: argparse.Namespace) -> None:
    """All of it."""
    heads = {asset.read(file).kind: str(Path(file).absolute()) for file in given.assets}
    seeds = numbers("seeds", given.seeds)
    command = f"python benchmarks/cross_model.py --assets {' '.join(Path(f).name for f in given.assets)}"
    command += "" if given.seeds == SEEDS else f" --seeds {given.seeds}"
    kind = kind_of("tiny" if given.tiny else "full", given.development)
    ledger = Ledger.beside(given.results)
    if not given.tiny:  # which writes nothing
        ledger.check_allowed(kind, NAME, seeds, command, given.again)
    rows = [row for seed in seeds for row in of_seed(given, heads, seed)]
    summary, of = summarised(rows), source()
    headline = "; ".join(
        f"{row['method']} {row['trained']} to {row['tested']} CCC {row['ccc']['value']:.3f}"
        for row in summary
        if row["trained"] != row["tested"]
    )
    entry = None
    if kind == REPORT:
        said = {number: row for number, row in enumerate(rows)}
        entry = ledger.enter(NAME, command, seeds, [], headline, given.again, said, of)
    (people, images), (others, shown) = SIZES.train, SIZES.cross
    content = {
        "command": command, "ledger": entry and entry.name, "seeds": seeds, "source": of,
        "faces": f"{people} people of {images} images to train on, {others} of {shown} to be asked about",
        "summary": summary, "gains": gains(rows), "rows": rows,
    }  # fmt: skip
    text = markdown(content)
    print(text)
    if not given.tiny:
        (given.results / f"{NAME}.md").write_text(text, encoding="utf-8")
        write_json(given.results / f"{NAME}.json", content)


def main() -> int:
    """The command."""
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    parser.add_argument("--assets", nargs=2, required=True, help="the two heads, see `idfer assets`")
    parser.add_argument("--seeds", default=SEEDS, help="of people, weights and order")
    parser.add_argument("--runs", default="runs/cross-model", help="folder of faces and runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--development", action="store_true", help="no line in the ledger")
    parser.add_argument("--again", default="", help="why seeds that were reported are reported once more")
    parser.add_argument("--tiny", action="store_true", help="shows that it works, writes nothing")
    try:
        run(parser.parse_args())
    except IdferError as error:
        print(f"cross_model: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
