"""`idfer benchmark mi`: mutual-information estimators against the truth, where the truth is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idfer.errors import IdferError, UsageError, unknown
from idfer.names import split_names

if TYPE_CHECKING:
    from idfer.experiments.mi.fit import Settings
    from idfer.experiments.mi.tasks import Tasks

_KEY = ("estimator", "d", "mi", "transform", "seed", "steps", "batch_size")
DIMS, AMOUNTS = "1,4,16,64", "0,1,2,4,6,8,10"
TRANSFORMS = "none,cubic,half_cube,asinh,uniform,spiral"


def benchmark_mi(
    out: str | Path = "benchmarks/results",
    estimators: list[str] | str | None = None,
    dims: list[int] | str = DIMS,
    mi: list[float] | str = AMOUNTS,
    transforms: list[str] | str = TRANSFORMS,
    steps: int = 500,
    batch_size: int = 128,
    seeds: list[int] | str = "0",
    device: str = "cpu",
    progress: bool = True,
) -> str:
    """Compare mutual-information estimators with the truth: every dimension x amount x transform.

    Each estimator's critic is fitted on fresh samples and judged on samples of its own. Writes mi.json (a row
    per estimator, task and seed), mi.md and mi.png. Finished rows are read from mi.json and not run again.

    Args:
        out: folder of mi.json, mi.md and mi.png.
        estimators: names with commas between: barber_agakov, infonce, nwj, mine, jsd, smile (lower bounds),
            club, club_sampled, l1out (upper bounds); all of them if left out.
        dims: dimensions of both variables, with commas between.
        mi: true mutual informations in nats, with commas between.
        transforms: names with commas between: none, cubic, half_cube, asinh, wiggly, uniform, spiral. They
            change the shape of both variables and leave the mutual information as it is.
        steps: steps of each critic, a fresh batch each.
        batch_size: samples in a batch, in fitting and in judging; InfoNCE cannot exceed its logarithm.
        seeds: of samples and initial weights, with commas between.
        device: auto, cpu, cuda, cuda:N or mps.
        progress: show a progress bar.

    Returns:
        The table of mi.md, and where the files are.

    Raises:
        UsageError: an unknown estimator or transform, or a number out of range.
        IdferError: `out` holds a mi.json of another origin.
    """
    from idfer.catalogue import BOUNDS
    from idfer.device import resolve_device
    from idfer.experiments.mi.fit import Settings
    from idfer.experiments.mi.report import figure, markdown
    from idfer.experiments.mi.tasks import TRANSFORMS as SHAPES
    from idfer.experiments.writer import write_pages

    names = _known("estimator", split_names(estimators) or list(BOUNDS), list(BOUNDS))
    shapes = _known("transform", split_names(transforms) or [], list(SHAPES))
    widths = [int(v) for v in _numbers("dims", dims, whole=True)]
    amounts = tuple(_numbers("mi", mi))
    draws = [int(v) for v in _numbers("seeds", seeds, whole=True)]
    _checked(widths, amounts, shapes, draws, steps, batch_size)
    settings = Settings(steps, batch_size)
    root = Path(out)
    finished = _read(root / "mi.json")
    command = _command(out, names, widths, amounts, shapes, settings, draws, device, list(BOUNDS))
    jobs = _jobs(names, widths, amounts, tuple(shapes), draws)
    rows = _run(jobs, settings, finished, root / "mi.json", command, resolve_device(device), progress)
    text = markdown(rows, command, batch_size)
    write_pages(root, "mi", text + "\n", figure(rows, batch_size))
    return f"{text}\n\nrows    {root / 'mi.json'}\nfigure  {root / 'mi.png'}"


def _jobs(
    names: list[str],
    dims: Sequence[int],
    amounts: tuple[float, ...],
    shapes: tuple[str, ...],
    seeds: Sequence[int],
) -> list[tuple[str, Tasks, int]]:
    """Estimator, tasks of one dimension, and seed; a dimension without a plane has no spiral."""
    from idfer.experiments.mi.tasks import Tasks

    fitting = {d: tuple(s for s in shapes if d > 1 or s != "spiral") for d in dims}
    return [
        (name, Tasks(d, amounts, fitting[d]), seed)
        for seed in seeds
        for d in dims
        if fitting[d]
        for name in names
    ]


def _run(
    jobs: list[tuple[str, Tasks, int]],
    settings: Settings,
    finished: list[dict[str, Any]],
    path: Path,
    command: str,
    device: Any,
    progress: bool,
) -> list[dict[str, Any]]:
    """The rows of all jobs; after each, what is done so far is written."""
    from idfer.experiments.mi.fit import estimates
    from idfer.progress import bar

    known = {tuple(row[k] for k in _KEY): row for row in finished}
    rows: list[dict[str, Any]] = []
    with bar("estimating", len(jobs), progress) as advance:
        for name, tasks, seed in jobs:
            keys = [
                (name, tasks.dim, amount, shape, seed, settings.steps, settings.batch_size)
                for shape, amount in tasks.names
            ]
            if not all(key in known for key in keys):
                values, deviations, seconds = estimates(name, tasks, seed, settings, device)
                for key, value, deviation in zip(keys, values, deviations, strict=True):
                    known[key] = dict(zip(_KEY, key, strict=True)) | {
                        "estimate": round(value, 4),
                        "error": round(value - key[2], 4),
                        "deviation": round(deviation, 4),
                        "seconds": round(seconds / len(keys), 4),
                    }
                _write(path, command, list(known.values()), [])
            rows += [known[key] for key in keys]
            advance(note=f"{name}, d = {tasks.dim}")
    wanted = {tuple(row[k] for k in _KEY) for row in rows}
    _write(path, command, rows, [row for key, row in known.items() if key not in wanted])
    return rows


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = [*content["rows"], *content["other_rows"]]
        if all(set(_KEY) <= set(row) for row in rows):
            return rows
    except (ValueError, KeyError, TypeError):
        pass
    raise IdferError(f"{path} was not written by `idfer benchmark mi`; move it or choose another --out.")


def _write(path: Path, command: str, rows: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    from idfer.files import atomic

    def lines(part: list[dict[str, Any]]) -> str:
        return ",\n".join(f"  {json.dumps(row)}" for row in part)

    with atomic(path) as temporary:
        temporary.write_text(
            f'{{\n "command": {json.dumps(command)},\n "unit": "nats",\n'
            f' "rows": [\n{lines(rows)}\n ],\n "other_rows": [\n{lines(other)}\n ]\n}}\n',
            encoding="utf-8",
        )


def _numbers(name: str, values: Sequence[float] | str, whole: bool = False) -> list[float]:
    """`"1,4"`, `[1, 4]` or one number as numbers, each once."""
    parts = split_names(values) or [] if isinstance(values, str) else values
    try:
        numbers = list(dict.fromkeys(float(v) for v in parts))
    except ValueError:
        numbers = []
    if not numbers or (whole and any(v != int(v) for v in numbers)):
        kind = "whole numbers" if whole else "numbers"
        raise UsageError(f"--{name} takes {kind} with commas between, got {values!r}.")
    return numbers


def _known(kind: str, names: list[str], known: list[str]) -> list[str]:
    if not names:
        raise UsageError(f"no {kind} named; known: {', '.join(known)}.")
    for name in names:
        if name not in known:
            raise unknown(kind, name, known)
    return list(dict.fromkeys(names))


def _checked(
    dims: Sequence[int],
    amounts: Sequence[float],
    shapes: list[str],
    seeds: Sequence[int],
    steps: int,
    batch_size: int,
) -> None:
    if not (dims and amounts and seeds) or min(dims) < 1 or not all(0 <= a < 100 for a in amounts):
        raise UsageError("benchmark mi needs dims of at least 1, mi from 0 to 100 nats, and a seed.")
    if steps < 1 or batch_size < 2:
        raise UsageError("benchmark mi needs at least 1 step and batches of at least 2 samples.")
    if shapes == ["spiral"] and max(dims) == 1:
        raise UsageError("the spiral turns planes: it needs a dimension of at least 2.")


def _command(
    out: str | Path,
    names: list[str],
    dims: Sequence[int],
    amounts: Sequence[float],
    shapes: list[str],
    settings: Settings,
    seeds: Sequence[int],
    device: str,
    every: list[str],
) -> str:
    """The command with the options that are not the defaults."""
    options = {
        "--out": (str(out), "benchmarks/results"),
        "--estimators": (",".join(names), ",".join(every)),
        "--dims": (_listed(dims), DIMS),
        "--mi": (_listed(amounts), AMOUNTS),
        "--transforms": (",".join(shapes), TRANSFORMS),
        "--steps": (str(settings.steps), "500"),
        "--batch_size": (str(settings.batch_size), "128"),
        "--seeds": (_listed(seeds), "0"),
        "--device": (device, "cpu"),
    }
    words = [f"{flag} {value}" for flag, (value, usual) in options.items() if value != usual]
    return " ".join(["idfer benchmark mi", *words])


def _listed(values: Sequence[float]) -> str:
    return ",".join(f"{v:g}" for v in values)
