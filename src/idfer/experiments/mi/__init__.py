"""`idfer benchmark mi`: mutual-information estimators against the truth, where the truth is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idfer.errors import IdferError, UsageError, unknown
from idfer.names import split_names

if TYPE_CHECKING:
    from idfer.experiments.mi.fit import Settings
    from idfer.experiments.mi.tasks import Tasks

_KEY = ("estimator", "d", "mi", "transform", "seed", "steps", "batch_size")
_SHIPPED_KEY = ("estimator", "width", "people", "seed", "steps", "batch_size")
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
    shipped: bool = True,
    device: str = "cpu",
    progress: bool = True,
) -> str:
    """Compare mutual-information estimators with the truth: every dimension x amount x transform.

    Each estimator's critic is fitted on fresh samples and judged on samples of its own. Then each is measured
    as methods use it: with its default settings, on wide features and as few people as in training. Writes
    mi.json (a row per estimator, task and seed), mi.html, mi.md and mi.png. Finished rows are read from
    mi.json and not run again.

    Args:
        out: folder of mi.json, mi.md and mi.png.
        estimators: names with commas between: barber_agakov, infonce, nwj, mine, jsd, smile (lower bounds),
            club, club_sampled, l1out (upper bounds); and as shipped only club_categorical, conditional_club,
            adversary, hsic. All of them if left out.
        dims: dimensions of both variables, with commas between.
        mi: true mutual informations in nats, with commas between.
        transforms: names with commas between: none, cubic, half_cube, asinh, wiggly, uniform, spiral. They
            change the shape of both variables and leave the mutual information as it is.
        steps: steps of each critic, a fresh batch each.
        batch_size: samples in a batch, in fitting and in judging; InfoNCE cannot exceed its logarithm.
        seeds: of samples and initial weights, with commas between.
        shipped: also measure the configurations that methods use.
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
    from idfer.experiments.mi.shipped import SIDES
    from idfer.experiments.mi.shipped_report import markdown as shipped_markdown
    from idfer.experiments.mi.tasks import TRANSFORMS as SHAPES
    from idfer.experiments.writer import write_pages

    every = list(SIDES)
    names = _known("estimator", split_names(estimators) or every, every)
    if not shipped and not set(names) & set(BOUNDS):
        raise UsageError(f"{', '.join(names)}: measured as shipped only; leave out --shipped false.")
    shapes = _known("transform", split_names(transforms) or [], list(SHAPES))
    widths = [int(v) for v in _numbers("dims", dims, whole=True)]
    amounts = tuple(_numbers("mi", mi))
    draws = [int(v) for v in _numbers("seeds", seeds, whole=True)]
    _checked(widths, amounts, shapes, draws, steps, batch_size)
    settings = Settings(steps, batch_size)
    root = Path(out)
    record = _Record.read(root / "mi.json")
    record.command = _command(
        out, names, widths, amounts, shapes, settings, draws, shipped, device, every
    )  # fmt: skip
    on = resolve_device(device)
    jobs = _jobs([n for n in names if n in BOUNDS], widths, amounts, tuple(shapes), draws)
    rows = _run(jobs, settings, record, on, progress)
    as_used = _run_shipped(names, draws, settings, record, on, progress) if shipped else []
    parts = [markdown(rows, record.command, batch_size)] if rows else [f"`{record.command}`"]
    text = "\n\n".join(
        ["# Estimators of mutual information", *parts, *([shipped_markdown(as_used)] if as_used else [])]
    )
    write_pages(root, "mi", text + "\n", figure(rows, batch_size) if rows else None)
    drawn = f"\nfigure  {root / 'mi.png'}" if rows else ""
    return f"{text}\n\nrows    {root / 'mi.json'}{drawn}"


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
    record: _Record,
    device: Any,
    progress: bool,
) -> list[dict[str, Any]]:
    """The rows of all jobs; after each, what is done so far is written."""
    from idfer.experiments.mi.fit import estimates
    from idfer.progress import bar

    known = {tuple(row[k] for k in _KEY): row for row in record.rows}
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
                record.write(rows=list(known.values()))
            rows += [known[key] for key in keys]
            advance(note=f"{name}, d = {tasks.dim}")
    wanted = {tuple(row[k] for k in _KEY) for row in rows}
    record.write(rows=rows, other_rows=[row for key, row in known.items() if key not in wanted])
    return rows


def _run_shipped(
    names: list[str],
    seeds: Sequence[int],
    settings: Settings,
    record: _Record,
    device: Any,
    progress: bool,
) -> list[dict[str, Any]]:
    """The rows of the configurations that methods use; after each, what is done so far is written."""
    from idfer.experiments.mi.shipped import PEOPLE, WIDTHS, measure
    from idfer.progress import bar

    known: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in record.shipped:
        known.setdefault(tuple(row[k] for k in _SHIPPED_KEY), []).append(row)
    keys = [
        (name, width, people, seed, settings.steps, settings.batch_size)
        for seed in seeds
        for name in names
        for width in WIDTHS
        for people in (0, PEOPLE)
    ]
    with bar("as shipped", len(keys), progress) as advance:
        for key in keys:
            if key not in known:
                known[key] = measure(*key, device)
                record.write(shipped=[row for rows in known.values() for row in rows])
            advance(note=f"{key[0]}, {key[1]} wide")
    rows = [row for key in keys for row in known[key]]
    record.write(shipped=rows, other_shipped=[row for key in known if key not in keys for row in known[key]])
    return rows


@dataclass
class _Record:
    """mi.json: what was asked for, and what else is finished.

    Attributes:
        path: of the file.
        rows: a row per estimator, task and seed.
        shipped: a row per estimator as shipped, width, people, amount and seed.
        command: that asked for them.
    """

    path: Path
    rows: list[dict[str, Any]]
    shipped: list[dict[str, Any]]
    command: str = ""
    _content: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> _Record:
        """What is finished; nothing where there is no file.

        Raises:
            IdferError: a file of another origin.
        """
        if not path.is_file():
            return cls(path, [], [])
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            rows = [*content["rows"], *content["other_rows"]]
            shipped = [*content.get("shipped", []), *content.get("other_shipped", [])]
            whole = all(set(_KEY) <= set(row) for row in rows)
            if whole and all(set(_SHIPPED_KEY) <= set(row) for row in shipped):
                return cls(path, rows, shipped)
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        raise IdferError(f"{path} was not written by `idfer benchmark mi`; move it or choose another --out.")

    def write(self, **parts: list[dict[str, Any]]) -> None:
        """Write the file, with these of its lists of rows changed."""
        from idfer.files import atomic

        if not self._content:
            self._content = {
                "rows": self.rows,
                "other_rows": [],
                "shipped": self.shipped,
                "other_shipped": [],
            }
        self._content |= parts
        lists = [
            f' "{name}": [\n' + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n ]"
            for name, rows in self._content.items()
        ]
        with atomic(self.path) as temporary:
            temporary.write_text(
                f'{{\n "command": {json.dumps(self.command)},\n "unit": "nats",\n'
                + ",\n".join(lists)
                + "\n}\n",
                encoding="utf-8",
            )


def _numbers(name: str, values: Sequence[float] | float | str, whole: bool = False) -> list[float]:
    """`"1,4"`, `[1, 4]` or one number as numbers, each once."""
    parts: Sequence[Any] = [values] if isinstance(values, (int, float)) else values
    if isinstance(values, str):
        parts = split_names(values) or []
    try:
        numbers = list(dict.fromkeys(float(v) for v in parts))
    except ValueError:
        numbers = []
    if not numbers or (whole and not all(v.is_integer() for v in numbers)):
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
    shipped: bool,
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
        "--shipped": (str(shipped).lower(), "true"),
        "--device": (device, "cpu"),
    }
    words = [f"{flag} {value}" for flag, (value, usual) in options.items() if value != usual]
    return " ".join(["idfer benchmark mi", *words])


def _listed(values: Sequence[float]) -> str:
    return ",".join(f"{v:g}" for v in values)
